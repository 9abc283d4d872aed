"""A picture, or each picture of a folder, one after the other: what goes in, where it goes, and what went wrong."""
from __future__ import annotations

import argparse
import errno
import glob
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from src.media.compositing import KINDS, STILL_KINDS, result_path
from src.media.foreground import METHODS
from src.media.preprocess import list_images


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what is written, and where: `--output-dir`, `--save`, `--background`, `--foreground`."""
    parser.add_argument("--output-dir", type=Path, default=Path("result"),
                        help="where results go (default: %(default)s)")
    parser.add_argument("--save", nargs="+", choices=KINDS, default=list(STILL_KINDS),
                        help="what to write: the matte, RGBA, picture over --background, all of them side by side "
                             "(default: alpha cutout composite, of a video alpha composite)")
    parser.add_argument("--background", default="255,255,255",
                        help="of the composite: a colour R,G,B, each 0 to 255, or a picture, or a video, or the word blur "
                             "for the blurred original (default: %(default)s)")
    parser.add_argument("--foreground", choices=METHODS, default="fast",
                        help="how the person's own colours are found where hair and background mix: fast, ml (pymatting, "
                             "slower), none (leaves a halo; default: %(default)s)")


def make_output_dir(output_dir: Path) -> None:
    """Makes the folder. Raises `ValueError` if it cannot be made or nothing can be written there."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise ValueError(f"output-dir {output_dir} cannot be written: {error.strerror}") from None


def is_pattern(path: Path) -> bool:
    """Whether `path` is no file or folder, but has a `*`, `?` or `[`."""
    return not path.exists() and glob.has_magic(str(path))


def find_pictures(path: Path) -> list[Path]:
    """The picture at `path`, or those directly in it, or those that match it as a pattern (`a/*.jpg`, `**`), sorted.

    Raises `FileNotFoundError` if nothing is there, `ValueError` for a folder without pictures.
    """
    if is_pattern(path):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        pictures = [one for one in found if one.is_file()]
        if not pictures:
            raise FileNotFoundError(f"no pictures match {path}")
        return pictures
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no picture or folder at {path}")
        return [path]
    pictures = list_images(path)
    if not pictures:
        raise ValueError(f"no pictures in {path}")
    return pictures


def check_results(pictures: Sequence[Path], output_dir: Path, save: Sequence[str]) -> None:
    """Raises `ValueError` naming two pictures with the same results, or a result that would overwrite a picture."""
    inputs, owner = {path.resolve() for path in pictures}, {}
    for picture in pictures:
        result = result_path(picture.stem, save[0], output_dir)
        first = owner.setdefault(result, picture)
        if first != picture:
            raise ValueError(f"{first} and {picture} would both be written to {result}: rename one")
        for kind in save:
            result = result_path(picture.stem, kind, output_dir)
            if result.resolve() in inputs:
                raise ValueError(f"the {kind} of {picture} would overwrite {result}: use another --output-dir")


def run_pictures(path: Path, work: Callable[[Path], str], *, output_dir: Path, save: Sequence[str]) -> int:
    """Calls `work` for the picture at `path` or for each in that folder or pattern, and prints the lines that it returns.

    Of several, pictures for which `work` raises `ValueError` or `OSError` are named on stderr, and the rest is done.
    Returns the exit status: 0, or 1 if any failed. Raises what `find_pictures` and `check_results` raise, for a single
    picture `ValueError` naming it, and `OSError` if the disk is full.
    """
    pictures = find_pictures(path)
    check_results(pictures, output_dir, save)
    make_output_dir(output_dir)
    if not path.is_dir() and not is_pattern(path):
        print(_named(work, path))
        return 0
    failed = 0
    for picture in tqdm(pictures, desc=path.name, unit="picture"):
        try:
            tqdm.write(_named(work, picture))
        except ValueError as error:
            failed += 1
            tqdm.write(f"error: {error}", file=sys.stderr)
    if failed:
        print(f"{failed} of {len(pictures)} pictures failed", file=sys.stderr)
    return 1 if failed else 0


def _named(work: Callable[[Path], str], picture: Path) -> str:
    try:
        return work(picture)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        said = " ".join(str(error).split())
        raise ValueError(said if str(picture) in said else f"{picture}: {said}") from None


def written(paths: Sequence[Path]) -> str:
    """The names of what was written, for one line."""
    return ", ".join(str(path) for path in paths)
