"""Weights of INT8 that keep a layer's outputs."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

from src.deploy.weight_rounding import LEVELS, round_rows


def nearest(weight: np.ndarray) -> np.ndarray:
    """What a quantiser does by itself."""
    step = np.abs(weight).max(1, keepdims=True) / LEVELS
    return np.rint(weight / step) * step


def loss(off: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The mean square of what rows that are `off` (R, K) change in the outputs."""
    return np.einsum("rk,kl,rl->r", off, moments, off)


@pytest.fixture(scope="module")
def moments() -> np.ndarray:
    inputs = np.random.default_rng(0).uniform(4, 6, (500, 9))
    return inputs.T @ inputs / 500


def test_a_row_with_one_huge_weight_keeps_its_sum_for_inputs_that_are_alike(moments: np.ndarray) -> None:
    row = np.array([[0.19, 0.18, 0.17, 0.19, 54.0, 0.18, 0.19, 0.17, 0.18]])
    found = round_rows(row, moments[None])
    assert abs((nearest(row) - row).sum()) > 1.4
    assert loss(found - row, moments)[0] < 0.1 * loss(nearest(row) - row, moments)[0]


def test_no_choice_of_up_or_down_is_much_better_on_few_weights(moments: np.ndarray) -> None:
    row, few = np.array([[0.3, -7.3, 50.2, 1.7]]), moments[:4, :4]
    step = 50.2 / LEVELS
    best = min(loss((np.floor(row / step) + ups) * step - row, few)[0] for ups in itertools.product((0, 1), repeat=4))
    assert loss(round_rows(row, few[None]) - row, few)[0] <= 1.5 * best


def test_rows_are_whole_numbers_of_a_step_with_an_end_in_each(moments: np.ndarray) -> None:
    weight = np.random.default_rng(1).normal(size=(16, 9)) ** 3
    weight[3], weight[4, 2:] = 0, 0
    found = round_rows(weight, moments[None])
    assert not found[weight == 0].any()
    some = np.delete(found, 3, 0)
    np.testing.assert_allclose(nearest(some), some, atol=1e-9)
    off = [loss(np.delete(rounded - weight, 3, 0), moments) for rounded in (found, nearest(weight + 1e-12))]
    assert off[0].sum() < 0.2 * off[1].sum()


def test_rows_of_a_depthwise_layer_are_rounded_for_the_inputs_of_their_own_channel() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(300, 3, 9)) + rng.normal(size=(1, 3, 9)) * 4
    own = np.einsum("ncj,nck->cjk", inputs, inputs) / 300
    weight = rng.normal(size=(3, 9)) ** 3
    found = round_rows(weight, own)
    np.testing.assert_allclose(round_rows(weight[::-1], own[::-1])[::-1], found)
    moved = np.array([[loss((rounded - weight)[row:row + 1], own[row])[0] for row in range(3)]
                      for rounded in (found, nearest(weight))])
    assert (moved[0] <= moved[1] + 1e-9).all() and moved[0, 1] < 0.2 * moved[1, 1]


@pytest.mark.parametrize("kind", ["depthwise", "stride", "linear"])
def test_moments_are_those_of_the_patches_that_a_layer_reads(kind: str) -> None:
    openvino = pytest.importorskip("openvino")
    from src.deploy.weight_rounding import input_moments, rounded_weights

    torch, opset = pytest.importorskip("torch"), openvino.opset13
    rng = np.random.default_rng(3)
    image = rng.normal(size=(1, 3, 12, 10)).astype(np.float32)
    entry = opset.parameter(list(image.shape), np.float32)
    if kind == "linear":
        flat = opset.reshape(entry, np.array([36, 10]), special_zero=False)
        layer = opset.matmul(flat, rng.normal(size=(10, 4)).astype(np.float32), False, False)
        expected = (rows := image.reshape(36, 10)).T @ rows / 36
    elif kind == "depthwise":
        weight = rng.normal(size=(3, 1, 1, 3, 3)).astype(np.float32)
        layer = opset.group_convolution(entry, weight, [1, 1], [1, 1], [1, 1], [1, 1])
        patches = torch.nn.functional.unfold(torch.from_numpy(image), 3, padding=1)[0].reshape(3, 9, -1)
        expected = (patches @ patches.transpose(1, 2) / patches.shape[2]).numpy()
    else:
        layer = opset.convolution(entry, rng.normal(size=(5, 3, 3, 2)).astype(np.float32), [2, 1], [1, 0], [1, 0], [1, 1])
        patches = torch.nn.functional.unfold(torch.from_numpy(image), (3, 2), padding=(1, 0), stride=(2, 1))[0]
        expected = (patches @ patches.T / patches.shape[1]).numpy()
    layer.set_friendly_name("layer")
    model = openvino.Model([opset.result(layer)], [entry])
    np.testing.assert_allclose(np.squeeze(input_moments(model, [image])["layer"]), expected, rtol=1e-4, atol=1e-4)
    assert rounded_weights(model, [image])["layer"].shape == layer.input_value(1).get_node().data.shape
