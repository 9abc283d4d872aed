"""The colours of the person alone, where matte and background mix. Without them a cut-out keeps a halo. No torch here."""
from __future__ import annotations

import cv2
import numpy as np

METHODS = ("fast", "ml", "none")
# Radii of Forte and Pitié, in pixels of the picture; the second pass runs at half its size.
WIDE, NARROW = 90, 6
SHRINK = 2
_SMALL = 1e-5


def rim_of(alpha: np.ndarray) -> np.ndarray:
    """Flat indices of the pixels of alpha (H, W) in [0, 1] that 8 bits show as neither 0 nor 1."""
    return np.flatnonzero(np.abs(alpha - np.float32(0.5)) < np.float32(0.5 - 0.5 / 255))


def _fuse(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray,
          radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of foreground and background over a box, weighted by alpha and by 1 - alpha."""
    box, share = (2 * radius + 1,) * 2, alpha[..., None]
    inside = cv2.blur(alpha, box)[..., None]
    return (cv2.blur(foreground * share, box) / (inside + _SMALL),
            cv2.blur(background * (1 - share), box) / (1 - inside + _SMALL))


def _explain(image: np.ndarray, foreground: np.ndarray, background: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`foreground` moved so that it and `background`, mixed by `share`, come nearer to `image`."""
    return np.clip(foreground + share * (image - share * foreground - (1 - share) * background), 0, 255)


def blur_fusion(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Foreground (H, W, 3) uint8 of a picture (H, W, 3) uint8 RGB and its alpha (H, W) float32 in [0, 1].

    Blur-fusion with two passes: Forte and Pitié, "Approximate Fast Foreground Colour Estimation", ICIP 2021. The means,
    which are smooth, are taken at an eighth and at half of the size; each rim pixel is then explained at full size.
    Where alpha is 1 the colours are the picture's, where it is 0 a mean of the person's nearby.
    """
    height, width = alpha.shape
    half, eighth = ((max(1, width // n), max(1, height // n)) for n in (SHRINK, 4 * SHRINK))
    small, share = (cv2.resize(x, half, interpolation=cv2.INTER_AREA).astype(np.float32) for x in (image, alpha))
    tiny, tiny_share = (cv2.resize(x, eighth, interpolation=cv2.INTER_AREA) for x in (small, share))
    wide = (cv2.resize(mean, half) for mean in _fuse(tiny, tiny, tiny_share, WIDE // (4 * SHRINK)))
    foreground, background = wide
    foreground = _explain(small, foreground, background, share[..., None])
    narrow = _fuse(foreground, background, share, NARROW // SHRINK)
    out, behind = (cv2.resize(np.clip(mean, 0, 255).astype(np.uint8), (width, height)) for mean in narrow)
    rim = rim_of(alpha)
    at_rim = (x.reshape(-1, 3)[rim].astype(np.float32) for x in (image, out, behind))
    explained = _explain(*at_rim, alpha.reshape(-1, 1)[rim])
    cv2.copyTo(image, np.uint8(alpha > np.float32(0.5)), out)
    out.reshape(-1, 3)[rim] = np.rint(explained)
    return out


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, method: str = "fast") -> np.ndarray:
    """The person's own colours (H, W, 3) uint8, for a picture (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1].

    `fast` is `blur_fusion`, `ml` pymatting's multi-level estimate (Germer et al. 2020: slower, for stills), `none` the
    picture itself. Raises `ValueError` for another method, and if pymatting is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"foreground is {method!r}, allowed are {', '.join(METHODS)}")
    if method == "none":
        return image
    if method == "fast":
        return blur_fusion(image, alpha)
    try:
        from pymatting import estimate_foreground_ml
    except ImportError:
        raise ValueError("--foreground ml needs pymatting: pip install pymatting") from None
    estimate = estimate_foreground_ml(image / 255.0, alpha.astype(np.float64))
    return np.rint(np.clip(estimate, 0, 1) * 255).astype(np.uint8)
