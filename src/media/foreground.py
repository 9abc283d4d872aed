"""Estimate the colours of the person alone, where matte and background mix. Without them a cut-out keeps a halo. No torch
here."""
from __future__ import annotations

import functools
import threading

import cv2
import numpy as np

from src.media.strips import strips

Colour = tuple[int, int, int]
METHODS = ("fast", "ml", "none")
# Radii in pixels of the picture: Forte and Pitié have 90 and 6. The passes run at an eighth and at a quarter of its size;
# on drawn portraits of known colours that costs 1 % in error and saves half of the time.
WIDE, NARROW = 90, 8
TINY, SMALL = 8, 4
_SMALL = 1e-5
# Of the pixels of a strip: with more at the rim it is quicker to compute all.
_MOST_RIM = 0.3
_ONE_AT_A_TIME = threading.Lock()


@functools.lru_cache(maxsize=1)
def _plain(colour: Colour, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def mix(front: np.ndarray, behind: np.ndarray | Colour, alpha: np.ndarray) -> np.ndarray:
    """Return alpha * front + (1 - alpha) * behind, rounded: (H, W, 3) uint8, `behind` as large or one colour, alpha (H, W)
    float32 in [0, 1] or uint8."""
    out = np.empty(front.shape, np.uint8)
    for rows in strips(*alpha.shape):
        share = alpha[rows] if alpha.dtype != np.uint8 else alpha[rows] / np.float32(255)
        under = _plain(behind, *share.shape) if isinstance(behind, tuple) else behind[rows]
        cv2.blendLinear(front[rows], under, share, 1 - share, out[rows])
    return out


def _fuse(foreground: np.ndarray, background: np.ndarray, share: np.ndarray,
          radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the means of foreground and background (H, W, 3) uint8 over a box, weighted by alpha and by 1 - alpha;
    float32."""
    box = (2 * radius + 1,) * 2
    inside = cv2.blur(share, box)
    return (cv2.divide(cv2.blur(cv2.multiply(foreground, share, dtype=cv2.CV_32F), box), inside + _SMALL),
            cv2.divide(cv2.blur(cv2.multiply(background, 1 - share, dtype=cv2.CV_32F), box), (1 + _SMALL) - inside))


def _explain(image: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Move `foreground` so that it and `background`, mixed by `alpha`, come nearer to `image`; all uint8 but alpha."""
    out = np.empty(image.shape, np.uint8)
    for rows in strips(*alpha.shape):
        # In bytes, one level off at most, which is four times as fast as `mix`.
        part = cv2.convertScaleAbs(alpha[rows], alpha=255)
        rim = np.flatnonzero(part - np.uint8(1) < 254)
        if len(rim) > _MOST_RIM * part.size:
            out[rows] = _explained(image[rows], foreground[rows], background[rows], alpha[rows], part)
            continue
        # By under half a level nothing moves: without the person it is the mean, and all of the person is the picture.
        out[rows] = foreground[rows]
        cv2.copyTo(image[rows], (part == 255).view(np.uint8), out[rows])
        if not len(rim):
            continue
        at_rim = [pixels[rows].reshape(-1, 3)[rim][None] for pixels in (image, foreground, background)]
        shares = [plane.reshape(1, -1)[:, rim] for plane in (alpha[rows], part)]
        out[rows].reshape(-1, 3)[rim] = _explained(*at_rim, *shares)[0]
    return out


def _explained(image: np.ndarray, foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray,
               part: np.ndarray) -> np.ndarray:
    """Return what `_explain` does, for some pixels; `part` is alpha in bytes."""
    share, part = cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), cv2.cvtColor(part, cv2.COLOR_GRAY2BGR)
    mixed = cv2.add(cv2.multiply(foreground, part, scale=1 / 255), cv2.multiply(background, 255 - part, scale=1 / 255))
    missing = cv2.subtract(image, mixed, dtype=cv2.CV_32F)
    missing *= share
    return cv2.add(foreground, missing, dtype=cv2.CV_8U)


def blur_fusion(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimate the foreground (H, W, 3) uint8 of a picture (H, W, 3) uint8 RGB and its alpha (H, W) float32 in [0, 1].

    Blur-fusion with two passes: Forte and Pitié, "Approximate Fast Foreground Colour Estimation", ICIP 2021. The means,
    which are smooth, are taken at a fraction of the size; the pixels are then explained at full size. Where
    alpha is 1 the colours are the picture's, where it is 0 a mean of the person's nearby.
    """
    height, width = alpha.shape
    small_size, tiny_size = ((max(1, width // n), max(1, height // n)) for n in (SMALL, TINY))
    small, share = (cv2.resize(x, small_size, interpolation=cv2.INTER_AREA) for x in (image, alpha))
    tiny, tiny_share = (cv2.resize(x, tiny_size, interpolation=cv2.INTER_AREA) for x in (small, share))
    wide = _fuse(tiny, tiny, cv2.cvtColor(tiny_share, cv2.COLOR_GRAY2BGR), WIDE // TINY)
    foreground, background = (cv2.resize(_bytes(mean), small_size) for mean in wide)
    foreground = _explain(small, foreground, background, share)
    narrow = _fuse(foreground, background, cv2.cvtColor(share, cv2.COLOR_GRAY2BGR), NARROW // SMALL)
    foreground, background = (cv2.resize(_bytes(mean), (width, height)) for mean in narrow)
    return _explain(image, foreground, background, alpha)


def _bytes(picture: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(picture)


def multi_level(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimate the person's own colours by pymatting's multi-level method (Germer et al. 2020), as `estimate_foreground`.

    Raises `ValueError` if pymatting is not installed.
    """
    try:
        import numba

        # Its first choice, TBB, would be OpenVINO's copy, and then the process waits for ever at its end.
        numba.config.THREADING_LAYER = "workqueue"
        from pymatting import estimate_foreground_ml
    except ImportError:
        raise ValueError("--foreground ml needs pymatting: pip install pymatting") from None
    if alpha.size == 1:  # there is nothing beside it to learn from, and pymatting would divide by zero
        return image
    with _ONE_AT_A_TIME:  # as that layer wants it
        estimate = estimate_foreground_ml((image / 255).astype(np.float32), alpha.astype(np.float32))
    return np.rint(255 * np.clip(estimate, 0, 1)).astype(np.uint8)


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, method: str = "fast") -> np.ndarray:
    """Return the person's own colours (H, W, 3) uint8, for a picture (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1].

    `fast` is `blur_fusion`, `ml` pymatting's multi-level estimate (Germer et al. 2020: slower, for stills), `none` the
    picture itself. Raises `ValueError` for another method, and if pymatting is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"foreground is {method!r}, allowed are {', '.join(METHODS)}")
    if method == "none":
        return image
    if method == "fast":
        return blur_fusion(image, alpha)
    return multi_level(image, alpha)
