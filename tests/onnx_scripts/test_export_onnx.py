from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", minversion="1.0")
onnxruntime = pytest.importorskip("onnxruntime")

import export_onnx

from src.checkpoint import load_model
from src.models.modnet import MODNet
from src.script import run_script
from tests.conftest import randomise, run, tiny_config


def axes(port: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]


def test_the_free_file_has_opset_11_and_the_published_names(tiny_onnx: dict[str, Path]) -> None:
    model = onnx.load(str(tiny_onnx["free"]))
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import] == [11]
    image, = model.graph.input
    matte, = model.graph.output
    assert (image.name, axes(image)) == ("input", ["batch", 3, "height", "width"])
    assert (matte.name, axes(matte)[0], axes(matte)[2:]) == ("output", "batch", ["height", "width"])


def test_the_static_file_has_one_shape(tiny_onnx: dict[str, Path]) -> None:
    graph = onnx.load(str(tiny_onnx["static"])).graph
    assert axes(graph.input[0]) == [1, 3, 64, 96] and axes(graph.output[0]) == [1, 1, 64, 96]


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 96, 160), (1, 3, 512, 352)])
def test_onnxruntime_gives_the_networks_matte_at_sizes_never_exported(
        tiny_onnx: dict[str, Path], shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)
    with torch.inference_mode():
        expected = load_model(tiny_onnx["free"].with_name("tiny.ckpt"))(torch.from_numpy(image), inference=True)[2]
    matte, = onnxruntime.InferenceSession(str(tiny_onnx["free"])).run(None, {"input": image})
    assert expected.std() > 0.05
    np.testing.assert_allclose(matte, expected, atol=5e-4)


def test_as_a_user_runs_it_from_another_folder(tmp_path: Path, tiny_ckpt: Path) -> None:
    done = run("onnx/export_onnx.py", "--ckpt-path", tiny_ckpt.name, "--prune-info", "tiny.json", "--output-path",
               "out/t.onnx", "--opset", "17", "--static", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert "out/t.onnx: opset 17, 512x512" in done.stdout and "max difference from the network" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["t.onnx"]


def test_a_difference_over_the_tolerance_fails_and_leaves_no_file(
        tmp_path: Path, tiny_ckpt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    write, other = export_onnx.write_onnx, export_onnx.MatteOnly(randomise(MODNet(tiny_config()), seed=1)).eval()
    monkeypatch.setattr(export_onnx, "write_onnx", lambda _, path, **options: write(other, path, **options))
    assert run_script(lambda: export_onnx.main(["--ckpt-path", str(tiny_ckpt)])) == 2
    assert "ONNX and network differ by" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.ckpt", "tiny.json"]


def test_for_the_ncs2_the_size_is_fixed_and_the_opset_11(tmp_path: Path, tiny_ckpt: Path) -> None:
    options = ["--ckpt-path", str(tiny_ckpt), "--target", "ncs2"]
    assert export_onnx.main([*options, "--output-path", str(tmp_path / "a.onnx")]) == 0
    assert export_onnx.main([*options, "--output-path", str(tmp_path / "b.onnx"), "--static", "64", "96"]) == 0
    for name, size in (("a", [512, 512]), ("b", [64, 96])):
        model = onnx.load(str(tmp_path / f"{name}.onnx"))
        assert model.opset_import[0].version == 11 and axes(model.graph.input[0]) == [1, 3, *size]
        # Shapes that are computed need no operator: the stick's plugin knows few of those.
        assert not {node.op_type for node in model.graph.node} & {"Shape", "Gather", "NonZero", "Loop", "If"}


def test_another_opset_for_the_ncs2_is_refused(tiny_ckpt: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        export_onnx.main(["--ckpt-path", str(tiny_ckpt), "--target", "ncs2", "--opset", "13"])
    assert stop.value.code == 2 and "--target ncs2 allows 11 alone" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "said"), [
    (["--opset", "10"], "opset is 10, allowed are 11 to 20"),
    (["--static", "100", "64"], "static is 100 64, allowed are multiples of 32"),
    (["--output-path", "x.pt"], "expected a name that ends in .onnx")])
def test_mistakes_get_one_line(tmp_path: Path, tiny_ckpt: Path, capsys: pytest.CaptureFixture, options: list[str],
                               said: str) -> None:
    assert run_script(lambda: export_onnx.main(["--ckpt-path", str(tiny_ckpt), *options])) == 2
    assert said in capsys.readouterr().err
