"""Read and write files that lie on this machine or on any file system that fsspec knows (`s3://`, `gs://`, `file://`).

A URL travels through the rest of the code as a `Path`, which folds its `//`; `src.urls` unfolds it. No torch here.
"""
from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.console import no_file, note
from src.files import check_writable
from src.script import one_line
from src.urls import is_url, url_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

def _file_system(path: Path) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL and the path there. Raises `ValueError` naming the URL if fsspec has none."""
    import fsspec

    url = url_of(path)
    try:
        return fsspec.core.url_to_fs(url)
    except Exception as error:  # a file system's package may be missing, or raise anything about an address
        raise ValueError(f"{url} cannot be reached: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what a file system says of a failure; they raise what they like, and some say nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
    return said or type(error).__name__


def exists(path: Path) -> bool:
    """Return whether a file is at `path`, a URL too."""
    if not is_url(path):
        return os.path.isfile(path)
    system, there = _file_system(path)
    try:
        return bool(system.isfile(there))
    except Exception as error:  # network file systems raise what they like
        raise ValueError(f"{url_of(path)} cannot be reached: {_reason(error)}") from None


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
            raise ValueError(f"{url_of(path)} cannot be read: {_reason(error)}") from None
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
        raise ValueError(f"{url_of(path)} cannot be written: {_reason(error)}") from None


@contextlib.contextmanager
def marked(folder: Path, option: str) -> Iterator[Path]:
    """Check, before any work, that files can be written in `folder`, a URL too: a hidden empty file lies there during the
    block, by which other machines see that it is the same place.

    Raises `ValueError` naming `option`.
    """
    if is_url(folder):
        with tempfile.TemporaryDirectory(prefix="modnet-") as here:
            empty, mark = Path(here) / "empty", folder / f".modnet-{secrets.token_hex(8)}"
            empty.touch()
            try:
                put(empty, mark)
                system, there = _file_system(mark)
            except ValueError as error:
                raise ValueError(f"{option} {str(error).replace(f'/{mark.name}', '')}") from None
        try:
            yield mark
        finally:
            with contextlib.suppress(Exception):  # network file systems raise what they like
                system.rm_file(there)
        return
    check_writable(folder, option)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".modnet-") as file:
            yield Path(file.name)
    finally:
        if new:
            with contextlib.suppress(OSError):  # there is something in it
                folder.rmdir()


def read_list(path: Path) -> list[Path]:
    """Return the paths and URLs in a text file, one a line, each once; empty lines are passed over, and spaces at the ends
    of a line, unless a file's name has them.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it is no text or empty.
    """
    if not path.is_file():
        raise no_file("text for --list", path)
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise ValueError(f"--list {path} cannot be read: {error.strerror}") from None
    if any(b"\0" in line for line in lines):
        raise ValueError(f"--list {path} is no text with a path or URL a line")
    named = (os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip())
    found = [Path(line if os.path.lexists(line) else line.strip(" \t")) for line in named]
    if not found:
        raise ValueError(f"--list {path} names no files")
    each: dict[str, Path] = {}
    for file in found:
        there = str(file) if is_url(file) else os.path.abspath(file)
        # The text that the path keeps anyway, if it is the same.
        each.setdefault(str(file) if str(file) == there else there, file)
    if len(each) < len(found):
        note(f"--list {path}: {len(found) - len(each)} of {len(found)} lines name a file again, which is done once")
    return list(each.values())
