"""Latency of small networks: what is measured, not how long it takes."""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from src.checkpoint import save_model
from src.deploy import latency as module
from src.deploy.embedded_input import embed_input
from src.deploy.latency import measure_latency, multiply_accumulates, profile
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.results import origin
from src.runtime.network import shared_core
from src.script import peak_memory, run_script
from tests.conftest import ROOT, randomise, tiny_config


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_latency", ROOT / "bench" / "latency.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def embedded(tiny_xml: dict[str, Path]) -> Path:
    path = tiny_xml["free"].with_name("embedded_latency.xml")
    openvino.save_model(embed_input(shared_core().read_model(tiny_xml["free"])), path, compress_to_fp16=False)
    return path


def test_networks_of_floats_and_of_bytes_take_turns(tiny_xml, embedded, monkeypatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock) / 1000)
    cpu = iter(range(0, 5000, 2))
    monkeypatch.setattr(module.time, "process_time", lambda: next(cpu) / 1000)
    found = measure_latency({"floats": tiny_xml["free"], "bytes": embedded}, size=(64, 96), threads=1, repeats=4, warm_up=1,
                            precisions={"bytes": "bf16"})
    assert found == {name: pytest.approx({"q1": 1, "median": 1, "q3": 1, "cpu": 2}) for name in ("floats", "bytes")}
    assert next(clock) == 2 * 4 * 2 + 2


@pytest.mark.parametrize(("values", "expected"), [([3.0], (3, 3, 3)), ([0.1, 9.3], (2.4, 4.7, 7.0)),
                                                  ([5.0, 1.0, 3.0, 2.0, 4.0], (2, 3, 4))])
def test_quartiles_lie_between_the_smallest_and_the_largest(values: list[float], expected: tuple) -> None:
    assert tuple(module.quartiles(values).values()) == pytest.approx(expected)


def test_each_network_sees_a_picture_of_its_own_size(tiny_xml, monkeypatch) -> None:
    seen, prepare = {}, module.prepare

    def ready(path: Path, **options: object) -> tuple:
        request, image = prepare(path, **options)
        seen[image.shape] = request
        return request, image

    monkeypatch.setattr(module, "prepare", ready)
    measure_latency({"a": tiny_xml["free"], "b": tiny_xml["free"]}, size=(64, 96), threads=1, repeats=2, warm_up=0,
                    sizes={"b": (32, 64)})
    # What a network gave is as large as what it saw.
    assert {shape: request.get_output_tensor(0).data.shape for shape, request in seen.items()} == {
        (1, 3, 64, 96): (1, 1, 64, 96), (1, 3, 32, 64): (1, 1, 32, 64)}


def test_a_profile_has_every_convolution_by_name(tiny_xml) -> None:
    nodes = profile(tiny_xml["free"], size=(64, 64), repeats=3)
    assert sum("Convolution" in kind for _, kind, _, _ in nodes) == sum(
        "Convolution" in op.get_type_name() for op in shared_core().read_model(tiny_xml["free"]).get_ops())
    assert any("hr_branch/conv_hr2x" in name for name, _, _, _ in nodes)


def test_multiply_accumulates_are_those_of_a_convolution_by_hand(tmp_path: Path) -> None:
    from openvino import opset13

    image = opset13.parameter([1, 3, -1, -1], np.float32)
    kernel = opset13.constant(np.zeros((5, 3, 3, 3), np.float32))
    model = openvino.Model([opset13.result(opset13.convolution(image, kernel, [2, 2], [1, 1], [1, 1], [1, 1]))], [image])
    openvino.save_model(model, tmp_path / "one.xml")
    assert multiply_accumulates(tmp_path / "one.xml", (64, 32)) == 5 * 3 * 9 * 32 * 16


def test_the_whole_bench_on_small_networks(bench, tmp_path, tiny_xml, embedded, monkeypatch, capsys) -> None:
    rows = {bench.OFFICIAL: bench.Row(tiny_xml["free"]), bench.INT8: bench.Row(embedded, "bf16")}
    monkeypatch.setattr(bench, "build", lambda args: rows)
    monkeypatch.setattr(bench, "SIZES", ((64, 96),))
    monkeypatch.setattr(bench, "PEAK", {"channels": 16, "side": 16})
    (tmp_path / "latency").mkdir()
    assert bench.main(["--output-dir", str(tmp_path), "--threads", "1", "--repeats", "3"]) == 0
    assert {"latency.json", "latency.md", "latency.png"} <= {path.name for path in tmp_path.iterdir()}
    result = json.loads((tmp_path / "latency.json").read_text())
    row = result["rows"][bench.INT8]
    assert set(row["files, 1 threads"]["stages"]) == {"read", "preprocess", "infer", "postprocess", "cut out", "write"}
    assert row["files, 1 threads"]["median"] > row["files, 1 threads"]["stages"]["infer"] > 0 and row["peak_memory_mb"] > 50
    assert f"| {bench.INT8} |" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "said"), [
    (["--int8-xml", "none.xml"], "--int8-xml: no file at none.xml"), (["--threads", "0"], "--threads are from 1")])
def test_mistakes_get_one_line(bench, capsys, options: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run_script(lambda: bench.main(options))
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_a_row_that_is_given_is_not_made(bench, tmp_path, tiny_ckpt, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(bench, "prune", lambda ckpt, path, search=False: made.append((path.stem, search)) or path)
    monkeypatch.setattr(bench, "export", lambda ckpt, path, **options: made.append((path.stem, options)) or path)
    args = bench.parse_args(["--ckpt-path", str(tiny_ckpt), "--output-dir", str(tmp_path), "--int8-xml", str(tiny_ckpt)])
    rows = bench.build(args)
    assert rows[bench.INT8].path == tiny_ckpt and len(rows) == 9
    assert ("published", False) in made and ("pruned", True) in made and ("official", {"plain": True}) in made
    assert ("pruned_fp16", {"precision": "fp16"}) in made and "pruned_int8" not in dict(made)


def test_an_export_is_made_once_and_again_for_another_checkpoint_however_old(bench, tmp_path, tiny_ckpt) -> None:
    path = bench.export(tiny_ckpt, tmp_path / "x.xml", plain=True)
    first = path.stat().st_mtime_ns
    assert bench.export(tiny_ckpt, path, plain=True).stat().st_mtime_ns == first
    save_model(randomise(MODNet(tiny_config()), seed=1), tiny_ckpt, to_prune_info(tiny_config()))
    os.utime(tiny_ckpt, (1, 1))
    assert bench.export(tiny_ckpt, path, plain=True).stat().st_mtime_ns > first


def test_what_was_pruned_of_one_checkpoint_is_not_taken_for_anothers(bench, tmp_path, tiny_ckpt, monkeypatch) -> None:
    def main_prune(command: list[str], **_: object) -> None:
        folder = Path(command[command.index("--save-dir") + 1])
        folder.mkdir(exist_ok=True)
        save_model(MODNet(tiny_config()), folder / "p.ckpt", {"origin": origin([Path(command[3])])})

    monkeypatch.setattr(bench.subprocess, "run", lambda *args, **options: made.append(args) or main_prune(*args, **options))
    other = tmp_path / "other.ckpt"
    save_model(randomise(MODNet(tiny_config()), seed=1), other, {})
    made: list = []
    for ckpt, count in ((tiny_ckpt, 1), (tiny_ckpt, 1), (other, 2)):
        bench.prune(ckpt, tmp_path / "published.ckpt")
        assert len(made) == count


def test_peak_memory_is_the_processes_own() -> None:
    block = np.ones(400 * 2**20, np.uint8)
    said = "from src.script import peak_memory; print(peak_memory())"
    child = float(subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert peak_memory() > block.nbytes / 2**20
    assert 1 < child < block.nbytes / 2**20 / 2    # `ru_maxrss` of the child would be that of this process


def test_operators_of_several_networks_stand_side_by_side_and_none_is_lost(bench) -> None:
    first = [("a", "Convolution", "x", 6.0), ("b", "Convolution", "y", 3.0), ("c", "Reshape", "x", 0.01)]
    second = [("a", "Convolution", "x", 1.0), ("d", "MVN", "x", 50.0), ("e", "Split", "x", 0.02)]
    assert bench.operators([first, second]) == {"MVN": [0.0, 50.0], "Convolution": [9.0, 1.0],
                                                "the rest": pytest.approx([0.01, 0.02])}


def test_a_profile_of_several_networks_is_one_table(bench, embedded: Path, tiny_xml: dict[str, Path],
                                                    capsys: pytest.CaptureFixture) -> None:
    assert bench.main(["--profile", str(embedded), str(tiny_xml["free"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"| operator | {embedded.stem} | {tiny_xml['free'].stem} |"
    columns = [[float(line.split("|")[at]) for line in lines[4:-1]] for at in (2, 3)]
    for column, at in zip(columns, (2, 3), strict=True):
        assert float(lines[-1].split("|")[at]) == pytest.approx(sum(column), abs=0.06 * len(column))
