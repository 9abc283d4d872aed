"""bench/retraining.py: what it trains, and its table."""
import json
import sys

import pytest

from src.checkpoint import load_model
from src.data.layouts import find_pairs
from src.evaluation.evaluate import evaluate_pairs
from src.script import run_script
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

import retraining


def test_ways_without_their_folder_are_left_out_or_refused():
    nothing = dict.fromkeys(retraining.SOURCES)
    assert list(retraining.chosen(nothing, None)) == ["plain", "crops of other aspects", "crops up to whole portraits",
                                                      "weight average", "plain again"]
    ways = retraining.chosen(nothing | {"teacher": "t.ckpt"}, ["plain", "teacher's heads"])
    assert ways == {"plain": {}, "teacher's heads": {"teacher": "t.ckpt", "feature_scale": 0.0}}
    ways = retraining.chosen(nothing | {"size_range": (64, 96)}, ["plain", "another size each step"])
    assert ways["another size each step"] == {"input_size": (64, 96)}
    for names, said in ((["plain", "plain, then SOC"], "needs --unlabeled-dir"),
                        (["plain", "another size each step"], "needs --size-range"), (["x"], "allowed are plain; "),
                        (["plain again"], "needs 'plain' too")):
        with pytest.raises(ValueError, match=said):
            retraining.chosen(nothing, names)


def test_the_script_trains_each_way_from_its_start_and_resumes(tiny_ckpt, discs, tmp_path, capsys, monkeypatch):
    args = ["--model-path", str(tiny_ckpt), "--data-dir", str(discs), "--seeds", "0", "1", "--steps", "1",
            "--batch-size", "2", "--input-size", "64", "--ref-size", "64", "--limit", "1", "--output-dir", str(tmp_path),
            "--unlabeled-dir", str(discs / "train/fg"), "--ways", "plain", "plain again", "plain, then SOC"]
    starts, original = [], retraining.retrain_step
    monkeypatch.setattr(retraining, "retrain_step", lambda steps, name, start, *rest, **options: (
        starts.append((name, start.stem)) or original(steps, name, start, *rest, **options)))
    assert retraining.main(args) == 0
    assert starts[:3] == [("plain, seed 0", "tiny"), ("plain again, seed 0", "plain_seed0_best"),
                          ("plain, then SOC, seed 0", "plain_seed0_best")]
    first = json.loads((tmp_path / "retraining_bench.json").read_text())
    assert len(first["runs"]) == 6 and (tmp_path / "retraining_bench.png").stat().st_size > 1000
    assert len({row["mse"] for row in first["runs"]}) == 6
    # Judged at the size that was asked for: 512, the default, gives another error.
    model = load_model(tmp_path / "retraining_bench/plain_seed0_best.ckpt")
    seen = evaluate_pairs(model, find_pairs(discs, "val")[:1], ref_size=64)
    assert first["runs"][0]["mse"] == pytest.approx(seen["mse"], rel=1e-3)
    capsys.readouterr()
    assert retraining.main(args) == 0
    out = capsys.readouterr().out
    assert out.count("already done") == 6 and out.endswith((tmp_path / "retraining_bench.md").read_text() + "\n")


def test_a_way_is_compared_with_plain_seed_by_seed():
    rows = [{"way": way, "seed": seed, "mse": mse, "mad": 2 * mse, "n": 5, "seconds": 3, "sets": {}} for way, seed, mse in (
        ("plain", 0, 0.1), ("plain", 1, 0.2), ("weight average", 0, 0.05), ("weight average", 1, 0.2),
        ("plain again", 0, 0.08), ("plain, then SOC", 0, 0.06))]
    lines = {line["way"]: line for line in retraining.summary(rows)}
    assert lines["weight average"]["ratio"] == pytest.approx(0.75)
    assert lines["weight average"]["ratio_std"] == pytest.approx(0.5 / 2**0.5)
    assert lines["plain, then SOC"]["ratio"] == pytest.approx(0.75) and lines["plain"]["ratio"] == 1
    text = retraining.table(list(lines.values()))
    assert "| weight average | 2 | 0.1250 (0.1061) | 0.2500 (0.2121) | 0.750 (0.354) | 3 |" in text


def test_several_sets_have_columns_of_their_own():
    rows = [{"way": "plain", "seed": seed, "mse": 0.2, "mad": 0.3, "n": 5, "seconds": 3, "sets": {"a": 0.1 * seed, "b": 0.3}}
            for seed in (1, 3)]
    lines = retraining.table(retraining.summary(rows)).splitlines()
    assert lines[0].endswith("| MSE over plain's (std) | a | b | seconds |") and lines[2].endswith("| 0.2000 | 0.3000 | 3 |")
    assert len({line.count("|") for line in lines}) == 1


def test_mistakes_get_one_line(tiny_ckpt, capsys):
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: retraining.main(["--model-path", str(tiny_ckpt), "--steps", "0"]))
    assert stop.value.code == 2 and "--steps is 0" in capsys.readouterr().err
