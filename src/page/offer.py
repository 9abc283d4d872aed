"""The networks that the page offers, each loaded once, at the size that a visitor chose."""
from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from pathlib import Path

from src.runtime.matting import Matting

# What a visitor says for the size that a network says itself, in its IR.
OWN = 0
SIZES = (OWN, 256, 320, 384, 512, 640, 768, 1024)
_ONE_AT_A_TIME = threading.Lock()


def ref_size_of(size: int) -> int | None:
    """Return what `Matting` takes for a size that a visitor chose."""
    return None if size == OWN else int(size)


@functools.lru_cache(maxsize=16)
def matting_of(path: Path, size: int) -> Matting:
    """Load a network whose short side is `size`; the same for all visitors, since many threads may use a `Matting`."""
    return Matting(path, ref_size=ref_size_of(size))


@functools.lru_cache(maxsize=4)
def matting_of_frames(path: Path, size: int, frame: tuple[int, int]) -> Matting:
    """Load a network as `matting_of`, compiled for pictures of the height and width `frame` alone, which it does sooner."""
    matting = Matting(path, ref_size=ref_size_of(size))
    matting.fix_size(*frame)
    return matting


def chosen(networks: Mapping[str, Path], name: str, size: int, frame: tuple[int, int] | None = None) -> Matting:
    """Find the network of this name, for pictures of any size or of the height and width `frame` alone.

    Raises `ValueError` for a name or size that the page does not offer.
    """
    if name not in networks or size not in SIZES:
        raise ValueError(f"network {name!r} at {size} is not offered, allowed are {', '.join(networks)} at "
                         f"{', '.join(map(str, SIZES))}")
    with _ONE_AT_A_TIME:  # or two visitors would load the same
        path, size = networks[name], int(size)
        return matting_of(path, size) if frame is None else matting_of_frames(path, size, frame)
