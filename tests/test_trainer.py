"""Training learns, resumes exactly, and never overwrites a good checkpoint with a bad one."""
import dataclasses
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from src import trainer
from src.checkpoint import load_model, save_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.training import loop
from src.training import step as train_step
from src.training.loop import train
from src.training.recipe import Recipe
from tests.conftest import ROOT, no_larger_files, randomise, run, tiny_config

RECIPE = Recipe(epochs=3, batch_size=2, lr=0.01, input_size=64, optimizer="adamw", schedule="onecycle")


def fresh() -> tuple[MODNet, dict]:
    torch.manual_seed(0)
    model = MODNet(tiny_config())
    return model, to_prune_info(model.config)


def read_log(stem) -> list[dict]:
    return [json.loads(line) for line in Path(f"{stem}_log.jsonl").read_text().splitlines()]


def losses(stem) -> list[float]:
    return [row["loss"] for row in read_log(stem)]


def test_loss_falls_and_every_file_is_written(discs, tmp_path):
    recipe = Recipe(epochs=8, batch_size=5, lr=0.01, input_size=64, optimizer="adamw", schedule="onecycle")
    best = train(*fresh(), discs, recipe, stem=tmp_path / "a", save_step=4)
    rows = read_log(tmp_path / "a")
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert [row["epoch"] for row in rows] == list(range(8)) and "val_mse" in rows[0]
    assert best == tmp_path / "a_best.ckpt" and load_model(best).config == tiny_config()
    names = {path.name for path in tmp_path.iterdir()}
    assert {"a_epoch3.ckpt", "a_epoch3.json", "a_epoch7.ckpt", "a_resume.pt", "a_curves.png"} <= names
    assert "a_epoch0.ckpt" not in names
    said = json.loads((tmp_path / "a_best.json").read_text())["training"]
    assert said["val_mse"] == min(row["val_mse"] for row in rows)


def test_a_resumed_run_gives_the_losses_of_one_never_stopped(discs, tmp_path, monkeypatch, capsys):
    train(*fresh(), discs, RECIPE, stem=tmp_path / "whole")
    original = loop.train_epoch

    def stop_in_epoch_1(*args, title, **kwargs):
        if title.startswith("epoch 1"):
            raise KeyboardInterrupt
        return original(*args, title=title, **kwargs)

    monkeypatch.setattr(loop, "train_epoch", stop_in_epoch_1)
    with pytest.raises(KeyboardInterrupt):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "parts")
    # reproduce.py and bench/ have no --resume: they go on by themselves.
    assert "stopped in epoch 1/2; the same command goes on there, that of src/trainer.py" in capsys.readouterr().err
    monkeypatch.setattr(loop, "train_epoch", original)
    torch.manual_seed(99)
    train(*fresh(), discs, RECIPE, stem=tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for a, b in zip(load_model(tmp_path / "parts_epoch2.ckpt").state_dict().values(),
                    load_model(tmp_path / "whole_epoch2.ckpt").state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_checkpoint(discs, tmp_path):
    train(*fresh(), discs, Recipe(epochs=1, input_size=64), stem=tmp_path / "a")
    before = (tmp_path / "a_best.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"loss is (nan|inf).*\d\.png.*a smaller learning rate"):
        train(*fresh(), discs, Recipe(epochs=3, lr=1e30, input_size=64), stem=tmp_path / "a")
    with pytest.raises(ValueError, match=r"the step is inf in the batch of .*a smaller learning rate"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, lr=3e38, schedule="step"), stem=tmp_path / "a")
    assert (tmp_path / "a_best.ckpt").read_bytes() == before


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(discs, tmp_path, monkeypatch):
    model, info = fresh()
    original = train_step.modnet_losses

    def with_root_at_zero(*args, **kwargs):
        losses = original(*args, **kwargs)
        return losses._replace(matte=losses.matte + (0 * losses.matte).sqrt())

    monkeypatch.setattr(train_step, "modnet_losses", with_root_at_zero)
    with pytest.raises(ValueError, match=r"gradient is nan in the batch of \d\.png, \d\.png;"):
        train(model, info, discs, RECIPE, stem=tmp_path / "a")
    assert all(torch.isfinite(p).all() for p in model.parameters()) and not list(tmp_path.glob("a*"))


EVERYTHING = Recipe(epochs=3, batch_size=1, accumulate=2, steps_per_epoch=2, lr=0.01, optimizer="adamw", input_size=(64, 96),
                    weight_decay=0.02, schedule="cosine", warmup_steps=2, clip_norm=1.0, freeze_bn_steps=3, ema=0.9,
                    scale=(1.0, 1.3))


def test_a_run_with_every_option_resumes_exactly(discs, tmp_path, monkeypatch):
    (tmp_path / "backgrounds").mkdir()
    shutil.copy(discs / "val/fg/0.png", tmp_path / "backgrounds")
    teacher = tmp_path / "teacher.ckpt"
    save_model(randomise(MODNet(tiny_config()), 5), teacher, to_prune_info(tiny_config()))
    recipe = dataclasses.replace(EVERYTHING, background_dir=str(tmp_path / "backgrounds"), person_scale=(0.4, 1.2),
                                 composition_prob=0.7, two_people_prob=0.5, semantic_only_dir=str(discs),
                                 teacher=str(teacher), unlabeled_dir=str(discs / "val/fg"), soc=True)
    options = {"cache_dir": tmp_path / "cache", "val_every": 2, "val_limit": 1}
    train(*fresh(), discs, recipe, stem=tmp_path / "whole", **options)
    original = loop.train_epoch

    def stop_in_epoch_2(*args, title, **kwargs):
        result = original(*args, title=title, **kwargs)
        if title.startswith("epoch 2"):
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(loop, "train_epoch", stop_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        train(*fresh(), discs, recipe, stem=tmp_path / "parts", **options)
    monkeypatch.setattr(loop, "train_epoch", original)
    train(*fresh(), discs, recipe, stem=tmp_path / "parts", resume=True, workers=1, tensorboard=True, **options)
    assert not multiprocessing.active_children(), "what loads ends with the training, not when Python does"
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(list((tmp_path / "parts_tensorboard").glob("events*"))) == 1 and len(list(tmp_path.glob("cache/*.pack"))) == 1
    ends = [load_model(tmp_path / f"{name}_epoch2.ckpt").state_dict().values() for name in ("parts", "whole")]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert set(load_model(tmp_path / "parts_best.ckpt").state_dict()) == set(fresh()[0].state_dict()), "no adapters"
    rows = read_log(tmp_path / "parts")
    assert {"distill", "features", "soc"} <= rows[-1].keys()
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1][name] for name in ("semantic", "detail", "matte", "distill",
                                                                              "features", "soc")))
    assert ["val_mse" in row for row in rows] == [False, True, True] and rows[1]["val_n"] == 1
    assert [row["step"] for row in rows] == [2, 4, 6]


def test_training_semantics_alone_leaves_the_other_branches_as_they_are(discs, tmp_path, capsys):
    model, info = fresh()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    recipe = dataclasses.replace(RECIPE, epochs=2, detail_scale=0, matte_scale=0)
    best = train(model, info, discs, recipe, stem=tmp_path / "a")
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"backbone", "lr_branch"}
    rows = read_log(tmp_path / "a")
    assert "val_mse" not in rows[0] and rows[0]["val_semantic"] > 0 and best.is_file()
    assert rows[0]["detail"] == rows[0]["matte"] == 0 and "only the encoder" in capsys.readouterr().out


def test_published_command_and_kill_and_resume(tiny_ckpt, discs, tmp_path):
    args = ["--model-path", tiny_ckpt, "--batch-size", 2, "--epoch", 60, "--data-dir", discs, "--input-size", 64]
    whole = subprocess.Popen([sys.executable, str(ROOT / "src/trainer.py"), *map(str, args)], cwd=tmp_path,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "tiny_log.jsonl"
    for _ in range(600):
        if log.is_file() and log.read_text().count("\n") >= 2:
            break
        time.sleep(0.1)
    whole.kill()
    whole.wait()
    kept = log.read_text().splitlines()
    load_model(tmp_path / "tiny_best.ckpt")
    again = subprocess.Popen([sys.executable, str(ROOT / "src/trainer.py"), *map(str, args), "--resume"], cwd=tmp_path,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if log.read_text().count("\n") > len(kept):
            break
        time.sleep(0.1)
    again.kill()
    again.wait()
    assert log.read_text().splitlines()[:len(kept)] == kept


def test_several_sets_with_weights_and_one_half_of_val(tiny_ckpt, discs, tmp_path, capsys):
    shutil.copytree(discs, tmp_path / "others")
    args = ["--model-path", str(tiny_ckpt), "--epoch", "1", "--batch-size", "4", "--input-size", "64", "--save-dir",
            str(tmp_path / "out"), "--data-dir", f"{discs}=0.6", str(tmp_path / "others"), "--val-half"]
    assert trainer.main([*args, "choose"]) == 0
    row, = read_log(tmp_path / "out/tiny")
    assert row["step"] == 2 and row["val_n"] == 4 and row["val_mse_discs"] == row["val_mse_others"] == row["val_mse"]
    assert "val_mse_others" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no pictures in the half 'report'"):
        trainer.main([*args, "report", "--name", "another"])


@pytest.mark.parametrize(("args", "said"), [
    (["--model-path", "none.ckpt"], "none.ckpt"), ([], "--model-path"), (["--backbone", "none.pth"], "none.pth")])
def test_bad_input_costs_one_line(discs, tmp_path, args, said):
    done = run("src/trainer.py", "--data-dir", discs, *args, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_disk_that_takes_no_more_leaves_the_last_good_files(discs, tmp_path):
    train(*fresh(), discs, dataclasses.replace(RECIPE, epochs=1), stem=tmp_path / "a")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("a*")}
    with no_larger_files(100_000), pytest.raises(OSError, match=r"File too large: '.*a_resume\.pt'"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, epochs=1), stem=tmp_path / "a")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("a*")} == before and not list(tmp_path.glob(".a*"))
