"""The page's temporary files: one folder, swept while the page runs, gone when it ends."""
from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from src.files import locked

MINUTES_KEPT = 30
# Of an upload that waits for its turn.
MINUTES_WAITED = 240
SWEEP_SECONDS = 60
REMOVALS = 3
FOLDER_VARIABLE = "GRADIO_TEMP_DIR"
PREFIX, LOCK = "modnet-page-", ".lock"


def sweep(folder: Path, oldest: float) -> None:
    """Remove the files in `folder` that nobody wrote since `oldest`, in seconds since the epoch, and folders left empty."""
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir():
                # Only if it is empty; a new one waits for its file.
                if path.stat().st_mtime < oldest:
                    path.rmdir()
            elif path.name != LOCK and path.stat().st_mtime < oldest:
                path.unlink()


def _sweep_on(folder: Path, stop: threading.Event) -> None:
    while not stop.wait(SWEEP_SECONDS):
        sweep(folder, time.time() - 60 * MINUTES_KEPT)


def remove_left() -> None:
    """Remove the folders of pages that were killed: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if (handle := locked(folder / LOCK, os.O_RDWR)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for uploads and results: what nobody used for `MINUTES_KEPT` goes, and at the end all of it."""
    remove_left()
    folder, stop = Path(tempfile.mkdtemp(prefix=PREFIX)), threading.Event()
    handle = locked(folder / LOCK, os.O_RDWR | os.O_CREAT)
    os.environ[FOLDER_VARIABLE] = str(folder)
    threading.Thread(target=_sweep_on, args=(folder, stop), daemon=True).start()
    try:
        yield folder
    finally:
        stop.set()
        for _ in range(REMOVALS):  # a video that is just being written may put a file into it
            shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def keep_used(values: Iterable[object], *, minutes: float = 0) -> None:
    """Count the uploads among a handler's values as used now, or in so many `minutes`. Raises `ValueError` for one that was
    swept."""
    folder, used = os.environ.get(FOLDER_VARIABLE), time.time() + 60 * minutes
    for path in values:
        if folder and isinstance(path, str) and path.startswith(os.path.join(folder, "")):
            try:
                os.utime(path, (used, used))
            except FileNotFoundError:
                raise ValueError(f"{Path(path).name} was removed, since nobody used it for {MINUTES_KEPT} minutes: drop it "
                                 "again") from None


def result_folder() -> Path:
    """Make a folder for the results of one visitor's request; its name cannot be guessed."""
    return Path(tempfile.mkdtemp(dir=os.environ[FOLDER_VARIABLE]))
