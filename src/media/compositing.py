"""Make the results from a picture and its alpha: the matte, a cut-out, a composite, a sheet of all. No torch here."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from src.media.backdrop import Backdrop
from src.media.foreground import Colour, estimate_foreground, mix
from src.media.picture_reader import NEUTRAL
from src.media.strips import strips

KINDS = ("alpha", "cutout", "composite", "sheet")
# What is written unless told otherwise, of a picture and of a video.
STILL_KINDS, VIDEO_KINDS = KINDS[:3], ("alpha", "composite")
SHEET_HEIGHT, PANELS = 640, 4
CHECKS = (153, 204)


def to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Round alpha float32 in [0, 1] to uint8 in 0 ... 255."""
    out = np.empty(alpha.shape, np.uint8)
    for rows in strips(*alpha.shape):
        out[rows] = np.rint(alpha[rows] * 255)
    return out


def cutout(foreground: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Put colours (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1] together as (H, W, 4) uint8 RGBA."""
    return cv2.insertChannel(to_uint8(alpha), cv2.cvtColor(foreground, cv2.COLOR_RGB2RGBA), 3)


def composite(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray | Colour) -> np.ndarray:
    """Put colours (H, W, 3) uint8 over `background`, as large or one colour, by alpha (H, W) float32 in [0, 1]; uint8."""
    return mix(foreground, background, alpha)


def checkerboard(height: int, width: int, side: int = 16) -> np.ndarray:
    """Draw grey squares (H, W, 3) uint8, what stands for transparency."""
    rows, columns = (np.arange(size) // side for size in (height, width))
    return np.repeat(np.uint8(CHECKS)[(rows[:, None] + columns) % 2][..., None], 3, 2)


def longest_side(kind: str, height: int, width: int) -> int:
    """Return the longest side of a result of a picture of `height` x `width`; of a sheet, four panels and no labels."""
    if kind == "sheet":
        height, width = panel_size(height, width)
        width *= PANELS
    return max(height, width)


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of a panel of the sheet of a picture of `height` x `width`, without its label."""
    if height <= SHEET_HEIGHT:
        return height, width
    return SHEET_HEIGHT, max(1, round(width * SHEET_HEIGHT / height))


def sheet(image: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, composed: np.ndarray) -> np.ndarray:
    """Put picture, alpha, cut-out on a checkerboard and composite side by side, labelled, at most `SHEET_HEIGHT` high."""
    height, width = alpha.shape
    cut = composite(foreground, alpha, checkerboard(height, width, max(4, min(height, width) // 32)))
    panels = {"image": image, "alpha": np.repeat(to_uint8(alpha)[..., None], 3, 2), "cut-out": cut, "composite": composed}
    if (size := panel_size(height, width)) != (height, width):
        panels = {name: cv2.resize(panel, size[::-1], interpolation=cv2.INTER_AREA) for name, panel in panels.items()}
    return np.hstack([_labelled(panel, name) for name, panel in panels.items()])


def _labelled(panel: np.ndarray, name: str) -> np.ndarray:
    scale = min(0.7, panel.shape[1] / 160)
    band = np.full((max(8, round(32 * scale)), panel.shape[1], 3), 255, np.uint8)
    cv2.putText(band, name, (4, round(22 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack((band, panel))


def rendered(image: np.ndarray, alpha: np.ndarray, kinds: Sequence[str], *, backdrop: Backdrop, foreground: str = "fast",
             time: float = 0.0, opacity: np.ndarray | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each of `kinds` (of `KINDS`) with its picture, uint8: alpha (H, W), RGBA cut-out (H, W, 4), composite (H, W, 3)
    or sheet (h, w, 3); one at a time, since a huge picture's do not fit into memory together.

    `image` is (H, W, 3) uint8 RGB, `alpha` its matte (H, W) float32 in [0, 1], `foreground` one of `METHODS`, `time` the
    second of a video. `opacity` (H, W) uint8 is the picture's own alpha, by which the matte is multiplied; `image` is then
    not mixed with any ground, and neutral where it is invisible. Raises `ValueError` if the sizes differ.
    """
    if image.shape[:2] != alpha.shape or opacity is not None and opacity.shape != alpha.shape:
        raise ValueError(f"the alpha is {alpha.shape}, but its picture is {image.shape[:2]}")
    seen, whole, front, composed = image, alpha, None, None
    if opacity is not None:
        seen, whole = mix(image, NEUTRAL, opacity), alpha * (opacity / np.float32(255))
        # The person's colours are not looked for where nothing is to be seen.
        alpha = np.where(opacity == 0, np.float32(0), alpha)
    for kind in dict.fromkeys(kinds):
        if kind != "alpha" and front is None:
            front = estimate_foreground(image, alpha, foreground)
        if kind in ("composite", "sheet") and composed is None:
            composed = composite(front, whole, backdrop(seen, alpha, time))
        if kind == "sheet":
            shown = image if opacity is None else mix(image, checkerboard(*alpha.shape), opacity)
            yield kind, sheet(shown, whole, front, composed)
        else:
            yield kind, (to_uint8(whole) if kind == "alpha" else cutout(front, whole) if kind == "cutout" else composed)
        composed = composed if "sheet" in kinds else None


def render(image: np.ndarray, alpha: np.ndarray, kinds: Sequence[str], *, backdrop: Backdrop, foreground: str = "fast",
           time: float = 0.0, opacity: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return the picture of each of `kinds`, see `rendered`."""
    return dict(rendered(image, alpha, kinds, backdrop=backdrop, foreground=foreground, time=time, opacity=opacity))
