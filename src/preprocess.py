"""Picture file to network input and back; NumPy and OpenCV only, shared by training, evaluation and every inference."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
REF_SIZE = 512
STRIDE = 32


def list_images(folder: Path) -> list[Path]:
    """Pictures directly in `folder`, sorted by name. Raises `FileNotFoundError` if it is no folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _decode(path: Path, flags: int) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}")
    data = np.fromfile(path, np.uint8)
    try:
        picture = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise ValueError(f"{path} is not a picture that OpenCV can read")
    return picture


def read_image(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB: grey and palette expanded, 16 bit reduced, EXIF rotation applied, alpha dropped.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it cannot be decoded.
    """
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_alpha(path: Path) -> np.ndarray:
    """An alpha matte as (H, W) float32 in [0, 1], from a grey picture of 8 or 16 bit.

    Raises `FileNotFoundError`, or `ValueError` if it cannot be decoded or has colours.
    """
    picture = _decode(path, cv2.IMREAD_UNCHANGED)
    if picture.ndim == 3:
        if (picture[..., 1:3] != picture[..., :1]).any():
            raise ValueError(f"{path} has colours: an alpha matte is a grey picture")
        picture = picture[..., 0]
    if picture.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} holds {picture.dtype}: an alpha matte has 8 or 16 bit")
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def network_size(height: int, width: int, ref_size: int = REF_SIZE) -> tuple[int, int]:
    """Height and width that the network sees for a picture, multiples of 32 (MODNet's evaluation protocol).

    Where the long side is under `ref_size` or the short side over it, the short side becomes `ref_size` and the aspect
    ratio is kept, else the size stays; both are then cut down to multiples of 32, and never under 32.
    """
    if max(height, width) < ref_size or min(height, width) > ref_size:
        if width >= height:
            height, width = ref_size, int(width / height * ref_size)
        else:
            height, width = int(height / width * ref_size), ref_size
    return max(STRIDE, height - height % STRIDE), max(STRIDE, width - width % STRIDE)


def _bins(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(size_out)
    return index * size_in // size_out, -(-(index + 1) * size_in // size_out)


def area_resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes (H, W) or (H, W, C) to `height` x `width`; float32.

    Each output pixel is the mean of the input pixels that its area touches, whole pixels: torch's
    `interpolate(mode="area")`, which the published evaluation uses and which `cv2.INTER_AREA` is not.
    """
    if picture.shape[:2] == (height, width):
        return picture.astype(np.float32)
    (top, bottom), (left, right) = _bins(picture.shape[0], height), _bins(picture.shape[1], width)
    total = cv2.integral(picture, sdepth=cv2.CV_64F)
    rows = total[bottom] - total[top]
    sums = rows[:, right] - rows[:, left]
    count = np.outer(bottom - top, right - left).reshape(height, width, *[1] * (picture.ndim - 2))
    return (sums / count).astype(np.float32)


def to_input(image: np.ndarray, ref_size: int = REF_SIZE) -> np.ndarray:
    """(H, W, 3) uint8 RGB to the network's input (1, 3, h, w) float32 in [-1, 1], h and w by `network_size`."""
    small = area_resize(image, *network_size(*image.shape[:2], ref_size))
    return np.ascontiguousarray(((small - 127.5) / 127.5).transpose(2, 0, 1)[None])


def to_alpha(matte: np.ndarray, height: int, width: int) -> np.ndarray:
    """The network's matte (1, 1, h, w) to an alpha (height, width) float32 in [0, 1]."""
    return np.clip(area_resize(np.ascontiguousarray(matte[0, 0], np.float32), height, width), 0.0, 1.0)
