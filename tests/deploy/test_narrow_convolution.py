"""Convolutions of few channels against the same ones as they were."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from openvino import opset13

from src.deploy.narrow_convolution import pair_columns
from src.runtime.network import shared_core

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def one_layer(channels: int, *, bias: bool, kernel: int = 3, stride: int = 1) -> openvino.Model:
    rng = np.random.default_rng(0)
    image = opset13.parameter([1, 5, -1, -1], np.float32)
    pad = [kernel // 2] * 2
    layer = opset13.convolution(image, rng.normal(size=(channels, 5, kernel, kernel)).astype(np.float32),
                                [stride] * 2, pad, pad, [1, 1])
    if bias:
        layer = opset13.add(layer, rng.normal(size=(1, channels, 1, 1)).astype(np.float32))
    return openvino.Model([opset13.result(opset13.relu(layer))], [image])


def answer(model: openvino.Model, image: np.ndarray) -> np.ndarray:
    return shared_core().compile_model(model, "CPU", EXACT)([image])[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("channels", "size"), [(8, (7, 10)), (3, (16, 6)), (1, (2, 2))])
def test_a_narrow_convolution_gives_what_it_gave(channels: int, size: tuple[int, int], bias: bool) -> None:
    image = np.random.default_rng(1).normal(size=(1, 5, *size)).astype(np.float32)
    expected, model = answer(one_layer(channels, bias=bias), image), one_layer(channels, bias=bias)
    assert pair_columns(model) == 1
    kernels = [list(op.input_value(1).shape) for op in model.get_ops() if op.get_type_name() == "Convolution"]
    assert kernels == [[2 * channels, 5, 3, 4]]
    np.testing.assert_allclose(answer(model, image), expected, atol=1e-5)


@pytest.mark.parametrize("other", [{"channels": 9}, {"channels": 4, "kernel": 1}, {"channels": 4, "stride": 2}])
def test_any_other_convolution_stays(other: dict) -> None:
    model = one_layer(**other, bias=True)
    assert pair_columns(model) == 0


def test_the_matte_is_the_same_at_any_size(tiny_onnx: dict[str, Path]) -> None:
    core = shared_core()
    model = core.read_model(str(tiny_onnx["free"]))
    assert pair_columns(model) > 5
    for size in ((64, 64), (96, 160)):
        image = np.random.default_rng(2).uniform(-1, 1, (1, 3, *size)).astype(np.float32)
        np.testing.assert_allclose(answer(model, image), answer(core.read_model(str(tiny_onnx["free"])), image), atol=5e-4)
