"""Spare an INT8 network passes of floats that its quantiser leaves in it. No torch here."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openvino import Model, Node

CONVOLUTIONS = ("Convolution", "GroupConvolution")
SLICES = ("Slice", "StridedSlice")
# What reads INT8: layers with weights, and the additions of residuals.
READERS = (*CONVOLUTIONS, "MatMul", "Add")
# What hands on the numbers that it reads.
MOVING = (*SLICES, "Concat", "DepthToSpace", "Pad", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze", "VariadicSplit")
# OpenVINO takes the scales of a convolution's outputs into it where a bias follows, else it multiplies in a pass of its own.
# It drops a bias of zero, and this one is too small to change any sum.
NO_BIAS = np.finfo(np.float32).tiny


def spare_passes(model: Model) -> None:
    """Change a network that NNCF quantised, in place, so that OpenVINO makes fewer passes: every convolution has a bias,
    what slices read is the quantised map where there is one, not a second one of floats, and what only floats are computed
    of (norms, their statistics, enlargements) is not rounded."""
    for op in model.get_ordered_ops():
        if op.get_type_name() in CONVOLUTIONS:
            _give_bias(op)
        elif op.get_type_name() == "FakeQuantize":
            _slice_quantised(op)
    for op in model.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize" and not is_constant(op) and not reads_int8(op):
            op.output(0).replace(op.input_value(0))
    model.validate_nodes_and_infer_types()


def is_constant(quantiser: Node) -> bool:
    """Return whether what is quantised is a constant, as weights are."""
    source = quantiser.input_value(0).get_node()
    while source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    return source.get_type_name() == "Constant"


def reads_int8(node: Node) -> bool:
    """Return whether one of `READERS` reads what a node gives, as it is or moved."""
    for value in node.outputs():
        for reader in (target.get_node() for target in value.get_target_inputs()):
            if reader.get_type_name() in READERS or reader.get_type_name() in MOVING and reads_int8(reader):
                return True
    return False


def _give_bias(convolution: Node) -> None:
    from openvino import opset13

    readers = list(convolution.output(0).get_target_inputs())
    if len(readers) == 1 and readers[0].get_node().get_type_name() in ("Add", "FakeQuantize"):
        return
    channels = convolution.output(0).partial_shape[1].get_length()
    biased = opset13.add(convolution.output(0), np.full((1, channels, 1, 1), NO_BIAS, np.float32))
    for reader in readers:
        reader.replace_source_output(biased.output(0))


def _slice_quantised(quantiser: Node) -> None:
    """Let the slices of what is quantised here read the result; what is quantised of them again need not be."""
    for reader in list(quantiser.input_value(0).get_target_inputs()):
        cut = reader.get_node()
        if cut.get_type_name() not in SLICES or reader.get_index():
            continue
        reader.replace_source_output(quantiser.output(0))
        for second in [reader.get_node() for reader in cut.output(0).get_target_inputs()]:
            if second.get_type_name() == "FakeQuantize":
                second.output(0).replace(cut.output(0))
