"""What scripts print: lines, notes and progress bars, on any console and for any name of a file. No torch here."""
from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_NOTED: set[str] = set()
_MOST_NOTED = 10_000


def print_anything() -> None:
    """Let stdout and stderr escape what their encoding does not have (`\\xe9`, `\\udcff`) instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


def printable(name: str | os.PathLike[str]) -> str:
    """Return a file's name as text that every encoder takes: bytes that are not UTF-8 become `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def say(line: str) -> None:
    """Print a line on stdout, above a progress bar if there is one."""
    tqdm.write(line)


def complain(line: str) -> None:
    """Print a line on stderr, above a progress bar if there is one."""
    tqdm.write(line, file=sys.stderr)


def note(text: str) -> None:
    """Print `note: text` on stderr, the same text once for this process."""
    if text not in _NOTED:
        if len(_NOTED) < _MOST_NOTED:
            _NOTED.add(text)
        complain(f"note: {text}")


def progress_bar(items: Iterable[Any] | None = None, *, hidden: bool = False, **settings: Any) -> tqdm:
    """Return a progress bar (`tqdm`) over `items`, silent where stderr is no terminal, and if `hidden`."""
    return tqdm(items, disable=True if hidden else None, **settings)
