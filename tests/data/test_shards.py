"""Training pairs in WebDataset shards."""
from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src import trainer
from src.data import pack, shards
from src.data.crops import Crops
from src.data.layouts import find_pairs, read_pair
from src.data.scene import PLAIN
from src.data.shards import ShardDataset, shard_names
from src.data.sources import Source
from src.training.options import parse_data
from tests.conftest import run, status_of

CROPS = Crops(64, (1.0, 1.2), 1.0, (1.0, 1.0), 0.5, PLAIN, None)


@pytest.fixture
def packed(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The five pairs of `discs` in two shards."""
    monkeypatch.setattr(shards, "SHUFFLE", 3)
    pattern = str(tmp_path / "s-{0..1}.tar")
    pack.pack(discs, pattern)
    return pattern


def names(dataset: ShardDataset, count: int) -> list[str]:
    return [sample["name"] for sample in itertools.islice(dataset, count)]


def write_tar(path: Path, files: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def files_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def test_shards_hold_the_bytes_of_the_files_once_each(packed, discs):
    held = {name: data for path in shard_names(packed) for name, data in files_of(Path(path))}
    assert sorted(len(files_of(Path(path))) for path in shard_names(packed)) == [6, 9]
    for pair in find_pairs(discs, "train"):
        key = next(name.partition(".")[0] for name in held if name.partition(".")[0].endswith(f"-{pair.image.stem}"))
        assert held[f"{key}.png"] == pair.image.read_bytes() and held[f"{key}.alpha.png"] == pair.alpha.read_bytes()
        assert json.loads(held[f"{key}.json"]) == {"semantic_only": False}


def test_a_weight_is_how_often_a_set_is_written_and_rough_masks_are_marked(discs, tmp_path):
    pack.pack([Source(discs, 2.4)], str(tmp_path / "w.tar"), semantic_only=[Source(discs, 1)])
    said = [json.loads(data)["semantic_only"] for name, data in files_of(tmp_path / "w.tar") if name.endswith(".json")]
    assert len(said) == 12 + 5


def test_samples_are_those_of_folders_in_shape_type_and_range(packed):
    sample = next(iter(ShardDataset([packed], CROPS)))
    assert sample["image"].shape == (3, 64, 64) and sample["alpha"].shape == sample["trimap"].shape == (1, 64, 64)
    assert {sample[key].dtype for key in ("image", "alpha", "trimap")} == {torch.float32}
    assert -1 <= sample["image"].min() < sample["image"].max() <= 1
    assert set(sample["trimap"].unique().tolist()) <= {0, 0.5, 1}
    assert sample["labeled"] and not sample["semantic_only"]


def test_an_epoch_is_the_same_each_time_and_another_one_is_not(packed):
    dataset = ShardDataset([packed], CROPS, seed=1)
    first, again = (list(itertools.islice(dataset, 12)) for _ in range(2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    dataset.epoch = 1
    assert names(dataset, 12) != [sample["name"] for sample in first]
    assert len(set(names(dataset, 40))) == 5


def test_two_processes_share_the_shards(packed):
    seen = [set(names(ShardDataset([packed], CROPS, rank=rank, world=2), 1)) for rank in range(2)]
    laps = [set(names(ShardDataset([packed], CROPS, rank=rank, world=2), 40)) for rank in range(2)]
    assert seen[0].isdisjoint(seen[1]) and laps[0] | laps[1] == laps[0]


def test_fewer_shards_than_processes_are_refused(packed):
    with pytest.raises(ValueError, match="2 shards are too few for 3 training processes"):
        ShardDataset([packed], CROPS, world=3)


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda files: [f for f in files if f[0][:7] != "0000000" or not f[0].endswith(".alpha.png")], "has no alpha.png"),
    (lambda files: [*files, *files[:3]], "is twice in"),
    (lambda files: [(n, b"no picture" if n.startswith("0000000") else d) for n, d in files],
     "cannot be read"),
])
def test_a_sample_that_cannot_be_used_is_named_and_left_out_or_refused(discs, tmp_path, monkeypatch, capsys, spoil, said):
    monkeypatch.setattr(shards, "SHUFFLE", 2)
    path = tmp_path / f"{said[:5].strip()}.tar"
    pack.pack(discs, str(path))
    write_tar(path, spoil(files_of(path)))
    assert len(names(ShardDataset([str(path)], CROPS), 10)) == 10
    assert said in (err := capsys.readouterr().err) and str(path) in err
    with pytest.raises(ValueError, match=said):
        names(ShardDataset([str(path)], CROPS, strict=True), 10)


def test_a_shard_that_is_cut_off_is_named_and_the_others_go_on(packed, capsys):
    first = Path(shard_names(packed)[0])
    first.write_bytes(first.read_bytes()[:700])
    assert len(names(ShardDataset([packed], CROPS), 12)) == 12
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"note: left out: {first}: ") and "<" not in said[0] and len(said) == len(set(said))
    with pytest.raises(ValueError, match=first.name):
        names(ShardDataset([packed], CROPS, strict=True), 12)


def test_what_is_no_shard_is_said_before_training(packed, discs, tmp_path):
    with pytest.raises(FileNotFoundError, match="no shard at .*s-2.tar"):
        ShardDataset([packed.replace("{0..1}", "{0..2}")], CROPS)
    with pytest.raises(ValueError, match="mixes shards and folders"):
        parse_data([packed, str(discs)])
    with pytest.raises(ValueError, match="is there already: --overwrite"):
        pack.pack(discs, packed)
    with pytest.raises(ValueError, match="9 shards, but there are only 5"):
        pack.pack(discs, str(tmp_path / "t-{1..9}.tar"))


def test_an_epoch_does_not_depend_on_those_before_it(packed):
    resumed, unbroken = ShardDataset([packed], CROPS), ShardDataset([packed], CROPS)
    names(unbroken, 7)
    resumed.epoch = unbroken.epoch = 1
    assert names(resumed, 12) == names(unbroken, 12)


def test_training_streams_shards_if_told_how_long_an_epoch_is(packed, discs, tiny_ckpt, tmp_path, capsys):
    options = ["--model-path", tiny_ckpt, "--data-dir", packed, "--val-dir", discs, "--input-size", 64, "--batch-size", 2,
               "--steps-per-epoch", 2, "--lr", 1e-4]
    whole = run("src/trainer.py", *options, "--epoch", 2, "--save-dir", tmp_path / "whole", "--schedule", "step")
    assert whole.returncode == 0, whole.stderr
    rows = [json.loads(line) for line in (tmp_path / "whole/tiny_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4] and np.isfinite([row["loss"] for row in rows]).all()
    assert status_of(trainer.main, "--model-path", tiny_ckpt, "--data-dir", packed, "--save-dir", tmp_path / "no") == 2
    said = capsys.readouterr().err
    assert "--steps-per-epoch" in said and len(said.splitlines()) == 1


def test_a_pair_out_of_a_shard_is_the_pair_of_the_folder(tmp_path):
    """A turned picture with a matte in the alpha channel, and one of a format that shards do not have."""
    folder, rng = tmp_path / "set" / "train", np.random.default_rng(0)
    for kind in ("fg", "alpha"):
        (folder / kind).mkdir(parents=True)
    colours, matte = rng.integers(0, 256, (9, 7, 3), np.uint8), rng.integers(0, 256, (9, 7), np.uint8)
    matte[0] = 255
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(colours).save(folder / "fg" / "a.png", exif=turn)
    Image.fromarray(np.dstack([colours, matte]).swapaxes(0, 1)[:, ::-1].copy()).save(folder / "alpha" / "a.png")
    Image.fromarray(colours).save(folder / "fg" / "b.bmp")
    Image.fromarray(matte.astype(np.uint16) * 257).save(folder / "alpha" / "b.tif")
    pairs = find_pairs(tmp_path / "set", "train")
    shards.write_shards(pairs, str(tmp_path / "x.tar"))
    crops = Crops(512, (1.0, 1.2), 1.0, (1.0, 1.0), 0, PLAIN, None)
    dataset = ShardDataset([str(tmp_path / "x.tar")], crops)
    found = {pair.name[-1]: pair.sample for pair in itertools.islice(dataset._pairs(), 2)}
    for pair in pairs:
        image, alpha = crops.shrink(*read_pair(pair))
        np.testing.assert_array_equal(found[pair.image.stem].image, image)
        np.testing.assert_array_equal(found[pair.image.stem].alpha, alpha)


def test_a_label_that_is_neither_true_nor_false_is_not_believed(discs, tmp_path):
    pack.pack(discs, str(tmp_path / "x.tar"))
    write_tar(tmp_path / "x.tar", [(name, b'{"semantic_only": "false"}' if name.endswith(".json") else data)
                                   for name, data in files_of(tmp_path / "x.tar")])
    with pytest.raises(ValueError, match="semantic_only is false, expected true or false"):
        names(ShardDataset([str(tmp_path / "x.tar")], CROPS, strict=True), 1)


@pytest.mark.parametrize("content", [b"", b"junk" * 1000, bytes(10240)])
def test_shards_without_any_sample_end_the_training_instead_of_going_round(content, tmp_path):
    (tmp_path / "a.tar").write_bytes(content)
    (tmp_path / "b.tar").write_bytes(bytes(10240))
    with pytest.raises(ValueError, match=r"no samples in .*[ab]\.tar, .*[ab]\.tar"):
        names(ShardDataset([str(tmp_path / name) for name in ("a.tar", "b.tar")], CROPS), 1)
