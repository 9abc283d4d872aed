"""The network with its pre-processing inside, against the one of floats."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from src.deploy.embedded_input import embed_input
from src.media.preprocess import normalise
from src.runtime.metadata import embedded_info
from src.runtime.network import shared_core

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def compiled(model: openvino.Model) -> openvino.CompiledModel:
    return shared_core().compile_model(model, "CPU", EXACT)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def free(tiny_xml: dict[str, Path]) -> tuple[openvino.CompiledModel, openvino.CompiledModel]:
    """The network of floats and the embedded one, by way of a file."""
    core = shared_core()
    path = tiny_xml["free"].with_name("embedded.xml")
    openvino.save_model(embed_input(core.read_model(tiny_xml["free"])), path, compress_to_fp16=False)
    return compiled(core.read_model(tiny_xml["free"])), compiled(core.read_model(path))


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_a_picture_of_multiples_of_32_gives_the_matte_of_the_floats(free, size: tuple[int, int]) -> None:
    floats, bytes_ = free
    image = picture(*size)
    expected = floats([normalise(image)[None]])[0]
    assert expected.std() > 0.02
    np.testing.assert_allclose(bytes_([image[None]])[0], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(33, 95), (65, 64), (100, 57)])
def test_another_size_is_the_matte_of_the_picture_with_its_last_row_and_column_repeated(free, size) -> None:
    floats, bytes_ = free
    image = picture(*size)
    height, width = size
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), "edge")
    found = bytes_([image[None]])[0]
    assert found.shape == (1, 1, height, width) and found.dtype == np.float32
    np.testing.assert_allclose(found, floats([normalise(padded)[None]])[0][:, :, :height, :width], atol=1e-4)


def test_ports_and_info_are_those_that_inference_reads(free, tiny_xml: dict[str, Path]) -> None:
    model = shared_core().read_model(tiny_xml["free"].with_name("embedded.xml"))
    image, alpha = model.input(0), model.output(0)
    assert (image.get_any_name(), str(image.get_element_type().get_type_name())) == ("image", "u8")
    assert alpha.get_any_name() == "alpha" and str(alpha.get_element_type().get_type_name()) == "f32"
    info = embedded_info(model)
    assert (info["input"], info["precision"], info["ref_size"]) == ("u8_nhwc_rgb", "fp32", "512") and info["openvino"]
    assert embedded_info(shared_core().read_model(tiny_xml["free"])) is None


def test_a_network_of_one_size_keeps_it(tiny_xml: dict[str, Path]) -> None:
    core, image = shared_core(), picture(64, 96)
    model = embed_input(core.read_model(tiny_xml["static"]), precision="fp16", source="x.onnx")
    assert list(model.input(0).shape) == [1, 64, 96, 3] and list(model.output(0).shape) == [1, 1, 64, 96]
    assert (embedded_info(model)["precision"], embedded_info(model)["source"]) == ("fp16", "x.onnx")
    expected = compiled(core.read_model(tiny_xml["static"]))([normalise(image)[None]])[0]
    np.testing.assert_allclose(compiled(model)([image[None]])[0], expected, atol=1e-4)


def test_reshaped_to_one_size_nothing_of_the_resizing_is_left(tiny_xml: dict[str, Path]) -> None:
    model = embed_input(shared_core().read_model(tiny_xml["free"]))
    model.reshape([1, 64, 96, 3])
    kinds = {op.get_rt_info()["layerType"].astype(str) for op in compiled(model).get_runtime_model().get_ops()}
    assert kinds and not kinds & {"Pad", "ShapeOf"}
