"""Decode picture files with Pillow, and find which of their pixels are transparent. No torch here."""
from __future__ import annotations

import argparse
import contextlib
import functools
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from src.console import no_file, note, printable
from src.media.colour_codes import HEAD, code_points
from src.media.colour_profile import GREY
from src.media.deep_samples import check_first_page, put_right
from src.media.libtiff import heard, listen
from src.media.picture_formats import HEIF_NEEDS, HEIF_SUFFIXES, formats_for, reads_heif

MODES = (*GREY[:-1], "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB")
MAX_PIXELS = 300_000_000
ORIENTATION = 0x0112
# Formats of which a second picture is no next frame or page, but a preview, a layer or a smaller copy.
ONE_PICTURE = ("MPO", "PSD", "ICO", "CUR", "ICNS", "DDS", "HEIF")
# Formats in which an alpha of zeros means that there is none.
PADDED = ("TGA", "BMP", "DIB", "ICO", "CUR", "DDS")


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Add `--max-pixels`, for `limit_pixels`."""
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS, metavar="N",
                        help="refuse pictures of more pixels than this (default: %(default)s)")


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
    listen()


class Decoded(NamedTuple):
    """A picture as Pillow holds it."""

    picture: Image.Image
    raw: str                            # Pillow's name of the samples in the file
    kind: str                           # format
    turn: int                           # orientation as in EXIF, 1 ... 8
    codes: tuple[int, int] | None       # of its colours, see `code_points`


class TooManyPixelsError(ValueError):
    """A picture has more pixels than `limit_pixels` allows; `claim` is what it claims."""

    def __init__(self, path: Path, claim: str) -> None:
        super().__init__(f"{path} is not a picture that can be read: {claim} is over the {Image.MAX_IMAGE_PIXELS} that are "
                         "allowed: a higher --max-pixels takes it, with some 25 bytes of memory a pixel")
        self.path, self.claim = path, claim


def _open(path: Path, data: bytes | None) -> Decoded:
    # By name, Pillow would map an uncompressed TIFF into memory, and of a turned one take the sides for each other.
    with path.open("rb") if data is None else io.BytesIO(data) as stream:
        codes = code_points(stream.read(HEAD))
        stream.seek(0)
        decoded = _loaded(path, Image.open(stream, formats=formats_for(path)), codes)
        return decoded._replace(picture=put_right(decoded.picture, decoded.raw, stream))


def _loaded(path: Path, picture: Image.Image, codes: tuple[int, int] | None) -> Decoded:
    with picture as file:
        most, pixels = Image.MAX_IMAGE_PIXELS, file.width * file.height
        if most and pixels > most:
            raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {most} pixels")
        several = False
        if file.format not in ONE_PICTURE:
            with contextlib.suppress(Exception):  # a damaged second page does not matter
                several = getattr(file, "is_animated", False)
        check_first_page(file, several=several)
        raw = str(file.tile[0].args[0] if isinstance(file.tile[0].args, tuple) else file.tile[0].args) if file.tile else ""
        file.load()
        if several:
            note(f"{printable(path)}: it holds several {'pages' if file.format == 'TIFF' else 'frames'}, the first is taken")
        turn = 1
        with contextlib.suppress(Exception):  # a damaged EXIF says nothing
            turn = file.getexif().get(ORIENTATION, 1)
        # A copy would cost as much again; a loaded picture outlives its file.
        return Decoded(file, raw, file.format, turn if turn in range(1, 9) else 1, codes)


def decode(path: Path, data: bytes | None = None) -> Decoded:
    """Decode the first picture of a file, or of `data`, the bytes of a file of this name. By Pillow and not OpenCV: its
    decoders say what is wrong, and say it nowhere else.

    Raises `FileNotFoundError`, or `ValueError` naming the file.
    """
    if data is None and not path.is_file():
        raise no_file("picture", path)
    _silence()
    heard()
    try:
        decoded = _open(path, data)
        if word := heard():
            note(f"{printable(path)}: it is damaged ({word}), and taken as far as it could be read")
    except Exception as error:  # on a damaged file Pillow's decoders raise nearly anything
        word = heard()
        why: object = f"{error} ({word})" if word else error
        if path.suffix.lower() in HEIF_SUFFIXES and not reads_heif():
            why = HEIF_NEEDS
        elif isinstance(error, UnidentifiedImageError):
            empty = not (path.stat().st_size if data is None else len(data))
            why = "the file is empty" if empty else "its bytes are of no format that is known here"
        elif isinstance(error, Image.DecompressionBombError):
            # Pillow's own sentence names twice the limit.
            raise TooManyPixelsError(path, str(error).partition(" exceeds")[0]) from None
        raise ValueError(f"{path} is not a picture that can be read: {why}") from None
    mode = decoded.picture.mode
    # 32-bit whole numbers are 16-bit ones in PGM alone.
    if mode not in MODES and not (mode == "I" and decoded.kind == "PPM"):
        raise ValueError(f"{path} holds samples of kind {mode}, allowed are 8 and 16 bit")
    return decoded


def levels_of(picture: Image.Image) -> np.ndarray:
    """Return grey of 16 bits as (H, W) float32 in [0, 65535]."""
    return np.asarray(picture).astype(np.float32)


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture is grey of 16 bits."""
    return picture.mode.startswith("I")


def _key_opacity(decoded: Decoded) -> Image.Image | None:
    """Return the alpha that one transparent colour, or an alpha for each colour of a palette, makes; mode L."""
    picture, key = decoded.picture, decoded.picture.info["transparency"]
    if is_deep(picture):
        return Image.fromarray(np.where(levels_of(picture) == key, 0, 255).astype(np.uint8))
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


def opacity_of(decoded: Decoded) -> Image.Image | None:
    """Return the alpha of a picture as mode L, `None` if it has none or is opaque all over."""
    picture = decoded.picture
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La"):
        plane = picture.getchannel(picture.mode[-1])
    elif "transparency" in picture.info:
        plane = _key_opacity(decoded)
    else:
        return None
    least, most = plane.getextrema() if plane else (255, 255)
    return None if least == 255 or most == 0 and decoded.kind in PADDED else plane
