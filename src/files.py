"""Write files that appear whole or not at all. No torch here."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path


def short_names(paths: Sequence[Path], *, without_suffix: str | None = None) -> list[str]:
    """Return a short name for each file or folder: its name, without the suffix `without_suffix`, and as many folders before
    it as it takes to tell them apart. Raises `ValueError` for a path that is there twice."""
    parts = [(*path.absolute().parts[1:-1], path.stem if path.suffix == without_suffix else path.name) for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"{next(str(path) for path in paths if paths.count(path) > 1)} is given twice")


def check_writable(folder: Path, option: str) -> None:
    """Check, before any work, that files can be written in `folder`, or where it will be made; nothing is left behind.

    A file is really written: for root `os.access` says yes everywhere. Raises `ValueError` naming `option` (`--output-dir`).
    """
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


def check_output(path: Path, option: str) -> None:
    """Check, before any work, that the file `path` can be written. Raises `ValueError` naming `option`."""
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder, expected the name of a file")
    check_writable(path.parent, option)


def keep_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise `ValueError` naming an output that is one of the inputs, by a relative path, a link or any other name."""
    def places(paths: Iterable[Path]) -> dict[tuple[int, int], Path]:
        found = ((path, path.stat()) for path in paths if path.exists())
        return {(stat.st_dev, stat.st_ino): path for path, stat in found}

    given = places(inputs)
    for place, output in places(outputs).items():
        if place in given:
            also = f" ({given[place]})" if str(given[place]) != str(output) else ""
            raise ValueError(f"{output} is an input{also} and would be overwritten: choose another name or folder")


def temporary_prefix(path: Path) -> str:
    """Return how the temporary names of `path` begin: hidden, always the same, short however long the name is."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}."


@contextlib.contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Yield a temporary name in the folder of `path`, with its suffix; at the end the file is moved to `path`.

    If the block raises, the temporary file is removed and what was at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path), suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary name in the folder of `path`, then move the file into place."""
    with moved_into_place(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, in one move; bytes of names that are none become `\\udcff`."""
    write_atomically(path, lambda to: to.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, in one move."""
    write_text(path, json.dumps(value, indent=2) + "\n")
