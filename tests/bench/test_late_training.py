"""bench/late_training.py: what is kept, what is trained and what is not, and going on after an interruption."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.checkpoint import load_model, save_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from tests.conftest import ROOT, no_larger_files, randomise, status_of, tiny_config

sys.path.insert(0, str(ROOT / "bench"))

import late_training

OPTIONS = ["--input-size", 64, "--batch-size", 4, "--scale", 1, 1]
GREEN, RED = (30, 220, 30), (30, 30, 220)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, `p` and `d`, and a data set of green discs before red."""
    folder = tmp_path_factory.mktemp("late")
    for seed, name in enumerate("pd"):
        model = randomise(MODNet(tiny_config()), seed)
        save_model(model, folder / f"{name}.ckpt", to_prune_info(model.config))
    for index in range(6):
        y, x = np.mgrid[:96, :96]
        inside = np.clip(20 + 3 * index - np.hypot(y - 48, x - 48), 0, 1)[..., None]
        for kind, values in (("fg", inside * GREEN + (1 - inside) * RED), ("alpha", 255 * inside)):
            path = folder / "set" / "train" / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), values.astype(np.uint8))
    assert status_of(late_training.main, "keep", "--ckpt-path", folder / "p.ckpt", "--teacher", folder / "d.ckpt",
                     "--data-dir", folder / "set", "--pictures", 10, "--output-dir", folder / "kept", *OPTIONS) == 0
    return folder


def changed(before: Path, after: Path) -> set[str]:
    """The parts of a network whose weights differ between two checkpoints."""
    old, new = load_model(before).state_dict(), load_model(after).state_dict()
    names = {key for key in old if old[key].is_floating_point() and not torch.equal(old[key], new[key])}
    return {".".join(name.split(".")[:4 if name.startswith("backbone") else 1]) for name in names}


def test_what_is_kept_is_what_the_networks_make_of_a_picture(folder: Path) -> None:
    kept, = late_training.open_kept([folder / "kept"], load_model(folder / "p.ckpt"))
    torch.manual_seed(0)
    assert [part.shape for part in kept] == [(10, 4, 4, 8), (10, 16, 16), (10, 8, 8, 8), (10, 4, 4)]
    model, image = load_model(folder / "p.ckpt"), torch.rand(2, 3, 64, 64) * 2 - 1
    alpha = torch.rand(2, 1, 64, 64)
    part = late_training.looker(model, load_model(folder / "d.ckpt"), image.shape)(image, alpha)
    late = late_training.Late(model, 8).eval()
    semantic, *_ = late(torch.from_numpy(part.features).float().permute(0, 3, 1, 2))
    assert (semantic - model(image)[0]).abs().max() < 0.03  # half precision
    taught = load_model(folder / "d.ckpt")(image)[0][:, 0].detach().numpy()
    assert np.abs(part.semantic - taught).mean() < 0.03 < np.abs(taught - taught.mean()).mean()  # bf16
    assert np.abs(part.alpha / 255 - F.avg_pool2d(alpha, 4)[:, 0].numpy()).max() < 0.003


def test_room_for_all_pictures_is_taken_before_the_first_or_not_at_all(tmp_path: Path) -> None:
    part = late_training.Kept(*(np.zeros((2, 16, 16), np.float16) for _ in late_training.Kept._fields))
    paths = [tmp_path / f"{name}.npy" for name in late_training.Kept._fields]
    arrays = late_training.new_arrays(paths, part, 1000)
    assert all(path.stat().st_blocks * 512 >= 1000 * 16 * 16 * 2 for path in paths)
    assert [array.shape for array in arrays] == [(1000, 16, 16)] * 4
    with no_larger_files(10_000), pytest.raises(OSError, match=rf"File too large: '{paths[0]}'"):
        late_training.new_arrays(paths, part, 1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["late", "keep"])
def test_kept_files_that_were_cut_are_named_and_not_filled_with_zeros(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, part: str) -> None:
    cut, index = shutil.copytree(folder / "kept", tmp_path / "kept") / "features.npy", tmp_path / "kept/kept.json"
    index.write_text(index.read_text().replace('"pictures": 10', '"pictures": 4'))
    os.truncate(cut, 1000)
    given = {"late": ["--kept", tmp_path / "kept", "--output-path", tmp_path / "x.ckpt"],
             "keep": ["--teacher", folder / "d.ckpt", "--data-dir", folder / "set", "--pictures", 10, "--output-dir",
                      tmp_path / "kept", *OPTIONS]}[part]
    assert status_of(late_training.main, part, "--ckpt-path", folder / "p.ckpt", *given) == 2
    assert f"{cut} is not whole" in capsys.readouterr().err
    assert cut.stat().st_size == 1000 and not (tmp_path / "x.ckpt").exists()


def test_early_layers_in_int8_make_nearly_the_same(folder: Path, tmp_path: Path) -> None:
    assert status_of(late_training.main, "keep", "--ckpt-path", folder / "p.ckpt", "--teacher", folder / "d.ckpt",
                     "--data-dir", folder / "set", "--pictures", 10, "--output-dir", tmp_path / "int8", *OPTIONS,
                     "--calib-dir", folder / "set/train/fg") == 0
    exact, rounded = late_training.open_kept([folder / "kept", tmp_path / "int8"], load_model(folder / "p.ckpt"))
    differs = np.abs(exact.features.astype(float) - rounded.features).mean() / np.abs(exact.features.astype(float)).mean()
    assert 1e-4 < differs < 0.5 and np.array_equal(exact.alpha, rounded.alpha)
    assert np.array_equal(exact.taught, rounded.taught)
    given = ["--ckpt-path", folder / "p.ckpt", "--kept", folder / "kept", tmp_path / "int8", "--steps", 1, "--batch-size", 4]
    for name, often in (("a", 0), ("b", 1)):
        assert status_of(late_training.main, "late", *given, "--int8-every", often, "--lr", 0.1, "--warmup-steps", 0,
                         "--output-path", tmp_path / f"{name}.ckpt") == 0
    assert {"lr_branch"} < changed(tmp_path / "a.ckpt", tmp_path / "b.ckpt")


def test_each_part_trains_its_own_layers_and_no_other(folder: Path, tmp_path: Path) -> None:
    late, done = tmp_path / "late.ckpt", tmp_path / "done.ckpt"
    assert status_of(late_training.main, "late", "--ckpt-path", folder / "p.ckpt", "--kept", folder / "kept", "--steps", 3,
                     "--batch-size", 4, "--output-path", late) == 0
    assert changed(folder / "p.ckpt", late) == {"lr_branch", *(f"backbone.model.features.{n}" for n in range(11, 19))}
    assert status_of(late_training.main, "branches", "--ckpt-path", late, "--data-dir", folder / "set", "--steps", 2,
                     "--output-path", done, *OPTIONS, "--input-size", 64, 96) == 0
    assert changed(late, done) == {"hr_branch", "f_branch"}
    assert not list(tmp_path.glob("*_resume.pt"))


def test_a_network_that_is_its_own_teacher_keeps_its_features_and_learns_by_mattes_alone(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_training, "SHOW_EVERY", 1)
    own, other = tmp_path / "own", folder / "kept"
    assert status_of(late_training.main, "keep", "--ckpt-path", folder / "p.ckpt", "--teacher", folder / "p.ckpt",
                     "--data-dir", folder / "set", "--pictures", 8, "--output-dir", own, *OPTIONS) == 0
    model, first = load_model(folder / "p.ckpt"), []
    assert late_training.is_own_teacher(own, model) and not late_training.is_own_teacher(other, model)
    for kept in (own, other):
        assert status_of(late_training.main, "late", "--ckpt-path", folder / "p.ckpt", "--kept", kept, "--steps", 2, "--lr",
                         1e-5, "--output-path", tmp_path / f"{kept.name}.ckpt") == 0
        first.append([float(value) for value in capsys.readouterr().out.splitlines()[0].split()[3:]])
    (semantic, taught, *_), (_, taught_by_other, *_) = first
    assert taught == 0 < taught_by_other and semantic > 0
    (kept,), late = late_training.open_kept([own], model), late_training.Late(model, 8).eval()
    scale = tuple(values.view(1, -1, 1, 1) for values in (torch.arange(8) / 8, torch.linspace(0.5, 2, 8)))
    late.hold(scale)
    like = late(torch.from_numpy(kept.features.astype(np.float32)).permute(0, 3, 1, 2))[2]
    expected = (torch.from_numpy(kept.taught.astype(np.float32)).permute(0, 3, 1, 2) - scale[0]) / scale[1]
    assert (like - expected).abs().mean() < 0.05 < (like - expected.roll(1, 1)).abs().mean()  # half precision and bf16
    assert not any(value.requires_grad for value in late.adapter.parameters())


def test_kept_sizes_go_together_one_a_step_with_as_many_pixels_a_side(folder: Path, tmp_path: Path) -> None:
    assert status_of(late_training.main, "keep", "--ckpt-path", folder / "p.ckpt", "--teacher", folder / "d.ckpt",
                     "--data-dir", folder / "set", "--pictures", 5, "--output-dir", folder / "large", *OPTIONS,
                     "--input-size", 128) == 0
    folders = [folder / "kept", folder / "large"]
    kept = late_training.open_kept(folders, load_model(folder / "p.ckpt"))
    batches = late_training.drawn(kept, 8, 0, 0)
    shapes = [next(batches)[0].shape for _ in range(60)]
    assert set(shapes) == {(8, 8, 4, 4), (4, 8, 8, 8)}
    assert 10 <= shapes.count((4, 8, 8, 8)) <= 30  # a third of the pictures
    given = ["--ckpt-path", folder / "p.ckpt", "--kept", *folders, "--steps", 4, "--batch-size", 4]
    assert status_of(late_training.main, "late", *given, "--output-path", tmp_path / "late.ckpt") == 0


def test_an_interrupted_training_ends_as_one_in_one_go_and_learns(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_training, "SAVE_EVERY", 4)
    monkeypatch.setattr(late_training, "SHOW_EVERY", 5)
    monkeypatch.setattr(late_training, "WARMING_STEPS", 2)

    def train(path: Path, fails: int | None) -> None:
        calls = iter(range(100))

        def losses(*args: object) -> torch.Tensor:
            if next(calls) == fails:
                raise KeyboardInterrupt
            return late_losses(*args)

        late_losses = original
        monkeypatch.setattr(late_training, "late_losses", losses)
        status = status_of(late_training.main, "late", "--ckpt-path", folder / "p.ckpt", "--kept", folder / "kept",
                           "--steps", 15, "--warmup-steps", 2, "--lr", 0.01, "--output-path", path)
        assert status == (0 if fails is None else 130)

    original = late_training.late_losses
    train(tmp_path / "a.ckpt", None)
    lines = [line.split()[3:] for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert sum(map(float, lines[-1])) < 0.8 * sum(map(float, lines[0]))
    train(tmp_path / "b.ckpt", 9)
    assert (tmp_path / "b_resume.pt").is_file()
    train(tmp_path / "b.ckpt", None)
    one, two = (load_model(tmp_path / f"{name}.ckpt").state_dict() for name in "ab")
    assert max(float((one[key].float() - two[key].float()).abs().max()) for key in one) < 1e-5


def test_kept_pictures_are_not_made_again_and_of_another_network_refused(folder: Path, tmp_path: Path,
                                                                         capsys: pytest.CaptureFixture) -> None:
    again = ["keep", "--teacher", folder / "d.ckpt", "--data-dir", folder / "set", "--pictures", 10, "--output-dir",
             folder / "kept", *OPTIONS]
    before = np.load(folder / "kept" / "features.npy").copy()
    assert status_of(late_training.main, *again, "--ckpt-path", folder / "p.ckpt") == 0
    assert np.array_equal(np.load(folder / "kept" / "features.npy"), before)
    assert status_of(late_training.main, *again, "--ckpt-path", folder / "d.ckpt") == 2
    assert "kept.json is of other networks, data or options, or of another" in capsys.readouterr().err
    for other in (("--pictures", 12), ("--seed", 3)):
        assert status_of(late_training.main, *again, "--ckpt-path", folder / "p.ckpt", *other) == 2
        assert "of another number of pictures (10): give another --output-dir" in capsys.readouterr().err
    assert status_of(late_training.main, "late", "--ckpt-path", folder / "d.ckpt", "--kept", folder / "kept",
                     "--output-path", tmp_path / "x.ckpt") == 2
    assert "was kept of a network with other early layers" in capsys.readouterr().err
    for given, said in ((["late"], "late needs --kept"), (["branches"], "branches needs --data-dir"),
                        (["late", "--kept", "none"], "no JSON at none"),
                        (["late", "--kept", "none", "--calib-dir", "none"], "--calib-dir goes with keep"),
                        (["late", "--kept", "none", "--output-path", "x.json"], "x.json, it must end in .ckpt"),
                        (["late", "--kept", "none", "--data-dir", "none"], "--data-dir goes with keep and branches"),
                        (["branches", "--data-dir", "none", "--kept", "none"], "--kept goes with late"),
                        (["keep", "--teacher", "none", "--data-dir", "none"], "--output-path goes with late and branches")):
        assert status_of(late_training.main, given[0], "--output-path", tmp_path / "x.ckpt", *given[1:], "--ckpt-path",
                         folder / "p.ckpt") == 2
        assert said in capsys.readouterr().err
    assert status_of(late_training.main, "keep", "--ckpt-path", folder / "p.ckpt", "--teacher", folder / "d.ckpt",
                     "--data-dir", folder / "set", "--calib-dir", "none", "--output-dir", tmp_path / "kept") == 2
    assert "no folder at none" in capsys.readouterr().err and not list(tmp_path.iterdir())
