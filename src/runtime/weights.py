"""Look at the weights of a network before it runs: numbers that are none. No torch here."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.console import shown

if TYPE_CHECKING:
    from openvino import Model, Node

_FLOATS = ("f16", "f32", "f64")
# Of numbers that NumPy lacks: how wide they are, and the bits that are all 1 in what is not finite.
_BITS = {"bf16": (np.uint16, 0x7F80), "f8e4m3": (np.uint8, 0x7F), "f8e5m2": (np.uint8, 0x7C)}


def are_finite(values: np.ndarray, kind: str) -> bool:
    """Return whether all values of an OpenVINO constant of type `kind` are finite; whole numbers always are."""
    if kind in _BITS:
        bits, mask = _BITS[kind]
        return not (np.bitwise_and(values.view(bits), bits(mask)) == mask).any()
    return kind not in _FLOATS or bool(np.isfinite(values).all())


def layers(network: Model) -> Iterator[Node]:
    """Yield the layers of a network, those inside its conditions and loops too."""
    for op in network.get_ops():
        yield op
        kind = op.get_type_name()
        bodies = [op.get_function(0), op.get_function(1)] if kind == "If" else (
            [op.get_function()] if kind in ("Loop", "TensorIterator") else [])
        for body in bodies:
            yield from layers(body)


def check_constants(network: Model, path: Path) -> None:
    """Raise `ValueError` naming `path` and a layer if a weight is not finite or a variance negative."""
    for op in layers(network):
        kind = op.get_type_name()
        if kind == "Constant" and not are_finite(op.data, op.get_element_type().get_type_name()):
            raise ValueError(f"{path} holds weights that are not finite: {shown(op.get_friendly_name())}")
        # The last input is the variance, a constant in every network that was trained.
        if kind == "BatchNormInference" and np.any(np.less(getattr(op.input_value(4).get_node(), "data", 0), 0)):
            raise ValueError(f"{path} holds a negative variance: {shown(op.get_friendly_name())}")
