"""Read picture files as arrays: sRGB, upright, with their transparency. No torch here."""
from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from src.console import note, printable
from src.media.colour_codes import hdr_of, profile_of
from src.media.colour_profile import base_mode, to_srgb
from src.media.foreground import Colour, mix
from src.media.picture_decoder import Decoded, decode, is_deep, levels_of, opacity_of
from src.media.strips import strips

# What a network sees, and the eye, where a picture is transparent.
NEUTRAL, WHITE = (128, 128, 128), (255, 255, 255)
# So many levels may red, green and blue of a grey pixel differ: lossy formats do not keep them the same, WebP never does.
OFF_GREY = 8


class Picture(NamedTuple):
    """A picture as it was read."""

    image: np.ndarray                   # (H, W, 3) uint8, sRGB, not mixed with anything; neutral where it is invisible
    opacity: np.ndarray | None          # (H, W) uint8, its own alpha; `None` if all of it is opaque
    dpi: tuple[float, float] | None     # across and down, if the file says so

    def over(self, colour: Colour = NEUTRAL) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 on a ground of one colour, which is what a network is shown."""
        return self.image if self.opacity is None else mix(self.image, colour, self.opacity)


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Turn (H, W, ...) upright from one of the eight orientations of EXIF."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _dpi(decoded: Decoded) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in decoded.picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(value) and 1 <= value <= 65535 for value in (across, down)):
        return None
    return (down, across) if decoded.turn >= 5 else (across, down)


def _profile(path: Path, decoded: Decoded) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return what `to_srgb` says of the picture's profile; a note if that is broken, which then does not count."""
    # Pillow has no grey of 16 bits with alpha: it opens as RGBA.
    mode = "L" if decoded.raw.startswith("LA;") else base_mode(decoded.picture.mode)
    if (hdr := hdr_of(decoded.codes)) is not None:
        note(f"{printable(path)}: it is HDR ({hdr}), and is taken as it is: tones and colours are not those that are meant")
    try:
        return to_srgb(profile_of(decoded.picture, decoded.codes), mode)
    except ValueError as error:
        note(f"{printable(path)}: its colour profile is left out: {error}")
        return to_srgb(None, mode)


def _rgb(part: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None) -> np.ndarray:
    """Return rows of a picture as (h, W, 3) uint8 sRGB."""
    if is_deep(part):
        part = Image.fromarray(np.rint(levels_of(part) / 257).astype(np.uint8))
    if part.mode in ("RGBa", "La"):
        part = part.convert({"RGBa": "RGBA", "La": "LA"}[part.mode])
    if transform is not None:
        part = ImageCms.applyTransform(part.convert(mode), transform)
    return np.asarray(part.convert("RGB"))


def read_picture(path: Path, *, exif: bool = True, data: bytes | None = None) -> Picture:
    """Read a picture, of `data` if the bytes of the file are at hand: colours to sRGB by its profile, grey and palette
    expanded, 16 bit reduced, upright as its EXIF says unless `exif` is off. The colours of invisible pixels are not kept.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it cannot be decoded.
    """
    decoded = decode(path, data)
    picture, (mode, transform), dpi = decoded.picture, _profile(path, decoded), _dpi(decoded)
    plane, turn = opacity_of(decoded), decoded.turn if exif else 1
    width, height = picture.size
    image = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):
        whole = rows.stop - rows.start == height
        image[rows] = _rgb(picture if whole else picture.crop((0, rows.start, width, rows.stop)), mode, transform)
    opacity = None if plane is None else np.asarray(plane)
    del decoded, picture, plane  # several bytes a pixel, not wanted any more
    if opacity is not None:
        image[opacity == 0] = NEUTRAL
        opacity = _turned(opacity, turn)
    return Picture(_turned(image, turn), opacity, dpi)


def read_image(path: Path, *, exif: bool = True, ground: Colour = NEUTRAL, data: bytes | None = None) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 sRGB, on `ground` where it is transparent; raises and reads as `read_picture`."""
    return read_picture(path, exif=exif, data=data).over(ground)


def read_alpha(path: Path, data: bytes | None = None) -> np.ndarray:
    """Read an alpha matte, of `data` if the bytes are at hand, as (H, W) float32 in [0, 1]: the alpha channel of a picture
    that has one (a cut-out, a grey matte with alpha), else its grey of 8 or 16 bit. Colour profiles mean nothing here.

    Raises `FileNotFoundError`, or `ValueError` if it cannot be decoded, or has colours and no alpha.
    """
    decoded = decode(path, data)
    picture, plane = decoded.picture, opacity_of(decoded)
    if plane is not None:
        matte, full = np.asarray(plane), 255
    elif is_deep(picture):
        matte, full = np.asarray(picture), 65535
    elif picture.mode in ("1", "L", "LA", "La"):
        matte, full = np.asarray(picture.getchannel(0) if picture.mode != "1" else picture.convert("L")), 255
    else:
        rgb = np.asarray(picture := picture.convert("RGB"))
        if (rgb[..., 1:] != rgb[..., :1]).any() and np.ptp(rgb, axis=-1).max() > OFF_GREY:
            raise ValueError(f"{path} has colours: an alpha matte is a grey picture, or the alpha channel of one")
        matte, full = np.asarray(picture.convert("L")), 255
    return _turned(matte, decoded.turn).astype(np.float32) / np.float32(full)
