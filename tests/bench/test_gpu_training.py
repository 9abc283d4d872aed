"""bench/gpu_pack.py, gpu_pictures.py and gpu_training.py: the pack, its batches, and a training of two steps on the CPU."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import features

from src.checkpoint import load_model
from src.data.sources import half_of
from tests.conftest import ROOT, status_of

sys.path.insert(0, str(ROOT / "bench"))

import gpu_pack
import gpu_pictures
import gpu_training

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
GREEN, RED = (30, 220, 30), (30, 30, 220)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, the second of rough masks, of a green disc before red, and 3 red backgrounds."""
    folder = tmp_path_factory.mktemp("sets")
    for name, split, count in (("people", "train", 4), ("people_small", "train", 2), ("people", "val", 4)):
        for index in range(count):
            y, x = np.mgrid[:160, :128]
            inside = np.clip(40 + 2 * index - np.hypot(y - 80, x - 64), 0, 1)[..., None]
            picture = inside * GREEN + (1 - inside) * RED
            for kind, values in (("fg", picture), ("alpha", 255 * inside)):
                path = folder / "sets" / name / split / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), values.astype(np.uint8))
    (folder / "rooms").mkdir()
    for name in ("coco_0", "1", "2"):
        cv2.imwrite(str(folder / "rooms" / f"{name}.png"), np.full((96, 128, 3), RED, np.uint8))
    return folder


@pytest.fixture(scope="module")
def pack(sets: Path) -> Path:
    assert status_of(gpu_pack.main, "--data-dir", sets / "sets", "--background-dir", sets / "rooms", "--output-dir",
                     sets / "pack", "--quality", 90, 90, "--leave-out", "people/train/3") == 0
    return sets / "pack"


@pytest.fixture
def pictures(pack: Path) -> gpu_pictures.Pictures:
    """The pack, without changes of colours at the end, so that it can be told where they come from."""
    found = gpu_pictures.Pictures(gpu_pictures.read_pack(pack), torch.device("cpu"), seed=1)
    found.damage.colours = lambda x, strength=1.0: x
    found.damage.degrade = lambda x: x
    return found


def test_the_pack_has_train_the_half_choose_and_backgrounds(pack):
    rows = [(entry.role, entry.set, entry.name) for entry in gpu_pictures.read_pack(pack)]
    chosen = [("val", "people", str(index)) for index in range(4) if half_of(str(index)) == "choose"]
    assert 0 < len(chosen) < 4
    assert rows == [*(("train", "people", str(index)) for index in range(3)), *chosen,
                    ("train", "people_small", "0"), ("train", "people_small", "1"),
                    ("background", "rooms", "1"), ("background", "rooms", "2"), ("background", "rooms", "coco_0")]
    pixels = gpu_pictures.read_pack(pack)[0].pixels
    assert pixels.shape == (160, 128, 4)
    assert np.abs(pixels[80, 64].astype(int) - (*GREEN, 255)).max() < 12 and pixels[5, 5, 3] < 12


@pytest.mark.parametrize("prob", [0.0, 0.5, 1.0])
def test_the_matte_of_a_batch_is_where_the_person_is(pictures, prob):
    batch = pictures.batch(8, (96, 64), prob)
    assert batch.image.shape == (8, 3, 96, 64) and batch.alpha.shape == batch.trimap.shape == (8, 1, 96, 64)
    assert batch.semantic_only.shape == (8,) and not batch.semantic_only[round(8 * (1 - prob)):].any()
    assert batch.image.abs().max() <= 1 and batch.alpha.min() >= 0 and batch.alpha.max() <= 1
    red, green, _ = batch.image.unbind(1)
    alpha = batch.alpha[:, 0]
    assert (alpha == 1).float().mean() > 0.02 and (alpha == 0).float().mean() > 0.02
    # A level of AVIF more or less; within a pixel of the edge the chroma of 4:2:0 is mixed.
    assert ((green > red) == (alpha > 0.5))[(alpha == 1) | (alpha == 0)].float().mean() > 0.99
    soft = (alpha > 0.02) & (alpha < 0.98)
    assert (batch.trimap[:, 0][soft] == 0.5).all() and set(batch.trimap.unique().tolist()) <= {0.0, 0.5, 1.0}
    sure = batch.trimap != 0.5
    assert (batch.trimap - batch.alpha)[sure].abs().max() <= 0.02


def test_the_whole_recipe_of_colours_stays_in_range_and_follows_from_the_seed(pack):
    one, two = (gpu_pictures.Pictures(gpu_pictures.read_pack(pack), torch.device("cpu"), seed=3).batch(6, (64, 96))
                for _ in range(2))
    assert one.image.abs().max() <= 1 and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_each_set_is_drawn_by_its_weight():
    shares = gpu_pictures.Mixture(weights={"a": 2.0}, rare={"webca_": 0.1}).shares(["a", "a", "b"], ["x", "webca_y", "z"])
    assert shares == pytest.approx([1.0, 0.1, 1.0])


def test_foreground_colours_of_known_mixtures():
    alpha = ((torch.arange(64) - 28) / 8).clamp(0, 1).expand(1, 1, 64, 64)
    fg, bg = torch.tensor([0.2, 0.8, 0.3]), torch.tensor([0.9, 0.1, 0.1])
    image = alpha * fg[:, None, None] + (1 - alpha) * bg[:, None, None]
    found = gpu_pictures.foreground_colours(image, alpha)
    before, after = ((x - fg[:, None, None]).abs()[..., 30:36].mean() for x in (image, found))
    assert after < 0.25 * before


def test_two_networks_are_trained_one_by_the_other(pack, tiny_ckpt, tmp_path, capsys):
    out = tmp_path / "out"
    args = ["--pack", pack, "--network", f"small={tiny_ckpt}:1e-2:1e-3:0.5", "--network", f"large={tiny_ckpt}:1e-2:0:0",
            "--teacher", "large", "--max-steps", 2, "--batch-size", 2, "--sizes", "64x64", "--output-dir", out,
            "--device", "cpu"]
    assert status_of(gpu_training.main, *args) == 0
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    row = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 2 and row["images"] == 8 and set(row["val"]) == {"small", "large"}
    assert "val: " in capsys.readouterr().out
    start, small, large = (load_model(path).state_dict() for path in (tiny_ckpt, out / "small.ckpt", out / "large.ckpt"))
    moved = {name for name in start if name.endswith("weight") and not torch.equal(small[name], start[name].half().float())}
    assert any(name.startswith("backbone.") for name in moved) and any(not name.startswith("backbone.") for name in moved)
    encoder = [name for name, _ in load_model(tiny_ckpt).named_parameters() if name.startswith("backbone.")]
    assert all(torch.equal(large[name], start[name].half().float()) for name in encoder)
    info = json.loads((out / "small.json").read_text())
    assert info["training"]["val"] == row["val"]["small"] and info["origin"]["settings"]["distill"] == 0.5
    assert status_of(gpu_training.main, *args) == 2 and "is there already" in capsys.readouterr().err


def test_mistakes_get_one_line(sets, pack, tiny_ckpt, tmp_path, capsys):
    network = f"a={tiny_ckpt}:1e-3:1e-3:"
    for main, args, said in (
            (gpu_training.main, ["--network", "a=x:1"], "expected NAME=CKPT:LR:BACKBONE_LR:DISTILL"),
            (gpu_training.main, ["--network", network + "1"], "there is no --teacher"),
            (gpu_training.main, ["--network", network + "0", "--teacher", "b"], "--teacher is b, allowed are a"),
            (gpu_training.main, ["--network", network + "0", "--sizes", "65x64"], "--sizes has 65x64"),
            (gpu_training.main, ["--network", network + "0", "--pack", tmp_path], "pack.json is missing"),
            (gpu_pack.main, ["--data-dir", sets / "rooms"], "no data sets in"),
            (gpu_pack.main, ["--data-dir", sets / "sets", "--leave-out", "people/train/9"], "has people/train/9")):
        given = ["--output-dir", tmp_path / "out", *(["--pack", pack] if main is gpu_training.main else [])]
        assert status_of(main, *given, *args) == 2
        assert said in capsys.readouterr().err and not list(tmp_path.glob("out/*"))
