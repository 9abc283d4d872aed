"""What is changed of a quantised network, by networks of a few operators."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("openvino")

import openvino
from openvino import Model, opset13

from src.deploy.quantised_graph import spare_passes
from src.runtime.network import shared_core


def quantised(value: object, top: float) -> object:
    ends = [np.float32(end) for end in (0, top, 0, top)]
    return opset13.fake_quantize(value, *ends, 256)


def convolution(value: object, weight: np.ndarray) -> object:
    return opset13.convolution(value, weight, [1, 1], [0, 0], [0, 0], [1, 1])


def network(*, quantise_cut: bool = True) -> Model:
    """A map that one convolution reads quantised, and another one a row of it."""
    rng = np.random.default_rng(0)
    image = opset13.parameter([1, 4, -1, 8], np.float32)
    whole = opset13.relu(image)
    weights = [rng.normal(size=(4, 4, 1, 1)).astype(np.float32) for _ in range(2)]
    row = opset13.slice(whole, *(np.array([value], np.int64) for value in (0, 1, 1, 2)))
    row = convolution(quantised(row, 2) if quantise_cut else row, weights[0])
    inner = opset13.add(convolution(quantised(whole, 4), weights[1]), np.ones((1, 4, 1, 1), np.float32))
    return Model([opset13.result(row), opset13.result(inner)], [image], "x")


def counts(model: Model) -> dict[str, int]:
    kinds = [op.get_type_name() for op in model.get_ops()]
    return {kind: kinds.count(kind) for kind in ("FakeQuantize", "Add", "Slice")}


def infer(model: Model, image: np.ndarray) -> list[np.ndarray]:
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled([image]).values()]


@pytest.mark.parametrize("quantise_cut", [True, False])
def test_a_slice_reads_what_is_quantised_once(quantise_cut: bool) -> None:
    model = network(quantise_cut=quantise_cut)
    spare_passes(model)
    assert counts(model) == {"FakeQuantize": 1, "Add": 2, "Slice": 1}
    cut, = (op for op in model.get_ops() if op.get_type_name() == "Slice")
    assert cut.input_value(0).get_node().get_type_name() == "FakeQuantize"


def test_the_outputs_stay_where_the_ranges_were_equal() -> None:
    # Multiples of the step of both ranges, up to the end of the lesser one.
    image = np.random.default_rng(1).integers(0, 128, (1, 4, 6, 8)).astype(np.float32) * np.float32(4 / 255)
    before, after = network(quantise_cut=False), network()
    spare_passes(after)
    for one, other in zip(infer(before, image), infer(after, image), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_bias_that_is_there_stays_alone() -> None:
    model = network()
    spare_passes(model)
    spare_passes(model)
    assert counts(model)["Add"] == 2


def test_the_scale_of_a_convolution_without_bias_is_taken_into_it() -> None:
    rng = np.random.default_rng(2)
    image = opset13.parameter([1, 16, 32, 32], np.float32)
    weight = rng.normal(size=(16, 16, 3, 3)).astype(np.float32)
    top = np.abs(weight).max((1, 2, 3), keepdims=True)
    rounded = opset13.fake_quantize(opset13.constant(weight), -top, top, -top, top, 255)
    found = convolution(quantised(image, 1), rounded)
    readers = [opset13.reduce_mean(found, np.array([2, 3]), True), opset13.reduce_l2(found, np.array([2, 3]), True)]
    model = Model([opset13.result(reader) for reader in readers], [image], "x")

    def passes() -> int:
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return sum(op.get_rt_info()["layerType"] == "Subgraph" for op in compiled.get_runtime_model().get_ops())

    before = passes()
    spare_passes(model)
    assert passes() < before


def test_only_what_int8_layers_and_residuals_read_is_quantised() -> None:
    image = opset13.parameter([1, 4, 8, 8], np.float32)
    read, cut, normed, added = (quantised(opset13.relu(image), top) for top in (1, 2, 3, 4))
    layers = [convolution(value, np.ones((4, 4, 1, 1), np.float32)) for value in (
        read, opset13.slice(cut, *(np.array([number], np.int64) for number in (0, 4, 1, 2))))]
    norm = opset13.mvn(normed, np.array([2, 3], np.int64), True, 1e-5, "inside_sqrt")
    ends = [np.float32(end) for end in (-1, 1, -1, 1)]
    weight = opset13.fake_quantize(opset13.constant(np.ones((4, 4, 1, 1), np.float32)), *ends, 255)
    found = [*layers, norm, opset13.add(added, image), convolution(read, weight)]
    model = Model([opset13.result(value) for value in found], [image], "x")
    spare_passes(model)
    tops = [op.input_value(2).get_node().data for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]
    assert sorted(map(float, tops)) == [1, 1, 2, 4]
