"""What is made of a picture and its alpha: the matte, a cut-out, a composite, a sheet of all. No torch here."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from src.files import write_atomically
from src.media.backdrop import Backdrop, Colour
from src.media.foreground import estimate_foreground, mix

KINDS = ("alpha", "cutout", "composite", "sheet")
# What is written unless told otherwise, of a picture and of a video.
STILL_KINDS, VIDEO_KINDS = KINDS[:3], ("alpha", "composite")
SHEET_HEIGHT = 640
CHECKS = (153, 204)


def to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Alpha float32 in [0, 1] to uint8 in 0 ... 255, rounded."""
    return np.rint(alpha * 255).astype(np.uint8)


def cutout(foreground: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1] to (H, W, 4) uint8 RGBA."""
    return np.dstack((foreground, to_uint8(alpha)))


@functools.lru_cache(maxsize=1)
def _plain(colour: Colour, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def composite(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray | Colour) -> np.ndarray:
    """Colours (H, W, 3) uint8 RGB over `background`, as large or one colour, by alpha (H, W) float32 in [0, 1]; uint8."""
    if isinstance(background, tuple):
        background = _plain(background, *foreground.shape[:2])
    return mix(foreground, background, alpha)


def checkerboard(height: int, width: int, side: int = 16) -> np.ndarray:
    """Grey squares (H, W, 3) uint8, what stands for transparency."""
    rows, columns = (np.arange(size) // side for size in (height, width))
    return np.repeat(np.uint8(CHECKS)[(rows[:, None] + columns) % 2][..., None], 3, 2)


def sheet(image: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, composed: np.ndarray) -> np.ndarray:
    """Picture, alpha, cut-out on a checkerboard and composite side by side, labelled, at most `SHEET_HEIGHT` high."""
    height, width = alpha.shape
    cut = composite(foreground, alpha, checkerboard(height, width, max(4, min(height, width) // 32)))
    panels = {"image": image, "alpha": np.repeat(to_uint8(alpha)[..., None], 3, 2), "cut-out": cut, "composite": composed}
    if height > SHEET_HEIGHT:
        size = max(1, round(width * SHEET_HEIGHT / height)), SHEET_HEIGHT
        panels = {name: cv2.resize(panel, size, interpolation=cv2.INTER_AREA) for name, panel in panels.items()}
    return np.hstack([_labelled(panel, name) for name, panel in panels.items()])


def _labelled(panel: np.ndarray, name: str) -> np.ndarray:
    scale = min(0.7, panel.shape[1] / 160)
    band = np.full((max(8, round(32 * scale)), panel.shape[1], 3), 255, np.uint8)
    cv2.putText(band, name, (4, round(22 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack((band, panel))


def render(image: np.ndarray, alpha: np.ndarray, kinds: Sequence[str], *, backdrop: Backdrop, foreground: str = "fast",
           time: float = 0.0) -> dict[str, np.ndarray]:
    """For each of `kinds` (of `KINDS`) its picture, uint8: alpha (H, W), RGBA cut-out (H, W, 4), composite (H, W, 3) or
    sheet (h, w, 3).

    `image` is (H, W, 3) uint8 RGB, `alpha` (H, W) float32 in [0, 1], `foreground` one of `METHODS`, `time` the second of a
    video. Raises `ValueError` if their sizes differ.
    """
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"the alpha is {alpha.shape}, but its picture is {image.shape[:2]}")
    out = {"alpha": to_uint8(alpha)}
    if set(kinds) - {"alpha"}:
        front = estimate_foreground(image, alpha, foreground)
    if "cutout" in kinds:
        out["cutout"] = cutout(front, alpha)
    if set(kinds) & {"composite", "sheet"}:
        out["composite"] = composite(front, alpha, backdrop(image, alpha, time))
    if "sheet" in kinds:
        out["sheet"] = sheet(image, alpha, front, out["composite"])
    return {kind: out[kind] for kind in kinds}


def write_png(path: Path, picture: np.ndarray) -> None:
    """Writes (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG, in one move. Raises `OSError` naming `path`."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(".png", picture)[1].tobytes()
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def result_path(stem: str, kind: str, output_dir: Path) -> Path:
    """Where the result of one of `KINDS` goes."""
    return output_dir / f"{stem}_{kind}.png"


def save_results(image: np.ndarray, alpha: np.ndarray, stem: str, output_dir: Path, *, save: Sequence[str],
                 backdrop: Backdrop, foreground: str = "fast") -> list[Path]:
    """Writes `<stem>_<kind>.png` for each of `save` (of `KINDS`), see `render`; returns the paths."""
    pictures = render(image, alpha, save, backdrop=backdrop, foreground=foreground)
    paths = [result_path(stem, kind, output_dir) for kind in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_png(path, picture)
    return paths
