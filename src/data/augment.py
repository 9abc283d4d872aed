"""Augment training pictures by random crops, colours, blur, noise and JPEG; uint8 in, uint8 out."""
from __future__ import annotations

import functools

import cv2
import numpy as np


def random_window(height: int, width: int, rng: np.random.Generator, scale: tuple[float, float],
                  stretch: float = 1.0, aspect: tuple[float, float] = (1.0, 1.0)) -> tuple[slice, slice]:
    """Choose the rows and columns of a random part of a picture: its side is the short side divided by a number from `scale`
    (both from 1), which is the same as a crop of a picture enlarged by that number. Along the longer side of the picture it
    is longer by a factor between 1 and `stretch`, if the picture is. Then one side is cut so that width over height changes
    by a number from `aspect`."""
    short = max(1, round(min(height, width) / rng.uniform(*scale)))
    # Without `stretch` or `aspect` no number is drawn, so that recipes of before see the crops of before.
    long = min(max(height, width), round(short * rng.uniform(1, stretch))) if stretch > 1 else short
    rows, columns = (long, short) if height >= width else (short, long)
    if aspect != (1.0, 1.0):
        change = np.exp(rng.uniform(*np.log(aspect)))
        rows, columns = max(1, round(rows / max(1, change))), max(1, round(columns * min(1, change)))
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    return slice(top, top + rows), slice(left, left + columns)


def resize_square(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize a picture (h, w) or (h, w, C) uint8 to (`size`, `size`[, C])."""
    shrinks = min(picture.shape[:2]) > size
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def turn(image: np.ndarray, alpha: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate a picture (S, S, 3) and its alpha (S, S) round the middle; what comes in at the corners is mirrored."""
    size = alpha.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 1.0)
    image, alpha = (cv2.warpAffine(x, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101) for x in (image, alpha))
    return image, alpha


def jitter_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change gain per channel, gamma, exposure and saturation at random, now and then to grey; (H, W, 3) uint8 to uint8."""
    x = np.arange(256, dtype=np.float32) / 255
    gamma, gain, lift = rng.uniform(0.7, 1.4), rng.uniform(0.85, 1.15, 3), rng.uniform(-0.08, 0.08)
    table = np.clip((x[:, None] ** gamma) * gain * rng.uniform(0.8, 1.2) + lift, 0, 1)
    image = cv2.LUT(np.ascontiguousarray(image), (table * 255).astype(np.uint8)[:, None, :])
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.3)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)


@functools.cache
def _noise_tile(side: int = 1024) -> np.ndarray:
    """Draw normal noise of deviation 32, int16, once: drawing it for each sample would cost more than the rest."""
    noise = np.random.default_rng(0).standard_normal((side, side, 3), dtype=np.float32)
    return np.rint(32 * noise).astype(np.int16)


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of `deviation` grey levels to (H, W, 3) uint8, H and W at most 1024."""
    tile = _noise_tile()
    top, left = (int(rng.integers(0, tile.shape[0] - side + 1)) for side in image.shape[:2])
    patch = tile[top:top + image.shape[0], left:left + image.shape[1]]
    return cv2.addWeighted(image, 1.0, patch, deviation / 32, 0, dtype=cv2.CV_8U)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress a picture (H, W, 3) uint8 as JPEG and read it back."""
    # Channel order does not matter as long as both ways agree.
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply, each by chance, blur, noise and JPEG, as cameras and web pages do; (H, W, 3) uint8 to uint8."""
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.15 and max(image.shape) <= _noise_tile().shape[0]:
        image = add_noise(image, rng.uniform(2, 10), rng)
    if rng.random() < 0.15:
        image = jpeg(image, int(rng.integers(40, 96)))
    return image
