"""Quantise a network to INT8 after training (NNCF), and choose which layers stay in float."""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.console import progress_bar
from src.deploy.quantised_graph import spare_passes
from src.deploy.weight_rounding import rounded_weights, with_weights
from src.media.picture_formats import list_images
from src.media.picture_reader import read_image
from src.media.preprocess import REF_SIZE, area_resize, checked_size, normalise, to_byte_input
from src.runtime.network import check_matte, shared_core
from src.script import ROOT

if TYPE_CHECKING:
    from openvino import Model, Output

SAMPLE = ROOT / "data" / "sample" / "train" / "fg"
# More pictures cost time and move the ranges little.
MOST_PICTURES = 40
# The ranking of the layers by what they cost in accuracy needs a look at few, and so does the rounding of their weights.
RANKED_PICTURES = 6
ROUNDED_PICTURES = 10
VERSIONS = 10
MOST_IN_FLOAT = 2 / 3
# What an IBNorm reads (layers.1 of a ConvIBNormReLU, whose instance norm OpenVINO names by its type alone), and the last
# stage's statistics at half size: NNCF quantises the convolution's outputs there, and a pass of its own makes floats of
# them for the norm. Which way is nearer differs.
NORMS, NORM_TYPES = (r".*/layers\.1/.*", r".*/conv_f/(Mul|Add|ReduceL2|ReduceMean).*"), ("MVN",)
QUANTISED = ("Convolution", "GroupConvolution", "MatMul")
# `/model/hr_branch/conv_hr2x/conv_hr2x.0/layers/...` -> `hr_branch/conv_hr2x/conv_hr2x.0`, as the ONNX export names layers.
MODULE = re.compile(r"(features\.\d+|(?:lr|hr|f)_branch/\w+(?:/\w+\.\d+)?)(?=/)")


class Quantised(NamedTuple):
    """An INT8 network, the mean absolute difference of its mattes from the float ones on the calibration pictures, and
    the groups of layers that stayed in float."""

    model: Model
    mad: float
    in_float: list[str]


def calibration_pictures(calib_dir: Path | None = None, *, ref_size: int = REF_SIZE, most: int = MOST_PICTURES
                         ) -> list[np.ndarray]:
    """Return pictures (H, W, 3) uint8 RGB at the network's size: of a folder (at most `most`, evenly spread over its sorted
    names), or of the shipped portraits, each in one of its versions by turns (`augmented`).

    Raises `FileNotFoundError`, or `ValueError` for a folder without pictures and naming a file that is none, or too long and
    thin.
    """
    files = list_images(calib_dir or SAMPLE)
    if not files:
        raise ValueError(f"no pictures in calib-dir {calib_dir}")
    pictures = [_read(path, ref_size) for path in progress_bar(_spread(files, most), desc="read", unit="picture")]
    if not calib_dir:
        pictures = [augmented(picture)[number % VERSIONS] for number, picture in enumerate(pictures)]
    return [to_byte_input(picture, ref_size)[0] for picture in pictures]


def _read(path: Path, ref_size: int) -> np.ndarray:
    picture = read_image(path)
    checked_size(*picture.shape[:2], ref_size, path)
    return picture


def augmented(picture: np.ndarray) -> list[np.ndarray]:
    """Make ten versions of a picture (H, W, 3) uint8: crops, mirrored, darker and brighter."""
    height, width = (3 * side // 4 for side in picture.shape[:2])
    crops = [picture, picture[:height], picture[-height:], picture[:, :width], picture[:, -width:]]
    mirrored = crops + [crop[:, ::-1] for crop in crops]
    return [np.clip(np.rint(version * (0.7, 1.0, 1.3)[number % 3]), 0, 255).astype(np.uint8)
            for number, version in enumerate(mirrored)]


def mattes(model: Model, pictures: Sequence[np.ndarray], name: object = "the network") -> list[np.ndarray]:
    """Compute the mattes that a network of floats (N, 3, H, W) gives for each picture, in float32 where it is not INT8.

    Raises `NetworkError` with the `name` of the model for one that is none.
    """
    network = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = []
    for picture in pictures:
        batch = _batch(model, picture)
        found.append(network([batch])[0].copy())
        check_matte(found[-1][0, 0], batch.shape[2:], name)
    return found


def _batch(model: Model, picture: np.ndarray) -> np.ndarray:
    sides = list(model.input(0).partial_shape)[2:]
    if all(side.is_static for side in sides):
        picture = np.rint(area_resize(picture, *(side.get_length() for side in sides))).astype(np.uint8)
    return normalise(picture)[None]


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Compute the mean absolute difference, the mean over pictures."""
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(found, expected, strict=True)]))


def quantise(model: Model, pictures: Sequence[np.ndarray], *, max_drop: float | None = None,
             name: object = "the network") -> Quantised:
    """Quantise `model`, a matting network of floats, to INT8, calibrated on `pictures` (H, W, 3) uint8, its weights by
    `rounded_weights`; what norms read is INT8 or float, whichever brings the mattes nearer.

    With `max_drop`, groups of layers go back to float, those whose float helps the most first (1, 2, 4, ... of them), until
    the mattes of the pictures differ by at most that on the mean. Raises `ValueError` if two thirds are not enough, and
    `NetworkError` with the `name` of the model where it gives no matte, in floats or in INT8.
    """
    expected = mattes(model, pictures, name)
    weights = rounded_weights(model, [_batch(model, picture) for picture in _spread(pictures, ROUNDED_PICTURES)])
    rounded, tried = with_weights(model, weights), []
    for norms in ((), NORMS):
        found = _quantise(rounded, pictures, [], norms)
        tried.append((difference(mattes(found, pictures, f"{name} in INT8"), expected), norms, found))
    mad, norms, found = min(tried, key=lambda way: way[0])
    if max_drop is None or mad <= max_drop:
        return Quantised(found, mad, [])
    groups = layer_groups(found)
    ranked, count = rank(found, model, groups, pictures, expected), 1
    while count <= MOST_IN_FLOAT * len(groups):
        kept = {layer: weight for layer, weight in weights.items() if group_of(layer) not in ranked[:count]}
        found = _quantise(with_weights(model, kept), pictures, ranked[:count], norms)
        mad = difference(mattes(found, pictures, f"{name} in INT8"), expected)
        if mad <= max_drop:
            return Quantised(found, mad, ranked[:count])
        count *= 2
    raise ValueError(f"max-drop is {max_drop:g}, but with {count // 2} of {len(groups)} groups of layers in float the "
                     f"mattes still differ by {mad:.2e}: allow more, or take precision fp16")


def _spread(items: Sequence, most: int) -> list:
    """Return at most so many of the items, evenly over all."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).astype(int))]


def quantise_roughly(model: Model, pictures: Sequence[np.ndarray]) -> Model:
    """Return `model` in INT8 with ranges of few pictures and no corrected biases: as quick as a good one, and made
    sooner."""
    return _quantise(model, pictures, [], rough=True)


def _quantise(model: Model, pictures: Sequence[np.ndarray], in_float: list[str], patterns: Sequence[str] = (), *,
              rough: bool = False) -> Model:
    import nncf

    nncf.set_log_level(40)
    data = nncf.Dataset(list(pictures), lambda picture: _batch(model, picture))
    whole = [f"(.*/)?{re.escape(group)}(/.*)?$" for group in in_float]
    scope = nncf.IgnoredScope(patterns=[*patterns, *whole], types=list(NORM_TYPES) if patterns else [], validate=False)
    made = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(pictures), ignored_scope=scope,
                         advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=rough))
    spare_passes(made)
    return made


def layer_groups(model: Model) -> dict[str, list[str]]:
    """Return the names of the quantised convolutions and linear layers by the module that they belong to."""
    groups: dict[str, list[str]] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() in QUANTISED and op.input_value(1).get_node().get_type_name() != "Constant":
            name = op.get_friendly_name()
            groups.setdefault(group_of(name), []).append(name)
    return groups


def group_of(layer: str) -> str:
    """Name the module that a layer of this name belongs to, or the layer itself."""
    module = MODULE.search(layer)
    return module[1] if module else layer


def rank(quantised: Model, model: Model, groups: dict[str, list[str]], pictures: Sequence[np.ndarray],
         expected: Sequence[np.ndarray]) -> list[str]:
    """Return the groups, the one first whose return to float brings the mattes nearest to `expected`."""
    few, few_expected = (_spread(items, RANKED_PICTURES) for items in (pictures, expected))
    left = {}
    for group in progress_bar(groups, desc="rank layers", unit="group"):
        left[group] = difference(mattes(returned_to_float(quantised, model, groups[group]), few), few_expected)
    return sorted(left, key=left.__getitem__)


def returned_to_float(quantised: Model, model: Model, names: list[str]) -> Model:
    """Copy `quantised` into a network whose layers of these names compute as those of `model` do."""
    copy = quantised.clone()
    before = {op.get_friendly_name(): op for op in model.clone().get_ops()}
    for op in copy.get_ordered_ops():
        if op.get_friendly_name() in names:
            op.input(0).replace_source_output(_unquantised(op.input_value(0)))
            op.input(1).replace_source_output(before[op.get_friendly_name()].input_value(1))
    copy.validate_nodes_and_infer_types()
    return copy


def _unquantised(value: Output) -> Output:
    """Find `value` before it was quantised, also where that was before a concat."""
    from openvino import opset13

    node = value.get_node()
    if node.get_type_name() == "FakeQuantize":
        return node.input_value(0)
    if node.get_type_name() == "Concat":
        return opset13.concat([_unquantised(part) for part in node.input_values()], node.get_attributes()["axis"]).output(0)
    return value
