"""Read and write files that lie on this machine or on any file system that fsspec knows (`s3://`, `gs://`, `file://`).

A URL travels through the rest of the code as a `Path`, which folds its `//`; `url_of` unfolds it. No torch here.
"""
from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.console import no_file

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Two letters and more, so that no drive of Windows is a scheme.
_FOLDED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)(.*)", re.DOTALL)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: Path) -> bool:
    """Return whether `path` was made of a URL."""
    return _FOLDED.fullmatch(str(path)) is not None and not path.exists()


def url_of(path: Path) -> str:
    """Return the URL that `path` was made of. Raises `ValueError` if it was made of none."""
    found = _FOLDED.fullmatch(str(path))
    if found is None:
        raise ValueError(f"{path} is no URL")
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme in ('file', 'local', 'memory') else ''}{rest}"


def _file_system(path: Path) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL and the path there. Raises `ValueError` naming the URL if fsspec has none."""
    import fsspec

    url = url_of(path)
    try:
        return fsspec.core.url_to_fs(url)
    except Exception as error:  # a file system's package may be missing, or raise anything about an address
        raise ValueError(f"{url} cannot be reached: {error}") from None


def exists(path: Path) -> bool:
    """Return whether a file is at `path`, a URL too."""
    if not is_url(path):
        return path.is_file()
    system, there = _file_system(path)
    try:
        return bool(system.isfile(there))
    except Exception as error:  # network file systems raise what they like
        raise ValueError(f"{url_of(path)} cannot be reached: {error}") from None


@contextlib.contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Give the file at `path` as a file of this machine: itself, or a copy that goes at the end.

    Raises `ValueError` naming a URL that cannot be read.
    """
    if not is_url(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="modnet-") as folder:
        copy, (system, there) = Path(folder) / path.name, _file_system(path)
        try:
            with system.open(there, "rb") as source, copy.open("wb") as to:
                shutil.copyfileobj(source, to)
        except Exception as error:
            raise ValueError(f"{url_of(path)} cannot be read: {error}") from None
        yield copy


@contextlib.contextmanager
def local_folder(folder: Path) -> Iterator[Path]:
    """Give the folder at `folder` as one of this machine: itself, or a new one whose files are put at its URL at the end, if
    all went well.

    Raises `ValueError` naming a URL that cannot be written.
    """
    if not is_url(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="modnet-") as here:
        yield Path(here)
        for path in sorted(Path(here).iterdir()):
            put(path, folder / path.name)


@contextlib.contextmanager
def local_results(results: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Give a file of this machine for each of `results`, all of one folder, as `local_folder` does."""
    with local_folder(next(iter(results.values())).parent) as here:
        yield {kind: here / path.name for kind, path in results.items()}


def put(source: Path, path: Path) -> None:
    """Copy a file of this machine to the URL `path`. Raises `ValueError` naming it if that fails."""
    system, there = _file_system(path)
    try:
        system.makedirs(there.rpartition("/")[0], exist_ok=True)
        system.put_file(str(source), there)
    except Exception as error:
        raise ValueError(f"{url_of(path)} cannot be written: {error}") from None


def check_place(folder: Path, option: str) -> None:
    """Check, before any work, that files can be written in the folder at a URL. Raises `ValueError` naming `option`."""
    with tempfile.TemporaryDirectory(prefix="modnet-") as here:
        probe = Path(here) / ".modnet-probe"
        probe.write_bytes(b"")
        try:
            put(probe, folder / probe.name)
            system, there = _file_system(folder / probe.name)
            system.rm_file(there)
        except Exception as error:
            raise ValueError(f"{option} {error}") from None


def read_list(path: Path) -> list[Path]:
    """Return the paths and URLs in a text file, one a line; empty lines are passed over.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it is no text or empty.
    """
    if not path.is_file():
        raise no_file("text for --list", path)
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise ValueError(f"--list {path} cannot be read: {error.strerror}") from None
    found = [Path(line) for line in lines if line.strip()]
    if not found:
        raise ValueError(f"--list {path} names no files")
    if any("\0" in str(name) for name in found):
        raise ValueError(f"--list {path} is no text with a path or URL a line")
    return found
