"""What training goes on from, and what it refuses."""
import dataclasses
import json
import shutil

import pytest
import torch

from src.checkpoint import load_state, save_model, save_state
from src.data.sources import Source
from src.training import loop, state
from src.training.loop import train
from src.training.recipe import Recipe
from src.training.state import restore, save_train_state, start_state
from tests.test_trainer import RECIPE, fresh


def test_resuming_another_run_is_refused(discs, tmp_path):
    train(*fresh(), discs, Recipe(epochs=1, input_size=64), stem=tmp_path / "a")
    with pytest.raises(ValueError, match="another run: .*was"):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "a", resume=True)


def test_half_precision_floats_need_a_gpu(discs, tmp_path):
    with pytest.raises(ValueError, match="fp16 needs a CUDA device"):
        train(*fresh(), discs, dataclasses.replace(RECIPE, precision="fp16"), stem=tmp_path / "a")


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


def test_a_state_older_than_an_option_goes_on_while_the_option_has_its_default(tmp_path):
    model, _ = fresh()
    state, path = start_state(model, RECIPE, 4), tmp_path / "a_resume.pt"
    state.step = 3
    save_train_state(path, state, RECIPE, [{"epoch": 0}])
    saved = load_state(path)
    del saved["recipe"]["matte_scale"]
    save_state(saved, path)
    again = start_state(fresh()[0], RECIPE, 4)
    assert restore(path, again, RECIPE) == [{"epoch": 0}] and again.step == 3
    with pytest.raises(ValueError, match="another run: matte-scale was 1.0, now it is 2.0"):
        restore(path, again, dataclasses.replace(RECIPE, matte_scale=2.0))


@pytest.mark.parametrize(("options", "said"), [({"val_half": "choose"}, "val-half is choose"),
                                               ({"val_limit": 2}, "val-limit is 2")])
def test_what_says_how_to_judge_is_refused_where_nothing_judges(discs, tmp_path, options, said):
    shutil.rmtree(discs / "val")
    with pytest.raises(ValueError, match=f"{said}, but no data set has a val of its own: give --val-dir"):
        train(*fresh(), discs, RECIPE, stem=tmp_path / "a", **options)
    assert not list(tmp_path.glob("a*"))


RECIPE_OF_1 = Recipe(epochs=1, batch_size=5, input_size=64)


def test_a_run_on_other_pictures_or_weights_is_not_gone_on_with(discs, tmp_path):
    train(*fresh(), [Source(discs)], RECIPE_OF_1, stem=tmp_path / "a", val_limit=1)
    shutil.copytree(discs, tmp_path / "moved")
    train(*fresh(), tmp_path / "moved", RECIPE_OF_1, stem=tmp_path / "a", val_limit=1, resume=True)
    said = r"another run: it was trained on 5 pictures \(.*\), now there are 5 x 2 pictures \("
    with pytest.raises(ValueError, match=said):
        train(*fresh(), [Source(discs, 2.0)], RECIPE_OF_1, stem=tmp_path / "a", resume=True)
    (tmp_path / "moved/train/fg/0.png").rename(tmp_path / "moved/train/fg/9.png")
    (tmp_path / "moved/train/alpha/0.png").rename(tmp_path / "moved/train/alpha/9.png")
    with pytest.raises(ValueError, match="it was trained on 5 pictures"):
        train(*fresh(), tmp_path / "moved", RECIPE_OF_1, stem=tmp_path / "a", resume=True)
    said = json.loads((tmp_path / "a_best.json").read_text())["training"]
    assert said["data_dir"] == [f"{discs}=1"]


def test_a_run_is_gone_on_with_by_the_pictures_that_choose_and_as_many_processes(discs, tmp_path, monkeypatch):
    train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a", val_limit=1)
    said = r"a_resume.pt is of another run: it was judged by 1 pictures \(.*\) at 512 px, now by 2 pictures \("
    with pytest.raises(ValueError, match=said):
        train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a", resume=True)
    with pytest.raises(ValueError, match="at 512 px, now by 1 pictures .* at 96 px"):
        train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a", val_limit=1, val_ref_size=96, resume=True)
    monkeypatch.setattr(state, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="it was trained by 1 processes, now there are 2"):
        train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a", val_limit=1, resume=True)


def test_a_run_that_was_killed_in_its_first_epoch_is_gone_on_with_and_not_an_older_one(discs, tmp_path, monkeypatch):
    train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a")
    older = (tmp_path / "a_resume.pt").read_bytes()

    def killed(*_, **__):
        raise KeyboardInterrupt

    recipe = dataclasses.replace(RECIPE_OF_1, lr=0.003)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train(*fresh(), discs, recipe, stem=tmp_path / "a")
    assert (tmp_path / "a_resume.pt").read_bytes() != older
    with pytest.raises(ValueError, match="lr was 0.003"):
        train(*fresh(), discs, RECIPE_OF_1, stem=tmp_path / "a", resume=True)
    train(*fresh(), discs, recipe, stem=tmp_path / "a", resume=True)
    assert json.loads((tmp_path / "a_best.json").read_text())["training"]["lr"] == 0.003


def test_average_and_adapters_are_part_of_the_state(tmp_path):
    model, info = fresh()
    save_model(model, tmp_path / "t.ckpt", info)
    recipe = dataclasses.replace(RECIPE, ema=0.9, teacher=str(tmp_path / "t.ckpt"))
    first, second = start_state(fresh()[0], recipe, 4), start_state(fresh()[0], recipe, 4)
    weights = [state.student.adapters["hr2x"].weight for state in (first, second)]
    torch.nn.init.ones_(weights[0])
    assert not torch.equal(*weights)
    first.ema.updates = 7
    save_train_state(tmp_path / "a_resume.pt", first, recipe, [])
    restore(tmp_path / "a_resume.pt", second, recipe)
    assert torch.equal(*weights) and second.ema.updates == 7 and second.result is second.ema.model


@pytest.mark.parametrize(("change", "said"), [
    (lambda saved: saved["optimizer"]["param_groups"][1].update(maximize=True),
     r"optimizer.param_groups\[1\].maximize is True, expected False"),
    (lambda saved: saved["optimizer"]["param_groups"][0].update(eps=0.5), "eps is 0.5, expected 1e-08"),
    (lambda saved: saved.update(step=2), "log ends at step 3, the state is of step 2"),
    (lambda saved: saved.update(log=[]), "log ends at step 0, the state is of step 3")])
def test_what_a_recipe_fixes_is_not_taken_from_a_changed_state(tmp_path, change, said):
    state, path = start_state(fresh()[0], RECIPE, 4), tmp_path / "a_resume.pt"
    state.step = 3
    save_train_state(path, state, RECIPE, [{"epoch": 0, "step": 3}])
    saved = load_state(path)
    change(saved)
    save_state(saved, path)
    with pytest.raises(ValueError, match=f"a_resume.pt is damaged or of another run: .*{said}"):
        restore(path, start_state(fresh()[0], RECIPE, 4), RECIPE)
