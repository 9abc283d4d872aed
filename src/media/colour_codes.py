"""Make the ICC profile that a picture means without having one: PNG's gamma, primaries and code points (cICP), those of AVIF
and HEIF, and Adobe RGB by a camera's EXIF. No torch here."""
from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

# How much of a file is looked at for code points.
HEAD = 65536
# x and y of white, red, green and blue; D65 but for DCI's.
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# By the number of ColourPrimaries in ITU-T H.273.
PRIMARIES = {1: SRGB, 5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
             6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
             9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
             11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
             12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)}
# By the number of TransferCharacteristics; all others are shown as sRGB is, those of HDR have no profile.
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
HDR_CODES = {16: "PQ", 18: "HLG"}
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# A PNG's gamma so near 1 / 2.2 means the curve of sRGB.
_NEAR = 0.02


def _columns(chromaticities: tuple[float, ...]) -> np.ndarray:
    """Return the XYZ of red, green and blue, a row each, adapted to D50. Raises `ValueError` for primaries that are none."""
    x, y = np.reshape(chromaticities, (4, 2)).T
    try:
        if (y <= 0).any():
            raise ValueError
        (white, *colours) = np.column_stack([x / y, np.ones(4), (1 - x - y) / y])
        scaled = np.array(colours) * np.linalg.solve(np.transpose(colours), white)[:, None]
        adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD
    except (ValueError, np.linalg.LinAlgError):
        raise ValueError("its primaries are no colours") from None
    return scaled @ adapt.T


@functools.lru_cache(maxsize=32)
def matrix_profile(chromaticities: tuple[float, ...], gamma: float | None = None) -> bytes:
    """Return the ICC profile (version 2) of a space by the x and y of its white, red, green and blue, and by its gamma, or
    the curve of sRGB. Raises `ValueError` for primaries that are none."""
    levels = np.linspace(0, 1, 4096)
    curve = levels ** gamma if gamma else np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    tags = {name: b"XYZ " + bytes(4) + struct.pack(">3i", *(int(value) for value in np.rint(65536 * xyz)))
            for name, xyz in zip((b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), (D50, *_columns(chromaticities)), strict=True)}
    table = b"curv" + bytes(4) + struct.pack(">I", len(curve)) + np.rint(65535 * curve).astype(">u2").tobytes()
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table)
    index, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        index += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = struct.pack(">I4xI4s4s4s12x4s28x3i48x", start + len(data), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp",
                       *(int(value) for value in np.rint(65536 * D50)))
    return head + index + data


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        yield kind, head[place + 8:place + 8 + length]
        place += 12 + length


def code_points(head: bytes) -> tuple[int, int] | None:
    """Return the numbers of the primaries and the transfer (H.273) that the beginning of a PNG, AVIF or HEIF file says."""
    if head.startswith(b"\x89PNG"):
        found = next((chunk for kind, chunk in _png_chunks(head) if kind == b"cICP" and len(chunk) == 4), None)
        return None if found is None else (found[0], found[1])
    box = head.find(b"colrnclx") if head[4:8] == b"ftyp" else -1
    return None if box < 0 or box + 12 > len(head) else struct.unpack_from(">HH", head, box + 8)


def hdr_of(codes: tuple[int, int] | None) -> str | None:
    """Return `PQ` or `HLG` if code points say that a picture is HDR."""
    return None if codes is None else HDR_CODES.get(codes[1])


def profile_of(picture: Image.Image, codes: tuple[int, int] | None) -> bytes | None:
    """Return the ICC profile of a picture, the one that it has or that it means; `None` for sRGB.

    A PNG's code points go before its profile, that before its sRGB chunk, gamma and primaries (PNG 3, 4.3). Raises
    `ValueError` for primaries that are none.
    """
    info, png = picture.info, picture.format == "PNG"
    if codes is not None and codes[0] in PRIMARIES and (png or not info.get("icc_profile")):
        return None if hdr_of(codes) else matrix_profile(PRIMARIES[codes[0]], GAMMAS.get(codes[1]))
    if info.get("icc_profile"):
        return info["icc_profile"]
    if png and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        gamma = 1 / info["gamma"] if 0.1 < info.get("gamma", 0) < 10 else 2.2
        return matrix_profile(tuple(info.get("chromaticity", SRGB)), None if abs(gamma / 2.2 - 1) < _NEAR else gamma)
    with contextlib.suppress(Exception):  # a damaged EXIF says nothing
        if picture.getexif().get_ifd(ExifTags.IFD.Interop).get(1) == "R03":  # DCF 2.0
            return matrix_profile(ADOBE_RGB, 563 / 256)
    return None
