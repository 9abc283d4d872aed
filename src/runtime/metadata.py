"""Read what the converter wrote into an OpenVINO network about its input. No torch here."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openvino import Model

INPUT_KIND = "u8_nhwc_rgb"
SECTION = "modnet"


def embedded_info(model: Model) -> dict[str, str] | None:
    """Read what `embed_input` wrote into a network: `input` (`u8_nhwc_rgb`), `precision` (`fp32`, `fp16` or `int8`),
    `ref_size`, `source`, `openvino`. `None` for a network of floats."""
    if not model.has_rt_info([SECTION, "input"]):
        return None
    return {name: value.astype(str) if hasattr(value, "astype") else str(value)
            for name, value in model.get_rt_info([SECTION]).value.items()}
