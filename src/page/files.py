"""The page's temporary files: one folder, swept while the page runs, gone when it ends."""
from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

MINUTES_KEPT = 30
SWEEP_SECONDS = 60
FOLDER_VARIABLE = "GRADIO_TEMP_DIR"


def sweep(folder: Path, oldest: float) -> None:
    """Remove the files in `folder` that nobody wrote since `oldest`, in seconds since the epoch, and folders left empty."""
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir():
                # Only if it is empty; a new one waits for its file.
                if path.stat().st_mtime < oldest:
                    path.rmdir()
            elif path.stat().st_mtime < oldest:
                path.unlink()


def _sweep_on(folder: Path, stop: threading.Event) -> None:
    while not stop.wait(SWEEP_SECONDS):
        sweep(folder, time.time() - 60 * MINUTES_KEPT)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for uploads and results: what is older than `MINUTES_KEPT` goes, and at the end all of it."""
    folder, stop = Path(tempfile.mkdtemp(prefix="modnet-page-")), threading.Event()
    os.environ[FOLDER_VARIABLE] = str(folder)
    threading.Thread(target=_sweep_on, args=(folder, stop), daemon=True).start()
    try:
        yield folder
    finally:
        stop.set()
        shutil.rmtree(folder, ignore_errors=True)


def result_folder() -> Path:
    """Make a new folder for the results of one visitor's request; its name cannot be guessed."""
    return Path(tempfile.mkdtemp(dir=os.environ[FOLDER_VARIABLE]))
