"""bench/stages.py: stages one after another, over interruptions."""
import json
import sys

import pytest
import torch

from src.checkpoint import load_model
from src.script import run_script
from src.training import loop
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

import stages


@pytest.fixture
def listed(tiny_ckpt, discs, tmp_path):
    """A list of two trainings, the second from the first, and their average."""
    path = tmp_path / "list.toml"
    path.write_text(f"""
save-dir = "{tmp_path}/out"
[common]
data-dir = ["{discs}"]
input-size = 64
steps-per-epoch = 1
val-limit = 1
soc = false
[[stage]]
name = "one"
model-path = "{tiny_ckpt}"
detail-scale = 0
matte-scale = 0
epoch = 2
[[stage]]
name = "two"
model-path = "one"
epoch = 2
lr = 0.001
[[stage]]
name = "mean"
average = ["one", "two"]
""")
    return path


def test_stages_go_on_where_they_were_stopped_and_are_not_done_again(listed, tmp_path, monkeypatch, capsys):
    original, epochs = loop.train_epoch, []

    def stop_in_epoch_1_of_two(*args, title, **kwargs):
        epochs.append(title)
        if len(epochs) == 4:
            raise KeyboardInterrupt
        return original(*args, title=title, **kwargs)

    monkeypatch.setattr(loop, "train_epoch", stop_in_epoch_1_of_two)
    assert run_script(lambda: stages.main([str(listed)])) == 130
    assert stages.main([str(listed), "--status"]) == 0
    assert "one: done, 2 epochs" in (said := capsys.readouterr().out) and "two: begun, 1 epochs" in said
    assert "mean: to do, 0 epochs" in said
    assert stages.main([str(listed)]) == 0
    assert epochs == [f"epoch {n}/1" for n in (0, 1, 0, 1, 1)], "the last was interrupted, and only it was run again"
    record = json.loads((tmp_path / "out/stages.json").read_text())
    assert [len(record[name]["begun"]) for name in ("one", "two", "mean")] == [1, 2, 1]
    assert json.loads((tmp_path / "out/two_best.json").read_text())["training"]["lr"] >= 0
    one, two, mean = (load_model(record[name]["checkpoint"]).state_dict() for name in ("one", "two", "mean"))
    key = "backbone.model.features.0.0.weight"
    torch.testing.assert_close(mean[key], (one[key] + two[key]) / 2)
    assert stages.main([str(listed)]) == 0 and len(epochs) == 5
    assert capsys.readouterr().out.count("already done") == 4


def test_the_example_has_good_options():
    folder, listed = stages.read_list(ROOT / "bench/stages.toml")
    assert [stage.name for stage in listed] == ["semantics", "whole", "full", "mean"] and listed[1].options["epoch"] == 30


def said_of(listed, text, capsys) -> str:
    listed.write_text(text)
    assert run_script(lambda: stages.main([str(listed)])) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("epoch = 2", "epochs = 2", "stage 'one': unrecognized arguments: --epochs 2"),
    ("epoch = 2", "epoch = -2", "stage 'one': --epoch is -2, allowed are"),
    ("epoch = 2", 'epoch = "x"', "stage 'one': argument --epoch: invalid int value: 'x'"),
    ('name = "two"', 'name = "one"', "has two stages 'one'"), ('name = "two"', "", "stage 2 has the name None"),
    ('name = "two"', 'name = "../x"', "allowed are letters"), ('average = ["one", "two"]', 'average = ["three"]',
     "stage 'mean': average is a list of earlier stages (one, two)"), ("lr = 0.001", "resume = true", "has resume"),
    ("save-dir", "safe-dir", "has no save-dir"), ("[common]", "[comon]", "has 'comon'"),
    ("[common]", "[common", "is not TOML")])
def test_a_mistake_in_the_list_is_one_line_before_anything_starts(listed, tmp_path, capsys, old, new, said):
    assert said in said_of(listed, listed.read_text().replace(old, new, 1), capsys)
    assert not (tmp_path / "out").exists()


def test_a_stage_with_other_options_or_foreign_files_is_not_overwritten(listed, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/two_b_best.ckpt").write_text("of another stage")
    (tmp_path / "out/two_best.ckpt").write_text("precious")
    text = listed.read_text()
    assert "stage 'two' would overwrite" in said_of(listed, text, capsys)
    (tmp_path / "out/two_best.ckpt").unlink()
    options = {key: value for key, value in stages.read_list(listed)[1][0].options.items() if key != "epoch"}
    (tmp_path / "out/stages.json").write_text(json.dumps({"one": {"options": {**options, "epoch": 3}, "average": [],
                                                                  "begun": ["then"]}}))
    assert "stage 'one' was begun with {'epoch': 3}, now it has {'epoch': 2}" in said_of(listed, text, capsys)
    (tmp_path / "out/stages.json").write_text("[1]")
    assert "stages.json: it is [1], expected an object" in said_of(listed, text, capsys)
