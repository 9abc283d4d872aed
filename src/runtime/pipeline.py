"""Run stages at the same time, each in a thread, with short queues between them. No torch here.

OpenVINO, OpenCV and FFmpeg let go of Python's lock while they compute, so threads are enough.
"""
from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2

DEPTH = 4
_POLL = 0.1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3   # of malloc.h


def keep_freed_memory() -> None:
    """Tell the C library of Linux to keep what is freed instead of giving it back, for this process.

    A picture is large enough to be given back at once, and to be mapped in anew, page by page, for the next frame: that was
    half of what composing a frame cost. Elsewhere it does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 2 ** 25)
        library.mallopt(_M_TRIM_THRESHOLD, 2 ** 29)


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Let OpenCV use one thread in the block: others share the cores already, and its own would take them from the
    network."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class Stage(NamedTuple):
    """A named step: `work` maps an iterator of what comes in to an iterator of what goes out, in order."""

    name: str
    work: Callable[[Iterator[Any]], Iterable[Any]]


class _Stopped(Exception):
    """Another stage failed, or the caller had enough."""


class Pipeline:
    """Runs a source through stages that overlap: `for out in Pipeline(source, stages)`.

    What comes out is in the order of the source. At most `DEPTH` things wait between two stages, so memory does not grow
    with the length of the source. An exception of any stage is raised by the loop; when the loop ends, for whatever
    reason, so do the threads. `seconds` says how long each stage worked, waiting for its neighbours left out; the source
    is the stage `source_name`.
    """

    def __init__(self, source: Iterable[Any], stages: Sequence[Stage], *, source_name: str = "decode",
                 depth: int = DEPTH) -> None:
        self._stages = [Stage(source_name, lambda _: source), *stages]
        self._queues = [queue.Queue(depth) for _ in self._stages]
        self._stop, self._errors = threading.Event(), []
        self.seconds = dict.fromkeys((stage.name for stage in self._stages), 0.0)

    def __iter__(self) -> Iterator[Any]:
        threads = [threading.Thread(target=self._run, args=(index,), name=stage.name, daemon=True)
                   for index, stage in enumerate(self._stages)]
        for thread in threads:
            thread.start()
        try:
            yield from self._taken(self._queues[-1])
        except _Stopped:
            pass
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, index: int) -> None:
        stage, out, waited = self._stages[index], self._queues[index], [0.0]
        start = time.perf_counter()
        try:
            came = self._taken(self._queues[index - 1], waited) if index else iter(())
            for item in stage.work(came):
                self._put(out, (item,), waited)
            self._put(out, None, waited)
        except _Stopped:
            pass
        except BaseException as error:  # whatever it is, the caller's thread raises it
            self._errors.append(error)
            self._stop.set()
        self.seconds[stage.name] = time.perf_counter() - start - waited[0]

    def _taken(self, source: queue.Queue, waited: list[float] | None = None) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            item = self._wait(source.get)
            if waited:
                waited[0] += time.perf_counter() - start
            if item is None:
                return
            yield item[0]

    def _put(self, out: queue.Queue, item: tuple | None, waited: list[float]) -> None:
        start = time.perf_counter()
        self._wait(lambda timeout: out.put(item, timeout=timeout))
        waited[0] += time.perf_counter() - start

    def _wait(self, attempt: Callable[..., Any]) -> Any:
        """Call `attempt` until it does not time out. Raises `_Stopped` when the pipeline is to end."""
        while True:
            if self._stop.is_set():
                raise _Stopped
            try:
                return attempt(timeout=_POLL)
            except (queue.Empty, queue.Full):
                continue
