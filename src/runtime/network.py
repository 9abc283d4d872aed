"""A matting network as OpenVINO reads it, and OpenVINO's devices. No torch here."""
from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from src.media.preprocess import REF_SIZE
from src.runtime.metadata import INPUT_KIND, embedded_info
from src.script import ROOT

if TYPE_CHECKING:
    from openvino import Core, Model

MYRIAD_NEEDS = ("MYRIAD (NCS2) needs the OpenVINO 2022.3.1 archive, since no pip wheel ever had its plugin, and an "
                "ONNX file made with export_onnx.py --static --opset 11, read or converted by that release itself")

SHIPPED = tuple(ROOT / "pretrained" / f"pruned_modnet_{precision}.xml" for precision in ("int8", "fp16"))


def default_model() -> Path:
    """The IR that this repository ships. Raises `FileNotFoundError` if there is none."""
    for path in SHIPPED:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no OpenVINO model at {' or '.join(map(str, SHIPPED))}: give --model-path, "
                            "a file that convert_openvino.py wrote")


def import_openvino() -> ModuleType:
    """OpenVINO's Python interface, also of the releases where it was `openvino.runtime`. Raises `ValueError`."""
    try:
        import openvino
        if not hasattr(openvino, "Core"):
            from openvino import runtime as openvino
    except ImportError:
        raise ValueError("OpenVINO is not installed: pip install openvino") from None
    return openvino


@functools.cache
def shared_core() -> Core:
    """The one `Core` of this process, which lives until the process ends. Raises `ValueError` without OpenVINO.

    OpenVINO's CPU plugin puts a signal stack of its own under the thread that loads it, and unmaps it when its `Core` goes;
    of two that do not go in the reverse order of their coming, the second puts back the stack that the first unmapped, and
    the next signal that Python handles (Ctrl-C, the end of a child) kills the process. Seen in 2026.4.1.
    """
    return import_openvino().Core()


def read_network(core: Core, path: Path) -> Model:
    """The network at `path`. Raises `FileNotFoundError` or `ValueError` naming the file if it cannot be read."""
    for part in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        if not part.is_file():
            raise FileNotFoundError(f"no {'weights' if part != path else 'OpenVINO model'} at {part}")
    if path.suffix not in (".xml", ".onnx"):
        raise ValueError(f"model is {path}, expected a name that ends in .xml")
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} is not a model that OpenVINO reads: {last_line(error)}") from None


def fixed_size(network: Model, path: Path) -> tuple[int, int] | None:
    """Height and width of the network's input if they are fixed, `None` if they are free.

    Raises `ValueError` naming `path` unless one image (N, 3, H, W) goes in and one matte (N, 1, H, W) comes out.
    """
    shapes = [port.partial_shape for port in (*network.inputs, *network.outputs)]
    good = len(network.inputs) == len(network.outputs) == 1 and all(
        shape.rank.is_static and len(shape) == 4 and (shape[0].is_dynamic or shape[0].get_length() == 1)
        and shape[1].is_static and shape[1].get_length() == channels and shape[2].is_static == shape[3].is_static
        for shape, channels in zip(shapes, (3, 1), strict=False))
    height_width = [[d.get_length() for d in list(shape)[2:] if d.is_static] for shape in shapes] if good else []
    if not good or height_width[0] and height_width[0] != height_width[1]:
        raise ValueError(f"{path} is not a matting network: it has {', '.join(map(str, shapes))}, expected "
                         "an image [N,3,H,W] in and a matte [N,1,H,W] out")
    return tuple(height_width[0]) or None


class InputKind(NamedTuple):
    """What a matting network takes."""

    takes_bytes: bool                   # (1, h, w, 3) uint8 RGB, else (1, 3, h, w) float32 in [-1, 1]
    size: tuple[int, int] | None        # height and width if they are fixed
    ref_size: int                       # of MODNet's protocol, for a network of free size


def input_kind(network: Model, path: Path) -> InputKind:
    """What the network takes. Raises `ValueError` naming `path` unless it is a matting network, of floats or with its
    pre-processing inside."""
    info = embedded_info(network)
    if info is None:
        return InputKind(False, fixed_size(network, path), REF_SIZE)
    shapes = [port.partial_shape for port in (*network.inputs, *network.outputs)]
    good = (info.get("input") == INPUT_KIND and len(network.inputs) == len(network.outputs) == 1
            and all(len(shape) == 4 for shape in shapes) and str(network.inputs[0].element_type) == "<Type: 'uint8_t'>"
            and shapes[0][3] == 3 and shapes[1][1] == 1)
    if not good:
        raise ValueError(f"{path} is not a matting network: its metadata says input {info.get('input')!r} and it has "
                         f"{', '.join(map(str, shapes))}, expected {INPUT_KIND!r}, bytes [1,H,W,3] in and a matte out")
    sides = list(shapes[0])[1:3]
    size = tuple(side.get_length() for side in sides) if all(side.is_static for side in sides) else None
    return InputKind(True, size, int(info.get("ref_size", REF_SIZE)))


def check_device(core: Core, device: str) -> None:
    """Raises `ValueError` that lists the devices that are there, if `device` (`GPU`, `AUTO:GPU,CPU`, ...) is not."""
    there = core.available_devices
    virtual, _, parts = device.rpartition(":")
    known = {name.partition(".")[0] for name in there} | {"", "AUTO", "HETERO", "MULTI", "BATCH"}
    if not parts or any(part.partition(".")[0] not in known for part in [virtual, *parts.split(",")]):
        needs = f"; {MYRIAD_NEEDS}" if "MYRIAD" in device.upper() else ""
        raise ValueError(f"device {device} is not there; this machine has {', '.join(there)}{needs}")


def last_line(error: Exception) -> str:
    """What OpenVINO says at the end of an exception of many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
