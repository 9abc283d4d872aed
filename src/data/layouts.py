"""Data sets on disk: which picture goes with which alpha."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from src.media.picture_formats import formats_for, list_images
from src.media.picture_reader import read_alpha, read_image

ORIENTATION = 0x0112
# An alpha whose file has no more bytes than its pixels by this, and a header, may be black: PNG packs those 1000 to 1.
PIXELS_A_BYTE, HEADER_BYTES = 200, 300


class Pair(NamedTuple):
    """A picture and its alpha matte, which an unlabeled picture lacks."""

    image: Path
    alpha: Path | None


def split_layouts(split: str) -> list[tuple[str, str]]:
    """Picture and alpha folders of data sets that have one pair of folders for each split: ours, P3M-10k."""
    p3m = "validation/P3M-500-P" if split == "val" else split
    return [(f"{split}/fg", f"{split}/alpha"), (f"{p3m}/blurred_image", f"{p3m}/mask")]


# Of data sets without splits: PPM-100, AIM-500.
WHOLE_LAYOUTS = [("image", "matte"), ("original", "mask")]


def _there(data_dir: Path, layouts: list[tuple[str, str]]) -> tuple[Path, Path] | None:
    return next(((data_dir / image, data_dir / alpha) for image, alpha in layouts
                 if (data_dir / image).is_dir() and (data_dir / alpha).is_dir()), None)


def has_split(data_dir: Path, split: str) -> bool:
    """Whether the data set has folders of its own for `split`."""
    return _there(data_dir, split_layouts(split)) is not None


def find_pairs(data_dir: Path, split: str) -> list[Pair]:
    """The pairs of a split, matched by file name without suffix, sorted.

    Raises `FileNotFoundError` if there is no such data set, `ValueError` naming a file without partner.
    """
    layouts = split_layouts(split) + WHOLE_LAYOUTS
    folders = _there(data_dir, layouts)
    if folders is None:
        expected = "; or ".join(f"{image} and {alpha}" for image, alpha in layouts)
        raise FileNotFoundError(f"no data set at {data_dir}: expected {expected}")
    images, alphas = ({path.stem: path for path in list_images(folder)} for folder in folders)
    if not images:
        raise ValueError(f"no pictures in {folders[0]}")
    for stem, path in sorted({**alphas, **images}.items()):
        if stem not in images or stem not in alphas:
            raise ValueError(f"{path} has no partner in {folders[0] if stem in alphas else folders[1]}")
    return [Pair(images[stem], alphas[stem]) for stem in sorted(images)]


def find_images(folder: Path) -> list[Path]:
    """Pictures directly in `folder`, sorted. Raises `FileNotFoundError`, or `ValueError` if there are none."""
    paths = list_images(folder)
    if not paths:
        raise ValueError(f"no pictures in {folder}")
    return paths


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1]. Raises `ValueError` if their sizes differ."""
    image, alpha = read_image(pair.image), read_alpha(pair.alpha)
    if image.shape[:2] == alpha.shape[::-1]:
        # Some sets drew their mattes on the picture as it is stored, not as its EXIF turns it.
        image = read_image(pair.image, exif=False)
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.alpha} is {alpha.shape[1]}x{alpha.shape[0]}, but {pair.image} is "
                         f"{image.shape[1]}x{image.shape[0]}")
    return image, alpha


def _header(path: Path) -> tuple[set[tuple[int, int]], str]:
    """Sizes (width, height) that a picture may be read with, as stored and as its EXIF turns it, and its mode; nothing is
    decoded."""
    try:
        with Image.open(path, formats=formats_for(path)) as file:
            turned = file.getexif().get(ORIENTATION, 1) >= 5
            return {file.size, file.size[::-1] if turned else file.size}, file.mode
    except Exception as error:  # on a damaged file Pillow raises nearly anything
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None


def check_somebody(pair: Pair, alpha: np.ndarray) -> None:
    """Raises `ValueError` for an alpha (H, W) that is black all over."""
    if not alpha.any():
        raise ValueError(f"{pair.alpha} is all black: nobody is in {pair.image}")


def check_pair(pair: Pair, *, trained_on: bool) -> None:
    """Raises `ValueError` naming a file whose header cannot be read, an alpha of another size or one with colours; or, if
    it is `trained_on`, an alpha that is all black, looked for where the file is so small for its pixels that it may be."""
    sizes, _ = _header(pair.image)
    if pair.alpha is None:
        return
    alpha_sizes, mode = _header(pair.alpha)
    if not sizes & alpha_sizes:
        (width, height), (wide, high) = min(alpha_sizes), min(sizes)
        raise ValueError(f"{pair.alpha} is {width}x{height}, but {pair.image} is {wide}x{high}")
    width, height = next(iter(alpha_sizes))
    grey = mode in ("1", "L", "LA") or mode.startswith("I;16")
    may_be_black = trained_on and (pair.alpha.stat().st_size - HEADER_BYTES) * PIXELS_A_BYTE < width * height
    if not grey or may_be_black:
        alpha = read_alpha(pair.alpha)
        if may_be_black:
            check_somebody(pair, alpha)


def check_pairs(pairs: Iterable[Pair], others: Iterable[Pair] = ()) -> None:
    """Looks at every pair before hours are spent on them, by headers alone where that is enough; `others` are not trained
    on and may show nobody.

    Raises `ValueError` with the first pair that does not fit, and how many more.
    """
    said = []
    for pair, trained_on in [*((pair, True) for pair in pairs), *((pair, False) for pair in others)]:
        try:
            check_pair(pair, trained_on=trained_on)
        except (ValueError, OSError) as error:
            said.append(str(error))
    if said:
        raise ValueError(said[0] + (f" (and {len(said) - 1} more that do not fit)" if len(said) > 1 else ""))
