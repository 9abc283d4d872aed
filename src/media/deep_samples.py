"""Put right what Pillow makes of samples of more than 8 bits, and find TIFFs that begin with a preview. No torch here."""
from __future__ import annotations

from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

# TIFF tags.
SUBFILE_TYPE, PHOTOMETRIC, SUB_IFDS = 254, 262, 330
REDUCED, WHITE_IS_ZERO = 1, 0
# JPEG 2000: a codestream begins with these markers, and so many bytes on lies the depth of its first component.
CODESTREAM, DEPTH_AT = b"\xff\x4f\xff\x51", 42


def check_first_page(file: Image.Image, *, several: bool) -> None:
    """Raise `ValueError` for a TIFF whose first picture is a small one of another, as in a camera's raw file."""
    tags = getattr(file, "tag_v2", {})
    kind = tags.get(SUBFILE_TYPE, 0)
    if isinstance(kind, int) and kind & REDUCED and (several or SUB_IFDS in tags):
        raise ValueError("it begins with a preview of another picture, as a camera's raw file does: save it as PNG or JPEG")


def put_right(file: Image.Image, raw: str, stream: BinaryIO) -> Image.Image:
    """Return a loaded picture with its levels right; `raw` is Pillow's name of the samples, `stream` the file.

    Pillow takes 16 bits of a TIFF in which 0 is white for the other way round and 12 bits for 16, and lets the brightest
    levels of a deep coloured JPEG 2000 become 0. Raises `ValueError` for one that OpenCV does not decode either.
    """
    if file.format == "TIFF" and file.mode.startswith("I;16"):
        twelve, white = raw.startswith("I;12"), getattr(file, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO
        if twelve or white:
            levels = np.asarray(file).astype(np.uint16)
            levels = levels << 4 | levels >> 8 if twelve else levels
            return _as(file, 65535 - levels if white else levels)
    if file.format == "JPEG2000" and file.mode in ("RGB", "RGBA"):
        stream.seek(0)
        data = stream.read()
        at = data.find(CODESTREAM)
        depth = (data[at + DEPTH_AT] & 0x7f) + 1 if 0 <= at < len(data) - DEPTH_AT else 8
        if depth > 8:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None or pixels.shape != (file.height, file.width, len(file.mode)):
                raise ValueError(f"it has {depth} bits a sample, which are read of grey JPEG 2000 alone")
            order = [2, 1, 0, 3][:len(file.mode)]
            return _as(file, np.rint(pixels[..., order] * (255 / (2 ** depth - 1))).astype(np.uint8))
    return file


def _as(file: Image.Image, pixels: np.ndarray) -> Image.Image:
    """Return pixels as a picture of the same format, profile and resolution."""
    out = Image.fromarray(pixels)
    out.info, out.format = file.info, file.format
    return out
