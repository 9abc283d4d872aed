"""Ctrl-C, SIGTERM and SIGHUP end a script within seconds, whatever it is doing, and leave nothing half written. No torch."""
from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

from src.files import remove_unfinished

# Seconds in which a script may close what is open. After them, or at a second signal, the process ends where it is.
GRACE = 4.0
STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGHUP"):  # a terminal that is closed
    STATUSES[signal.SIGHUP] = 129

# The handlers that were there before, while ours are.
_BEFORE: dict[int, object] = {}


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, `number`, which end a script as Ctrl-C does."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


def status_of(interrupt: KeyboardInterrupt) -> tuple[int, str]:
    """Return the exit status that an interrupt has, and the word for it."""
    if not isinstance(interrupt, Terminated):
        return STATUSES[signal.SIGINT], "interrupted"
    return STATUSES[interrupt.number], "terminated" if interrupt.number == signal.SIGTERM else "hung up"


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _end(number: int) -> None:
    """End this process and its worker processes now."""
    remove_unfinished()
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            # Those that load batches are daemons: they notice by themselves, and clear their temporary folders.
            if not child.daemon:
                child.kill()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(STATUSES[number])


def _watch(reader: int, writer: int, ended: threading.Event) -> None:
    """Wait for a signal, which Python's own handler only sees when a call of native code returns; then for the end."""
    first, until = None, None
    while not ended.is_set() or first is not None:
        timeout = None if until is None else max(0.0, until - time.monotonic())
        came = os.read(reader, 64) if select.select([reader], [], [], timeout)[0] else b""
        for number in came:
            # A handler of somebody else (a webcam's Ctrl-C) ends things in its own way.
            if number in STATUSES and signal.getsignal(number) in (_interrupt, signal.default_int_handler, signal.SIG_DFL):
                if first is not None:
                    _end(first)
                first, until = number, time.monotonic() + GRACE
        if until is not None and time.monotonic() >= until:
            _end(first)
    os.close(reader)
    os.close(writer)


def _in_child() -> None:
    """Let forked workers leave Ctrl-C to the process that started them, and end by the others at once."""
    if _BEFORE:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in STATUSES.keys() - {signal.SIGINT}:
            signal.signal(number, signal.SIG_DFL)
        _BEFORE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the block for Ctrl-C, `Terminated` for SIGTERM and SIGHUP; if the process is still there
    `GRACE` seconds later, for instance within native code, end it with the status of that signal.

    Does nothing in other threads than the main one, and to signals that this process was told to ignore.
    """
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32" or _BEFORE:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in STATUSES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            _BEFORE[number] = signal.signal(number, _interrupt)
    wakeup, ended = signal.set_wakeup_fd(writer, warn_on_full_buffer=False), threading.Event()
    threading.Thread(target=_watch, args=(reader, writer, ended), name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in _BEFORE.items():
            signal.signal(number, handler)
        _BEFORE.clear()
        ended.set()
        os.write(writer, b"\0")
