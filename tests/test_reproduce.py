"""The whole chain as a user runs it, on a small network and generated pictures."""
import functools
import json

import cv2
import pytest

import reproduce
from src.data.layouts import find_pairs
from src.data.portraits.generate import generate_data_set
from src.paper import pipeline
from src.paper.report import counts_table, found, latency_table, verdict
from tests.conftest import status_of

pytest.importorskip("onnx", minversion="1.0")
pytest.importorskip("openvino")


def test_chain_from_another_folder_and_nothing_is_done_twice(small_dense, tmp_path, monkeypatch, capsys):
    generate_data_set(tmp_path / "data", train=4, val=2, seed=0, height=96, width=96)
    args = ["--ckpt-path", small_dense, "--data-dir", "data", "--epoch", 1, "--batch-size", 2, "--input-size", 64,
            "--threads", 1]
    monkeypatch.chdir(tmp_path)
    # The times themselves are tested in tests/bench; here they need not be exact.
    quick = functools.partial(pipeline.measure_latency, size=(64, 64), repeats=2, warm_up=0)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "measure_latency", quick)
        assert status_of(reproduce.main, *args) == 0
    said = capsys.readouterr().out
    assert "16 steps, about " in said and "[3/16] retrain, published rule, about " in said
    folder = tmp_path / "result" / "reproduce"
    report = json.loads((folder / "report.json").read_text())
    results = report["results"]
    assert results["published"]["params"] == results["published_pruned"]["params"] < results["dense"]["params"]
    # The search lands at most 2 % under the published rule's multiply-accumulates.
    assert 0.98 <= results["ours"]["macs_deploy"] / results["published"]["macs_deploy"] <= 1
    assert results["dense"]["n"] == 2 and report["latency_ms"]["CPU"]["dense"]["median"] > 0
    text = (folder / "report.md").read_text()
    assert f"{results['ours']['mse']:.6f}" in text and "0.018713" in text
    assert text.index("compare.png") < text.index("Both cuts") < text.index("| MSE")
    picture = cv2.imread(str(folder / "compare.png"))
    assert picture.shape[1] >= 900 and picture.std() > 20
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.startswith(("report", "steps"))}
    assert status_of(reproduce.main, *args) == 0 and capsys.readouterr().out.count("already done") == 16
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_word_generated_means_drawings_and_the_default_is_the_shipped_portraits(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(reproduce, "generate_data_set", lambda folder, **how: drawn.update(folder=folder, **how))
    assert reproduce.data_set("generated", tmp_path) == (tmp_path / "generated", True)
    assert drawn["folder"] == tmp_path / "generated" and drawn["train"] == 48
    folder, generated = reproduce.data_set(reproduce.parse_args([]).data_dir, tmp_path)
    assert not generated and [len(find_pairs(folder, split)) for split in ("train", "val")] == [48, 12]


def test_bad_input_costs_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert status_of(reproduce.main, "--ckpt-path", "none.ckpt", "--data-dir", "none") == 2
    said = capsys.readouterr().err
    assert "none" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(("args", "said"), [
    (["--seeds", 0, 1], "--seeds goes with --table retraining"),
    (["--rules", "paper"], "--rules goes with --table retraining"),
    (["--ref-size", 160], "--ref-size goes with --table retraining"),
    (["--table", "retraining", "--seed", 1], "--seed goes with --table pipeline"),
    (["--table", "retraining", "--threads", 1], "--threads goes with --table pipeline")])
def test_options_of_the_other_table_are_refused(tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    assert status_of(reproduce.main, *args) == 2 and said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def make_report(published, ours, shipped):
    def counts(mse, share):
        return {"params": 2e6 * share, "macs_train": 3e9, "macs_deploy": 2e9 * share, "bytes_fp32": 8e6, "mse": mse,
                "mad": 0.02, "n": 12}

    results = {"dense": counts(0.01, 1), "published": counts(published, 0.25), "ours": counts(ours, 0.25),
               "shipped": counts(shipped, 0.2), "published_pruned": counts(0.3, 0.25), "ours_pruned": counts(0.2, 0.25)}
    speeds = {"dense": 20, "published": 8, "ours": 5, "shipped": 4, "shipped_int8": 2}
    times = {name: {"q1": value - 1, "median": value, "q3": value + 1} for name, value in speeds.items()}
    return {"results": results, "latency_ms": {"CPU": times}, "recipe": {"epochs": 12}}


def test_tables_by_hand():
    report = make_report(0.1, 0.015, 0.011)
    table = counts_table(report["results"])
    assert "| parameters (M) | 2.000 | 0.500 | 0.500 | 0.400 | 6.45 | 1.34 |" in table
    assert "| MSE, not retrained | - | 0.300000 | 0.200000 | - | - | - |" in table
    assert "| MSE | 0.010000 | 0.100000 | 0.015000 | 0.011000 | 0.009912 | 0.018713 |" in table
    assert ("| CPU (x) | 20.0 (19.0-21.0) | 8.0 (7.0-9.0), x 2.50 | 5.0 (4.0-6.0), x 4.00 | 4.0 (3.0-5.0), x 5.00 | "
            "2.0 (1.0-3.0), x 10.00 |") in latency_table(report["latency_ms"], "x")


def test_sentences_follow_the_numbers():
    said = " ".join(found(make_report(0.1, 0.015, 0.011)))
    assert "leave 25% of" in said and "runs 2.5 times as fast as the dense one, ours 4.0 times as fast" in said
    assert "the search has 1.5 times the dense network's MSE" in said and "the published rule 10 times (0.1000)" in said
    assert "1.1 times the dense network's MSE (0.0110), and in INT8 runs 10.0 times as fast" in said
    turned = " ".join(found(make_report(0.02, 0.04, 0.011)))
    assert "the published rule has 2 times the dense network's MSE" in turned and "the search 4 times (0.0400)" in turned


@pytest.mark.parametrize(("published", "ours", "said"), [(0.1, 0.015, "After the published rule, so short"),
                                                         (0.011, 0.012, ""),
                                                         (0.1, 0.1, "After the published rule and the search, so short")])
def test_a_retraining_that_was_too_short_is_said_to_be(published, ours, said):
    lines = " ".join(verdict(make_report(published, ours, 0.011)))
    assert said in lines and bool(said) == ("--epoch" in lines and "docs/results.md" in lines)
