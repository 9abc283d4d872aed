"""Turn a picture into network input and a matte into alpha, without torch; shared by training, evaluation and every
inference."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

REF_SIZE = 512
# What the encoder divides both sides by; `src.models.config` derives the same from its strides.
STRIDE = 32
# An aspect ratio above 16:1 at the reference size; the dense network needs about 2 GB for it.
MAX_NETWORK_PIXELS = 2 ** 22
SMOOTH_FROM = 1.25


def network_size(height: int, width: int, ref_size: int = REF_SIZE) -> tuple[int, int]:
    """Return the height and width that the network sees for a picture, multiples of 32 (MODNet's evaluation protocol).

    Where the long side is under `ref_size` or the short side over it, the short side becomes `ref_size` and the aspect
    ratio is kept, else the size stays; both are then cut down to multiples of 32, and never under 32.
    """
    if max(height, width) < ref_size or min(height, width) > ref_size:
        if width >= height:
            height, width = ref_size, int(width / height * ref_size)
        else:
            height, width = int(height / width * ref_size), ref_size
    return max(STRIDE, height - height % STRIDE), max(STRIDE, width - width % STRIDE)


def _bins(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(size_out)
    return index * size_in // size_out, -(-(index + 1) * size_in // size_out)


def area_resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to `height` x `width`; float32.

    Each output pixel is the mean of the input pixels that its area touches, whole pixels: torch's
    `interpolate(mode="area")`, which the published evaluation uses and which `cv2.INTER_AREA` is not.
    """
    if picture.shape[:2] == (height, width):
        return picture.astype(np.float32)
    (top, bottom), (left, right) = _bins(picture.shape[0], height), _bins(picture.shape[1], width)
    most = (bottom - top).max() * (right - left).max()
    # 16 bits where a sum of bytes fits, for speed; else float32, which holds those of 65 thousand bytes exactly.
    by_rows, whole = (np.uint16 if picture.dtype == np.uint8 and count < 256 else np.float32
                      for count in ((bottom - top).max(), most))
    # Rows first, then columns as rows of the transposed picture.
    sums = _sum_rows(picture, top, bottom, by_rows)
    if picture.shape[1] != width:
        sums = cv2.transpose(_sum_rows(cv2.transpose(sums), left, right, whole))
    sums = sums.astype(np.float32, copy=False)
    rows, columns = np.float32(bottom - top), np.float32(right - left)
    if picture.shape[1] == width:  # the most frequent case of videos, and ten times as fast
        sums /= rows.reshape(-1, *(1,) * (sums.ndim - 1))
    else:
        sums /= np.outer(rows, np.repeat(columns, picture[0, 0].size)).reshape(sums.shape)
    return sums


def _sum_rows(picture: np.ndarray, first: np.ndarray, last: np.ndarray, kind: type) -> np.ndarray:
    """Sum the rows `first` ... `last` - 1 of a picture, for each pair, as numbers of `kind`."""
    count = last - first
    sums = picture[first].astype(kind)
    for step in range(1, count.max()):
        more = np.flatnonzero(count > step)
        if len(more) == len(count):
            sums += picture[first + step]
        else:
            sums[more] += picture[first[more] + step]
    return sums


def normalise(picture: np.ndarray) -> np.ndarray:
    """Scale (H, W, 3) RGB in [0, 255], uint8 or float32, to (3, H, W) float32 in [-1, 1]."""
    planes = np.empty((picture.shape[2], *picture.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        np.subtract(picture[..., channel], np.float32(127.5), out=plane)
    planes /= np.float32(127.5)
    return planes


def checked_size(height: int, width: int, ref_size: int = REF_SIZE, path: Path | None = None) -> tuple[int, int]:
    """Return `network_size`. Raises `ValueError`, naming `path` if there is one, for a picture so long and thin that it is
    over `MAX_NETWORK_PIXELS`."""
    high, wide = network_size(height, width, ref_size)
    if high * wide > MAX_NETWORK_PIXELS:
        named = f"{path}: " if path else ""
        raise ValueError(f"{named}a picture of {width}x{height} becomes {wide}x{high} for the network, allowed are "
                         f"{MAX_NETWORK_PIXELS} pixels: crop it")
    return high, wide


def shrink(image: np.ndarray, ref_size: int = REF_SIZE) -> np.ndarray:
    """Shrink (H, W, 3) uint8 RGB to (h, w, 3) float32 in [0, 255], h and w by `network_size`; raises as `checked_size`."""
    return area_resize(image, *checked_size(*image.shape[:2], ref_size))


def to_input(image: np.ndarray, ref_size: int = REF_SIZE) -> np.ndarray:
    """Turn (H, W, 3) uint8 RGB into the network's input (1, 3, h, w) float32 in [-1, 1], h and w by `network_size`.

    Raises what `shrink` raises.
    """
    return normalise(shrink(image, ref_size))[None]


def _rounded(picture: np.ndarray) -> np.ndarray:
    """Round float32 in [0, 255] to uint8, halves to even numbers as `np.rint` does, in a third of its time."""
    return cv2.convertScaleAbs(picture)


def to_byte_input(image: np.ndarray, ref_size: int = REF_SIZE) -> np.ndarray:
    """Turn (H, W, 3) uint8 RGB into (1, h, w, 3) uint8, rounded, for a network that normalises by itself. Raises as
    `shrink`."""
    return _rounded(shrink(image, ref_size))[None]


def to_fixed_input(image: np.ndarray, height: int, width: int, *,
                   as_bytes: bool = False) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Turn (H, W, 3) uint8 RGB into an input (1, 3, `height`, `width`) float32 in [-1, 1], or with `as_bytes` (1, `height`,
    `width`, 3) uint8, for a network of one size.

    Keeps the aspect ratio: the picture lies in the middle, mid-grey round it, which is 0 like the padding of the
    network's own convolutions. Also returns the rows and columns where it lies.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    h, w = (min(most, max(1, round(side * scale)))
            for most, side in zip((height, width), image.shape[:2], strict=True))
    box = slice((height - h) // 2, (height - h) // 2 + h), slice((width - w) // 2, (width - w) // 2 + w)
    canvas = np.full((height, width, 3), 127.5, np.float32)
    canvas[box] = area_resize(image, h, w)
    return _rounded(canvas)[None] if as_bytes else normalise(canvas)[None], box


def to_alpha(matte: np.ndarray, height: int, width: int, *, smooth: bool = False) -> np.ndarray:
    """Return the network's matte (1, 1, h, w) to an alpha (height, width) float32 in [0, 1].

    By `area_resize`, as the published evaluation has it, which enlarges in blocks; with `smooth`, what grows by over
    `SMOOTH_FROM` grows by cubic interpolation, with a third less error on drawn portraits of 1280x1536.
    """
    plane = np.ascontiguousarray(matte[0, 0], np.float32)
    if smooth and height * width > SMOOTH_FROM ** 2 * plane.size:
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        plane = area_resize(plane, height, width)
    return np.clip(plane, 0.0, 1.0, out=plane)
