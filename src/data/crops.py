"""Crops of decoded pictures as a network is trained on them: windows, colours, composition and trimaps."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from src.data.augment import degrade, jitter_colours, random_window, resize_square, turn
from src.data.composition import THINGS, Backgrounds, put_on
from src.data.decoded import Sample
from src.data.scene import Staging, compose
from src.media.preprocess import normalise

# Another pair with a matte and foreground colours, by chance.
Other = Callable[[np.random.Generator], Sample]


def make_trimap(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Make a trimap (H, W) of 0, 0.5 and 1: 0.5 within `radius` pixels of any pixel that is not fully 0 or 1."""
    # A distance costs the same for every radius, an erosion by a wide disc twenty times as much.
    sure_fg, sure_bg = (cv2.distanceTransform(sure.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) > radius
                        for sure in (alpha > 0.999, alpha < 0.001))
    return np.where(sure_fg, 1.0, np.where(sure_bg, 0.0, 0.5)).astype(np.float32)


def open_backgrounds(folder: Path | None, size: int, staging: Staging) -> Backgrounds | None:
    """Return the backgrounds of `folder` for crops of `size`, if there is one.

    Raises `FileNotFoundError`, or `ValueError` for a folder without pictures, or without pictures of things where `staging`
    wants them.
    """
    backgrounds = None if folder is None else Backgrounds(folder, size)
    if staging.distractor_prob and not (backgrounds and backgrounds.things):
        raise ValueError(f"distractor-prob is {staging.distractor_prob}, but {folder} has no pictures "
                         f"of things, whose names begin with {' or '.join(THINGS)}")
    return backgrounds


def own_colours(sample: Sample) -> np.ndarray:
    """Return the person without its old background, (H, W, 3) uint8, of a sample with foreground colours."""
    foreground = sample.image.copy()
    foreground[(sample.alpha > 0) & (sample.alpha < 255)] = sample.colours
    return foreground


@dataclass(frozen=True)
class Crops:
    """What is made of decoded pictures; the fields are those of `src.training.recipe.Recipe`."""

    size: int
    scale: tuple[float, float]
    stretch: float
    aspect: tuple[float, float]
    composition_prob: float
    staging: Staging
    backgrounds: Backgrounds | None

    @property
    def largest(self) -> float:
        """Short side beyond which a picture has nothing to give."""
        return self.scale[1] * self.size

    def shrink(self, image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return picture (H, W, 3) uint8 and alpha (H, W) float32 in [0, 1] no larger than crops need them, uint8 both."""
        share = self.largest / min(alpha.shape)
        if share < 1:
            to = (max(1, round(alpha.shape[1] * share)), max(1, round(alpha.shape[0] * share)))
            image, alpha = (cv2.resize(x, to, interpolation=cv2.INTER_AREA) for x in (image, alpha))
        return image, np.rint(alpha * 255).astype(np.uint8)

    def _compose(self, own: Sample, other: Other | None, window: tuple[slice, slice],
                 rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the person, by chance with another one and at another place, on another background; uint8."""
        foreground, alpha = own_colours(own), own.alpha
        if self.staging.is_plain:
            foreground, alpha = jitter_colours(foreground[window], rng), alpha[window]
            background = self.backgrounds.draw(max(alpha.shape), rng)
            return put_on(foreground, alpha, background[:alpha.shape[0], :alpha.shape[1]]), alpha
        people = [(foreground, alpha)]
        if other is not None and rng.random() < self.staging.two_people_prob:
            second = other(rng)
            people.insert(0, (own_colours(second), second.alpha))
        return compose(people, window, self.backgrounds, self.staging, size=self.size, rng=rng)

    def crop(self, own: Sample, other: Other | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random part of picture and alpha as (S, S, 3) and (S, S) uint8, by chance on another background."""
        window = random_window(*own.alpha.shape, rng, self.scale, self.stretch, self.aspect)
        if own.colours is not None and rng.random() < self.composition_prob:
            image, alpha = self._compose(own, other, window, rng)
        else:
            image, alpha = jitter_colours(own.image[window], rng), own.alpha[window]
        image, alpha = (resize_square(np.ascontiguousarray(x), self.size) for x in (image, alpha))
        if rng.random() < 0.5:
            image, alpha = (np.ascontiguousarray(x[:, ::-1]) for x in (image, alpha))
        return turn(image, alpha, rng.uniform(-10, 10)) if rng.random() < 0.2 else (image, alpha)

    def sample(self, own: Sample, other: Other | None, rng: np.random.Generator, *, rough: bool,
               labeled: bool) -> dict[str, torch.Tensor | bool]:
        """Return a training sample of `own`, see `src.data.samples.MattingDataset`; its matte is a rough mask if `rough`."""
        image, alpha = self.crop(own, other, rng)
        image = degrade(image, rng)
        alpha = alpha.astype(np.float32) / 255
        narrow, wide = (self.size // 24, self.size // 10) if rough else (2, self.size // 20)
        trimap = make_trimap(alpha, int(rng.integers(narrow, max(narrow + 1, wide))))
        return {"image": torch.from_numpy(normalise(image)), "alpha": torch.from_numpy(alpha)[None],
                "trimap": torch.from_numpy(trimap)[None] * labeled, "semantic_only": rough, "labeled": labeled}
