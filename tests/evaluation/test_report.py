"""Labels, the table that compares checkpoints, and its best marks."""
import csv
import json
from pathlib import Path

import pytest

from src.evaluation.report import compare_table, labels, write_comparison, write_report


def test_lowest_of_each_column_is_bold():
    results = {"a": {"mse": 0.01, "sad": 2.0, "sad_unknown": None, "n": 3, "images": []},
               "b": {"mse": 0.02, "sad": 1.5, "sad_unknown": 0.25, "n": 3, "images": []}}
    assert compare_table(results).splitlines() == [
        "| checkpoint | n | mse | sad | sad_unknown |", "|---|---:|---:|---:|---:|",
        "| a | 3 | **0.010000** | 2.000 | - |", "| b | 3 | 0.020000 | **1.500** | **0.250** |"]


def test_sets_intervals_and_ratios_have_their_place_in_table_and_csv(tmp_path):
    def result(mse: float, more: dict) -> dict:
        part = {"mse": mse, "n": 2, "intervals": {"mse": (mse / 2, 2 * mse)}, **more}
        return {**part, "n": 4, "sets": {"people": part, "rooms": part}, "images": []}

    results = {"a": result(0.01, {}), "b": result(0.02, {"ratios": {"mse": (2.0, 1.5, 2.5)}})}
    lines = compare_table(results).splitlines()
    assert lines[:4] == ["| set | checkpoint | n | mse |", "|---|---|---:|---:|",
                         "| people | a | 2 | **0.010000 [0.005000, 0.020000]** |",
                         "| people | b | 2 | 0.020000 [0.010000, 0.040000] |"]
    assert lines[-3:] == [f"| {name} | b | 2.000 [1.500, 2.500] |" for name in ("people", "rooms", "all")]
    write_comparison(results, {}, tmp_path / "t")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [(row["set"], row["checkpoint"], row["mse_high"], row["mse_ratio_low"]) for row in rows[-2:]] == [
        ("all", "a", "0.02", ""), ("all", "b", "0.04", "1.5")]


def test_labels_are_as_short_as_they_can_be():
    assert labels([Path("x/a.ckpt")]) == ["a"]
    assert labels([Path("x/a.ckpt"), Path("x/a.xml"), Path("b.ckpt")]) == ["a", "a.xml", "b"]
    assert labels([Path("x/a.ckpt"), Path("y/a.ckpt")]) == ["x_a", "y_a"]
    with pytest.raises(ValueError, match="x/a.ckpt twice"):
        labels([Path("x/a.ckpt"), Path("b.ckpt"), Path("x/a.ckpt")])
    with pytest.raises(ValueError, match="x/a.ckpt twice"):
        labels([Path("x/a.ckpt"), Path.cwd() / "x/a.ckpt"])


def test_report_is_valid_json_and_csv(tmp_path):
    result = {"mse": 0.5, "mse_unknown": None, "n": 1, "images": [{"name": "a", "mse": 0.5, "mse_unknown": None}]}
    write_report(result, tmp_path / "x_eval.json")
    said = json.loads((tmp_path / "x_eval.json").read_text(), parse_constant=pytest.fail)
    assert said["mse_unknown"] is None and said["command"]
    assert list(csv.DictReader((tmp_path / "x_eval.csv").open())) == [{"name": "a", "mse": "0.5", "mse_unknown": ""}]
