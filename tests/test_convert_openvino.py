from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", minversion="1.0")
onnxruntime = pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

import convert_openvino

from src.script import run_script
from tests.conftest import run


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (2, 3, 96, 160)])
def test_ir_of_free_size_gives_onnxruntimes_matte(
        tiny_onnx: dict[str, Path], tiny_xml: dict[str, Path], shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(3).uniform(-1, 1, shape).astype(np.float32)
    network = openvino.Core().compile_model(str(tiny_xml["free"]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected, = onnxruntime.InferenceSession(str(tiny_onnx["free"])).run(None, {"input": image})
    np.testing.assert_allclose(network([image])[0], expected, atol=5e-4)


def test_as_a_user_runs_it_fp16_is_the_default_and_halves_the_weights(
        tmp_path: Path, tiny_onnx: dict[str, Path], tiny_xml: dict[str, Path]) -> None:
    done = run("onnx/convert_openvino.py", "--onnx-path", tiny_onnx["free"], "--output-path", "ir", cwd=tmp_path)
    assert done.returncode == 0 and "fp16, mean difference from onnxruntime" in done.stdout
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == ["free.bin", "free.xml"]
    sizes = [path.with_suffix(".bin").stat().st_size for path in (tmp_path / "ir" / "free.xml", tiny_xml["free"])]
    assert sizes[0] < 0.6 * sizes[1]


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
