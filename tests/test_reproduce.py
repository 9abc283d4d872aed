"""The whole chain as a user runs it, on a small network and generated pictures."""
import json

import cv2
import pytest

from src.checkpoint import save_model
from src.data.portraits.generate import generate_data_set
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.paper.report import counts_table, latency_table
from tests.conftest import randomise, run

pytest.importorskip("onnx", minversion="1.0")
pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def small_dense(tmp_path_factory):
    """The dense widths outside the encoder, a narrow encoder: rule `paper` wants 32 HR channels."""
    dense = MODNetConfig()
    narrow = {group: 16 if group.endswith(".hidden") else 8 for group in dense.groups() if group.startswith("block")}
    config = dense.with_widths(narrow | {"block1.hidden": 16, "stem": 16, "enc32x": 32, "se": 8, "lr16x": 16})
    path = tmp_path_factory.mktemp("dense") / "small.ckpt"
    save_model(randomise(MODNet(config)), path, to_prune_info(config))
    return path


def test_chain_from_another_folder_and_nothing_is_done_twice(small_dense, tmp_path):
    generate_data_set(tmp_path / "data", train=4, val=2, seed=0, height=96, width=96)
    args = ["--ckpt-path", small_dense, "--data-dir", "data", "--epoch", 1, "--batch-size", 2, "--input-size", 64]
    done = run("reproduce.py", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "result" / "reproduce"
    report = json.loads((folder / "report.json").read_text())
    results = report["results"]
    assert results["retrained"]["params"] == results["pruned"]["params"] < results["dense"]["params"]
    assert results["dense"]["n"] == 2 and report["latency_ms"]["CPU"]["dense"]["median"] > 0
    text = (folder / "report.md").read_text()
    assert f"{results['retrained']['mse']:.6f}" in text and "0.018713" in text
    picture = cv2.imread(str(folder / "compare.png"))
    assert picture.shape[1] >= 900 and picture.std() > 20
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.startswith(("report", "steps"))}
    again = run("reproduce.py", *args, cwd=tmp_path)
    assert again.returncode == 0 and again.stdout.count("already done") == 9
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_bad_input_costs_one_line(tmp_path):
    done = run("reproduce.py", "--ckpt-path", "none.ckpt", "--data-dir", "none", cwd=tmp_path)
    assert done.returncode == 2 and "none" in done.stderr and len(done.stderr.splitlines()) == 1


def test_tables_by_hand():
    counts = dict(params=2_000_000, macs_train=3e9, macs_deploy=2e9, bytes_fp32=8e6, mse=0.01, mad=0.02)
    table = counts_table(dict.fromkeys(("dense", "pruned", "retrained"), counts))
    assert "| parameters (M) | 2.000 | 2.000 | 2.000 | 6.45 | 1.34 |" in table
    assert "| MSE | 0.010000 | 0.010000 | 0.010000 | 0.009912 | 0.018713 |" in table
    times = {"dense": {"q1": 9, "median": 10, "q3": 11}, "retrained": {"q1": 3, "median": 4, "q3": 5}}
    assert "| CPU (x) | 10.0 (9.0-11.0) | 4.0 (3.0-5.0) | 2.50 |" in latency_table({"CPU": times}, "x")
