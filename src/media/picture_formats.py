"""Tell which files are pictures: by the name in a folder, by the content once opened. No torch here."""
from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from src.console import note, printable

# Formats whose decoder is Pillow's own; others (EPS, WMF, ...) would start a foreign program or hold no picture of 8 bits.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO", "CUR", "ICNS", "PCX",
           "DCX", "SGI", "QOI", "PSD", "DDS", "SUN", "MSP", "XBM", "XPM")
# Without a mark of its own at the beginning: only where the name says so.
UNMARKED = ("TGA",)
# Pictures of floating-point numbers, whose white nobody knows.
FLOATS = {".pfm"}
HEIF_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
HEIF_NEEDS = "needs pillow-heif: pip install pillow-heif"
# Of Windows and macOS, beside what begins with a dot.
HIDDEN_NAMES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
_MOST_NAMED = 5


@functools.cache
def reads_heif() -> bool:
    """Return whether pillow-heif is installed; it is then registered with Pillow."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    importlib.import_module("pillow_heif").register_heif_opener()
    return True


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the endings of pictures that Pillow reads here, in lower case; `.heic` and its kin too if pillow-heif is."""
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS + UNMARKED}
    return frozenset(known - FLOATS | set(HEIF_SUFFIXES if reads_heif() else ()))


def formats_for(path: Path) -> tuple[str, ...]:
    """Return the formats that the file at `path` may have, by Pillow's names."""
    named = Image.registered_extensions().get(path.suffix.lower())  # which also loads what Pillow has
    wanted = (*FORMATS, *(("HEIF",) if reads_heif() else ()), *(name for name in UNMARKED if name == named))
    return tuple(name for name in wanted if name in Image.OPEN)


def is_animated(path: Path) -> bool:
    """Return whether a picture holds several frames; `False` if it cannot be read."""
    if not path.is_file():  # to open a FIFO would wait for ever
        return False
    try:
        with Image.open(path, formats=formats_for(path)) as file:
            return getattr(file, "is_animated", False)
    except Exception:  # on a damaged file Pillow's decoders raise nearly anything
        return False


def pixels_of(path: Path) -> int:
    """Return how many pixels a picture has by its header; 0 if that cannot be read."""
    if not path.is_file():  # to open a FIFO would wait for ever
        return 0
    try:
        with Image.open(path, formats=formats_for(path)) as file:
            return file.width * file.height
    except Exception:  # on a damaged file Pillow's decoders raise nearly anything
        return 0


def is_hidden(path: Path) -> bool:
    """Return whether a file is one that systems hide: `.x`, `._x`, `Thumbs.db`, `desktop.ini`."""
    return path.name.startswith(".") or path.name.lower() in HIDDEN_NAMES


def why_no_picture(path: Path) -> str | None:
    """Return why a file that is not hidden is not taken for a picture, by its name and kind; `None` if it is."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder"
    if not path.is_file():
        return "no plain file" if path.exists() else "a link to nothing"
    if suffix in HEIF_SUFFIXES and not reads_heif():
        return HEIF_NEEDS
    return None if suffix in image_suffixes() else "no picture"


def name_left_out(where: Path, reasons: dict[Path, str]) -> None:
    """Print one note that names what is left out of `where`, and why; a long list is cut short."""
    if reasons:
        named = [f"{printable(path.name)} ({why})" for path, why in reasons.items()]
        more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
        note(f"{printable(where)}: left out {', '.join(named[:_MOST_NAMED] + more)}")


def pictures_among(paths: Iterable[Path], where: Path, *, also: frozenset[str] = frozenset()) -> list[Path]:
    """Return the pictures of `paths`, and files that end like one of `also`, sorted; a note names what is left out of
    `where`. Hidden files are no pictures, and are not named."""
    taken, left = [], {}
    for path in sorted(paths):
        if is_hidden(path):
            continue
        why = why_no_picture(path)
        if why is None or path.suffix.lower() in also and path.is_file():
            taken.append(path)
        else:
            left[path] = why
    name_left_out(where, left)
    return taken


def list_images(folder: Path, *, also: frozenset[str] = frozenset()) -> list[Path]:
    """Return the pictures directly in `folder`, sorted by name; see `pictures_among`.

    Raises `FileNotFoundError` if it is no folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}")
    return pictures_among(folder.iterdir(), folder, also=also)
