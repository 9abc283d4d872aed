"""One picture from stdin or to stdout, and pictures as they arrive in a folder."""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from src.console import complain, note, printable, say
from src.media.picture_formats import is_hidden, why_no_picture
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.runtime.inputs import is_pattern
from src.runtime.matting import Matting
from src.runtime.pictures import Job, done_or_said, in_milliseconds, is_done, plan, written

PIPE, STDIN = "-", "stdin"
POLL_SECONDS = 0.5
Stamp = tuple[int, int]                 # size and time of the last change of a file


def add_pipe_options(parser: argparse.ArgumentParser) -> None:
    """Add `--output` and `--watch`."""
    parser.add_argument("--output", choices=(PIPE,), help="write the one kind of --save (default: cutout) of one picture to "
                        "stdout, messages to stderr; files: --output-dir")
    parser.add_argument("--watch", action="store_true", help="do each picture in the folder --image-path, and each that "
                        "arrives there, once, when it is complete, until Ctrl-C")


def check_pipe(paths: Sequence[str], *, output: str | None, watch: bool, save: Sequence[str] | None,
               others: Sequence[str]) -> None:
    """Raise `ValueError` unless the input is one picture for a pipe or one folder to watch; `others` are options given
    that do not go with it."""
    what = "--watch" if watch else "--output -" if output else "--image-path -"
    if watch and (output or PIPE in paths):
        raise ValueError("--watch goes without pipes: give --image-path a folder, and --output-dir")
    if others:
        raise ValueError(f"{what} goes without {', '.join(others)}")
    if len(paths) != 1:
        raise ValueError(f"{what} takes one --image-path, not {len(paths)}")
    path = Path(paths[0])
    if watch and not path.is_dir():
        raise ValueError(f"--watch needs a folder, --image-path is {path}")
    if output and (path.is_dir() or is_pattern(path)):
        raise ValueError(f"--output - is for one picture, --image-path is {path}")
    if output and save and len(set(save)) != 1:
        raise ValueError(f"--output - writes one kind, --save has {' '.join(save)}")
    if output and sys.stdout is None or PIPE in paths and sys.stdin is None:
        raise ValueError(f"{what} goes through {'stdout' if sys.stdout is None else 'stdin'}, which is closed")
    if output and sys.stdout.isatty():
        raise ValueError("--output - writes a picture to stdout, which is a terminal: add | or >")
    if PIPE in paths and sys.stdin.isatty():
        raise ValueError("--image-path - reads a picture from stdin, which is a terminal: add | or <")


def pipe_picture(matting: Matting, source: str, look: PictureLook, *, output_dir: Path, to_stdout: bool,
                 kept: Sequence[Path] = ()) -> int:
    """Cut out the picture at `source`, or from stdin, into files or to stdout; the exit status.

    Raises `FileNotFoundError` or `ValueError` for a picture that cannot be read and for a result that would overwrite one
    of `kept`, `OSError` if nobody takes the result.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source)
        if source == PIPE:
            path = Path(folder) / STDIN
            path.write_bytes(sys.stdin.buffer.read())
        [(_, results)] = plan([path], look, output_dir=Path(folder) / "out" if to_stdout else output_dir, kept=kept)
        try:
            picture = read_picture(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), STDIN if source == PIPE else str(path))) from None
        alpha = matting.alpha(picture.over())
        name = STDIN if source == PIPE else source
        for result in results.values():
            result.parent.mkdir(parents=True, exist_ok=True)
        paths = save_results(picture, alpha, results, look)
        if to_stdout:
            sys.stdout.buffer.write(paths[0].read_bytes())
            sys.stdout.buffer.flush()
        (complain if to_stdout else say)(f"{name}: {in_milliseconds(matting.milliseconds)} -> "
                                         f"{'stdout' if to_stdout else written(paths)}")
    return 0


def stamp_of(path: Path) -> Stamp | None:
    """Return the size and time of the last change of a file; `None` if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def complete_pictures(folder: Path, *, sleep: Callable[[float], object] = time.sleep) -> Iterator[Path | None]:
    """Yield each picture in a folder, and each that arrives, when it is not being written any more: its size and time were
    the same at two looks. Once, unless it changes later; `None` after every look. Other files are named once, in a note.

    Raises `FileNotFoundError` if the folder goes.
    """
    before: dict[Path, Stamp | None] = {}
    done: dict[Path, Stamp | None] = {}
    while True:
        if not folder.is_dir():
            raise FileNotFoundError(f"the watched folder {folder} is gone")
        for path in sorted(folder.iterdir()):
            stamp = stamp_of(path)
            if is_hidden(path) or path.is_dir() or path in done and done[path] == stamp or not os.path.lexists(path):
                continue
            if why := why_no_picture(path):
                note(f"{printable(path)}: left out, {why}")
                done[path] = stamp
            elif before.get(path) == stamp and stamp is not None and stamp[0] > 0:
                done[path] = stamp
                yield path
            before[path] = stamp
        yield None
        sleep(POLL_SECONDS)


def watch_pictures(folder: Path, work: Callable[[Job], str], look: PictureLook, *, output_dir: Path,
                   skip_existing: bool = False, kept: Sequence[Path] = ()) -> int:
    """Call `work` for each picture of a folder and each that arrives, until Ctrl-C; the exit status, 1 if any failed.

    Raises `ValueError` if results would go into the same folder, where they would be pictures that arrive.
    """
    if os.path.realpath(output_dir) == os.path.realpath(folder):
        raise ValueError(f"--watch {folder} would also see its own results: use another --output-dir")
    complain(f"watching {printable(folder)}, Ctrl-C ends")
    mine: dict[Path, Job] = {}
    good = failed = 0
    try:
        for picture in complete_pictures(folder):
            if picture is None:
                continue
            try:
                [*_, job] = plan([*(path for path in mine if path != picture), picture], look, output_dir=output_dir,
                                 kept=kept)
                if skip_existing and picture not in mine and is_done(job):
                    mine[picture] = job
                    continue
                say(done_or_said(work, job))
                mine[picture], good = job, good + 1
            except ValueError as error:
                failed += 1
                complain(f"error: {error}")
    except KeyboardInterrupt:
        complain(f"{good} pictures done, {failed} failed")
    return 1 if failed else 0
