"""Pictures of more than 8 bits, against levels that were written by hand or by OpenCV."""
from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.media.picture_reader import read_alpha, read_picture

RAMP = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)


def write_tiff(path: Path, samples: bytes, *, bits: int, white_is_zero: bool = False, order: str = "<") -> Path:
    """A TIFF of one strip of 64 x 48 grey levels, as TIFF 6.0 describes it."""
    data_at = 8 + 2 + 9 * 12 + 4
    entries = [(256, 4, 64), (257, 4, 48), (258, 3, bits), (259, 3, 1), (262, 3, int(not white_is_zero)), (273, 4, data_at),
               (277, 3, 1), (278, 4, 48), (279, 4, len(samples))]
    packed = b"".join(struct.pack(f"{order}HHI" + ("HH" if kind == 3 else "I"), tag, kind, 1,
                                  *((value, 0) if kind == 3 else (value,))) for tag, kind, value in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    path.write_bytes(head + packed + bytes(4) + samples)
    return path


# Pillow knows no 16 bits with 0 for white and the larger byte first.
@pytest.mark.parametrize(("white_is_zero", "order"), [(False, "<"), (False, ">"), (True, "<")])
def test_a_deep_tiff_is_no_negative(tmp_path: Path, white_is_zero: bool, order: str) -> None:
    levels = 65535 - RAMP if white_is_zero else RAMP
    path = write_tiff(tmp_path / "g.tif", levels.astype(f"{order}u2").tobytes(), bits=16, white_is_zero=white_is_zero,
                      order=order)
    np.testing.assert_array_equal(read_picture(path).image, np.rint(RAMP / 257).astype(np.uint8)[..., None].repeat(3, 2))
    np.testing.assert_allclose(read_alpha(path), RAMP / 65535, atol=1e-6)


def test_twelve_bits_are_not_sixteen(tmp_path: Path) -> None:
    levels = (RAMP >> 4).astype(np.uint32)
    first, second = levels[:, ::2], levels[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    path = write_tiff(tmp_path / "g.tif", packed.tobytes(), bits=12)
    np.testing.assert_allclose(read_picture(path).image[..., 0], levels * 255 / 4095, atol=0.51)
    np.testing.assert_allclose(read_alpha(path), levels / 4095, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_brightest_levels_of_a_deep_jpeg_2000_stay_bright(tmp_path: Path, channels: int) -> None:
    deep = RAMP if channels == 1 else np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
    path = tmp_path / "a.jp2"
    cv2.imwrite(str(path), deep, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    expected = deep[..., None].repeat(3, 2) if channels == 1 else deep[..., ::-1]
    np.testing.assert_allclose(read_picture(path).image, expected / 257, atol=0.6)


def test_a_preview_before_the_picture_is_not_taken_for_it(tmp_path: Path) -> None:
    small, large = (Image.fromarray(np.full((side, side, 3), 90, np.uint8)) for side in (16, 64))
    small.save(tmp_path / "raw.tif", save_all=True, append_images=[large], tiffinfo={254: 1})
    with pytest.raises(ValueError, match="raw.tif is not a picture that can be read: it begins with a preview"):
        read_picture(tmp_path / "raw.tif")
    small.save(tmp_path / "small.tif", tiffinfo={254: 1})
    assert read_picture(tmp_path / "small.tif").image.shape == (16, 16, 3)
