"""Find the pairs of picture and alpha of a data set on disk."""
from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from src.console import progress_bar
from src.media.picture_formats import formats_for, list_images
from src.media.picture_reader import read_alpha, read_image
from src.media.preprocess import checked_size

ORIENTATION = 0x0112
# An alpha that is somewhere over 0, but nowhere over this, is a mask in other numbers.
LEAST_PEAK = 0.5


class Pair(NamedTuple):
    """A picture and its alpha matte, which an unlabeled picture lacks."""

    image: Path
    alpha: Path | None


def split_layouts(split: str) -> list[tuple[str, str]]:
    """List the folders of pictures and alphas of data sets that have one pair of folders for each split: ours, P3M-10k."""
    p3m = "validation/P3M-500-P" if split == "val" else split
    return [(f"{split}/fg", f"{split}/alpha"), (f"{p3m}/blurred_image", f"{p3m}/mask")]


# Of data sets without splits: PPM-100, AIM-500.
WHOLE_LAYOUTS = [("image", "matte"), ("original", "mask")]


def _there(data_dir: Path, layouts: list[tuple[str, str]]) -> tuple[Path, Path] | None:
    return next(((data_dir / image, data_dir / alpha) for image, alpha in layouts
                 if (data_dir / image).is_dir() and (data_dir / alpha).is_dir()), None)


def has_split(data_dir: Path, split: str) -> bool:
    """Tell whether the data set has folders of its own for `split`. Raises `ValueError` if it has one of the two alone."""
    if _there(data_dir, split_layouts(split)) is not None:
        return True
    for folders in split_layouts(split):
        there = [folder for folder in folders if (data_dir / folder).is_dir()]
        if there:
            other, = set(folders) - set(there)
            raise ValueError(f"{data_dir / there[0]} is there without {data_dir / other}: no use as {split}")
    return False


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise ValueError(f"{found[path.stem]} and {path.name} have the same name: which one is meant?")
        found[path.stem] = path
    return found


def find_pairs(data_dir: Path, split: str) -> list[Pair]:
    """Return the pairs of a split, matched by file name without suffix, sorted.

    Raises `FileNotFoundError` if there is no such data set, `ValueError` naming a file without partner or two of one name.
    """
    layouts = split_layouts(split) + WHOLE_LAYOUTS
    folders = _there(data_dir, layouts)
    if folders is None:
        expected = "; or ".join(f"{image} and {alpha}" for image, alpha in layouts)
        raise FileNotFoundError(f"no data set at {data_dir}: expected {expected}")
    images, alphas = (_by_stem(list_images(folder)) for folder in folders)
    if not images:
        raise ValueError(f"no pictures in {folders[0]}")
    for stem, path in sorted({**alphas, **images}.items()):
        if stem not in images or stem not in alphas:
            raise ValueError(f"{path} has no partner in {folders[0] if stem in alphas else folders[1]}")
    return [Pair(images[stem], alphas[stem]) for stem in sorted(images)]


def find_images(folder: Path) -> list[Path]:
    """List the pictures directly in `folder`, sorted. Raises `FileNotFoundError`, or `ValueError` if there are none."""
    paths = list_images(folder)
    if not paths:
        raise ValueError(f"no pictures in {folder}")
    return paths


def read_pair(pair: Pair, data: tuple[bytes | None, bytes | None] = (None, None)) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture (H, W, 3) uint8 RGB and its alpha (H, W) float32 in [0, 1], of `data` if the bytes of both are at hand.
    Raises `ValueError` if their sizes differ or the levels are not those of a matte."""
    image, alpha = read_image(pair.image, data=data[0]), read_alpha(pair.alpha, data[1])
    if image.shape[:2] == alpha.shape[::-1] != alpha.shape:
        # Some sets drew their mattes on the picture as it is stored, not as its EXIF turns it; of a square nothing tells.
        image = read_image(pair.image, exif=False, data=data[0])
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.alpha} is {alpha.shape[1]}x{alpha.shape[0]}, but {pair.image} is "
                         f"{image.shape[1]}x{image.shape[0]}")
    check_levels(pair.alpha, alpha)
    return image, alpha


def check_levels(path: Path, alpha: np.ndarray) -> None:
    """Raise `ValueError` for an alpha (H, W) that shows somebody, but nobody who is half there."""
    peak = alpha.max(initial=0)
    if 0 < peak < LEAST_PEAK:
        raise ValueError(f"{path} is nowhere over {255 * peak:.3g} of 255, but a matte is 0 for background and 255 for a "
                         "person: a mask of 0 and 1 is to be multiplied by 255")


def _sizes(path: Path) -> set[tuple[int, int]]:
    """Read the sizes (width, height) that a picture may be read with, as stored and as its EXIF turns it; nothing is
    decoded."""
    try:
        with Image.open(path, formats=formats_for(path)) as file:
            turned = file.getexif().get(ORIENTATION, 1) >= 5
            return {file.size, file.size[::-1] if turned else file.size}
    except Exception as error:  # on a damaged file Pillow raises nearly anything
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None


def check_somebody(pair: Pair, alpha: np.ndarray) -> None:
    """Raise `ValueError` for an alpha (H, W) that is black all over."""
    if not alpha.any():
        raise ValueError(f"{pair.alpha} is all black: nobody is in {pair.image}")


def check_pair(pair: Pair, *, trained_on: bool) -> None:
    """Raise `ValueError` naming a file whose header cannot be read, an alpha of another size, with colours or whose levels
    are not those of a matte; or, if it is `trained_on`, an alpha of one value, else a picture too thin for the network."""
    sizes = _sizes(pair.image)
    if pair.alpha is None:
        return
    alpha = read_alpha(pair.alpha)
    if alpha.shape[::-1] not in sizes:
        (wide, high), (height, width) = min(sizes), alpha.shape
        raise ValueError(f"{pair.alpha} is {width}x{height}, but {pair.image} is {wide}x{high}")
    check_levels(pair.alpha, alpha)
    if not trained_on:
        checked_size(*alpha.shape, path=pair.image)  # what is judged is seen whole
    else:
        check_somebody(pair, alpha)
        if alpha.min() == alpha.max():
            raise ValueError(f"{pair.alpha} is {255 * alpha.max():.0f} of 255 all over: {pair.image} has no background")


def check_pairs(pairs: Iterable[Pair], others: Iterable[Pair] = ()) -> None:
    """Check every pair before hours are spent on them, by headers alone where that is enough; `others` are not trained on
    and may show nobody.

    Raises `ValueError` with the first pair that does not fit, and how many more.
    """
    def problem(pair: Pair, trained_on: bool) -> str | None:
        try:
            return check_pair(pair, trained_on=trained_on)
        except (ValueError, OSError) as error:
            return str(error)

    every = [*((pair, True) for pair in pairs), *((pair, False) for pair in others)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(problem, *zip(*every, strict=True)) if every else []
        said = [line for line in progress_bar(found, total=len(every), desc="looking at pairs", leave=False) if line]
    if said:
        raise ValueError(said[0] + (f" (and {len(said) - 1} more that do not fit)" if len(said) > 1 else ""))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def repeats(paths: Iterable[Path], others: Iterable[Path]) -> list[tuple[Path, Path]]:
    """List the files of `others` with the same content as one of `paths`, each with that; only files of equal size are
    read."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        by_size.setdefault(path.stat().st_size, []).append(path)
    content, found = functools.cache(_content), []
    for other in others:
        same = [path for path in by_size.get(other.stat().st_size, []) if content(path) == content(other)]
        found += [(same[0], other)] if same else []
    return found
