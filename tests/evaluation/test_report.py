"""Labels, the table that compares checkpoints, and its best marks."""
import csv
import json
from pathlib import Path

import pytest

from src.evaluation.report import compare_table, labels, write_report


def test_lowest_of_each_column_is_bold():
    results = {"a": {"mse": 0.01, "sad": 2.0, "sad_unknown": None, "n": 3, "images": []},
               "b": {"mse": 0.02, "sad": 1.5, "sad_unknown": 0.25, "n": 3, "images": []}}
    assert compare_table(results).splitlines() == [
        "| checkpoint | n | mse | sad | sad_unknown |", "|---|---:|---:|---:|---:|",
        "| a | 3 | **0.010000** | 2.000 | - |", "| b | 3 | 0.020000 | **1.500** | **0.250** |"]


def test_labels_are_as_short_as_they_can_be():
    assert labels([Path("x/a.ckpt")]) == ["a"]
    assert labels([Path("x/a.ckpt"), Path("x/a.xml"), Path("b.ckpt")]) == ["a", "a.xml", "b"]
    assert labels([Path("x/a.ckpt"), Path("y/a.ckpt")]) == ["x_a", "y_a"]
    with pytest.raises(ValueError, match="x/a.ckpt twice"):
        labels([Path("x/a.ckpt"), Path("b.ckpt"), Path("x/a.ckpt")])


def test_report_is_valid_json_and_csv(tmp_path):
    result = {"mse": 0.5, "mse_unknown": None, "n": 1, "images": [{"name": "a", "mse": 0.5, "mse_unknown": None}]}
    write_report(result, tmp_path / "x_eval.json")
    said = json.loads((tmp_path / "x_eval.json").read_text(), parse_constant=pytest.fail)
    assert said["mse_unknown"] is None and said["command"]
    assert list(csv.DictReader((tmp_path / "x_eval.csv").open())) == [{"name": "a", "mse": "0.5", "mse_unknown": ""}]
