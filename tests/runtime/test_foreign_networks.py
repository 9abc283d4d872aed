"""Networks of others, and ours changed: what gives no matte is refused in one line that names the file."""
from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
onnx = pytest.importorskip("onnx")

from convert_openvino import convert_openvino

import inference_openvino
from onnx import TensorProto, helper, numpy_helper
from src.console import messages_held
from src.eval import main as evaluate
from src.runtime.matting import Matting
from src.runtime.weights import are_finite
from src.script import NetworkError, run_script
from tests.conftest import run, status_of, write_video

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
FLOAT = TensorProto.FLOAT
# Mean of the three colours, in [-1, 1], and what makes it a matte.
MEAN, HALF = np.full((1, 3, 1, 1), 1 / 3, np.float32), np.float32([0.5])


def write(path: Path, *nodes: tuple, takes: int = FLOAT, gives: int = FLOAT, out: tuple = ("h", "w"),
          side: tuple = ("h", "w"), **arrays: np.ndarray) -> Path:
    """A network of `nodes` (kind, inputs, output, attributes) from `input` to `output`."""
    made = [helper.make_node(kind, list(names), [to], **dict(*more)) for kind, names, to, *more in nodes]
    graph = helper.make_graph(made, "g", [helper.make_tensor_value_info("input", takes, ["n", 3, *side])],
                              [helper.make_tensor_value_info("output", gives, ["n", 1, *out])],
                              [numpy_helper.from_array(array, name) for name, array in arrays.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


GREY = ("Conv", ("input", "mean"), "grey")
BAD_OUTPUTS = {
    "half as large": ([GREY, ("AveragePool", ("grey",), "output", {"kernel_shape": [2, 2], "strides": [2, 2]})],
                      {"out": ("a", "b")}, "gives a matte of 48x32 for a picture that it sees as 96x64"),
    "no numbers": ([GREY, ("Sub", ("grey", "grey"), "zero"), ("Div", ("zero", "zero"), "output")], {}, "not finite"),
    "infinite": ([GREY, ("Sub", ("grey", "grey"), "zero"), ("Div", ("half", "zero"), "output")], {"half": HALF},
                 "not finite"),
    "levels to 255": ([GREY, ("Mul", ("grey", "most"), "output")], {"most": np.float32([255])},
                      "expected numbers from 0 to 1")}


@pytest.mark.parametrize("kind", BAD_OUTPUTS)
def test_a_network_that_gives_no_matte_ends_the_run_by_its_name(kind: str, tmp_path: Path) -> None:
    nodes, more, said = BAD_OUTPUTS[kind]
    path = write(tmp_path / "x.onnx", *nodes, mean=MEAN, **more)
    matting = Matting(path, ref_size=64)
    with pytest.raises(NetworkError, match=f"x.onnx .*{said}"):
        matting.alpha(PICTURE)
    with pytest.raises(NetworkError, match=f"x.onnx .*{said}"):
        matting.finish(matting.start(PICTURE))
    with pytest.raises((NetworkError, ValueError), match="x.onnx"):
        convert_openvino(path, tmp_path / "out" / "x.xml", precision="fp32")
    assert not list(tmp_path.glob("out/*"))


BAD_NETWORKS = {
    "whole numbers in": ([("Cast", ("input",), "float", {"to": FLOAT}), ("Conv", ("float", "mean"), "output")],
                         {"takes": TensorProto.INT32}, ": its image is of type i32, expected f32 or f16"),
    "bytes out": ([GREY, ("Cast", ("grey",), "output", {"to": TensorProto.UINT8})], {"gives": TensorProto.UINT8},
                  ": its matte is of type u8"),
    "weights that are none": ([("Conv", ("input", "mean"), "output")], {"mean": MEAN * np.nan},
                              "weights that are not finite"),
    "negative variance": ([GREY, ("BatchNormalization", ("grey", "one", "nil", "nil", "minus"), "output")],
                          {"one": np.float32([1]), "nil": np.float32([0]), "minus": np.float32([-1])},
                          "negative variance|not finite"),
    "larger than memory": ([("Conv", ("input", "mean"), "output")], {"side": (2 ** 17, 2 ** 17), "out": (2 ** 17, 2 ** 17)},
                           "takes pictures of 131072x131072, allowed")}


@pytest.mark.parametrize("kind", BAD_NETWORKS)
def test_a_network_that_cannot_be_one_is_refused_when_it_is_loaded(kind: str, tmp_path: Path) -> None:
    nodes, more, said = BAD_NETWORKS[kind]
    path = write(tmp_path / "x.onnx", *nodes, **({"mean": MEAN} | more))
    with pytest.raises(ValueError, match=f"x.onnx.*({said})"):
        Matting(path)


@pytest.fixture(scope="module")
def converted(tiny_onnx: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedded") / "x.xml"
    convert_openvino(tiny_onnx["free"], path, precision="fp32", embed=True)
    return path


@pytest.fixture
def embedded(converted: Path, tmp_path: Path) -> Path:
    shutil.copy(converted.with_suffix(".bin"), tmp_path)
    return Path(shutil.copy(converted, tmp_path))


@pytest.mark.parametrize("said", ["0", "-512", "abc", "100000", "9" * 5000, "512.5", "", "nan"])
def test_a_reference_size_that_cannot_be_is_shown_short(said: str, embedded: Path) -> None:
    embedded.write_text(re.sub(r'<ref_size value="\d+"', f'<ref_size value="{said}"', embedded.read_text()))
    with pytest.raises(ValueError, match=r"x.xml says ref_size .*, allowed are whole numbers from 32 to 2048") as raised:
        Matting(embedded)
    assert len(str(raised.value)) < 300


def test_weights_of_an_ir_that_are_not_finite_stop_pictures_and_videos_before_the_first(embedded: Path, capsys) -> None:
    weights = bytearray(embedded.with_suffix(".bin").read_bytes())
    weights[-4004:-4000] = np.float32([np.inf]).tobytes()
    embedded.with_suffix(".bin").write_bytes(weights)
    args = ["--model-path", str(embedded), "--output-dir", str(embedded.parent / "out"), "--image-path", "data/img.jpg"]
    assert run_script(lambda: inference_openvino.main(args)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "x.xml holds weights that are not finite" in said
    assert not (embedded.parent / "out").exists()


def test_one_line_alone_for_what_onnx_and_openvino_say_in_many(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"hello" * 100)
    for script, name in (("inference_openvino.py", "--model-path"), ("onnx/convert_openvino.py", "--onnx-path")):
        done = run(script, name, tmp_path / "x.onnx")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "x.onnx" in done.stderr, done.stderr


def test_messages_of_libraries_are_shown_where_nothing_went_wrong(capfd) -> None:
    import os

    with messages_held():
        os.write(2, b"a warning of C++\n")
    with pytest.raises(ValueError), messages_held():
        os.write(2, b"three lines of C++\n")
        raise ValueError
    assert capfd.readouterr().err == "a warning of C++\n"


def test_an_onnx_file_is_evaluated_too(tiny_onnx: dict[str, Path]) -> None:
    from src.evaluation.predict import load_predictor

    found, expected = (load_predictor(tiny_onnx["free"].with_name(name))(PICTURE) for name in ("free.onnx", "tiny.ckpt"))
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("kind", ["f16", "f32", "f64", "bf16", "f8e4m3", "f8e5m2"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_constant_of_any_float_type_is_looked_at(kind: str, value: float) -> None:
    if kind == "f8e4m3" and np.isinf(value):
        pytest.skip("this type has no infinity")
    for values, finite in (([0.5, value, 1.0], False), ([0.5, -1.875, 1.0], True)):
        constant = openvino.op.Constant(getattr(openvino.Type, kind), openvino.Shape([3]), values)
        assert are_finite(constant.data, kind) == finite


def in_bodies(kind: str, path: Path) -> Path:
    """A network whose only weight that is no number stands inside a condition or a loop."""
    value, flag, bad = helper.make_tensor_value_info, TensorProto.BOOL, numpy_helper.from_array(np.float32([np.nan]), "bad")
    if kind == "If":
        add = helper.make_node("Add", ["grey", "bad"], ["y"])
        yes = helper.make_graph([add], "yes", [], [value("y", FLOAT, None)], [bad])
        no = helper.make_graph([helper.make_node("Identity", ["grey"], ["n"])], "no", [], [value("n", FLOAT, None)])
        nodes = [("Greater", ["most", "half"], ["c"], {}),
                 ("If", ["c"], ["output"], {"then_branch": no, "else_branch": yes})]
    else:
        body = helper.make_graph([helper.make_node("Add", ["x", "bad"], ["y"]), helper.make_node("Identity", ["c"], ["d"])],
                                 "body", [value("i", TensorProto.INT64, []), value("c", flag, []), value("x", FLOAT, None)],
                                 [value("d", flag, []), value("y", FLOAT, None)], [bad])
        nodes = [("Cast", ["most"], ["n"], {"to": TensorProto.INT64}),
                 ("Loop", ["n", "", "grey"], ["output"], {"body": body})]
    nodes = [("Conv", ["input", "mean"], ["grey"], {}), ("ReduceMax", ["grey"], ["most"], {"keepdims": 0}), *nodes]
    graph = helper.make_graph([helper.make_node(name, into, to, **more) for name, into, to, more in nodes], "g",
                              [value("input", FLOAT, ["n", 3, "h", "w"])], [value("output", FLOAT, ["n", 1, "h", "w"])],
                              [numpy_helper.from_array(MEAN, "mean"), numpy_helper.from_array(np.float32(0.5), "half")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("kind", ["If", "Loop"])
def test_weights_inside_conditions_and_loops_are_looked_at_in_onnx_and_ir(kind: str, tmp_path: Path) -> None:
    path = in_bodies(kind, tmp_path / "x.onnx")
    openvino.save_model(openvino.convert_model(path), tmp_path / "y.xml")
    for name in ("x.onnx", "y.xml"):
        with pytest.raises(ValueError, match=f"{name} holds weights that are not finite"):
            Matting(tmp_path / name)


def test_a_network_that_gives_no_matte_ends_every_script_with_one_line(
        tmp_path: Path, discs: Path, capsys, monkeypatch) -> None:
    nodes, more, _ = BAD_OUTPUTS["no numbers"]
    path = write(tmp_path / "x.onnx", *nodes, mean=MEAN, **more)
    clip, folder = write_video(tmp_path / "v.mp4", [PICTURE] * 2), discs / "val" / "fg"
    for main, args in (*((inference_openvino.main, ["--model-path", path, "--image-path", what])
                         for what in (folder / "0.png", folder, clip)),
                       (evaluate, ["--ckpt-path", path, "--data-dir", discs])):
        assert status_of(main, *args, "--output-dir", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "x.onnx gives a matte with values that are not finite" in said
    for options in (["--watch", "--image-path", folder], ["--image-path", "-"], ["--image-path", "-", "--output", "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((folder / "0.png").read_bytes())))
        assert status_of(inference_openvino.main, "--model-path", path, *options, "--output-dir", tmp_path / "out") == 2
        said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("watching ")]
        assert said == [f"error: {path} gives a matte with values that are not finite"]
    pytest.importorskip("nncf")
    with pytest.raises(NetworkError, match="x.onnx gives a matte with values that are not finite"):
        convert_openvino(path, tmp_path / "out" / "x.xml", precision="int8", calibration=[PICTURE])
    assert not list(tmp_path.glob("out/*"))


def test_a_member_of_a_cluster_hands_back_that_no_picture_can_be_done(tmp_path: Path, discs: Path) -> None:
    from src.runtime.actor import Actor, Work

    nodes, more, _ = BAD_OUTPUTS["no numbers"]
    path = write(tmp_path / "x.onnx", *nodes, mean=MEAN, **more)
    look = {"save": ["alpha"], "background": "255,255,255", "foreground": "fast"}
    actor = Actor(Work({"model_path": path}, tmp_path / "out", 10 ** 6, look, look | {"alpha_video": "prores"}))
    clip = write_video(tmp_path / "v.mp4", [PICTURE] * 2)
    for row in ({"file": str(discs / "val/fg/0.png"), "folder": str(tmp_path / "out"), "kind": "picture"},
                {"file": str(clip), "folder": str(tmp_path / "out"), "kind": "video"}):
        assert f"{path} gives a matte with values that are not finite" in actor(row)["fatal"]
    assert not list(tmp_path.glob("out/*"))
