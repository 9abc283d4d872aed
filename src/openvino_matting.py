"""A matting network as OpenVINO IR, on a device of OpenVINO. No torch here."""
from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from src.preprocess import to_alpha, to_fixed_input, to_input

if TYPE_CHECKING:
    from openvino import Core, Model

MYRIAD_NEEDS = ("MYRIAD (NCS2) needs the OpenVINO 2022.3.1 archive, since no pip wheel ever had its plugin, and an "
                "ONNX file made with export_onnx.py --static --opset 11, read or converted by that release itself")


def import_openvino() -> ModuleType:
    """OpenVINO's Python interface, also of the releases where it was `openvino.runtime`. Raises `ValueError`."""
    try:
        import openvino
        if not hasattr(openvino, "Core"):
            from openvino import runtime as openvino
    except ImportError:
        raise ValueError("OpenVINO is not installed: pip install openvino") from None
    return openvino


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


class Matting:
    """A matting network on a device: `Matting("result/X.xml").alpha(image)`.

    A network of free size sees a picture by `to_input`, one of a fixed size by `to_fixed_input`. `exact` asks for
    float32; without it the device takes what it likes best (bf16 or fp16: quicker, up to 0.5 off in single pixels).
    `milliseconds` holds what the last call took: `preprocess`, `infer`, `postprocess`; files are not counted. The first
    picture of a size also pays for OpenVINO's set-up. Raises `FileNotFoundError`, or `ValueError` for a file that is no
    matting network and for a device that is not there.
    """

    def __init__(self, model_path: str | Path, device: str = "CPU", *, exact: bool = True) -> None:
        core, path = import_openvino().Core(), Path(model_path)
        network = read_network(core, path)
        self.size = fixed_size(network, path)
        check_device(core, device)
        # NPU and MYRIAD do not know the hint; a combined device hands it on.
        config = {} if device.startswith(("NPU", "MYRIAD")) or not exact else {"INFERENCE_PRECISION_HINT": "f32"}
        try:
            self._network = core.compile_model(network, device, config)
        except RuntimeError as error:
            raise ValueError(f"{path} does not compile for device {device}: {last_line(error)}") from None
        self.milliseconds: dict[str, float] = {}

    def alpha(self, image: np.ndarray) -> np.ndarray:
        """Alpha (H, W) float32 in [0, 1] of a picture (H, W, 3) uint8 RGB. Raises `ValueError` if it is too thin."""
        times = [time.perf_counter()]
        box = (slice(None), slice(None))
        if self.size:
            batch, box = to_fixed_input(image, *self.size)
        else:
            batch = to_input(image)
        times.append(time.perf_counter())
        matte = self._network([batch])[self._network.output(0)]
        times.append(time.perf_counter())
        alpha = to_alpha(matte[:, :, box[0], box[1]], *image.shape[:2])
        times.append(time.perf_counter())
        self.milliseconds = {name: (end - start) * 1000 for name, start, end in
                             zip(("preprocess", "infer", "postprocess"), times, times[1:], strict=False)}
        return alpha
