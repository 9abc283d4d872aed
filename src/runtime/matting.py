"""Mattes by an OpenVINO network, one at a time or many under way. No torch here."""
from __future__ import annotations

import functools
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.media.preprocess import to_alpha, to_byte_input, to_fixed_input, to_input
from src.runtime.network import (
    check_device,
    default_model,
    import_openvino,
    input_kind,
    last_line,
    read_network,
    shared_core,
)

if TYPE_CHECKING:
    from openvino import InferRequest

WHOLE = (slice(None), slice(None))


class Started(NamedTuple):
    """An inference that is under way."""

    matte: Future                       # of (h, w) float32, as large as the network's input, and milliseconds
    box: tuple[slice, slice]            # where the picture lies in it
    size: tuple[int, int]               # height and width of the picture


def _done(request: InferRequest, job: Future) -> None:
    job.set_result((request.get_output_tensor(0).data[0, 0].astype(np.float32), request.latency))


class Matting:
    """A matting network on a device: `Matting("result/X.xml").alpha(image)`.

    `image` is (H, W, 3) uint8 RGB, the alpha (H, W) float32 in [0, 1]. `model_path` is an IR with pre-processing inside or
    without, or an ONNX file; `None` takes the one that this repository ships. A network of free size sees a picture by
    `to_input` or `to_byte_input`, one of a fixed size by `to_fixed_input`.

    `exact` asks for float32; without it the device takes what it likes best (bf16 or fp16: quicker, up to 0.5 off in single
    pixels). `threads` is how many a CPU uses (`None`: what OpenVINO likes). `hint` is `latency` (one picture as soon as
    possible) or `throughput` (many in a time); `cache_dir` keeps the compiled network there. `ref_size` is what the
    short side of a picture becomes in a network of free size (by default what the IR says). `milliseconds` holds what the
    last `alpha` took: `preprocess`, `infer`, `postprocess`; files are not counted. The first picture of a size also pays for
    OpenVINO's set-up. Raises `FileNotFoundError`, or `ValueError` for a file that is no matting network and for a device
    that is not there.
    """

    def __init__(self, model_path: str | Path | None = None, device: str = "CPU", *, exact: bool = True,
                 threads: int | None = None, hint: str = "latency", cache_dir: Path | None = None,
                 ref_size: int | None = None) -> None:
        core, path = shared_core(), Path(model_path) if model_path else default_model()
        self.path, self._read = path, functools.partial(read_network, core, path)
        network = self._read()
        self._takes, self._own_size = input_kind(network, path), None
        if ref_size is not None and self._takes.size:
            raise ValueError(f"{path} is a network of {self._takes.size[1]}x{self._takes.size[0]} alone: it "
                             f"takes no other size, as {ref_size}")
        self._takes = self._takes._replace(ref_size=ref_size or self._takes.ref_size)
        check_device(core, device)
        config = {"PERFORMANCE_HINT": hint.upper()}
        # NPU and MYRIAD do not know the hint; a combined device hands it on.
        if exact and not device.startswith(("NPU", "MYRIAD")):
            config["INFERENCE_PRECISION_HINT"] = "f32"
        if threads and device == "CPU":
            config["INFERENCE_NUM_THREADS"] = threads
        if cache_dir:
            config["CACHE_DIR"] = str(cache_dir)
        self._compile = functools.partial(core.compile_model, device_name=device, config=config)
        try:
            self._network, self._queue = self._compile(network), None
        except RuntimeError as error:
            raise ValueError(f"{path} does not compile for device {device}: {last_line(error)}") from None
        self.milliseconds: dict[str, float] = {}
        # Milliseconds of all that `start` and `finish` did.
        self.total_ms = {"preprocess": 0.0, "infer": 0.0}

    def _prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3), RGB")
        takes = self._takes
        if takes.size and image.shape[:2] != self._own_size:
            return to_fixed_input(image, *takes.size, as_bytes=takes.takes_bytes)
        return (to_byte_input if takes.takes_bytes else to_input)(image, takes.ref_size), WHOLE

    def fix_size(self, height: int, width: int) -> None:
        """Compiles a network of free size anew for many pictures of `height` x `width`, which give the same alpha sooner: an
        INT8 network by a third, one of floats by a twentieth. Pictures of other sizes are then fitted into it.

        Nothing may be under way. Does nothing for a network of one size. Raises `ValueError` if the picture is too thin.
        """
        if self._takes.size and self._own_size in (None, (height, width)):
            return
        self._takes, self._own_size = self._takes._replace(size=None), None
        shape = self._prepare(np.zeros((height, width, 3), np.uint8))[0].shape
        network = self._read()
        network.reshape(list(shape))
        self._network, self._queue = self._compile(network), None
        sides = shape[1:3] if self._takes.takes_bytes else shape[2:]
        self._takes, self._own_size = self._takes._replace(size=sides), (height, width)

    def alpha(self, image: np.ndarray) -> np.ndarray:
        """Alpha (H, W) float32 in [0, 1] of a picture (H, W, 3) uint8 RGB. Raises `ValueError` for another array, or if
        the picture is too thin."""
        times = [time.perf_counter()]
        batch, box = self._prepare(image)
        times.append(time.perf_counter())
        matte = self._network([batch])[self._network.output(0)]
        times.append(time.perf_counter())
        alpha = to_alpha(matte[:, :, box[0], box[1]], *image.shape[:2], smooth=True)
        times.append(time.perf_counter())
        self.milliseconds = {name: (end - start) * 1000 for name, start, end in
                             zip(("preprocess", "infer", "postprocess"), times, times[1:], strict=False)}
        return alpha

    def start(self, image: np.ndarray) -> Started:
        """Starts the inference of a picture (H, W, 3) uint8 RGB, and returns as soon as the network has room for it.

        For many pictures: hand what this returns to `finish`, in another thread.
        """
        if self._queue is None:
            # One more than the device works on, so that it never waits for the next picture.
            jobs = self._network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
            self._queue = import_openvino().AsyncInferQueue(self._network, jobs)
            self._queue.set_callback(_done)
            # Python must not end while the last callback does.
            weakref.finalize(self, self._queue.wait_all)
        begin = time.perf_counter()
        batch, box = self._prepare(image)
        self.total_ms["preprocess"] += 1000 * (time.perf_counter() - begin)
        started = Started(Future(), box, image.shape[:2])
        self._queue.start_async([batch], started.matte)
        return started

    def finish(self, started: Started) -> np.ndarray:
        """Waits for an inference; its matte (h, w) float32, the picture's part of it, at the network's size."""
        while True:
            try:
                matte, milliseconds = started.matte.result(timeout=1)
                self.total_ms["infer"] += milliseconds
                return matte[started.box]
            except TimeoutError:
                if self._queue.is_ready():
                    self._queue.wait_all()  # raises what went wrong in an inference, which is then never done
