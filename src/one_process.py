"""Keep two processes from writing the same files. No torch here."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from src.files import UNFINISHED, lock, temporary_prefix


@contextlib.contextmanager
def by_one_process(path: Path) -> Iterator[None]:
    """Let one process at a time work on the files that are named after `path`, however it ends. Raises `ValueError` naming
    `path` while another one does; where there are no locks nobody knows, and all go on."""
    name = path.parent / f"{temporary_prefix(path)}lock"
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = lock(name, os.O_RDWR | os.O_CREAT)
    except BlockingIOError:
        raise ValueError(f"{path} is being written by another process: wait for it, or choose another name or "
                         "folder") from None
    UNFINISHED.add(str(name))
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        UNFINISHED.discard(str(name))
        if handle is not None:
            os.close(handle)
        with contextlib.suppress(OSError):  # a folder that something was written to stays
            for folder in made:
                folder.rmdir()
