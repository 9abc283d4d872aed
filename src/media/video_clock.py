"""The time stamps of a video file as one clock: they begin near 0 and do not jump. No torch here."""
from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from src.media.pyav import import_av

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer

# Formats of broadcasts and discs, whose clock begins anywhere and begins anew where files were joined.
ARBITRARY = {"mpegts", "mpeg"}
# Seconds: where a stream's next packet lies so far before the end of its last one, another recording begins; so with an
# arbitrary clock that far before it or after, by FFmpeg's own program (fftools/ffmpeg_demux.c, dts_delta_threshold).
BACK, ARBITRARY_BACK, ARBITRARY_AHEAD = Fraction(1, 2), Fraction(1, 10), Fraction(10)


class Clock:
    """Shifts the packets of a file, all of its streams alike: `set` each as it comes.

    An arbitrary clock begins at 0, and one whose pictures would be before it: `pictures` is the time stamp, in any unit,
    at which they begin, if that is known. Where a stream jumps, all go on where they were, and `jumped` says so.
    """

    def __init__(self, container: InputContainer, pictures: int | None) -> None:
        self._arbitrary = container.format.name in ARBITRARY
        self._back = ARBITRARY_BACK if self._arbitrary else BACK
        start = Fraction(container.start_time or 0, import_av().time_base)
        # Seconds that are added to what the file says from its beginning.
        self.offset = -start if self._arbitrary or start < 0 and (pictures or 0) < 0 else Fraction(0)
        self.jumped = False
        self._shift, self._ends = self.offset, {}

    def set(self, packet: Packet) -> None:
        """Shift a packet's time stamps in place."""
        base = packet.time_base
        if packet.dts is not None:
            now, last = packet.dts * base + self._shift, self._ends.get(packet.stream_index)
            there = max(self._ends.values(), default=now)
            if last is not None and (now < last - self._back or self._arbitrary and now > there + ARBITRARY_AHEAD):
                self._shift, now, self.jumped = self._shift + there - now, there, True
            self._ends[packet.stream_index] = now + (packet.duration or 0) * base
        move = round(self._shift / base) if self._shift else 0
        if move:
            packet.pts, packet.dts = (None if stamp is None else stamp + move for stamp in (packet.pts, packet.dts))
