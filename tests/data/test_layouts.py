"""Data sets as they are downloaded, and what is wrong with them."""
import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from src import trainer
from src.checkpoint import load_model
from src.data import layouts, samples
from src.data.layouts import check_pairs, find_pairs, has_split, read_pair
from src.data.samples import MattingDataset
from src.training import loop
from src.training.loading import make_dataset
from src.training.recipe import Recipe
from src.training.step import next_batch
from tests.test_trainer import read_log


def rebuilt(discs, target, folders: dict[str, str]):
    """The data set `discs` with its folders under other names."""
    for old, new in folders.items():
        (target / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(discs / old, target / new)
    return target


@pytest.mark.parametrize(("folders", "train", "val", "own"), [
    ({"train/fg": "train/blurred_image", "train/alpha": "train/mask", "val/fg": "validation/P3M-500-P/blurred_image",
      "val/alpha": "validation/P3M-500-P/mask"}, 5, 2, True),
    ({"val/fg": "original", "val/alpha": "mask"}, 2, 2, False),
    ({"val/fg": "image", "val/alpha": "matte"}, 2, 2, False)], ids=["P3M-10k", "AIM-500", "PPM-100"])
def test_layouts_of_public_data_sets(discs, tmp_path, folders, train, val, own):
    data = rebuilt(discs, tmp_path / "data", folders)
    assert len(find_pairs(data, "train")) == train and len(find_pairs(data, "val")) == val
    assert has_split(data, "val") == own


def spoil(path, how: str) -> None:
    if how == "truncated header":
        path.write_bytes(path.read_bytes()[:10])
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-60])
    elif how == "gone":
        path.unlink()
    else:
        shape = {"small": (10, 12), "black": (96, 80), "coloured": (96, 80, 3)}[how]
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 1 if how == "black" else 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(("kind", "how", "said"), [
    ("alpha", "gone", "3.png has no partner"), ("alpha", "small", "alpha/3.png is 12x10, but .*fg/3.png is 80x96"),
    ("alpha", "coloured", "alpha/3.png has colours"), ("fg", "truncated header", "fg/3.png is not a picture"),
    ("alpha", "truncated header", "alpha/3.png is not a picture")])
def test_a_pair_that_does_not_fit_is_named_before_training(discs, kind, how, said):
    spoil(discs / "train" / kind / "3.png", how)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        make_dataset(discs, Recipe(input_size=64))


def test_a_matte_that_its_own_exif_turns_away_from_the_picture_is_named_before_training(discs):
    path, turn = discs / "train/alpha/3.png", Image.Exif()
    turn[0x0112] = 6
    with Image.open(path) as matte:
        matte.load()
    matte.save(path, exif=turn)
    with pytest.raises(ValueError, match="alpha/3.png is 96x80, but .*fg/3.png is 80x96"):
        make_dataset(discs, Recipe(input_size=64))


def test_pairs_for_validation_are_looked_at_too_and_the_rest_is_counted(discs):
    for index in range(2):
        spoil(discs / "val/alpha" / f"{index}.png", "small")
    with pytest.raises(ValueError, match=r"val/alpha/0.png is 12x10.*\(and 1 more"):
        make_dataset(discs, Recipe(input_size=64))


def test_an_alpha_without_anybody_is_named_before_training_and_when_it_is_decoded(discs):
    spoil(discs / "train/alpha/3.png", "black")
    with pytest.raises(ValueError, match="alpha/3.png is all black"):
        MattingDataset(discs, size=64)[3]
    with pytest.raises(ValueError, match="alpha/3.png is all black"):
        make_dataset(discs, Recipe(input_size=64))


def test_val_may_show_nobody_and_no_picture_is_decoded_before_training(discs, monkeypatch):
    spoil(discs / "val/alpha/0.png", "black")
    monkeypatch.setattr(layouts, "read_image", None)
    check_pairs(find_pairs(discs, "train"), find_pairs(discs, "val"))


@pytest.mark.parametrize(("matte", "said"), [
    (lambda disc: disc // 255, "is nowhere over 1 of 255.*multiplied by 255"),
    (lambda disc: np.random.default_rng(0).integers(0, 2, disc.shape, np.uint8), "is nowhere over 1 of 255"),
    (lambda disc: disc // 255 * 15, "is nowhere over 15 of 255"),
    (lambda disc: (disc // 255).astype(np.uint16) * 255, "is nowhere over 0.992 of 255"),
    (lambda disc: np.full_like(disc, 255), "is 255 of 255 all over"),
    (lambda disc: np.full_like(disc, 200), "is 200 of 255 all over"), (lambda disc: np.zeros_like(disc), "is all black")],
    ids=["0 and 1", "noise of 0 and 1", "0 and 15", "16 bit", "white", "grey", "black"])
def test_a_matte_in_other_numbers_or_of_one_value_is_named_before_training(discs, matte, said):
    path = discs / "train/alpha/3.png"
    cv2.imwrite(str(path), matte(cv2.imread(str(path), 0)))
    with pytest.raises(ValueError, match=f"train/alpha/3.png {said}"):
        make_dataset(discs, Recipe(input_size=64))


def test_a_mask_of_0_and_1_is_refused_wherever_pairs_are_read(discs):
    pair = find_pairs(discs, "val")[0]
    cv2.imwrite(str(pair.alpha), cv2.imread(str(pair.alpha), 0) // 255)
    with pytest.raises(ValueError, match="val/alpha/0.png is nowhere over 1"):
        read_pair(pair)
    with pytest.raises(ValueError, match="val/alpha/0.png is nowhere over 1"):
        make_dataset(discs, Recipe(input_size=64))


def test_the_alpha_of_a_cut_out_is_the_matte(discs):
    path = discs / "train/alpha/3.png"
    alpha = cv2.imread(str(path), 0)
    image = cv2.imread(str(discs / "train/fg/3.png"))
    cv2.imwrite(str(path), np.dstack([image, alpha]))
    make_dataset(discs, Recipe(input_size=64))
    np.testing.assert_allclose(read_pair(find_pairs(discs, "train")[3])[1], alpha / 255, atol=1e-6)


def test_companions_of_macos_and_hidden_files_are_no_pictures_and_two_of_one_name_are_refused(discs):
    for name in ("._0.png", ".hidden.png"):
        for kind in ("fg", "alpha"):
            (discs / "train" / kind / name).write_bytes(b"\0\5\26\7")
    assert len(make_dataset(discs, Recipe(input_size=64))) == 5
    shutil.copy(discs / "train/fg/0.png", discs / "train/fg/0.jpg")
    with pytest.raises(ValueError, match="fg/0.jpg and 0.png have the same name"):
        make_dataset(discs, Recipe(input_size=64))


def test_pictures_that_are_in_train_and_val_are_named(discs, capsys, monkeypatch):
    monkeypatch.setattr("src.console._NOTED", set())
    read = []
    original = layouts._content
    monkeypatch.setattr(layouts, "_content", lambda path: read.append(path) or original(path))
    fresh = np.random.default_rng(0).integers(0, 256, (96, 80, 3), np.uint8)
    cv2.imwrite(str(discs / "val/fg/0.png"), fresh)
    make_dataset(discs, Recipe(input_size=64))
    said = capsys.readouterr().err
    assert "note: 1 of 2 pictures of val are trained on too" in said and "val/fg/1.png is " in said
    assert "train/fg/1.png" in said and len(read) == len(set(read)) < 7, "a file is read once, and only one of equal size"
    cv2.imwrite(str(discs / "val/fg/1.png"), fresh[::-1])
    make_dataset(discs, Recipe(input_size=64))
    assert "trained on" not in capsys.readouterr().err


def test_a_file_that_breaks_in_a_later_epoch_costs_one_line_and_no_checkpoint(tiny_ckpt, discs, tmp_path, monkeypatch):
    args = ["--model-path", str(tiny_ckpt), "--data-dir", str(discs), "--input-size", "64", "--epoch", "2", "--save-dir",
            str(tmp_path / "out")]
    good, original = (discs / "train/fg/3.png").read_bytes(), loop.train_epoch

    def spoil_before_epoch_1(*rest, title, **kwargs):
        if title.startswith("epoch 1"):
            spoil(discs / "train/fg/3.png", "truncated")
        return original(*rest, title=title, **kwargs)

    monkeypatch.setattr(samples, "CACHE_BYTES", 0)
    monkeypatch.setattr(loop, "train_epoch", spoil_before_epoch_1)
    with pytest.raises(ValueError, match="fg/3.png is not a picture"):
        trainer.main(args)
    assert load_model(tmp_path / "out/tiny_best.ckpt") and len(read_log(tmp_path / "out/tiny")) == 1
    monkeypatch.setattr(loop, "train_epoch", original)
    (discs / "train/fg/3.png").write_bytes(good)
    assert trainer.main([*args, "--resume"]) == 0 and len(read_log(tmp_path / "out/tiny")) == 2


class Broken(Dataset):
    """A data set whose file is damaged."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict:
        raise ValueError("x.png is not a picture that can be read: it ends too early")


def test_what_a_loading_process_raises_is_one_line():
    with pytest.raises(ValueError) as caught:
        next_batch(iter(DataLoader(Broken(), num_workers=1)), torch.device("cpu"))
    assert str(caught.value) == "x.png is not a picture that can be read: it ends too early"


def test_a_broken_background_is_named_before_training(discs, tmp_path):
    (tmp_path / "backgrounds").mkdir()
    shutil.copy(discs / "val/fg/0.png", tmp_path / "backgrounds/b.png")
    spoil(tmp_path / "backgrounds/b.png", "truncated header")
    with pytest.raises(ValueError, match="backgrounds/b.png is not a picture"):
        make_dataset(discs, Recipe(input_size=64, background_dir=str(tmp_path / "backgrounds")))


def test_headers_of_a_good_data_set_pass(discs):
    check_pairs(find_pairs(discs, "train"))


def test_a_split_with_one_of_its_two_folders_is_not_passed_over(discs):
    assert has_split(discs, "val") and not has_split(discs, "test")
    shutil.rmtree(discs / "val" / "alpha")
    with pytest.raises(ValueError, match=r"val/fg is there without .*val/alpha: no use as val"):
        has_split(discs, "val")
