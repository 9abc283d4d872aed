"""One picture from stdin or to stdout, and pictures as they arrive in a folder."""
from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from src.console import complain, note, printable, say
from src.media.picture_formats import image_suffixes, is_hidden, why_no_picture
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.media.video_reader import VIDEO_SUFFIXES
from src.runtime.inputs import is_pattern
from src.runtime.matting import Matting
from src.runtime.pictures import Job, attempts, in_milliseconds, is_done, plan, written

PIPE, STDIN, POLL_SECONDS = "-", "stdin", 0.5
# A file that stays empty for so long is no beginning of one.
EMPTY_LOOKS = 20
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
    if output and path.suffix.lower() in set(VIDEO_SUFFIXES) - image_suffixes():
        raise ValueError(f"--output - is for one picture, --image-path is the video {path}: leave --output out")
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
        path, data = Path(source), None
        if source == PIPE:
            path, data = Path(STDIN), sys.stdin.buffer.read()
        [job] = plan([path], look, output_dir=Path(folder) / "out" if to_stdout else output_dir, kept=kept)
        picture = read_picture(path, data=data)
        alpha = matting.alpha(picture.over())
        for result in job.results.values():
            result.parent.mkdir(parents=True, exist_ok=True)
        paths = save_results(picture, alpha, job.results, look)
        if to_stdout:
            to_pipe(paths[0].read_bytes())
        (complain if to_stdout else say)(f"{path}: {in_milliseconds(matting.milliseconds)} -> "
                                         f"{'stdout' if to_stdout else written(paths)}")
    return 0


def to_pipe(data: bytes) -> None:
    """Write to stdout. Raises `OSError` that says so if nobody takes it; what is buffered is dropped then."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Or Python would try again at the end, and say so in lines of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"the picture could not be written to stdout: {error.strerror}") from None


def stamp_of(path: Path) -> Stamp | None:
    """Return the size and time of the last change of a file; `None` if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def complete_pictures(folder: Path, *, sleep: Callable[[float], object] = time.sleep,
                      output_dir: Path | None = None) -> Iterator[list[Path]]:
    """Look at a folder again and again; yield the pictures that are there and that arrive, when they are not being written
    any more: size and time were the same at two looks, of an empty file at `EMPTY_LOOKS`. Once, unless they change later.

    Other files and folders are named once, in a note, but for `output_dir`. Raises `FileNotFoundError` if the folder goes.
    """
    before, done, same = dict[Path, Stamp | None](), dict[Path, Stamp | None](), dict[Path, int]()
    results = () if output_dir is None else (Path(os.path.realpath(output_dir)), *Path(os.path.realpath(output_dir)).parents)
    while True:
        if not folder.is_dir():
            raise FileNotFoundError(f"the watched folder {folder} is gone")
        complete = []
        for path in sorted(folder.iterdir()):
            stamp = stamp_of(path)
            # Of a folder, the time changes with what is in it.
            if is_hidden(path) or path in done and (done[path] == stamp or path.is_dir()) or not os.path.lexists(path):
                continue
            same[path] = same.get(path, 0) + 1 if before.get(path) == stamp else 0
            if why := why_no_picture(path):
                if Path(os.path.realpath(path)) not in results:
                    note(f"{printable(path)}: left out, {why}")
                done[path] = stamp
            elif stamp is not None and same[path] >= (1 if stamp[0] else EMPTY_LOOKS):
                done[path] = stamp
                complete.append(path)
            before[path] = stamp
        yield complete
        sleep(POLL_SECONDS)


class Watched:
    """What came of the pictures of a watched folder: the last try of each counts."""

    def __init__(self, look: PictureLook, output_dir: Path, kept: Sequence[Path], *, skip_existing: bool) -> None:
        self._look, self._output_dir, self._kept, self._skip = look, output_dir, kept, skip_existing
        self._planned: dict[str, set[Path]] = {}
        self.good, self.failed = set(), set()

    def jobs(self, pictures: Sequence[Path]) -> list[Job]:
        """Return what is to be done of the pictures that are complete, and say why the others are not."""
        jobs = []
        for picture in pictures:
            alike = self._planned.setdefault(picture.stem, set())
            try:
                [*_, job] = plan([*(alike - {picture}), picture], self._look, output_dir=self._output_dir, kept=self._kept)
            except ValueError as error:
                self.fail(picture, error)
                continue
            if not (self._skip and picture not in alike and is_done(job.results)):
                jobs.append(job)
            alike.add(picture)
        return jobs

    def fail(self, picture: Path, error: ValueError) -> None:
        """Say that a picture failed, or that it is gone."""
        if os.path.lexists(picture):
            self.failed.add(picture)
            complain(f"error: {error}")
        else:
            note(f"{printable(picture)}: gone before its turn")

    def do(self, jobs: Sequence[Job], work: Callable[[Job], str], at_once: int) -> None:
        """Call `work` for each, in up to `at_once` threads, and print the lines in order; after Ctrl-C of what was begun."""
        untold: dict[Path, str] = {}

        def attempt(job: Job) -> str:
            return untold.setdefault(job.picture, work(job))

        try:
            with contextlib.closing(attempts(attempt, jobs, min(at_once, len(jobs)))) as lines:
                for job, line in zip(jobs, lines, strict=True):
                    try:
                        told = line()
                    except ValueError as error:
                        self.fail(job.picture, error)
                        continue
                    untold.pop(job.picture, None)  # first, or Ctrl-C while it is printed would tell it twice
                    self._succeed(job.picture, told)
        finally:
            for picture, line in untold.items():
                self._succeed(picture, line)

    def _succeed(self, picture: Path, line: str) -> None:
        self.good.add(picture)
        self.failed.discard(picture)
        say(line)


def watch_pictures(folder: Path, work: Callable[[Job], str], look: PictureLook, *, output_dir: Path,
                   skip_existing: bool = False, kept: Sequence[Path] = (), at_once: int = 1) -> int:
    """Call `work` for each picture of a folder and each that arrives, in up to `at_once` threads where several wait, until
    Ctrl-C; the exit status, 1 if any failed. Raises `ValueError` if results would go into the same folder, where they would
    be pictures that arrive, and `OSError` if the disk is full.
    """
    if os.path.realpath(output_dir) == os.path.realpath(folder):
        raise ValueError(f"--watch {folder} would also see its own results: use another --output-dir")
    complain(f"watching {printable(folder)}, Ctrl-C ends")
    watched = Watched(look, output_dir, kept, skip_existing=skip_existing)
    try:
        for pictures in complete_pictures(folder, output_dir=output_dir):
            if jobs := watched.jobs(pictures):
                watched.do(jobs, work, at_once)
    except (KeyboardInterrupt, OSError) as end:
        complain(f"{len(watched.good)} pictures done, {len(watched.failed)} failed")
        if not isinstance(end, KeyboardInterrupt):
            raise
    return 1 if watched.failed else 0
