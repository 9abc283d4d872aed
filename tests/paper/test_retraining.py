"""The paper's third table: its arithmetic, its networks, and a run that is cut short."""
import itertools
import json
from pathlib import Path

import pytest

import reproduce
import src.paper.retraining as subject
from src.data.layouts import find_pairs
from src.data.portraits.generate import generate_data_set
from src.paper.resumable import Steps
from src.paper.retraining import NETWORKS, draw_bars, error_table, retraining_table, summary
from src.pruning.choice import BySearch
from src.training import loop
from src.training.recipe import MODES, Recipe
from tests.conftest import status_of, tiny_config

RECIPE = Recipe(epochs=1, batch_size=2, input_size=64, steps_per_epoch=1, optimizer="adamw", schedule="onecycle")


def row(network, mode, seed, mse):
    return {"network": network, "mode": mode, "seed": seed, "epochs": 2, "steps": 4, "mse": mse, "mad": 2 * mse, "n": 3,
            "params": 1_500_000, "macs_deploy": 3_660_000_000}


ROWS = [row("a", mode, seed, mse) for mode, pair in zip(MODES, ((0.01, 0.03), (0.05, 0.05), (0.04, 0.02)), strict=True)
        for seed, mse in enumerate(pair)]


def test_mean_and_standard_deviation_by_hand():
    tuned, scratch_e, _ = summary(ROWS)
    assert tuned["mse"] == pytest.approx(0.02) and tuned["mse_std"] == pytest.approx(0.0002 ** 0.5) and tuned["seeds"] == 2
    assert tuned["mad"] == pytest.approx(0.04) and scratch_e["mse_std"] == 0
    assert summary(ROWS[:1])[0]["mse_std"] is None


def test_table_by_hand():
    lines = error_table(summary(ROWS), "mse")
    assert lines[0] == "| MSE | parameters (M) | GMACs, as deployed | fine-tuned | scratch-E | scratch-B |"
    assert lines[2] == "| a | 1.50 | 3.66 | **0.0200 ± 0.0141** | 0.0500 ± 0.0000 | 0.0300 ± 0.0141 |"
    assert "| published, encoder left | | | 0.018291 | 0.015588 | |" in lines
    single = error_table(summary(ROWS[::2]), "mad")
    assert error_table(summary(ROWS[:3]), "mse")[2].endswith("| **0.0200 ± 0.0141** | 0.0500 | - |")
    assert single[2] == "| a | 1.50 | 3.66 | **0.0200** | 0.1000 | 0.0800 |" and len(single) == 3


def test_bars_are_drawn(tmp_path):
    draw_bars(summary(ROWS), tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 5000


def only_one_network(monkeypatch, ckpt_path):
    """Let the table have one network alone, the tiny one: what is tested is the training."""
    def prune_networks(steps, dense_path, **_):
        info = json.loads(ckpt_path.with_suffix(".json").read_text())
        info["counts"] = {"before": {}, "after": {"params": 5, "macs_deploy": 7}}
        ckpt_path.with_suffix(".json").write_text(json.dumps(info))
        return {"tiny": ckpt_path}

    monkeypatch.setattr(subject, "prune_networks", prune_networks)
    monkeypatch.setattr("src.training.modes.scratch_epochs", lambda config, epochs: 2 * epochs)


@pytest.fixture
def one_network(tiny_ckpt, monkeypatch):
    only_one_network(monkeypatch, tiny_ckpt)
    return tiny_ckpt


def make(ckpt_path, data_dir, folder, **kwargs):
    return retraining_table(ckpt_path, data_dir, output_dir=folder, ratio=0.5, threshold=0.5, recipe=RECIPE, generated=False,
                            seeds=[0, 1], **kwargs)


def test_modes_get_their_epochs_and_nothing_is_trained_twice(one_network, discs, tmp_path, capsys):
    path = make(one_network, discs, tmp_path / "r", limit=1)
    report = json.loads(path.with_suffix(".json").read_text())
    assert [(r["mode"], r["seed"], r["epochs"]) for r in report["runs"]] == [
        *((mode, seed, 1) for seed in (0, 1) for mode in MODES[:2]), *(("scratch-b", seed, 2) for seed in (0, 1))]
    assert len({r["mse"] for r in report["runs"]}) == 6 and all(r["n"] == 1 for r in report["runs"])
    assert "Trained 1 epoch of 1 steps at 64 px" in path.read_text()
    assert f"{report['summary'][0]['mse']:.4f} ± " in path.read_text() and path.with_suffix(".png").is_file()
    capsys.readouterr()
    make(one_network, discs, tmp_path / "r", limit=1)
    assert capsys.readouterr().out.count("already done") == 6
    again = json.loads(path.with_suffix(".json").read_text())
    assert again["runs"] == report["runs"] and not list((tmp_path / "r").glob("*_resume.pt"))


def test_an_interrupted_table_goes_on_in_the_run_that_was_stopped(one_network, discs, tmp_path, monkeypatch):
    whole = json.loads(make(one_network, discs, tmp_path / "whole").with_suffix(".json").read_text())
    real, calls = loop.train_epoch, []

    def stop_in_the_sixth(*args, **kwargs):
        calls.append(kwargs["title"])
        if len(calls) == 6:    # the second epoch of scratch-b
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "train_epoch", stop_in_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        make(one_network, discs, tmp_path / "cut")
    assert calls[-1] == "epoch 1/1"
    said = (tmp_path / "cut" / "retraining.md").read_text()
    assert "**4 of 6 runs.**" in said and said.count(" - |") == 2
    assert "runs.**" not in (tmp_path / "whole" / "retraining.md").read_text()
    cut = json.loads(make(one_network, discs, tmp_path / "cut").with_suffix(".json").read_text())
    assert len(calls) == 6 + 1 + 2 and cut["runs"] == whole["runs"]


def test_networks_of_the_table_are_what_they_say(monkeypatch):
    asked = {}
    monkeypatch.setattr(subject, "prune_step", lambda steps, name, ckpt, path, how: asked.setdefault(name, how) and path)
    monkeypatch.setattr(subject, "read_prune_info", lambda path: path)
    monkeypatch.setattr(subject, "from_prune_info", lambda info: tiny_config())
    counts = itertools.cycle((123, 124))
    monkeypatch.setattr(subject, "macs", lambda config: next(counts))
    paths = subject.prune_networks(Steps(Path("nowhere")), Path("a.ckpt"), ratio=0.25, threshold=0.3)
    assert list(paths) == list(NETWORKS) and len(set(paths.values())) == 6
    hows = list(asked.values())
    assert [(how.rule, how.scope) for how in hows] == [("paper", "whole"), ("tied", "whole"), ("tied", "whole"),
                                                       ("paper", "branches"), ("tied", "branches"), ("tied", "branches")]
    assert [hows[place].budget.macs for place in (1, 2, 5)] == [123, 123, 124]
    assert isinstance(hows[2], BySearch) and isinstance(hows[5], BySearch)
    assert all((how.ratio, how.threshold) == (0.25, 0.3) for how in (hows[0], *hows[3:5]))
    asked.clear()
    paths = subject.prune_networks(Steps(Path("nowhere")), Path("a.ckpt"), ratio=0.25, threshold=0.3, rules=["search"])
    assert list(paths) == ["search, whole network", "search, encoder left"]
    assert list(asked) == ["prune: rule paper, whole network", "prune: search, whole network",
                           "prune: rule paper, encoder left", "prune: search, encoder left"]


def test_bad_input_costs_one_line(tmp_path, monkeypatch, capsys):
    generate_data_set(tmp_path / "data", train=2, val=0, height=64, width=64)
    assert len(find_pairs(tmp_path / "data", "train")) == 2
    monkeypatch.chdir(tmp_path)
    assert status_of(reproduce.main, "--table", "retraining", "--data-dir", "data") == 2
    said = capsys.readouterr().err
    assert "data has no val/fg" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "result").exists()
    assert status_of(reproduce.main, "--ref-size", "256") == 2 and "with --table retraining" in capsys.readouterr().err
    assert status_of(reproduce.main, "--table", "retraining", "--ref-size", "100") == 2
    assert "--ref-size is 100, allowed are multiples of 32" in capsys.readouterr().err
    assert status_of(reproduce.main, "--table", "third") == 2 and "'third' (choose from" in capsys.readouterr().err
