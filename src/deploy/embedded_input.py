"""Put the pre-processing into an OpenVINO network: a picture of bytes in, an alpha of its size out. No torch here."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.media.preprocess import REF_SIZE
from src.models.config import RGB, STRIDE
from src.runtime.metadata import INPUT_KIND, SECTION

if TYPE_CHECKING:
    from openvino import Model, Node, Output

INPUT, OUTPUT = "image", "alpha"


def embed_input(model: Model, *, precision: str = "fp32", source: str = "", ref_size: int = REF_SIZE) -> Model:
    """Make a network that reads pictures as they come from `model`, which is used up.

    `model` takes (N, 3, H, W) float32 in [-1, 1] and gives (N, 1, H, W) in [0, 1], H and W free or fixed multiples of 32.
    The result takes `image` (1, H, W, 3) uint8 RGB, any H and W from 32 (or the fixed ones), and gives `alpha`
    (1, 1, H, W) float32 in [0, 1]. Where H or W is no multiple of 32, the network sees the last row or column repeated up
    to one, and the alpha is cut to size again.
    """
    from openvino import Dimension, Model, opset13

    old, = model.get_parameters()
    sides = list(old.partial_shape)[2:]
    model.reshape({old.output(0): [1, RGB, *sides]})
    image = opset13.parameter([1, *(side if side.is_static else Dimension(STRIDE, -1) for side in sides), RGB],
                              np.uint8, INPUT)
    size = _free_size(image) if any(side.is_dynamic for side in sides) else None
    # Bytes move four times as fast as floats, so whatever only moves them comes first.
    planes = opset13.transpose(image, _whole(0, 3, 1, 2))
    if size:
        planes = _enlarge(planes, size)
    # As src.media.preprocess.normalise.
    picture = opset13.divide(opset13.subtract(opset13.convert(planes, np.float32), np.float32(127.5)), np.float32(127.5))
    old.output(0).replace(picture.output(0))
    matte = model.get_results()[0].input_value(0)
    alpha = opset13.result(_crop(matte, size) if size else matte)
    image.output(0).get_tensor().set_names({INPUT})
    alpha.input_value(0).get_tensor().set_names({OUTPUT})
    embedded = Model([alpha], [image], SECTION)
    _write_info(embedded, precision=precision, source=source, ref_size=ref_size)
    return embedded


def _whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _free_size(image: Node) -> Node:
    """Return the height and width of (1, H, W, 3)."""
    from openvino import opset13

    return opset13.slice(opset13.shape_of(image), _whole(1), _whole(3), _whole(1))


def _enlarge(planes: Node, size: Node) -> Node:
    """Repeat the last row and column up to multiples of 32. Resizing would blur and squash, and costs 8 ms where it has
    nothing to do; an `If` round it gives a wrong first answer (OpenVINO 2026.4.1). This costs 0.1 ms."""
    from openvino import opset13

    missing = opset13.mod(opset13.subtract(_whole(STRIDE, STRIDE), opset13.mod(size, _whole(STRIDE))), _whole(STRIDE))
    after = opset13.concat([_whole(0, 0), missing], 0)
    return opset13.pad(planes, _whole(0, 0, 0, 0), after, "edge")


def _crop(matte: Output, size: Node) -> Node:
    from openvino import opset13

    return opset13.slice(matte, _whole(0, 0), size, _whole(1, 1), _whole(2, 3))


def _write_info(model: Model, **info: object) -> None:
    import openvino

    info |= {"input": INPUT_KIND, "openvino": openvino.__version__.partition("-")[0]}
    for name, value in info.items():
        model.set_rt_info(str(value), [SECTION, name])
