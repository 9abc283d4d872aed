"""Write files that appear whole or not at all. No torch here."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from src.urls import is_url, url_of

# Temporary files and folders of this process.
UNFINISHED: set[str] = set()


def short_names(paths: Sequence[Path], *, without_suffix: str | None = None) -> list[str]:
    """Return a short name for each file or folder: its name, without the suffix `without_suffix`, and as many folders before
    it as it takes to tell them apart. Raises `ValueError` for a path that is there twice."""
    parts = [(*path.absolute().parts[1:-1], path.stem if path.suffix == without_suffix else path.name) for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(str(path) for path, part in zip(paths, parts, strict=True) if parts.count(part) > 1)
    raise ValueError(f"{twice} is given twice")


def check_writable(folder: Path, option: str) -> None:
    """Check, before any work, that files can be written in `folder`, or where it will be made; nothing is left behind.

    A file is really written: for root `os.access` says yes everywhere. Raises `ValueError` naming `option` (`--output-dir`),
    also for a URL, which would become a folder here.
    """
    if is_url(folder):
        raise ValueError(f"{option} {url_of(folder)} is a URL, expected a folder of this machine; to URLs writes "
                         "inference_openvino.py --ray")
    there = folder
    try:
        while True:
            try:
                os.lstat(there)
                break
            except (FileNotFoundError, NotADirectoryError):
                there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(f"{option} {folder} cannot be written: {error.strerror}") from None


def check_replaceable(path: Path) -> None:
    """Raise `ValueError` if `path` is there and no plain file: a folder, a FIFO, a socket, or a device such as /dev/null."""
    if os.path.exists(path) and not path.is_file():
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'no plain file'}, and is not written over")


def check_output(path: Path, option: str) -> None:
    """Check, before any work, that the file `path` can be written. Raises `ValueError` naming `option`."""
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder, expected the name of a file")
    check_replaceable(path)
    check_writable(path.parent, option)


def keep_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise `ValueError` naming an output that is one of the inputs, by a relative path, a link or any other name."""
    def places(paths: Iterable[Path]) -> dict[tuple[int, int], Path]:
        found = ((path, path.stat()) for path in paths if os.path.exists(path))
        return {(stat.st_dev, stat.st_ino): path for path, stat in found}

    given = places(inputs)
    for place, output in places(outputs).items():
        if place in given:
            also = f" ({given[place]})" if str(given[place]) != str(output) else ""
            raise ValueError(f"{output} is an input{also} and would be overwritten: choose another name or folder")


def utf8(path: Path) -> bool:
    """Return whether a name, which is bytes to the file system, is text in UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace").encode() == os.fsencode(path)


@contextlib.contextmanager
def utf8_named(path: Path) -> Iterator[Path]:
    """Yield a name for the file at `path` that libraries take which know UTF-8 alone: itself, else a link in a temporary
    folder."""
    if utf8(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="modnet-") as folder:
        link = Path(folder) / f"linked{path.suffix}"
        link.symlink_to(path.absolute())
        yield link


def temporary_prefix(path: Path) -> str:
    """Return how the temporary names of `path` begin: hidden, always the same, short however long the name is."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}."


def lock(name: Path, flags: int) -> int | None:
    """Open a temporary file or folder and lock it for as long as this process lives, however it ends; the handle, or `None`
    if there are no locks here. Raises `BlockingIOError` if another process (or thread) has it or has just removed it, and
    `OSError` if it cannot be opened."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(name) and os.path.samestat(os.fstat(handle), os.stat(name)):
            return handle
        raise BlockingIOError
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None


def locked(name: Path, flags: int) -> int | None:
    """Return what `lock` does, and `None` too where it raises."""
    with contextlib.suppress(OSError):
        return lock(name, flags)
    return None


def _temporary_file(path: Path) -> tuple[int, str]:
    """Return a handle and a temporary name for `path`, the same at each run: what a killed run left there is emptied, and
    moved into place in the end. Only while another process writes the same file it is another name."""
    name = path.parent / f"{temporary_prefix(path)}part{path.suffix}"
    handle = locked(name, os.O_RDWR | os.O_CREAT)
    if handle is not None:
        os.ftruncate(handle, 0)
        return handle, str(name)
    return tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path), suffix=f".part{path.suffix}")


@contextlib.contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Yield a temporary name in the folder of `path`, with its suffix; at the end the file is moved to `path`.

    If the block raises, the temporary file is removed and what was at `path` stays. Raises `ValueError` for a `path` that is
    no plain file (`check_replaceable`).
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.lstat()  # a name that is too long is refused before the work, not after it
    handle, name = _temporary_file(path)
    UNFINISHED.add(name)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, name):
            raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk names no file
        raise
    finally:
        os.close(handle)
        UNFINISHED.discard(name)


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a hidden folder beside the file `beside`, removed at the end; what a killed run left in it is removed at the
    start."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = beside.parent / f"{temporary_prefix(beside)}parts"
    folder.mkdir(exist_ok=True)
    handle = locked(folder, os.O_RDONLY)
    if handle is None:
        folder = Path(tempfile.mkdtemp(dir=beside.parent, prefix=temporary_prefix(beside), suffix=".parts"))
    UNFINISHED.add(str(folder))
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        UNFINISHED.discard(str(folder))
        if handle is not None:
            os.close(handle)


def remove_unfinished() -> None:
    """Remove what this process has begun to write and not moved into place, before it ends without unwinding."""
    for name in list(UNFINISHED):
        if os.path.isdir(name):
            shutil.rmtree(name, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(name)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary name in the folder of `path`, then move the file into place."""
    with moved_into_place(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, in one move; bytes of names that are none become `\\udcff`."""
    write_atomically(path, lambda to: to.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, in one move. Raises `ValueError` naming the file for numbers that are not finite."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path} is not written: {error}") from None
    write_text(path, text + "\n")
