"""Take flicker out of a video's mattes by one frame of delay. No torch here."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

CLOSE = 0.1
Item = TypeVar("Item")


def without_flicker(before: np.ndarray, now: np.ndarray, after: np.ndarray, close: float = CLOSE) -> np.ndarray:
    """Return `now` with the pixels that differ from both neighbours in time, which agree, set to the neighbours' mean.

    Mattes (H, W) float32 in [0, 1]. One-frame delay of MODNet (Ke et al., AAAI 2022, section 3.4): where
    |before - after| <= `close`, |before - now| > `close` and |after - now| > `close`.
    """
    flickers = ((np.abs(before - after) <= close) & (np.abs(before - now) > close) & (np.abs(after - now) > close))
    return np.where(flickers, (before + after) / 2, now)


def one_frame_delay(frames: Iterable[tuple[Item, np.ndarray]]) -> Iterator[tuple[Item, np.ndarray]]:
    """Apply `without_flicker` to a stream of (anything, matte), each frame given out when the next has come.

    The neighbours are the mattes as they came in. The first and the last frame stay as they are.
    """
    before = waiting = None
    for item, after in frames:
        if waiting is not None:
            held, now = waiting
            yield held, now if before is None else without_flicker(before, now, after)
            before = now
        waiting = item, after
    if waiting is not None:
        yield waiting


def flicker(mattes: Iterable[np.ndarray]) -> float:
    """Compute the mean of |now - (before + after) / 2| over the pixels and frames of a video of at least 3 mattes (H, W):
    how far a frame leaves the line between its neighbours. Needs no ground truth; even motion counts little, a jump much."""
    window: list[np.ndarray] = []
    found = []
    for matte in mattes:
        window = [*window[-2:], matte]
        if len(window) == 3:
            found.append(float(np.abs(window[1] - (window[0] + window[2]) / 2).mean()))
    if not found:
        raise ValueError("flicker needs at least 3 mattes")
    return float(np.mean(found))
