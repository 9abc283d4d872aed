"""Read and compile a matting network with OpenVINO, and find its devices. No torch here."""
from __future__ import annotations

import functools
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.console import messages_held, no_file, shown
from src.media.preprocess import MAX_NETWORK_PIXELS, REF_SIZE, STRIDE
from src.runtime.metadata import INPUT_KIND, embedded_info
from src.runtime.weights import check_constants
from src.script import ROOT, NetworkError

if TYPE_CHECKING:
    from openvino import Core, Model

MYRIAD_NEEDS = ("MYRIAD (NCS2) needs the OpenVINO 2022.3.1 archive, since no pip wheel ever had its plugin, and an "
                "ONNX file made with export_onnx.py --static --opset 11, read or converted by that release itself")

# One thread loads at a time. What OpenVINO sets up at its first look at an array is a static of C++: a second thread waits
# there with Python's lock, which the first one wants back, for ever (2026.4.1). And stderr is one for the whole process.
LOADING = threading.RLock()
# The short side of a picture in a network of free size.
REF_SIZES = range(STRIDE, 2049)
# By how much quantisation and rounding may leave [0, 1].
_SLACK = 0.5
# The IRs of each network that ships, the one that is taken first in front; the first network is the default.
SHIPPED = {name: tuple(ROOT / "pretrained" / f"{stem}_{precision}.xml" for precision in ("int8", "fp16"))
           for name, stem in (("quality", "pruned_modnet"), ("fast", "pruned_modnet_fast"))}


def shipped_model(name: str | None = None) -> Path:
    """Return the IR that this repository ships under a name of `SHIPPED`, by default its first.

    Raises `ValueError` for another name, and `FileNotFoundError` if the files are not there.
    """
    name = next(iter(SHIPPED)) if name is None else name
    if name not in SHIPPED:
        raise ValueError(f"model is {shown(name)}, allowed are {', '.join(SHIPPED)}")
    for path in SHIPPED[name]:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no OpenVINO model at {' or '.join(map(str, SHIPPED[name]))}: give --model-path, "
                            "a file that convert_openvino.py wrote")


def import_openvino() -> ModuleType:
    """Import OpenVINO, also of the releases where it was `openvino.runtime`. Raises `ValueError`."""
    # Its wheel reports every import to Google Analytics, unless the package that does so cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)
    try:
        import openvino
        if not hasattr(openvino, "Core"):
            from openvino import runtime as openvino
    except ImportError:
        raise ValueError("OpenVINO is not installed: pip install openvino") from None
    return openvino


@functools.cache
def _core() -> Core:
    return import_openvino().Core()


def shared_core() -> Core:
    """Return the one `Core` of this process, which lives until the process ends. Raises `ValueError` without OpenVINO.

    OpenVINO's CPU plugin puts a signal stack of its own under the thread that loads it, and unmaps it when its `Core` goes;
    of two that do not go in the reverse order of their coming, the second puts back the stack that the first unmapped, and
    the next signal that Python handles (Ctrl-C, the end of a child) kills the process. Seen in 2026.4.1.
    """
    with LOADING:
        return _core()


def some_cores(threads: int, networks: int = 1) -> dict[str, int | bool]:
    """Return what OpenVINO is told for `networks` of `threads` each on a CPU."""
    # It pins threads, and those of every process to the same first cores: the workers of a machine would all share one.
    return {"INFERENCE_NUM_THREADS": threads * networks, "ENABLE_CPU_PINNING": False}


def read_network(core: Core, path: Path) -> Model:
    """Return the network at `path`, its weights looked at. Raises `FileNotFoundError` or `ValueError` naming the file."""
    for part in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        if not part.is_file():
            raise no_file("weights" if part != path else "OpenVINO model", part)
    if path.suffix not in (".xml", ".onnx"):
        raise ValueError(f"model is {path}, expected a name that ends in .xml")
    with LOADING:
        try:
            with messages_held():
                network = core.read_model(str(path))
        except (RuntimeError, TypeError, MemoryError) as error:
            raise ValueError(f"{path} is not a model that OpenVINO reads: {last_line(error)}") from None
        check_constants(network, path)
    return network


def check_matte(matte: np.ndarray, sides: tuple[int, int], name: object) -> np.ndarray:
    """Return the matte (h, w) of a network that saw a picture of `sides`. Raises `NetworkError` naming the network unless it
    has that size and its numbers are finite and, but for rounding, from 0 to 1."""
    if matte.shape != tuple(sides):
        raise NetworkError(f"{name} gives a matte of {matte.shape[1]}x{matte.shape[0]} for a picture that it sees as "
                           f"{sides[1]}x{sides[0]}")
    low, high = float(matte.min()), float(matte.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NetworkError(f"{name} gives a matte with values that are not finite")
    if low < -_SLACK or high > 1 + _SLACK:
        raise NetworkError(f"{name} gives a matte from {low:.3g} to {high:.3g}, expected numbers from 0 to 1")
    return matte


def fixed_size(network: Model, path: Path) -> tuple[int, int] | None:
    """Return the height and width of the network's input if they are fixed, `None` if they are free.

    Raises `ValueError` naming `path` unless one image (N, 3, H, W) goes in and one matte (N, 1, H, W) comes out.
    """
    shapes = [port.partial_shape for port in (*network.inputs, *network.outputs)]
    good = len(network.inputs) == len(network.outputs) == 1 and all(
        shape.rank.is_static and len(shape) == 4 and (shape[0].is_dynamic or shape[0].get_length() == 1)
        and shape[1].is_static and shape[1].get_length() == channels and shape[2].is_static == shape[3].is_static
        for shape, channels in zip(shapes, (3, 1), strict=False))
    height_width = [[d.get_length() for d in list(shape)[2:] if d.is_static] for shape in shapes] if good else []
    if not good or height_width[0] and height_width[0] != height_width[1]:
        raise ValueError(f"{path} is not a matting network: it has {', '.join(map(str, shapes)) or 'no input'}, expected "
                         "an image [N,3,H,W] in and a matte [N,1,H,W] out")
    check_types(network, path, ("f32", "f16"))
    return checked_sides(tuple(height_width[0]), path) if height_width[0] else None


def check_types(network: Model, path: Path, image_types: tuple[str, ...]) -> None:
    """Raise `ValueError` naming `path` unless the image is of one of `image_types` and the matte of floats."""
    for name, port, allowed in (("image", network.inputs[0], image_types), ("matte", network.outputs[0], ("f32", "f16"))):
        found = port.get_element_type().get_type_name()
        if found not in allowed:
            raise ValueError(f"{path}: its {name} is of type {found}, expected {' or '.join(allowed)}")


def checked_sides(sides: tuple[int, int], path: Path) -> tuple[int, int]:
    """Return height and width of a network's input. Raises `ValueError` for none, and for more than there is memory for."""
    if not 0 < sides[0] * sides[1] <= MAX_NETWORK_PIXELS:
        raise ValueError(f"{path} takes pictures of {sides[1]}x{sides[0]}, allowed are up to {MAX_NETWORK_PIXELS} pixels")
    return sides


class InputKind(NamedTuple):
    """What a matting network takes."""

    takes_bytes: bool                   # (1, h, w, 3) uint8 RGB, else (1, 3, h, w) float32 in [-1, 1]
    size: tuple[int, int] | None        # height and width if they are fixed
    ref_size: int                       # of MODNet's protocol, for a network of free size


def input_kind(network: Model, path: Path) -> InputKind:
    """Return what the network takes. Raises `ValueError` naming `path` unless it is a matting network, of floats or with its
    pre-processing inside."""
    info = embedded_info(network)
    if info is None:
        return InputKind(False, fixed_size(network, path), REF_SIZE)
    shapes = [port.partial_shape for port in (*network.inputs, *network.outputs)]
    good = (info.get("input") == INPUT_KIND and len(network.inputs) == len(network.outputs) == 1
            and all(shape.rank.is_static and len(shape) == 4 for shape in shapes)
            and shapes[0][3] == 3 and shapes[1][1] == 1)
    if not good:
        raise ValueError(f"{path} is not a matting network: its metadata says input {info.get('input')!r} and it has "
                         f"{', '.join(map(str, shapes))}, expected {INPUT_KIND!r}, bytes [1,H,W,3] in and a matte out")
    check_types(network, path, ("u8",))
    sides = list(shapes[0])[1:3]
    size = tuple(side.get_length() for side in sides) if all(side.is_static for side in sides) else None
    return InputKind(True, size and checked_sides(size, path), ref_size_of(info, path))


def ref_size_of(info: dict[str, str], path: Path) -> int:
    """Return the reference size that a network's metadata says. Raises `ValueError` naming `path` unless it can be."""
    said = info.get("ref_size", str(REF_SIZE))
    if not (said.isascii() and said.isdecimal() and len(said) < 6 and int(said) in REF_SIZES):
        raise ValueError(f"{path} says ref_size {shown(said)!r}, allowed are whole numbers from {REF_SIZES[0]} to "
                         f"{REF_SIZES[-1]}")
    return int(said)


def seeing(takes: InputKind, ref_size: int | None, path: Path) -> InputKind:
    """Return `takes` with another reference size, if one is given. Raises `ValueError` for a number out of range and, naming
    `path`, where the network has one size."""
    if ref_size is None:
        return takes
    if takes.size:
        raise ValueError(f"{path} is a network of {takes.size[1]}x{takes.size[0]} alone: it takes no other size, as "
                         f"{ref_size}")
    if ref_size not in REF_SIZES:
        raise ValueError(f"ref_size is {ref_size}, allowed are whole numbers from {REF_SIZES[0]} to {REF_SIZES[-1]}")
    return takes._replace(ref_size=ref_size)


def check_counts(**counts: int | None) -> None:
    """Raise `ValueError` for a number that is given and under 1."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} is {count}, allowed are whole numbers from 1")


def check_device(core: Core, device: str) -> None:
    """Raise `ValueError` that lists the devices that are there, if `device` (`GPU`, `AUTO:GPU,CPU`, ...) is not."""
    there = core.available_devices
    virtual, _, parts = device.rpartition(":")
    known = {name.partition(".")[0] for name in there} | {"", "AUTO", "HETERO", "MULTI", "BATCH"}
    if not parts or any(part.partition(".")[0] not in known for part in [virtual, *parts.split(",")]):
        needs = f"; {MYRIAD_NEEDS}" if "MYRIAD" in device.upper() else ""
        raise ValueError(f"device {device} is not there; this machine has {', '.join(there)}{needs}")


def last_line(error: Exception) -> str:
    """Return what OpenVINO says at the end of an exception of many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1], most=200) if lines else type(error).__name__
