"""Work on several pictures at once, each whole in a thread of its own, and hand back what came of them in order. No torch
here.

OpenVINO, OpenCV and the decoders let go of Python's lock while they compute. Whole pictures, and not a stage in each thread
as videos have it: of a large picture the files alone take most of the time, and one thread would have to write them all.
"""
from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from src.console import note, notes_held

T = TypeVar("T")
# How far ahead of the first picture that is not done others may be, for each thread: what is done is one line of text.
AHEAD = 32
# Pixels at once: as many as ever, and for each thread; a pixel takes some 25 bytes. A larger picture is alone.
LEAST_PIXELS, PIXELS_EACH = 64_000_000, 12_000_000


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def networks_at_once(pictures: int, threads: int | None) -> int:
    """Return how many of so many pictures a network works on at once, each by `threads` cores (`None`: one)."""
    return max(1, min(pictures, usable_cores() // (threads or 1)))


class PixelRoom:
    """Lets pictures in, in the order in which they ask, as long as those inside have at most `most` pixels together.

    One that has more is let in when nobody else is inside.
    """

    def __init__(self, most: int) -> None:
        self._most, self._inside, self._turn, self._changed = most, 0, threading.Lock(), threading.Condition()

    @contextlib.contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for a picture of `pixels`, and keep it during the block."""
        with self._turn, self._changed:  # who waits holds the turn, so that smaller ones do not pass a large one for ever
            self._changed.wait_for(lambda: not self._inside or self._inside + pixels <= self._most)
            self._inside += pixels
        try:
            yield
        finally:
            with self._changed:
                self._inside -= pixels
                self._changed.notify()


class _Attempt(NamedTuple):
    """What came of one thing, and what was noted meanwhile."""

    line: str
    error: ValueError | None
    notes: list[str]


class _StoppedError(Exception):
    """Another picture met what ends all of them, or the caller had enough."""


def _told(attempt: Future[_Attempt], ends: Sequence[BaseException]) -> str:
    """Wait for an attempt, print its notes and return its line, or raise its error, or the one that `ends` everything."""
    try:
        line, error, notes = attempt.result()
    except Exception:
        raise ends[0] from None
    for text in notes:
        note(text)
    if error is not None:
        raise error
    return line


def side_by_side(work: Callable[[T], str], things: Sequence[T], *, at_once: int,
                 pixels: Callable[[T], int]) -> Iterator[Callable[[], str]]:
    """Do `work` for each of `things` in `at_once` threads; yield, in order, for each a function that waits for it and
    returns its line.

    That raises the `ValueError` of that thing alone; any other exception ends all, and is raised for the first thing that is
    not done. Things in work have `LEAST_PIXELS` together, or `PIXELS_EACH` for each thread, or are alone. Close the iterator
    (`contextlib.closing`): nothing more is then begun, and what was begun is waited for.
    """
    room, ends, waiting = PixelRoom(max(LEAST_PIXELS, PIXELS_EACH * at_once)), [], deque()

    def attempt(thing: T) -> _Attempt:
        with notes_held() as notes:
            try:
                with room.holding(pixels(thing)):
                    if ends:
                        raise _StoppedError
                    return _Attempt(work(thing), None, notes)
            except ValueError as error:
                return _Attempt("", error, notes)
            except BaseException as error:
                ends.append(error)
                raise

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="picture")
    try:
        for thing in things:
            waiting.append(pool.submit(attempt, thing))
            if len(waiting) > AHEAD * at_once:
                yield functools.partial(_told, waiting.popleft(), ends)
        while waiting:
            yield functools.partial(_told, waiting.popleft(), ends)
    finally:
        ends.append(_StoppedError())
        pool.shutdown(cancel_futures=True)
