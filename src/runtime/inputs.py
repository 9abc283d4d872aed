"""Find the files that a user means, and the folder in which the results of each go."""
from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.console import shown
from src.media.picture_formats import image_suffixes, is_animated, list_images, pictures_among
from src.media.video_reader import VIDEO_SUFFIXES
from src.urls import is_url, url_of


class Inputs(NamedTuple):
    """The files to work on."""

    files: list[Path]
    alone: bool                         # one file that was named, whose failure is the failure of all


def is_pattern(path: Path) -> bool:
    """Return whether `path` is no file or folder, but has a `*`, `?` or `[`."""
    return not path.exists() and glob.has_magic(str(path))


def _matches(pattern: Path) -> list[Path]:
    """List the files that match; folders that are there are taken by their name, brackets and all."""
    there = Path(*pattern.parts[:next(n for n in range(len(pattern.parts), -1, -1) if Path(*pattern.parts[:n]).exists())])
    rest = pattern.relative_to(there)
    found = glob.glob(str(Path(glob.escape(str(there))) / rest), recursive=True)
    # A folder is named among what is left out where its name is that of a picture.
    return [path for path in map(Path, found) if not path.is_dir() or path.suffix.lower() in image_suffixes()]


def _files_at(path: Path, also: frozenset[str]) -> list[Path]:
    if is_pattern(path):
        found = pictures_among(_matches(path), path, also=also)
        if not found:
            raise FileNotFoundError(f"no pictures match {path}")
        return found
    if path.is_dir():
        found = list_images(path, also=also)
        if not found:
            raise ValueError(f"no pictures in {path}")
        return found
    if is_url(path):
        raise ValueError(f"{url_of(path)} is a URL, expected a file or folder of this machine")
    if not path.exists():
        raise FileNotFoundError(f"no {'video' if path.suffix.lower() in also else 'picture or folder'} at {path}")
    return [path]


def find_inputs(paths: Sequence[Path], *, also: frozenset[str] = frozenset()) -> Inputs:
    """Return the file at each of `paths`, or the pictures directly in it, or those that match it as a pattern (`a/*.jpg`,
    `**`), each once; files that end like one of `also` too. What is left out of folders and patterns is named in a note.

    Raises `FileNotFoundError` if nothing is at one of `paths`, `ValueError` for a folder without pictures.
    """
    files = {os.path.abspath(file): file for path in paths for file in _files_at(path, also)}
    return Inputs(list(files.values()), len(paths) == 1 and not paths[0].is_dir() and not is_pattern(paths[0]))


def result_folders(files: Sequence[Path], output_dir: Path) -> list[Path]:
    """Return the folder for the results of each file: `output_dir`, and where a name repeats (`a/x.jpg`, `b/x.jpg`) the
    file's own folder in it (`a`, `b`), below what the folders of all files have in common."""
    # One text, and one path, for all files of a folder, of which there may be millions.
    each: dict[str, str] = {}
    parents = [each.setdefault(parent, parent) for parent in (os.path.abspath(os.path.dirname(file)) for file in files)]
    first, repeated = {}, set()
    for file, parent in zip(files, parents, strict=True):
        if first.setdefault(file.stem, parent) != parent:
            repeated.add(file.stem)
    common = os.path.commonpath(each) if files else ""
    own = {parent: output_dir / os.path.relpath(parent, common) for parent in each} if repeated else {}
    return [own[parent] if file.stem in repeated else output_dir for file, parent in zip(files, parents, strict=True)]


def webcam_of(mode: str | None, paths: Sequence[str], camera: int | None, listing: Path | None = None,
              skip_existing: bool = False) -> int | None:
    """Return the number of the webcam if one is meant, else `None`; `paths` and `listing` are those that were given, if any.

    Raises `ValueError` if they would be dropped, for a webcam or for each other, as would `skip_existing` for a webcam, or
    for a number under 0.
    """
    if paths and listing is not None:
        raise ValueError(f"--image-path {shown(paths[0])} does not go with --list {listing}: leave one of them out")
    if camera is not None and camera < 0:
        raise ValueError(f"--camera is {camera}, allowed are whole numbers from 0")
    number = int(paths[0]) if len(paths) == 1 and paths[0].isdecimal() else None
    if camera is None and mode != "webcam" and (mode != "video" or number is None or Path(paths[0]).exists()):
        return None
    if paths and (number is None or camera not in (None, number)):
        raise ValueError(f"--image-path {shown(paths[0])} does not go with "
                         f"{'--mode webcam' if camera is None else f'--camera {camera}'}: leave one of them out")
    if listing is not None:
        raise ValueError(f"--list {listing} does not go with the webcam: leave one of them out")
    if skip_existing:
        raise ValueError("--skip-existing goes with files, not with a webcam")
    return number or 0 if camera is None else camera


def is_video(path: Path, mode: str | None) -> bool:
    """Tell whether a file is a video: by `mode`, else by its name, and where that fits pictures too, by whether it moves."""
    suffix = path.suffix.lower()
    if mode is not None:
        return mode == "video" and (suffix in VIDEO_SUFFIXES or suffix not in image_suffixes())
    return suffix in VIDEO_SUFFIXES and (suffix not in image_suffixes() or is_animated(path))
