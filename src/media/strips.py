"""Work on a few rows of a picture at a time, so that a huge one needs no second copy of itself. No torch here."""
from __future__ import annotations

from collections.abc import Iterator

STRIP_PIXELS = 2 ** 20


def strips(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a picture, about `STRIP_PIXELS` pixels at a time; most frames of videos are one or two strips."""
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))
