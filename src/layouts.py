"""Data sets on disk: which picture goes with which alpha."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.preprocess import list_images, read_alpha, read_image


class Pair(NamedTuple):
    """A picture and its alpha matte, which an unlabeled picture lacks."""

    image: Path
    alpha: Path | None


def pair_folders(data_dir: Path, split: str) -> tuple[Path, Path] | None:
    """The picture and alpha folders of a split: `<split>/fg`, `<split>/alpha`, or PPM-100's own `image`, `matte`."""
    for image, alpha in ((data_dir / split / "fg", data_dir / split / "alpha"),
                         (data_dir / "image", data_dir / "matte")):
        if image.is_dir() and alpha.is_dir():
            return image, alpha
    return None


def has_split(data_dir: Path, split: str) -> bool:
    """Whether the data set has a folder of its own for `split`."""
    return (data_dir / split / "fg").is_dir()


def find_pairs(data_dir: Path, split: str) -> list[Pair]:
    """The pairs of a split, matched by file name without suffix, sorted.

    Raises `FileNotFoundError` if there is no such data set, `ValueError` naming a file without partner.
    """
    folders = pair_folders(data_dir, split)
    if folders is None:
        raise FileNotFoundError(f"no data set at {data_dir}: expected {split}/fg and {split}/alpha, or image and matte")
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
