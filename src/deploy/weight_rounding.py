"""Round weights to what INT8 holds so that a layer's outputs, and not the weights by themselves, stay what they were.

By GPTQ (Frantar et al. 2023): column by column, what rounding one weight does to the outputs is made up for by the weights
still to come, as their inputs go together in pictures; then single weights move by a step where that helps. It costs
nothing when the network runs. A depthwise row with one weight of 50 has steps of 0.4; rounded to the nearest, its sum can
move by more than ReLU6 lets through.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from src.console import progress_bar

if TYPE_CHECKING:
    from openvino import Model, Node

LAYERS = ("Convolution", "GroupConvolution", "MatMul")
LEVELS = 127
# The step of a row, as parts of the one that holds its largest weight: a smaller step clips that and rounds the others less.
STEPS = (1.0, 0.97, 0.94, 0.9, 0.86, 0.8, 0.72, 0.64)
# Of the mean square of an input: keeps the inverse of the moments stable, and weights near what they were.
DAMPING = 0.01
PLACES = 600
MOVES = 64


def weighted_layers(model: Model) -> list[Node]:
    """List the convolutions and linear layers whose weights are constants."""
    return [op for op in model.get_ordered_ops()
            if op.get_type_name() in LAYERS and op.input_value(1).get_node().get_type_name() == "Constant"]


def rounded_weights(model: Model, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return new weights, of the old shapes, for the layers of `model` by their names, for inputs as those in `batches`
    (N, 3, H, W): each row is a whole number from -127 to 127, one of them at an end, times a step of its own."""
    moments = input_moments(model, batches)
    return {op.get_friendly_name(): _rounded(op, moments[op.get_friendly_name()])
            for op in progress_bar(weighted_layers(model), desc="round weights", unit="layer")}


def with_weights(model: Model, weights: dict[str, np.ndarray]) -> Model:
    """Copy `model` with these weights in the layers of these names."""
    from openvino import opset13

    copy = model.clone()
    for op in weighted_layers(copy):
        if op.get_friendly_name() in weights:
            constant = opset13.constant(weights[op.get_friendly_name()])
            constant.set_friendly_name(op.input_value(1).get_node().get_friendly_name())
            op.input(1).replace_source_output(constant.output(0))
    return copy


def input_moments(model: Model, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the second moments of what the rows of each layer read, by its name: (1, K, K), or (C, K, K) for a depthwise
    one, over `PLACES` places a picture."""
    import openvino

    from src.runtime.network import shared_core

    copy, rng = model.clone(), np.random.default_rng(0)
    layers = weighted_layers(copy)
    probe = openvino.Model([openvino.opset13.result(op.input_value(0)) for op in layers], copy.get_parameters())
    network = shared_core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    sums: dict[str, np.ndarray] = {}
    for batch in progress_bar(batches, desc="look at layers", unit="picture"):
        values = network([batch])
        for number, op in enumerate(layers):
            read = _read_by_rows(op, values[number], rng).astype(np.float64)
            found = read.transpose(0, 2, 1) @ read / read.shape[1]
            sums[op.get_friendly_name()] = sums.get(op.get_friendly_name(), 0) + found / len(batches)
    return sums


def _read_by_rows(op: Node, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what the rows of weights are multiplied with at some places: (1, places, K), depthwise (C, places, K)."""
    if op.get_type_name() == "MatMul":
        return value.reshape(1, -1, value.shape[-1])
    attributes, (height, width) = op.get_attributes(), op.input_value(1).get_node().shape[-2:]
    sides = zip(attributes["pads_begin"], attributes["pads_end"], strict=True)
    padded = np.pad(value[0], ((0, 0), *sides))
    down, across = attributes["strides"]
    rows, columns = (padded.shape[1] - height) // down + 1, (padded.shape[2] - width) // across + 1
    places = rng.choice(rows * columns, min(PLACES, rows * columns), replace=False)
    y, x = places // columns * down, places % columns * across
    read = np.stack([padded[:, y + i, x + j] for i in range(height) for j in range(width)], 2)
    return read if op.get_type_name() == "GroupConvolution" else read.transpose(1, 0, 2).reshape(1, len(places), -1)


def _rounded(op: Node, moments: np.ndarray) -> np.ndarray:
    weight = op.input_value(1).get_node().data
    turned = op.get_type_name() == "MatMul" and not op.get_attributes()["transpose_b"]
    rows = weight.T if turned else weight
    found = round_rows(rows.reshape(len(rows), -1).astype(np.float64), moments).astype(weight.dtype).reshape(rows.shape)
    return np.ascontiguousarray(found.T if turned else found)


def round_rows(weight: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Round rows (R, K) for inputs with these second moments (1 or R, K, K); zeros stay zeros.

    A row of a depthwise convolution has moments of its own.
    """
    rounded = weight.copy()
    patterns, which = np.unique(weight != 0, axis=0, return_inverse=True)
    for number, used in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == number)
        if used.any():
            own = moments[rows] if len(moments) > 1 else moments
            rounded[np.ix_(rows, used)] = _best_steps(weight[np.ix_(rows, used)], own[:, used][:, :, used])
    return rounded


def _best_steps(weight: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Round rows without zeros, each with that of `STEPS` which changes its outputs least."""
    squares = np.einsum("rkk->rk", moments)
    damped = moments + DAMPING * (squares.mean(1) + np.finfo(np.float32).tiny)[:, None, None] * np.eye(weight.shape[1])
    # The columns that are read the most go first, while others are left to make up for them.
    order = np.argsort(-squares.mean(0))
    factor = np.linalg.cholesky(np.linalg.inv(damped[:, order][:, :, order])).transpose(0, 2, 1)
    best, least = weight.copy(), np.full(len(weight), np.inf)
    for part in STEPS:
        step = np.abs(weight).max(1, keepdims=True) * part / LEVELS
        by_columns = np.empty_like(weight)
        by_columns[:, order] = _whole_numbers(weight[:, order], step[:, 0], factor)
        for start in (by_columns, np.clip(np.rint(weight / step), -LEVELS, LEVELS)):
            whole = _descended(start, weight, step, damped)
            off = weight - whole * step
            loss = (off[:, None] @ damped @ off[:, :, None])[:, 0, 0]
            # Only a row with an end in it has the same step when a quantiser takes it from the row's largest weight.
            better = (np.abs(whole).max(1) == LEVELS) & (loss < least)
            best[better], least[better] = (whole * step)[better], loss[better]
    return best


def _whole_numbers(weight: np.ndarray, step: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Round column by column; `factor` is the upper Cholesky factor of the inverse of the moments."""
    left, whole = weight.copy(), np.empty_like(weight)
    for column in range(weight.shape[1]):
        whole[:, column] = np.clip(np.rint(left[:, column] / step), -LEVELS, LEVELS)
        missed = (left[:, column] - whole[:, column] * step) / factor[:, column, column]
        left[:, column + 1:] -= missed[:, None] * factor[:, column, column + 1:]
    return whole


def _descended(whole: np.ndarray, weight: np.ndarray, step: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Move one weight of each row by one step, that which helps most, as long as one helps; ends stay."""
    whole, rows = whole.copy(), np.arange(len(weight))
    slope = ((whole * step - weight)[:, None] @ moments)[:, 0]
    squares = np.broadcast_to(np.einsum("rkk->rk", moments), weight.shape)
    for _ in range(MOVES):
        change = step ** 2 * squares - 2 * step * np.abs(slope)
        change[np.abs(whole) == LEVELS] = 0
        column = change.argmin(1)
        helps = change[rows, column] < 0
        if not helps.any():
            break
        sign = -np.sign(slope[rows, column]) * helps
        whole[rows, column] += sign
        of_column = moments[rows, column] if len(moments) > 1 else moments[0, column]
        slope += (sign[:, None] * step) * of_column
    return whole
