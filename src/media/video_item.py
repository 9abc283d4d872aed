"""What a video consists of: pictures, packets of sound, and what an output needs to be like its input. No torch here."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.media.foreground import Colour, mix
from src.media.picture_reader import NEUTRAL
from src.media.pyav import BT709

if TYPE_CHECKING:
    from av import AudioStream, Packet


class Frame(NamedTuple):
    """One picture of a video."""

    image: np.ndarray       # (H, W, 3) uint8 RGB, upright
    pts: int                # when it is shown, in units of `VideoInfo.time_base`
    duration: int           # how long, in the same units; 0 if the file does not say
    time: float             # when it is shown, in seconds from the first frame
    opacity: np.ndarray | None = None   # (H, W) uint8, its own alpha; `None` if all of it is opaque

    def over(self, colour: Colour = NEUTRAL) -> np.ndarray:
        """Return the picture (H, W, 3) uint8 on a ground of one colour, which is what a network is shown."""
        return self.image if self.opacity is None else mix(self.image, colour, self.opacity)


class Sound(NamedTuple):
    """One packet of compressed sound."""

    packet: Packet
    track: AudioStream      # one of `VideoInfo.sounds`


class VideoInfo(NamedTuple):
    """What an output needs to be like its input."""

    width: int
    height: int
    time_base: Fraction                 # seconds
    rate: Fraction                      # mean frames per second
    count: int | None                   # frames that the file promises, if it does
    matrix: int = BT709                 # AVCOL_SPC_*, a key of MATRICES
    primaries: int = 2                  # AVCOL_PRI_*, 2 is unspecified
    transfer: int = 2                   # AVCOL_TRC_*, 2 is unspecified
    pixel_shape: Fraction | None = None     # width / height of a pixel if it is not square
    sounds: tuple[AudioStream, ...] = ()
    metadata: dict[str, str] | None = None  # of the file: title, creation_time, ...
    chapters: Sequence[dict] = ()
