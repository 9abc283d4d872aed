"""What is made of a picture and its alpha: the matte, a cut-out, a composite on a colour. No torch here."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from src.files import write_atomically

KINDS = ("alpha", "cutout", "composite")


def parse_colour(text: str) -> tuple[int, int, int]:
    """`"R,G,B"` to three whole numbers. Raises `ValueError` unless each is in 0 ... 255."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        raise ValueError(f"background is {text!r}, allowed is R,G,B, each a whole number from 0 to 255")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


def to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Alpha float32 in [0, 1] to uint8 in 0 ... 255, rounded."""
    return np.rint(alpha * 255).astype(np.uint8)


def cutout(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3) uint8 RGB and alpha (H, W) float32 in [0, 1] to (H, W, 4) uint8 RGBA."""
    return np.dstack((image, to_uint8(alpha)))


def composite(image: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Picture (H, W, 3) uint8 RGB over a plain `colour` by alpha (H, W) float32 in [0, 1]; (H, W, 3) uint8."""
    out = np.empty_like(image)
    for channel, value in enumerate(colour):
        out[..., channel] = np.rint(value + alpha * (image[..., channel] - np.float32(value)))
    return out


def render(image: np.ndarray, alpha: np.ndarray, kind: str, *, background: tuple[int, int, int]) -> np.ndarray:
    """One of `KINDS`: (H, W) alpha, (H, W, 4) RGBA cut-out or (H, W, 3) RGB composite, uint8."""
    if kind == "alpha":
        return to_uint8(alpha)
    return cutout(image, alpha) if kind == "cutout" else composite(image, alpha, background)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Writes (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG, in one move."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(".png", picture)[1].tobytes()
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def result_path(stem: str, kind: str, output_dir: Path) -> Path:
    """Where the result of one of `KINDS` goes."""
    return output_dir / f"{stem}_{kind}.png"


def save_results(image: np.ndarray, alpha: np.ndarray, stem: str, output_dir: Path, *, save: Sequence[str],
                 background: tuple[int, int, int]) -> list[Path]:
    """Writes `<stem>_<kind>.png` for each of `save` (of `KINDS`) at the size of the picture; returns the paths.

    `image` is (H, W, 3) uint8 RGB, `alpha` (H, W) float32 in [0, 1]. Raises `ValueError` if their sizes differ.
    """
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"the alpha of {stem} is {alpha.shape}, but its picture is {image.shape[:2]}")
    paths = [result_path(stem, kind, output_dir) for kind in save]
    for path, kind in zip(paths, save, strict=True):
        write_png(path, render(image, alpha, kind, background=background))
    return paths
