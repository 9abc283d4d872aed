from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", minversion="1.0")
onnxruntime = pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

import convert_openvino

from src.runtime.metadata import embedded_info
from src.runtime.network import shared_core
from src.script import run_script
from tests.conftest import run, write_noise


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (2, 3, 96, 160)])
def test_ir_of_free_size_gives_onnxruntimes_matte(
        tiny_onnx: dict[str, Path], tiny_xml: dict[str, Path], shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    network = shared_core().compile_model(str(tiny_xml["free"]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected, = onnxruntime.InferenceSession(str(tiny_onnx["free"])).run(None, {"input": image})
    np.testing.assert_allclose(network([image])[0], expected, atol=5e-4)


def test_as_a_user_runs_it_fp16_is_the_default_and_halves_the_weights(
        tmp_path: Path, tiny_onnx: dict[str, Path], tiny_xml: dict[str, Path]) -> None:
    done = run("onnx/convert_openvino.py", "--onnx-path", tiny_onnx["free"], "--output-path", "ir", cwd=tmp_path)
    assert done.returncode == 0 and "fp16, mean difference from onnxruntime" in done.stdout
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == ["free.bin", "free.xml"]
    info = embedded_info(shared_core().read_model(tmp_path / "ir" / "free.xml"))
    assert (info["precision"], info["source"]) == ("fp16", "free.onnx")
    sizes = [path.with_suffix(".bin").stat().st_size for path in (tmp_path / "ir" / "free.xml", tiny_xml["free"])]
    assert sizes[0] < 0.6 * sizes[1]


def test_int8_as_a_user_runs_it(tmp_path: Path, tiny_onnx: dict[str, Path], tiny_xml: dict[str, Path]) -> None:
    pytest.importorskip("nncf")
    calib = write_noise(tmp_path / "calib" / "a.png", (6, 8), (96, 64)).parent
    done = run("onnx/convert_openvino.py", "--onnx-path", tiny_onnx["static"], "--output-path", "q.xml", "--precision",
               "int8", "--calib-dir", calib, "--max-drop", "0.5", "--no-embed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "int8, mean difference from the float mattes of the calibration pictures" in done.stdout
    model = shared_core().read_model(tmp_path / "q.xml")
    assert embedded_info(model) is None and list(model.input(0).shape) == [1, 3, 64, 96]
    assert (tmp_path / "q.bin").stat().st_size < 0.6 * tiny_xml["static"].with_suffix(".bin").stat().st_size


@pytest.mark.parametrize(("options", "said"), [
    (["--precision", "int8", "--max-drop", "0"], "max-drop is 0, allowed is over 0 and at most 1"),
    (["--precision", "int8", "--max-drop", "nan"], "max-drop is nan, allowed is over 0 and at most 1"),
    (["--precision", "int8", "--calib-dir", "empty"], "no pictures in calib-dir"),
    (["--precision", "int8", "--calib-dir", "none"], "no folder at none"),
    (["--precision", "int8", "--calib-dir", "bad"], "a.png is not a picture that can be read"),
    (["--ref-size", "320"], "ref-size is 320, but"),
    (["--output-path", "x.onnx"], "expected a folder or a name that ends in .xml")])
def test_mistakes_get_one_line_and_write_nothing(tmp_path: Path, tiny_onnx: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture, options: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bad", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    argv = ["--onnx-path", str(tiny_onnx["static"]), "--output-path", "out", *options]
    assert run_script(lambda: convert_openvino.main(argv)) == 2
    err = capsys.readouterr().err
    assert said in err and len([line for line in err.splitlines() if line.startswith("error")]) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_calibration_options_of_another_precision_are_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        convert_openvino.main(["--onnx-path", "x.onnx", "--precision", "fp16", "--max-drop", "0.1"])
    assert stop.value.code == 2 and "--max-drop is for --precision int8, not fp16" in capsys.readouterr().err


def test_a_difference_over_the_tolerance_fails_and_keeps_the_old_pair(
        tmp_path: Path, tiny_onnx: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ("xml", "bin"):
        (tmp_path / f"x.{suffix}").write_text("old")
    network = openvino.convert_model(str(tiny_onnx["free"]))
    matte = network.get_results()[0].input_value(0)
    network = openvino.Model([openvino.opset8.multiply(matte, np.float32(0.9))], network.get_parameters())
    monkeypatch.setattr(convert_openvino, "read_onnx", lambda path: network)
    with pytest.raises(ValueError, match=r"differ by .* \(max\), allowed is 1e-03: nothing written"):
        convert_openvino.convert_openvino(tiny_onnx["free"], tmp_path / "x.xml", precision="fp32")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.xml": "old", "x.bin": "old"}


def test_what_is_no_matting_network_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 20)
    tensor = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [tensor("x", 1, [1, 5])], [tensor("y", 1, [1, 5])])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=6),
              str(tmp_path / "relu.onnx"))
    for name, said in (("junk", "junk.onnx is not an ONNX file"), ("none", "no ONNX file at"),
                       ("relu", "relu.onnx is not a matting network: it has [1,5], [1,5], expected")):
        assert run_script(lambda name=name: convert_openvino.main(["--onnx-path", str(tmp_path / f"{name}.onnx")])) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junk.onnx", "relu.onnx"]


@pytest.mark.parametrize("how", ["raises", "writes less"])
def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(
        tmp_path: Path, tiny_onnx: dict[str, Path], monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    whole = openvino.save_model

    def save(network: openvino.Model, path: str, **options: bool) -> None:
        whole(network, path, **options)
        if how == "raises":
            raise RuntimeError("Exception from src/core:\nCould not write")
        weights = Path(path).with_suffix(".bin")
        weights.write_bytes(weights.read_bytes()[:5000])

    monkeypatch.setattr(openvino, "save_model", save)
    with pytest.raises(OSError, match="cannot write .*x.xml, is the disk full?"):
        convert_openvino.convert_openvino(tiny_onnx["free"], tmp_path / "x.xml", precision="fp32")
    assert list(tmp_path.iterdir()) == []
