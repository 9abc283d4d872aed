"""Training learns, resumes exactly, and never overwrites a good checkpoint with a bad one."""
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from src import recipe as recipes
from src import train_step, trainer
from src.batches import Batches, make_loader
from src.checkpoint import load_model, save_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.recipe import Recipe
from src.train_state import start_state
from src.train_step import train_epoch
from src.trainer import train
from tests.conftest import ROOT, randomise, run, tiny_config

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
    original = train_step.modnet_losses

    def with_root_at_zero(*args, **kwargs):
        losses = original(*args, **kwargs)
        return losses._replace(matte=losses.matte + (0 * losses.matte).sqrt())

    monkeypatch.setattr(train_step, "modnet_losses", with_root_at_zero)
    with pytest.raises(ValueError, match=r"gradient is nan in the batch of \d\.png, \d\.png;"):
        train(model, info, discs, RECIPE, stem=tmp_path / "a")
    assert all(torch.isfinite(p).all() for p in model.parameters()) and not list(tmp_path.glob("a*"))


EVERYTHING = Recipe(epochs=3, batch_size=1, accumulate=2, steps_per_epoch=2, lr=0.01, input_size=64, optimizer="adamw",
                    weight_decay=0.02, schedule="cosine", warmup_steps=2, clip_norm=1.0, freeze_bn_steps=3, ema=0.9,
                    scale=(1.0, 1.3), composition_prob=0.7)


def test_a_run_with_every_option_resumes_exactly(discs, tmp_path, monkeypatch):
    (tmp_path / "backgrounds").mkdir()
    shutil.copy(discs / "val/fg/0.png", tmp_path / "backgrounds")
    teacher = tmp_path / "teacher.ckpt"
    save_model(randomise(MODNet(tiny_config()), 5), teacher, to_prune_info(tiny_config()))
    recipe = dataclasses.replace(EVERYTHING, background_dir=str(tmp_path / "backgrounds"), semantic_only_dir=str(discs),
                                 teacher=str(teacher), unlabeled_dir=str(discs / "val/fg"), soc=True)
    options = {"cache_dir": tmp_path / "cache", "val_every": 2, "val_limit": 1}
    train(*fresh(), discs, recipe, stem=tmp_path / "whole", **options)
    original = trainer.train_epoch

    def stop_in_epoch_2(*args, title, **kwargs):
        result = original(*args, title=title, **kwargs)
        if title.startswith("epoch 2"):
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(trainer, "train_epoch", stop_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        train(*fresh(), discs, recipe, stem=tmp_path / "parts", **options)
    monkeypatch.setattr(trainer, "train_epoch", original)
    train(*fresh(), discs, recipe, stem=tmp_path / "parts", resume=True, workers=2, tensorboard=True, **options)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(list((tmp_path / "parts_tensorboard").glob("events*"))) == 1 and len(list(tmp_path.glob("cache/*.pack"))) == 1
    assert distance(*(load_model(tmp_path / f"{name}_epoch2.ckpt") for name in ("parts", "whole"))) == 0
    assert set(load_model(tmp_path / "parts_best.ckpt").state_dict()) == set(fresh()[0].state_dict()), "no adapters"
    rows = read_log(tmp_path / "parts")
    assert {"distill", "features", "soc"} <= rows[-1].keys()
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1][name] for name in ("semantic", "detail", "matte", "distill",
                                                                              "features", "soc")))
    assert ["val_mse" in row for row in rows] == [False, True, True] and rows[1]["val_n"] == 1
    assert [row["step"] for row in rows] == [2, 4, 6]


def one_step(discs, **change) -> MODNet:
    """The tiny network after one step of SGD on the same 4 samples, batch norms frozen."""
    model = randomise(MODNet(tiny_config()))
    recipe = dataclasses.replace(Recipe(epochs=1, batch_size=4, steps_per_epoch=1, input_size=64), **change)
    dataset = trainer.make_dataset(discs, recipe)
    batches = Batches(len(dataset), recipe.batch_size, seed=0, accumulate=recipe.accumulate, steps=1)
    state = start_state(model, recipe, 1)

    def freeze_all(model, recipe, step):
        model.eval()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_step, "set_modes", freeze_all)
        train_epoch(state, make_loader(dataset, batches), batches, recipe, title="epoch")
    return model


def distance(a: MODNet, b: MODNet) -> float:
    return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_accumulated_batches_equal_one_big_batch(discs):
    whole, parts = one_step(discs), one_step(discs, batch_size=1, accumulate=4)
    assert distance(whole, randomise(MODNet(tiny_config()))) > 1e-3
    assert distance(whole, parts) < 1e-5


def test_gradients_are_cut_to_the_length_asked_for(discs):
    start, cut = randomise(MODNet(tiny_config())), one_step(discs, clip_norm=1e-3)
    moved = torch.cat([(p - q).flatten() for p, q in zip(cut.parameters(), start.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3 * 0.01, rel=0.02)


def test_frozen_batch_norms_keep_their_statistics_and_only_for_the_steps_asked_for(discs):
    def stats_after(steps):
        model, info = fresh()
        recipe = Recipe(epochs=1, batch_size=2, steps_per_epoch=2, input_size=64, freeze_bn_steps=steps)
        train(model, info, discs, recipe, stem=discs.parent / "bn")
        return (model.backbone.model.features[0][1].num_batches_tracked.item(),
                model.f_branch.conv_lr4x.layers[1].bnorm.num_batches_tracked.item())
    assert [stats_after(steps) for steps in (0, 1, 2, -1)] == [(2, 2), (1, 2), (0, 2), (0, 2)]


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


def test_half_precision_floats_need_a_gpu(discs, tmp_path):
    with pytest.raises(ValueError, match="fp16 needs a CUDA device"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, precision="fp16"), stem=tmp_path / "a")


def test_cosine_and_warm_up_by_hand():
    recipe = Recipe(epochs=2, schedule="cosine", warmup_steps=4)
    rates = [recipes.rate_factor(step, recipe, 6) for step in range(13)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(rates[8:], [0.5, 0.5 - 0.5 * np.sin(np.pi / 8), 0.5 - 0.5 * np.sin(np.pi / 4),
                                           0.5 - 0.5 * np.sin(3 * np.pi / 8), 0], atol=1e-12)


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
    ({"ema": 1.0}, "ema is 1.0"), ({"scale": (0.5, 1)}, "scale is 0.5 1"), ({"clip_norm": 0}, "clip-norm is 0"),
    ({"composition_prob": 1.5}, "composition-prob is 1.5"), ({"freeze_bn_steps": -2}, "freeze-bn-steps is -2"),
    ({"schedule": "onecycle", "warmup_steps": 5}, "warmup-steps"), ({"weight_decay": -1}, "weight-decay is -1"),
    ({"unlabeled_dir": "x"}, "give a teacher"), ({"soc": True}, "soc needs pictures"), ({"mode": "x"}, "mode is x"),
    ({"soc": True, "unlabeled_dir": "x", "detail_scale": 0, "matte_scale": 0}, "soc needs detail and matte"),
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


def test_a_full_disk_leaves_the_last_good_files(discs, tmp_path, monkeypatch):
    train(*fresh(), discs, dataclasses.replace(RECIPE, epochs=1), stem=tmp_path / "a")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("a*")}

    def full(*args, **kwargs):
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="cannot write .*a_epoch0.ckpt: .*write failed"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, epochs=1), stem=tmp_path / "a")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("a*")} == before and not list(tmp_path.glob(".a*"))


def test_a_teacher_that_is_no_modnet_or_of_other_widths_than_its_json_is_refused(discs, tmp_path):
    (tmp_path / "no.ckpt").write_text("no")
    with pytest.raises(ValueError, match="teacher does not fit: .*no.ckpt is not a checkpoint"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, teacher=str(tmp_path / "no.ckpt")), stem=tmp_path / "a")
    model, info = fresh()
    save_model(model, tmp_path / "odd.ckpt", info)
    (tmp_path / "odd.json").unlink()
    with pytest.raises(ValueError, match="teacher does not fit: .*odd.ckpt is not the dense MODNet"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, teacher=str(tmp_path / "odd.ckpt")), stem=tmp_path / "a")


def test_a_damaged_resume_file_is_named(discs, tmp_path):
    (tmp_path / "a_resume.pt").write_bytes(b"half")
    with pytest.raises(ValueError, match="a_resume.pt is not a checkpoint"):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "a", resume=True)
