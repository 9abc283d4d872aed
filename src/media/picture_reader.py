"""Picture files as arrays: sRGB, upright, with their transparency. No torch here."""
from __future__ import annotations

import contextlib
import functools
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from src.console import note, printable
from src.media.colour_profile import GREY, base_mode, to_srgb
from src.media.foreground import Colour, mix
from src.media.picture_formats import HEIF_NEEDS, HEIF_SUFFIXES, formats_for, reads_heif
from src.media.strips import strips

MODES = (*GREY[:-1], "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB")
# What a network sees, and the eye, where a picture is transparent.
NEUTRAL, WHITE = (128, 128, 128), (255, 255, 255)
MAX_PIXELS = 300_000_000
ORIENTATION = 0x0112
# Formats of which a second picture is no next frame or page, but a preview, a layer or a smaller copy.
ONE_PICTURE = ("MPO", "PSD", "ICO", "CUR", "ICNS", "DDS", "HEIF")
# Formats in which an alpha of zeros means that there is none.
PADDED = ("TGA", "BMP", "DIB", "ICO", "CUR", "DDS")


class Picture(NamedTuple):
    """A picture as it was read."""

    image: np.ndarray                   # (H, W, 3) uint8, sRGB, not mixed with anything; neutral where it is invisible
    opacity: np.ndarray | None          # (H, W) uint8, its own alpha; `None` if all of it is opaque
    dpi: tuple[float, float] | None     # across and down, if the file says so

    def over(self, colour: Colour = NEUTRAL) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 on a ground of one colour, which is what a network is shown."""
        return self.image if self.opacity is None else mix(self.image, colour, self.opacity)


def limit_pixels(most: int) -> None:
    """Refuse pictures of more than `most` pixels from now on, in this process. Raises `ValueError` under 1."""
    if most < 1:
        raise ValueError(f"--max-pixels is {most}, allowed are whole numbers from 1")
    Image.MAX_IMAGE_PIXELS = most


limit_pixels(MAX_PIXELS)


@functools.cache
def _silence() -> None:
    """Let Pillow not warn: what is wrong with a file is said in our one line, or does not matter. Once, since filters of
    warnings are shared by all threads."""
    warnings.filterwarnings("ignore", module="PIL")


class _Decoded(NamedTuple):
    """A picture as Pillow holds it."""

    picture: Image.Image
    raw: str                            # Pillow's name of the samples in the file
    kind: str                           # format
    turn: int                           # orientation as in EXIF, 1 ... 8


def _open(path: Path, formats: tuple[str, ...]) -> _Decoded:
    # By name, Pillow would map an uncompressed TIFF into memory, and of a turned one take the sides for each other.
    with path.open("rb") as stream, Image.open(stream, formats=formats) as file:
        most, pixels = Image.MAX_IMAGE_PIXELS, file.width * file.height
        if most and pixels > most:
            raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {most} pixels")
        several = False
        if file.format not in ONE_PICTURE:
            with contextlib.suppress(Exception):  # a damaged second page does not matter
                several = getattr(file, "is_animated", False)
        raw = str(file.tile[0].args[0] if isinstance(file.tile[0].args, tuple) else file.tile[0].args) if file.tile else ""
        file.load()
        if several:
            note(f"{printable(path)}: it holds several {'pages' if file.format == 'TIFF' else 'frames'}, the first is taken")
        turn = 1
        with contextlib.suppress(Exception):  # a damaged EXIF says nothing
            turn = file.getexif().get(ORIENTATION, 1)
        # A copy would cost as much again; a loaded picture outlives its file.
        return _Decoded(file, raw, file.format, turn if turn in range(1, 9) else 1)


def _decode(path: Path) -> _Decoded:
    """Pillow and not OpenCV: its decoders say what is wrong with a file, and say it nowhere else."""
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}")
    _silence()
    try:
        decoded = _open(path, formats_for(path))
    except Exception as error:  # on a damaged file Pillow's decoders raise nearly anything
        why = HEIF_NEEDS if path.suffix.lower() in HEIF_SUFFIXES and not reads_heif() else error
        if isinstance(error, Image.DecompressionBombError):
            why = f"{str(error).partition(',')[0]}; a higher --max-pixels takes it, with some 15 bytes of memory a pixel"
        raise ValueError(f"{path} is not a picture that can be read: {why}") from None
    mode = decoded.picture.mode
    # 32-bit whole numbers are 16-bit ones in PGM alone.
    if mode not in MODES and not (mode == "I" and decoded.kind == "PPM"):
        raise ValueError(f"{path} holds samples of kind {mode}, allowed are 8 and 16 bit")
    return decoded


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """(H, W, ...) upright, for one of the eight orientations of EXIF."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _levels(picture: Image.Image) -> np.ndarray:
    """Grey of 16 bits, (H, W) float32 in [0, 65535]."""
    return np.asarray(picture).astype(np.float32)


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith("I")


def _key_opacity(decoded: _Decoded) -> Image.Image | None:
    """The alpha that one transparent colour, or an alpha for each colour of a palette, makes; mode L."""
    picture, key = decoded.picture, decoded.picture.info["transparency"]
    if _is_deep(picture):
        return Image.fromarray(np.where(_levels(picture) == key, 0, 255).astype(np.uint8))
    if picture.mode in ("P", "L", "1"):
        if isinstance(key, int):
            # The key counts in the levels of the file, the picture in 256.
            key *= {"1": 255, "L;2": 85, "L;4": 17}.get(decoded.raw, 1) if picture.mode != "P" else 1
            table = [0 if level == key else 255 for level in range(256)]
        else:
            table = [*key, *[255] * 256][:256]
        plane = picture.convert("L") if picture.mode == "1" else picture
        return plane.point(table, "L")
    if picture.mode == "RGB" and isinstance(key, tuple):
        key = tuple(level >> 8 for level in key) if ";16" in decoded.raw else key
        pixels = np.asarray(picture)
        return Image.fromarray(np.where((pixels == np.uint8(key)).all(-1), 0, 255).astype(np.uint8))
    return None


def _opacity(decoded: _Decoded) -> Image.Image | None:
    """The alpha of a picture as mode L, `None` if it has none or is opaque all over."""
    picture = decoded.picture
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La"):
        plane = picture.getchannel(picture.mode[-1])
    elif "transparency" in picture.info:
        plane = _key_opacity(decoded)
    else:
        return None
    least, most = plane.getextrema() if plane else (255, 255)
    return None if least == 255 or most == 0 and decoded.kind in PADDED else plane


def _dpi(decoded: _Decoded) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in decoded.picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(value) and 1 <= value <= 65535 for value in (across, down)):
        return None
    return (down, across) if decoded.turn >= 5 else (across, down)


def _profile(path: Path, decoded: _Decoded) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """What `to_srgb` says of the picture's profile; a note if that is broken, which then does not count."""
    # Pillow has no grey of 16 bits with alpha: it opens as RGBA.
    mode = "L" if decoded.raw.startswith("LA") else base_mode(decoded.picture.mode)
    try:
        return to_srgb(decoded.picture.info.get("icc_profile") or None, mode)
    except ValueError as error:
        note(f"{printable(path)}: its colour profile is left out: {error}")
        return to_srgb(None, mode)


def _rgb(part: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None) -> np.ndarray:
    """Rows of a picture as (h, W, 3) uint8 sRGB."""
    if _is_deep(part):
        part = Image.fromarray(np.rint(_levels(part) / 257).astype(np.uint8))
    if part.mode in ("RGBa", "La"):
        part = part.convert({"RGBa": "RGBA", "La": "LA"}[part.mode])
    if transform is not None:
        part = ImageCms.applyTransform(part.convert(mode), transform)
    return np.asarray(part.convert("RGB"))


def read_picture(path: Path, *, exif: bool = True) -> Picture:
    """Read a picture: colours to sRGB by its profile, grey and palette expanded, 16 bit reduced, upright as its EXIF says
    unless `exif` is off. The colours of invisible pixels are not kept.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it cannot be decoded.
    """
    decoded = _decode(path)
    picture, (mode, transform), dpi = decoded.picture, _profile(path, decoded), _dpi(decoded)
    plane, turn = _opacity(decoded), decoded.turn if exif else 1
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


def read_image(path: Path, *, exif: bool = True, ground: Colour = NEUTRAL) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 sRGB, on `ground` where it is transparent; raises and reads as `read_picture`."""
    return read_picture(path, exif=exif).over(ground)


def read_alpha(path: Path) -> np.ndarray:
    """Read an alpha matte as (H, W) float32 in [0, 1]: the alpha channel of a picture that has one (a cut-out, a grey matte
    with alpha), else its grey of 8 or 16 bit. Colour profiles mean nothing here.

    Raises `FileNotFoundError`, or `ValueError` if it cannot be decoded, or has colours and no alpha.
    """
    decoded = _decode(path)
    picture, plane = decoded.picture, _opacity(decoded)
    if plane is not None:
        matte, full = np.asarray(plane), 255
    elif _is_deep(picture):
        matte, full = np.asarray(picture), 65535
    elif picture.mode in ("1", "L", "LA", "La"):
        matte, full = np.asarray(picture.getchannel(0) if picture.mode != "1" else picture.convert("L")), 255
    else:
        rgb = np.asarray(picture.convert("RGB"))
        if (rgb[..., 1:] != rgb[..., :1]).any():
            raise ValueError(f"{path} has colours: an alpha matte is a grey picture, or the alpha channel of one")
        matte, full = rgb[..., 0], 255
    return _turned(matte, decoded.turn).astype(np.float32) / np.float32(full)
