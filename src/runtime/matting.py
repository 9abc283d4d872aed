"""Make mattes by an OpenVINO network, one at a time or many under way. No torch here."""
from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.console import messages_held
from src.media.preprocess import to_alpha, to_byte_input, to_fixed_input, to_input
from src.runtime.network import (
    LOADING,
    InputKind,
    check_counts,
    check_device,
    check_matte,
    import_openvino,
    input_kind,
    last_line,
    read_network,
    seeing,
    shared_core,
    shipped_model,
    some_cores,
)
from src.runtime.requests import RequestPool
from src.script import NetworkError

if TYPE_CHECKING:
    from openvino import AsyncInferQueue, CompiledModel, InferRequest, Model

WHOLE = (slice(None), slice(None))
# OpenVINO keeps compiled code for each layer and each size that it has seen, 5000 of them by itself, and grows with them.
SHAPES_KEPT = 100


class Started(NamedTuple):
    """An inference that is under way."""

    matte: Future                       # of (h, w) float32, as large as the network's input, and milliseconds
    box: tuple[slice, slice]            # where the picture lies in it
    size: tuple[int, int]               # height and width of the picture
    sides: tuple[int, int]              # height and width of what the network sees


class Compiled(NamedTuple):
    """A network that is ready to run."""

    network: CompiledModel
    requests: RequestPool
    takes: InputKind
    own_size: tuple[int, int] | None = None     # height and width of the pictures that it is compiled for, if for some

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
        """Return a picture (H, W, 3) uint8 RGB as the network takes it, and where it lies in that. Raises `ValueError`."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3), RGB")
        if self.takes.size and image.shape[:2] != self.own_size:
            return to_fixed_input(image, *self.takes.size, as_bytes=self.takes.takes_bytes)
        return (to_byte_input if self.takes.takes_bytes else to_input)(image, self.takes.ref_size), WHOLE

    def sides(self, batch: np.ndarray) -> tuple[int, int]:
        """Return height and width of what `prepare` gave."""
        return batch.shape[1:3] if self.takes.takes_bytes else batch.shape[2:]


def _done(request: InferRequest, job: Future) -> None:
    job.set_result((request.get_output_tensor(0).data[0, 0].astype(np.float32), request.latency))


class Matting:
    """A matting network on a device: `Matting("result/X.xml").alpha(image)`.

    `image` is (H, W, 3) uint8 RGB, the alpha (H, W) float32 in [0, 1]. `model_path` is an IR with pre-processing inside or
    without, or an ONNX file; `None` takes the one that this repository ships. A network of free size sees a picture by
    `to_input` or `to_byte_input`, one of a fixed size by `to_fixed_input`.

    `exact` asks for float32; without it the device takes what it likes best (bf16 or fp16: quicker, up to 0.5 off in single
    pixels). `threads` is how many a CPU uses (`None`: what OpenVINO likes). `hint` is `latency` (one picture as soon as
    possible) or `throughput` (many in a time); instead of it `at_once` says on how many pictures a CPU works at once, each
    by `threads` of its own (`None`: one), with the result that it would have alone. `cache_dir` keeps the compiled network
    there. `ref_size` is what the short side of a picture becomes in a network of free size (by default what the IR says).

    One `Matting` serves any number of threads: each call of `alpha` gets what it would alone. With `latency` one inference
    runs at a time, with `throughput` as many as the device works on at once; memory grows by each thread's picture alone.

    Raises `FileNotFoundError`, or `ValueError` for a file that is no matting network, a device that is not there, and a
    number out of range.
    """

    def __init__(self, model_path: str | Path | None = None, device: str = "CPU", *, exact: bool = True,
                 threads: int | None = None, hint: str = "latency", at_once: int | None = None,
                 cache_dir: Path | None = None, ref_size: int | None = None) -> None:
        core, path = shared_core(), Path(model_path) if model_path else shipped_model()
        self.path, self._read = path, functools.partial(read_network, core, path)
        network = self._read()
        takes = seeing(input_kind(network, path), ref_size, path)
        check_device(core, device)
        check_counts(threads=threads, at_once=at_once)
        config = {"PERFORMANCE_HINT": "THROUGHPUT" if at_once else hint.upper()}
        # NPU and MYRIAD do not know the hint; a combined device hands it on.
        if exact and not device.startswith(("NPU", "MYRIAD")):
            config["INFERENCE_PRECISION_HINT"] = "f32"
        if device == "CPU":
            config["CPU_RUNTIME_CACHE_CAPACITY"] = SHAPES_KEPT
            if at_once or threads:
                config |= some_cores(threads or 1, at_once or 1) | ({"NUM_STREAMS": at_once} if at_once else {})
        config |= {"CACHE_DIR": os.fsencode(cache_dir)} if cache_dir else {}  # as text only a name that is UTF-8
        self._compile = functools.partial(core.compile_model, device_name=device, config=config)
        self._queue, self._starting, self._adding, self._times = None, threading.Lock(), threading.Lock(), threading.local()
        try:
            with LOADING, messages_held():
                self.compiled = self._made(network, takes)
        except (RuntimeError, MemoryError) as error:
            raise ValueError(f"{path} does not compile for device {device}: {last_line(error)}") from None
        # Milliseconds of all that `start` and `finish` did.
        self.total_ms = {"preprocess": 0.0, "infer": 0.0}

    def _made(self, network: Model, takes: InputKind, own_size: tuple[int, int] | None = None) -> Compiled:
        compiled = self._compile(network)
        return Compiled(compiled, RequestPool(compiled), takes, own_size)

    def _failed(self, error: Exception, size: tuple[int, ...]) -> NetworkError:
        return NetworkError(f"{self.path} fails on a picture of {size[1]}x{size[0]}: {last_line(error)}")

    @property
    def milliseconds(self) -> dict[str, float]:
        """What the last `alpha` of this thread took: `preprocess`, `infer` (waiting for other threads' included),
        `postprocess`; files are not counted. The first picture of a size also pays for OpenVINO's set-up."""
        return getattr(self._times, "last", {})

    def fix_size(self, height: int, width: int) -> None:
        """Compile a network of free size anew for many pictures of `height` x `width`, which give the same alpha sooner: an
        INT8 network by a third, one of floats by a twentieth. Pictures of other sizes are then fitted into it.

        No `start` may wait for its `finish`. Does nothing for a network of one size. Raises `ValueError` if the picture is
        too thin, `NetworkError` if the network is not free in size after all.
        """
        if self.compiled.takes.size and self.compiled.own_size in (None, (height, width)):
            return
        free = self.compiled._replace(takes=self.compiled.takes._replace(size=None))
        batch, network = free.prepare(np.zeros((height, width, 3), np.uint8))[0], self._read()
        try:
            network.reshape(list(batch.shape))
            self.compiled = self._made(network, free.takes._replace(size=free.sides(batch)), (height, width))
        except RuntimeError as error:
            raise self._failed(error, (height, width)) from None
        if self._queue is not None:
            with contextlib.suppress(RuntimeError):  # of an inference whose result nobody wants any more
                self._queue_end()  # which holds the network of the size before
            self._queue = None

    def alpha(self, image: np.ndarray) -> np.ndarray:
        """Predict the alpha (H, W) float32 in [0, 1] of a picture (H, W, 3) uint8 RGB. Raises `ValueError` for another
        array, or if the picture is too thin. May be called by several threads at once."""
        compiled, begin = self.compiled, time.perf_counter()
        batch, box = compiled.prepare(image)
        times = {"preprocess": 1000 * (time.perf_counter() - begin)}
        try:
            matte, times["infer"] = compiled.requests.infer(batch)
        except RuntimeError as error:
            raise self._failed(error, image.shape) from None
        check_matte(matte[0, 0], compiled.sides(batch), self.path)
        begin = time.perf_counter()
        alpha = to_alpha(matte[:, :, box[0], box[1]], *image.shape[:2], smooth=True)
        self._times.last = times | {"postprocess": 1000 * (time.perf_counter() - begin)}
        return alpha

    def start(self, image: np.ndarray) -> Started:
        """Start the inference of a picture (H, W, 3) uint8 RGB, and return as soon as the network has room for it.

        For many pictures: hand what this returns to `finish`, in another thread.
        """
        begin = time.perf_counter()
        batch, box = self.compiled.prepare(image)
        self._add("preprocess", 1000 * (time.perf_counter() - begin))
        started = Started(Future(), box, image.shape[:2], self.compiled.sides(batch))
        # OpenVINO's queue looks twice for a request that is idle, and could find two.
        with self._starting:
            if self._queue is None:
                self._queue = self._opened_queue()
            self._queue.start_async([batch], started.matte)
        return started

    def _opened_queue(self) -> AsyncInferQueue:
        network = self.compiled.network
        # One more than the device works on, so that it never waits for the next picture.
        queue = import_openvino().AsyncInferQueue(network, network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1)
        queue.set_callback(_done)
        # Python must not end while the last callback does.
        self._queue_end = weakref.finalize(self, queue.wait_all)
        return queue

    def _add(self, name: str, milliseconds: float) -> None:
        with self._adding:
            self.total_ms[name] += milliseconds

    def finish(self, started: Started) -> np.ndarray:
        """Wait for an inference; its matte (h, w) float32, the picture's part of it, at the network's size.

        Raises `NetworkError` for a matte that is none (`check_matte`).
        """
        while True:
            try:
                matte, milliseconds = started.matte.result(timeout=1)
                self._add("infer", milliseconds)
                return check_matte(matte, started.sides, self.path)[started.box]
            except TimeoutError:
                try:
                    if self._queue.is_ready():
                        self._queue.wait_all()  # raises what went wrong in an inference, which is then never done
                except RuntimeError as error:
                    raise self._failed(error, started.size) from None
