"""Print lines, notes and progress bars, on any console and for any name of a file. No torch here."""
from __future__ import annotations

import contextlib
import contextvars
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

_NOTED: set[str] = set()
_MOST_NOTED = 10_000
# What would break a line or steer a terminal, in the name of a file for instance.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_HELD: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("held", default=None)


def print_anything() -> None:
    """Let stdout and stderr escape what their encoding does not have (`\\xe9`, `\\udcff`) instead of raising; what goes to
    standard streams that are closed goes nowhere, and not into the next file that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


def printable(name: str | os.PathLike[str]) -> str:
    """Return a file's name as text that every encoder takes: bytes that are not UTF-8 become `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def shown(value: object, *, most: int = 80) -> str:
    """Return a value from a foreign file as one short line: what cannot be printed escaped, the middle left out."""
    text = value if isinstance(value, str) else _safe_repr(value)
    if len(text) > most:
        text = f"{text[:most // 2]}...{text[-most // 4:]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def as_line(text: str) -> str:
    """Return a text as one line: what would break it, or steer a terminal, is escaped (`\\n`, `\\x1b`)."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def no_file(what: str, path: str | os.PathLike[str]) -> FileNotFoundError:
    """Make the error that no file, `what`, is at `path`; it says if something else is: a folder, a FIFO, a device."""
    there = ", which is no plain file" if os.path.exists(path) else ""
    return FileNotFoundError(f"no {what} at {os.fspath(path)}{there}")


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # of whole numbers of thousands of digits, of endless nesting
        return f"a {type(value).__name__} that is too large to show"


def say(line: str) -> None:
    """Print a line on stdout, above a progress bar if there is one. Raises `OSError` naming stdout if nobody takes it."""
    try:
        tqdm.write(as_line(line))
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from None


def complain(line: str) -> None:
    """Print a line on stderr, above a progress bar if there is one; where nobody takes it, the work goes on without."""
    try:
        tqdm.write(as_line(line), file=sys.stderr)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def note(text: str) -> None:
    """Print `note: text` on stderr, the same text once for this process."""
    if (held := _HELD.get()) is not None:
        held.append(text)
    elif text not in _NOTED:
        if len(_NOTED) < _MOST_NOTED:
            _NOTED.add(text)
        complain(f"note: {text}")


@contextlib.contextmanager
def notes_held() -> Iterator[list[str]]:
    """Hold back the notes that this thread makes in the block, in the list that is yielded, for whoever keeps the order."""
    token = _HELD.set(held := [])
    try:
        yield held
    finally:
        _HELD.reset(token)


@contextlib.contextmanager
def messages_held() -> Iterator[None]:
    """Hold back what libraries write to stderr: shown at the end, or dropped if the block raises, which says it in one line.

    For the loading of networks by the main thread: stderr is one for the whole process.
    """
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        fine = False
        try:
            yield
            fine = True
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            if fine and (said := held.read()):
                tqdm.write(said.decode("utf-8", "backslashreplace").rstrip("\n"), file=sys.stderr)


def progress_bar(items: Iterable[Any] | None = None, *, hidden: bool = False, **settings: Any) -> tqdm:
    """Return a progress bar (`tqdm`) over `items`, silent where stderr is no terminal, and if `hidden`."""
    return tqdm(items, disable=True if hidden else None, **settings)
