"""Pairs of picture and alpha on disk, and the crops, colour changes and trimaps made of them for training."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from src.preprocess import list_images, normalise, read_alpha, read_image

CACHE_BYTES = 4 * 2**30


class Pair(NamedTuple):
    """A picture and its alpha matte."""

    image: Path
    alpha: Path


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


def make_trimap(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Trimap (H, W) of 0, 0.5 and 1: 0.5 within `radius` pixels of any pixel that is not fully 0 or 1."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    sure_fg = cv2.erode((alpha > 0.999).astype(np.uint8), kernel)
    sure_bg = cv2.erode((alpha < 0.001).astype(np.uint8), kernel)
    return np.where(sure_fg == 1, 1.0, np.where(sure_bg == 1, 0.0, 0.5)).astype(np.float32)


def random_crop(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a crop of 55 to 100 % of each side, its aspect ratio within 3:4 and 4:3."""
    h, w = (int(side * rng.uniform(0.55, 1.0)) for side in (height, width))
    h, w = max(1, min(h, w * 4 // 3)), max(1, min(w, h * 4 // 3))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return slice(top, top + h), slice(left, left + w)


def jitter_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gain per channel, gamma, saturation, sometimes grey or blurred; (H, W, 3) uint8 to uint8."""
    x = np.arange(256, dtype=np.float32) / 255
    gamma, gain, lift = rng.uniform(0.7, 1.4), rng.uniform(0.85, 1.15, 3), rng.uniform(-0.08, 0.08)
    table = np.clip((x[:, None] ** gamma) * gain * rng.uniform(0.8, 1.2) + lift, 0, 1)
    image = cv2.LUT(image, (table * 255).astype(np.uint8)[:, None, :])
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.3)
    image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)) if rng.random() < 0.15 else image


class MattingDataset(Dataset):
    """Training samples of one split, float32 on the CPU.

    A sample is `image` (3, S, S) in [-1, 1], `alpha` and `trimap` (1, S, S) in [0, 1], and its `index`. The random
    choices of a sample depend on `seed`, the epoch set by `set_epoch` and its index alone, so that a resumed run sees
    what an unbroken one would. Pictures are kept in memory up to `CACHE_BYTES`, their short side at most 1.5 S.
    """

    def __init__(self, data_dir: Path, split: str = "train", *, size: int = 512, seed: int = 0) -> None:
        self.pairs = find_pairs(data_dir, split)
        self.size, self.seed, self.epoch = size, seed, 0
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the random numbers of the samples."""
        self.epoch = epoch

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture and alpha, both uint8, shrunk to what training needs; from memory after the first time."""
        if index in self._cache:
            return self._cache[index]
        image, alpha = read_pair(self.pairs[index])
        shrink = 1.5 * self.size / min(alpha.shape)
        if shrink < 1:
            to = (max(1, round(alpha.shape[1] * shrink)), max(1, round(alpha.shape[0] * shrink)))
            image, alpha = (cv2.resize(x, to, interpolation=cv2.INTER_AREA) for x in (image, alpha))
        sample = image, np.rint(alpha * 255).astype(np.uint8)
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = sample
            self._cached_bytes += image.nbytes + sample[1].nbytes
        return sample

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        image, alpha = self.load(index)
        rows, columns = random_crop(*alpha.shape, rng)
        image, alpha = (cv2.resize(np.ascontiguousarray(x[rows, columns]), (self.size, self.size),
                                   interpolation=cv2.INTER_AREA if x[rows, columns].shape[0] > self.size
                                   else cv2.INTER_LINEAR) for x in (image, alpha))
        if rng.random() < 0.5:
            image, alpha = image[:, ::-1], alpha[:, ::-1]
        image = jitter_colours(np.ascontiguousarray(image), rng)
        alpha = np.ascontiguousarray(alpha, np.float32) / 255
        trimap = make_trimap(alpha, int(rng.integers(2, max(3, self.size // 32))))
        return {"image": torch.from_numpy(normalise(image)), "alpha": torch.from_numpy(alpha)[None],
                "trimap": torch.from_numpy(trimap)[None], "index": index}
