"""Write picture files: PNG, JPEG, WebP, tagged as sRGB, whole or not at all. No torch here."""
from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from src.files import write_atomically
from src.media.colour_profile import srgb_profile
from src.media.strips import strips

QUALITY = 90
# Of PNG, 0 to 9. Its 1 is OpenCV's own choice (runs alone), but for the filter: Up is quicker than Sub, and smaller.
PNG_COMPRESSION = 1
_FASTEST = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.10 has it not
    _FASTEST += (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
# The longest side that a format can hold.
LONGEST = {".jpg": 65535, ".webp": 16383}
_INCH = 0.0254
_INCHES = 2


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _encode_png(picture: np.ndarray, dpi: tuple[float, float] | None, compression: int,
                done_with: bool) -> list[memoryview | bytes]:
    """Return the parts of a PNG. OpenCV's encoder takes two thirds of the time of Pillow's, but says not what colours
    mean."""
    if picture.ndim == 3:
        code = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        out = picture if done_with else np.empty_like(picture)
        for rows in strips(*picture.shape[:2]):
            out[rows] = cv2.cvtColor(picture[rows], code)
        picture = out
    how = (cv2.IMWRITE_PNG_COMPRESSION, compression, *(_FASTEST if compression == 1 else ()))
    data = memoryview(cv2.imencode(".png", picture, how)[1])
    more = _chunk(b"sRGB", b"\0") if picture.ndim == 3 else b""
    if dpi:
        more += _chunk(b"pHYs", struct.pack(">IIB", *(round(value / _INCH) for value in dpi), 1))
    # The header and its chunk are 33 bytes long.
    return [data[:33], more, data[33:]]


def _encode_by_pillow(picture: np.ndarray, suffix: str, quality: int, dpi: tuple[float, float] | None) -> list[memoryview]:
    file, options = io.BytesIO(), {"quality": quality}
    if picture.ndim == 3:
        options["icc_profile"] = srgb_profile()
    if dpi and suffix == ".jpg":
        options["dpi"] = tuple(round(value) for value in dpi)
    elif dpi:
        exif = Image.Exif()
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
        exif[ExifTags.Base.ResolutionUnit] = _INCHES
        options["exif"] = exif
    Image.fromarray(picture).save(file, {".jpg": "JPEG", ".webp": "WEBP"}[suffix], **options)
    return [file.getbuffer()]


def check_side(path: Path, longest: int) -> None:
    """Raise `ValueError` naming `path` if its format holds no side of `longest` pixels."""
    if longest > LONGEST.get(path.suffix, longest):
        raise ValueError(f"{path} cannot be written: a side of {longest} pixels, {path.suffix} holds "
                         f"{LONGEST[path.suffix]}: take --format png")


def write_picture(path: Path, picture: np.ndarray, *, quality: int = QUALITY, png_compression: int = PNG_COMPRESSION,
                  dpi: tuple[float, float] | None = None, done_with: bool = False) -> None:
    """Write (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8 as its suffix says (.png, .jpg, .webp), in one move.

    `quality` is of JPEG and WebP, 1 to 100, `png_compression` of PNG, 0 to 9; `dpi` across and down; a
    `picture` that the caller is `done_with` is changed, for a copy less. Raises `OSError` naming `path`, `ValueError` for a
    picture that the format cannot hold.
    """
    suffix = path.suffix
    check_side(path, max(picture.shape[:2]))
    try:
        if suffix == ".png":
            parts = _encode_png(picture, dpi, png_compression, done_with)
        else:
            parts = _encode_by_pillow(picture, suffix, quality, dpi)
    except (cv2.error, MemoryError, OSError) as error:
        raise ValueError(f"{path} cannot be encoded: {' '.join(str(error).split())}") from None

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.writelines(parts)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
