"""Training learns, resumes exactly, and never overwrites a good checkpoint with a bad one."""
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from src import recipe as recipes
from src import trainer
from src.checkpoint import load_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.recipe import Recipe
from src.trainer import train
from tests.conftest import ROOT, run, tiny_config

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


def test_a_resumed_run_gives_the_losses_of_one_never_stopped(discs, tmp_path, monkeypatch):
    train(*fresh(), discs, RECIPE, stem=tmp_path / "whole")
    original = trainer.train_epoch

    def stop_in_epoch_1(*args, title, **kwargs):
        if title.startswith("epoch 1"):
            raise KeyboardInterrupt
        return original(*args, title=title, **kwargs)

    monkeypatch.setattr(trainer, "train_epoch", stop_in_epoch_1)
    with pytest.raises(KeyboardInterrupt):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "parts")
    monkeypatch.setattr(trainer, "train_epoch", original)
    torch.manual_seed(99)
    train(*fresh(), discs, RECIPE, stem=tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for a, b in zip(load_model(tmp_path / "parts_epoch2.ckpt").state_dict().values(),
                    load_model(tmp_path / "whole_epoch2.ckpt").state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_resuming_another_run_is_refused(discs, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "a", resume=True)
    train(*fresh(), discs, Recipe(epochs=1, input_size=64), stem=tmp_path / "a")
    with pytest.raises(ValueError, match="another run: .*was"):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "a", resume=True)


def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_checkpoint(discs, tmp_path):
    train(*fresh(), discs, Recipe(epochs=1, input_size=64), stem=tmp_path / "a")
    before = (tmp_path / "a_best.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"loss is (nan|inf).*\d\.png.*a smaller --lr"):
        train(*fresh(), discs, Recipe(epochs=3, lr=1e30, input_size=64), stem=tmp_path / "a")
    assert (tmp_path / "a_best.ckpt").read_bytes() == before


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(discs, tmp_path, monkeypatch):
    model, info = fresh()
    original = trainer.modnet_losses

    def with_root_at_zero(*args, **kwargs):
        losses = original(*args, **kwargs)
        return losses._replace(matte=losses.matte + (0 * losses.matte).sqrt())

    monkeypatch.setattr(trainer, "modnet_losses", with_root_at_zero)
    with pytest.raises(ValueError, match=r"gradient is nan in the batch of \d\.png, \d\.png;"):
        train(model, info, discs, RECIPE, stem=tmp_path / "a")
    assert all(torch.isfinite(p).all() for p in model.parameters()) and not list(tmp_path.glob("a*"))


def test_learning_rate_steps_every_quarter_as_published():
    model, _ = fresh()
    recipe = Recipe(epochs=8)
    optimizer = recipes.make_optimizer(model, recipe)
    scheduler, rates = recipes.make_schedule(optimizer, recipe, steps_per_epoch=3), []
    for _ in range(8):
        for _ in range(3):
            optimizer.step()
            scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    np.testing.assert_allclose(rates, [1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])


@pytest.mark.parametrize(("change", "said"), [
    ({"epochs": 0}, "epochs is 0"), ({"lr": -1}, "lr is -1"), ({"input_size": 100}, "input-size is 100"),
    ({"batch_size": 0}, "batch-size is 0"), ({"matte_scale": float("nan")}, "matte-scale"), ({"seed": -1}, "seed is -1")])
def test_bad_numbers_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**change)


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


@pytest.mark.parametrize(("args", "said"), [
    (["--model-path", "none.ckpt"], "none.ckpt"), ([], "--model-path"), (["--backbone", "none.pth"], "none.pth")])
def test_bad_input_costs_one_line(discs, tmp_path, args, said):
    done = run("src/trainer.py", "--data-dir", discs, *args, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
