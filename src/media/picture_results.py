"""Name and write the files that a picture becomes, and check them beforehand. No torch here."""
from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.media.backdrop import Backdrop
from src.media.compositing import STILL_KINDS, longest_side, rendered
from src.media.picture_reader import Picture
from src.media.picture_writer import PNG_COMPRESSION, QUALITY, check_side, write_picture

FILE_FORMATS = ("png", "jpg", "webp")
# A matte stays exact and of one plane; JPEG has no alpha.
PNG_ONLY = {"jpg": ("alpha", "cutout"), "webp": ("alpha",)}


class PictureLook(NamedTuple):
    """What is written of a picture."""

    save: Sequence[str] = STILL_KINDS   # of `src.media.compositing.KINDS`
    backdrop: Backdrop = lambda image, alpha, time: (255, 255, 255)
    foreground: str = "fast"            # of `src.media.foreground.METHODS`
    file_format: str = "png"            # of FILE_FORMATS, for what such a file can hold, else PNG
    quality: int = QUALITY              # of JPEG and WebP
    png_compression: int = PNG_COMPRESSION  # 0 to 9


def result_paths(stem: str, folder: Path, look: PictureLook) -> dict[str, Path]:
    """Return where each kind of result goes."""
    return {kind: folder / f"{stem}_{kind}.{'png' if kind in PNG_ONLY.get(look.file_format, ()) else look.file_format}"
            for kind in look.save}


def save_results(picture: Picture, alpha: np.ndarray, paths: dict[str, Path], look: PictureLook) -> list[Path]:
    """Write the results of a picture and its matte `alpha` (H, W) float32 in [0, 1] to `paths`, one for each kind; return
    these. The picture's own alpha stays: see `rendered`. Raises what `write_picture` raises; for a name that the file system
    does not take, `OSError`, and a side that the format does not hold, nothing is written."""
    for kind, path in paths.items():
        check_side(path, longest_side(kind, *alpha.shape))
        # In a folder that is not there no name is too long.
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
    for kind, result in rendered(picture.image, alpha, list(paths), backdrop=look.backdrop, foreground=look.foreground,
                                 opacity=picture.opacity):
        # Of the composite the sheet is made too.
        write_picture(paths[kind], result, quality=look.quality, png_compression=look.png_compression, dpi=picture.dpi,
                      done_with=kind != "composite" or "sheet" not in paths)
    return list(paths.values())
