"""Put foregrounds on other backgrounds, with the colour of the old background taken out of them."""
from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from src.data.augment import jitter_colours, random_window, resize_square
from src.data.layouts import find_images
from src.files import write_atomically
from src.media.foreground import multi_level
from src.media.picture_reader import read_image

# Of decoded pictures that are kept in memory: so many of those to train on, and so many of backgrounds.
CACHE_BYTES = 4 * 2**30
# Beginnings of the names of pictures that show objects and animals.
THINGS = ("coco_", "flic_")


def foreground_colours(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimate the colours of the foreground where `alpha` is neither 0 nor 255, in order of rows: (n, 3) uint8.

    Elsewhere the picture itself is the foreground, or there is none. `image` (H, W, 3) and `alpha` (H, W) are uint8.
    """
    soft = (alpha > 0) & (alpha < 255)
    if not soft.any():
        return np.empty((0, 3), np.uint8)
    return multi_level(image, alpha / 255)[soft]


def file_key(paths: Iterable[Path], *more: object) -> str:
    """Compute a name that changes with the place, size or time of any file, and with `more`."""
    stats = [(os.path.realpath(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((stats, *more)).encode()).hexdigest()[:32]


def cached_colours(paths: tuple[Path, Path], image: np.ndarray, alpha: np.ndarray, cache_dir: Path) -> np.ndarray:
    """Return the `foreground_colours` of the picture and alpha read from `paths`, from a file in `cache_dir` after the first
    time."""
    path = cache_dir / f"{file_key(paths, alpha.shape)}.npy"
    expected = int(((alpha > 0) & (alpha < 255)).sum())
    with contextlib.suppress(Exception):  # of a damaged file numpy raises nearly anything; it is made anew
        # Mapped, so that a header that claims more than the file holds allocates nothing.
        colours = np.load(path, mmap_mode="r") if path.is_file() else None
        if isinstance(colours, np.ndarray) and colours.shape == (expected, 3) and colours.dtype == np.uint8:
            return np.array(colours)
    colours = foreground_colours(image, alpha)
    write_atomically(path, lambda to: np.save(to, colours))
    return colours


def put_on(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Compose a foreground over a background, both (H, W, 3) uint8, by alpha (H, W) uint8: F a + B (1 - a), rounded."""
    weight = (alpha.astype(np.float32) / 255)[..., None]
    mixed = background + weight * (foreground.astype(np.float32) - background)
    return np.rint(mixed).astype(np.uint8)


class Backgrounds:
    """Pictures of a folder, shrunk to what training needs and kept in memory from the first time on, up to `CACHE_BYTES`."""

    def __init__(self, folder: Path, size: int) -> None:
        """Find the pictures; `size` is the side of training crops. Raises `FileNotFoundError`, or `ValueError` for an empty
        folder."""
        self.paths, self.size = find_images(folder), size
        self.things = [index for index, path in enumerate(self.paths) if path.name.startswith(THINGS)]
        self._cache: dict[int, np.ndarray] = {}
        self._cached_bytes = 0

    def load(self, index: int) -> np.ndarray:
        """Read a picture as (H, W, 3) uint8 RGB."""
        if index in self._cache:
            return self._cache[index]
        image = read_image(self.paths[index])
        shrink = 1.5 * self.size / min(image.shape[:2])
        if shrink < 1:
            to = tuple(max(1, round(side * shrink)) for side in image.shape[1::-1])
            image = cv2.resize(image, to, interpolation=cv2.INTER_AREA)
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = image
            self._cached_bytes += image.nbytes
        return image

    def load_all(self) -> None:
        """Read as many pictures now as are kept, so that processes forked later share them."""
        for index in range(len(self.paths)):
            if self._cached_bytes >= CACHE_BYTES:
                break
            self.load(index)

    def draw(self, side: int, rng: np.random.Generator, *, things: bool = False) -> np.ndarray:
        """Cut a random part of a random picture, or of one of `things`, as (side, side, 3) uint8: mirrored, recoloured, out
        of focus by chance."""
        number = int(rng.integers(len(self.things if things else self.paths)))
        image = self.load(self.things[number] if things else number)
        rows, columns = random_window(*image.shape[:2], rng, (1.0, 2.5))
        image = resize_square(np.ascontiguousarray(image[rows, columns]), side)
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        image = jitter_colours(image, rng)
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, side / 100 + 0.5)) if rng.random() < 0.3 else image
