"""Convert the colours that a picture's ICC profile means to those of sRGB, by Little CMS. No torch here."""
from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# The modes of pictures by the colour space that a profile describes.
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
# Modes of a pixel without its alpha; those of grey may come with a profile of RGB.
GREY = ("1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N", "I")
_SAME = 1


def base_mode(mode: str) -> str:
    """Return `L`, `RGB`, `CMYK` or `LAB`: what the samples of a picture of `mode` mean, alpha and palette apart."""
    return "L" if mode in GREY else mode if mode in ("CMYK", "LAB") else "RGB"


@functools.lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, for files to be written."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _probe(mode: str) -> Image.Image:
    """Make a picture of colours all over `mode` (L or RGB)."""
    levels = np.arange(0, 256, 17 if mode == "RGB" else 1, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))


@functools.lru_cache(maxsize=32)
def to_srgb(profile: bytes | None, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode (`L`, `RGB`, `CMYK`, `LAB`) that a picture of base mode `mode` is to be brought to, and what makes
    sRGB of it: `None` where its numbers mean sRGB already, within one level.

    Raises `ValueError` for a profile that is broken, or of other colours than the picture.
    """
    if profile is None and mode != "LAB":
        return mode, None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        space = source.profile.xcolor_space.strip() if profile else "Lab"
        takes = SPACES.get(space)
        if takes != mode and not (mode == "L" and takes == "RGB"):
            raise ValueError(f"it is of {space} colours, but the picture is {mode}")
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), takes, "RGB")
        if takes in ("L", "RGB"):
            probe = _probe(takes)
            off = np.asarray(ImageCms.applyTransform(probe, transform), int) - np.asarray(probe.convert("RGB"), int)
            transform = None if np.abs(off).max() <= _SAME else transform
    except (ImageCms.PyCMSError, OSError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split()) or "it cannot be read") from None
    return takes, transform
