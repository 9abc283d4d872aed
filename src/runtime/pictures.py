"""Work on one picture, or on many at once: name their results, report and survive failures."""
from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from src.console import as_line, complain, progress_bar, say
from src.files import check_replaceable, check_writable
from src.media.compositing import KINDS, STILL_KINDS
from src.media.foreground import METHODS
from src.media.picture_decoder import add_max_pixels
from src.media.picture_formats import pixels_of
from src.media.picture_results import FILE_FORMATS, PictureLook, result_paths
from src.media.picture_writer import PNG_COMPRESSION, QUALITY
from src.runtime.inputs import Inputs, result_folders
from src.runtime.pipeline import keep_freed_memory, one_opencv_thread
from src.runtime.places import exists
from src.runtime.pool import side_by_side
from src.script import one_line
from src.urls import place


class Job(NamedTuple):
    """A picture and where its results go: their paths are made when they are asked for, since a run may have millions."""

    picture: Path
    folder: Path
    look: PictureLook

    @property
    def results(self) -> dict[str, Path]:
        """Where each kind of result goes."""
        return result_paths(self.picture.stem, self.folder, self.look)


class Planned(Protocol):
    """A picture or video with the paths of its results."""

    picture: Path

    @property
    def results(self) -> dict[str, Path]:
        """Paths of the results by kind."""


def add_output_options(parser: argparse.ArgumentParser, *, of_video: str = "") -> None:
    """Add the options that say what is written of a picture, and where: `--output-dir`, `--save`, `--background`, ...;
    `of_video` adds to the help of `--save` what it is there."""
    parser.add_argument("--output-dir", type=Path, default=Path("result"),
                        help="where results go (default: %(default)s)")
    parser.add_argument("--save", nargs="+", choices=KINDS, default=list(STILL_KINDS),
                        help="what to write: the matte, RGBA, picture over --background, all of them side by side "
                             f"(default: {' '.join(STILL_KINDS)}{of_video})")
    parser.add_argument("--background", default="255,255,255",
                        help="of the composite: a colour R,G,B, each 0 to 255, or a picture, or a video, or the word blur "
                             "for the blurred original (default: %(default)s)")
    parser.add_argument("--foreground", choices=METHODS, default="fast",
                        help="how the person's own colours are found where hair and background mix: fast, ml (pymatting, "
                             "slower), none (leaves a halo; default: %(default)s)")
    parser.add_argument("--format", choices=FILE_FORMATS, default="png",
                        help="of pictures' results that it can hold: jpg has no alpha, so cut-outs stay png; mattes always "
                             "do (default: %(default)s)")
    parser.add_argument("--quality", type=int, metavar="1-100", help=f"of jpg and webp (default: {QUALITY})")
    parser.add_argument("--png-compression", type=int, metavar="0-9", help="of PNG files, mattes too: 0 is large, 9 small "
                        f"and very slow (default: {PNG_COMPRESSION})")
    parser.add_argument("--skip-existing", action="store_true", help="leave out pictures whose results are all there")
    add_max_pixels(parser)


def check_quality(file_format: str, quality: int | None) -> int:
    """Return the quality to write with. Raises `ValueError` unless it is in 1 ... 100 and the format has one."""
    if quality is None:
        return QUALITY
    if file_format == "png":
        raise ValueError(f"--quality {quality} goes with --format jpg or webp: png is exact")
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality is {quality}, allowed are whole numbers from 1 to 100")
    return quality


def check_png_compression(png_compression: int | None) -> int:
    """Return the compression level of PNG files. Raises `ValueError` unless it is in 0 ... 9."""
    if png_compression is None:
        return PNG_COMPRESSION
    if not 0 <= png_compression <= 9:
        raise ValueError(f"--png-compression is {png_compression}, allowed are whole numbers from 0 to 9")
    return png_compression


def plan(pictures: Sequence[Path], look: PictureLook, *, output_dir: Path, kept: Sequence[Path] = ()) -> list[Job]:
    """Return where the results of each picture go, see `result_folders`; `kept` are other files that the run reads.

    Raises `ValueError` as `check_jobs` does.
    """
    folders = result_folders(pictures, output_dir)
    jobs = [Job(picture, folder, look) for picture, folder in zip(pictures, folders, strict=True)]
    check_jobs(jobs, kept)
    return jobs


def check_jobs(jobs: Sequence[Planned], kept: Sequence[Path] = ()) -> None:
    """Raise `ValueError` naming two files with the same results, a result that would overwrite one of the files or of
    `kept`, or one that is a folder or no plain file."""
    def inputs() -> Iterator[str]:
        return map(os.path.realpath, itertools.chain((job.picture for job in jobs), kept))

    # Hashes for names, of which there may be millions; where two agree, the names are looked at.
    marks, taken = set(map(hash, inputs())), set()
    for job in jobs:
        for kind, result in job.results.items():
            if hash(result) in taken:
                first = next(other.picture for other in jobs if result in other.results.values())
                if first != job.picture:
                    raise ValueError(f"{first} and {job.picture} would both be written to {result}: rename one")
            taken.add(hash(result))
            if hash(real := os.path.realpath(result)) in marks and real in inputs():
                raise ValueError(f"the {kind} of {job.picture} would overwrite {result}, an input: use another --output-dir")
            try:
                check_replaceable(result)
            except ValueError as error:
                raise ValueError(f"the {kind} of {job.picture} cannot be written: {error}") from None


def named_files(*given: str | Path | None) -> list[Path]:
    """Return the values of options that name files, for `kept`; a colour or the word `blur` does no harm."""
    return [Path(one) for one in given if one is not None]


def run_pictures(inputs: Inputs, work: Callable[[Job], str], look: PictureLook, *, output_dir: Path,
                 skip_existing: bool = False, kept: Sequence[Path] = (), at_once: int = 1) -> int:
    """Call `work` for each picture, in `at_once` threads, and print the lines that it returns, in order.

    Of several, pictures for which `work` raises `ValueError` or `OSError` are named on stderr, and the rest is done.
    Returns the exit status: 0, or 1 if any failed. Raises what `plan` raises, `ValueError` for a folder that cannot be
    written and for a picture that was alone, and `OSError` if the disk is full.
    """
    jobs = plan(inputs.files, look, output_dir=output_dir, kept=kept)
    check_writable(output_dir, "--output-dir")
    if skip_existing:
        jobs = without_done(jobs)
    if inputs.alone:
        for job in jobs:
            say(done_or_said(work, job))
        return 0
    failed = 0
    with contextlib.closing(attempts(work, jobs, at_once)) as lines:
        for line in progress_bar(lines, desc="pictures", unit="picture", total=len(jobs)):
            try:
                say(line())
            except ValueError as error:
                failed += 1
                complain(f"error: {error}")
    if failed:
        complain(f"{failed} of {len(jobs)} pictures failed")
    return 1 if failed else 0


def attempts(work: Callable[[Job], str], jobs: Sequence[Job], at_once: int) -> Iterator[Callable[[], str]]:
    """Yield for each job, in order, a function that does as `done_or_said`: in this thread, or in one of `at_once`."""
    attempt = functools.partial(done_or_said, work)
    if at_once == 1:
        yield from (functools.partial(attempt, job) for job in jobs)
        return
    keep_freed_memory()
    with one_opencv_thread(), contextlib.closing(
            side_by_side(attempt, jobs, at_once=at_once, pixels=lambda job: pixels_of(job.picture))) as lines:
        yield from lines


def is_done(results: Mapping[str, Path]) -> bool:
    """Return whether every result of a picture is there."""
    return all(map(exists, results.values()))


def without_done(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that lack a result, and say how many do not."""
    left = [job for job in jobs if not is_done(job.results)]
    say(f"{len(jobs) - len(left)} of {len(jobs)} pictures left out: their results are there")
    return left


def is_full(error: BaseException) -> bool:
    """Return whether nothing more can be written at all, which is no fault of one picture."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def done_or_said(work: Callable[[Job], str], job: Job) -> str:
    """Return the line of `work`. Raises `ValueError` naming the picture for what is its fault, `OSError` for a full disk."""
    try:
        return work(job)
    except (ValueError, OSError, MemoryError) as error:
        if is_full(error):
            raise
        said, name = one_line(error, job.picture) or "not enough memory", as_line(str(job.picture))
        raise ValueError(said if name in said else f"{name}: {said}") from None


def in_milliseconds(times: Mapping[str, float]) -> str:
    """Return what stages took, for one line: `preprocess 1.2 ms, infer 3.4 ms`."""
    return ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())


def written(paths: Sequence[Path]) -> str:
    """Return the names of what was written, for one line."""
    return ", ".join(map(place, paths))
