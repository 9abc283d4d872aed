"""Pairs of picture and alpha on disk, and the crops, colour changes and trimaps made of them for training."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from src.console import progress_bar
from src.data.augment import degrade, jitter_colours, random_window, resize_square, turn
from src.data.composition import THINGS, Backgrounds, cached_colours, file_key, put_on
from src.data.layouts import Pair, check_somebody, find_images, find_pairs, has_split, read_pair
from src.data.pack import Pack, Sample, write_pack
from src.data.scene import PLAIN, Staging, compose
from src.data.sources import Sources, as_sources
from src.media.picture_reader import read_image
from src.media.preprocess import normalise

__all__ = ["MattingDataset", "Pair", "find_pairs", "has_split", "make_trimap", "read_pair"]

CACHE_BYTES = 4 * 2**30
CACHE_DIR = Path("result/cache")


def make_trimap(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Trimap (H, W) of 0, 0.5 and 1: 0.5 within `radius` pixels of any pixel that is not fully 0 or 1."""
    # A distance costs the same for every radius, an erosion by a wide disc twenty times as much.
    sure_fg, sure_bg = (cv2.distanceTransform(sure.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) > radius
                        for sure in (alpha > 0.999, alpha < 0.001))
    return np.where(sure_fg, 1.0, np.where(sure_bg, 0.0, 0.5)).astype(np.float32)


def unlabeled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A picture without alpha, as `read_pair` gives one with: its alpha is 0."""
    image = read_image(path)
    return image, np.zeros(image.shape[:2], np.float32)


class MattingDataset(Dataset):
    """Training samples of one split, float32 on the CPU.

    A sample is `image` (3, S, S) in [-1, 1], `alpha` and `trimap` (1, S, S) in [0, 1], `semantic_only` (whether its matte
    is a rough mask that says nothing about the unknown region), `labeled` (whether it has a matte at all, else alpha and
    trimap are 0), and its `index`. Samples are asked for by a key,
    `shuffle * len + index`: their random choices depend on `seed` and the key alone, so that a resumed run sees what an
    unbroken one would. Pictures are kept in memory up to `CACHE_BYTES`, as large as the largest `scale` needs them.
    """

    def __init__(self, data_dir: Sources, split: str = "train", *, size: int = 512, seed: int = 0,
                 scale: tuple[float, float] = (1.0, 1.6), stretch: float = 1.0,
                 aspect: tuple[float, float] = (1.0, 1.0), semantic_only_dir: Sources | None = None,
                 unlabeled_dir: Path | None = None, background_dir: Path | None = None, composition_prob: float = 0.5,
                 staging: Staging = PLAIN, cache_dir: Path = CACHE_DIR) -> None:
        """Raises `FileNotFoundError` or `ValueError` naming a folder that is not there or empty, or a lonely file."""
        self.pairs: list[Pair] = []
        # Number of samples and weight of each data set, in order.
        self.parts: list[tuple[int, float]] = []
        self._add_sets(data_dir, split)
        self.mattes = len(self.pairs)
        if semantic_only_dir is not None:
            self._add_sets(semantic_only_dir, split)
        self.labeled = len(self.pairs)
        if unlabeled_dir is not None:
            self.pairs += [Pair(path, None) for path in find_images(unlabeled_dir)]
            self.parts.append((len(self.pairs) - self.labeled, 1.0))
        self.backgrounds = None if background_dir is None else Backgrounds(background_dir, size)
        self.size, self.seed, self.scale, self.stretch, self.aspect = size, seed, scale, stretch, aspect
        self.composition_prob, self.staging, self.cache_dir = composition_prob, staging, cache_dir
        if staging.distractor_prob and not (self.backgrounds and self.backgrounds.things):
            raise ValueError(f"distractor-prob is {staging.distractor_prob}, but {background_dir} has no pictures "
                             f"of things, whose names begin with {' or '.join(THINGS)}")
        self._cache: dict[int, Sample] = {}
        self._cached_bytes = 0
        self._pack: Pack | None = None

    def _add_sets(self, data: Sources, split: str) -> None:
        for source in as_sources(data):
            pairs = find_pairs(source.path, split)
            self.pairs += pairs
            self.parts.append((len(pairs), source.weight))

    def __len__(self) -> int:
        return len(self.pairs)

    def prepare(self, *, pack: bool = False) -> None:
        """Estimates the foreground colours that composition will need, once for all; with `pack` decodes every picture into
        one file in the cache folder, from which all loading processes read, and every background before they are forked."""
        if pack and self._pack is None:
            self._pack = self._open_pack()
            if self.backgrounds is not None:
                self.backgrounds.load_all()
        elif not pack and self.backgrounds is not None:
            for index in progress_bar(range(self.mattes), desc="foreground colours", leave=False):
                self.load(index)

    def _open_pack(self) -> Pack:
        files = [path for pair in self.pairs for path in pair if path is not None]
        name = file_key(files, (self.scale[1] * self.size, self.mattes if self.backgrounds is not None else 0))
        path = self.cache_dir / f"{name}.pack"
        try:
            return Pack(path)
        except (OSError, ValueError, KeyError):
            indices = progress_bar(range(len(self)), desc="decoding", leave=False)
            write_pack(path, (self._decode(index) for index in indices))
            return Pack(path)

    def load(self, index: int) -> Sample:
        """Picture, alpha and foreground colours, uint8, shrunk to what training needs; decoded once."""
        if self._pack is not None:
            return self._pack[index]
        if index in self._cache:
            return self._cache[index]
        sample = self._decode(index)
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = sample
            self._cached_bytes += sample.image.nbytes + sample.alpha.nbytes
        return sample

    def _decode(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, alpha = read_pair(pair) if pair.alpha is not None else unlabeled(pair.image)
        if pair.alpha is not None:
            check_somebody(pair, alpha)
        shrink = self.scale[1] * self.size / min(alpha.shape)
        if shrink < 1:
            to = (max(1, round(alpha.shape[1] * shrink)), max(1, round(alpha.shape[0] * shrink)))
            image, alpha = (cv2.resize(x, to, interpolation=cv2.INTER_AREA) for x in (image, alpha))
        alpha = np.rint(alpha * 255).astype(np.uint8)
        wanted = self.backgrounds is not None and index < self.mattes
        return Sample(image, alpha, cached_colours(pair, image, alpha, self.cache_dir) if wanted else None)

    def _foreground(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The person without its old background (H, W, 3), and its alpha (H, W), uint8."""
        image, alpha, colours = self.load(index)
        foreground = image.copy()
        foreground[(alpha > 0) & (alpha < 255)] = colours
        return foreground, alpha

    def _compose(self, index: int, window: tuple[slice, slice], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The person, by chance with others and at another place, on another background; uint8."""
        foreground, alpha = self._foreground(index)
        if self.staging.is_plain:
            foreground, alpha = jitter_colours(foreground[window], rng), alpha[window]
            background = self.backgrounds.draw(max(alpha.shape), rng)
            return put_on(foreground, alpha, background[:alpha.shape[0], :alpha.shape[1]]), alpha
        people = [(foreground, alpha)]
        if self.mattes > 1 and rng.random() < self.staging.two_people_prob:
            people.insert(0, self._foreground((index + int(rng.integers(1, self.mattes))) % self.mattes))
        return compose(people, window, self.backgrounds, self.staging, size=self.size, rng=rng)

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random part of picture and alpha as (S, S, 3) and (S, S) uint8, by chance on another background."""
        image, alpha, colours = self.load(index)
        rows, columns = random_window(*alpha.shape, rng, self.scale, self.stretch, self.aspect)
        if colours is not None and rng.random() < self.composition_prob:
            image, alpha = self._compose(index, (rows, columns), rng)
        else:
            image, alpha = jitter_colours(image[rows, columns], rng), alpha[rows, columns]
        image, alpha = (resize_square(np.ascontiguousarray(x), self.size) for x in (image, alpha))
        if rng.random() < 0.5:
            image, alpha = (np.ascontiguousarray(x[:, ::-1]) for x in (image, alpha))
        return turn(image, alpha, rng.uniform(-10, 10)) if rng.random() < 0.2 else (image, alpha)

    def __getitem__(self, key: int) -> dict[str, torch.Tensor | int | bool]:
        shuffle, index = divmod(key, len(self.pairs))
        rng = np.random.default_rng([self.seed, shuffle, index])
        image, alpha = self._crop(index, rng)
        image = degrade(image, rng)
        alpha = alpha.astype(np.float32) / 255
        labeled, rough = index < self.labeled, self.mattes <= index < self.labeled
        narrow, wide = (self.size // 24, self.size // 10) if rough else (2, self.size // 20)
        trimap = make_trimap(alpha, int(rng.integers(narrow, max(narrow + 1, wide))))
        return {"image": torch.from_numpy(normalise(image)), "alpha": torch.from_numpy(alpha)[None],
                "trimap": torch.from_numpy(trimap)[None] * labeled, "semantic_only": rough, "labeled": labeled,
                "index": index}
