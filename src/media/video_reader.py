"""Read frames and sound of a video file, in the order in which they lie there. No torch here."""
from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from src.media.pyav import BT601, BT709, MATRICES, import_av, reported, scaler, to_rgb

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame
    from av.container import InputContainer

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp")
HD_WIDTH, HD_HEIGHT = 1280, 576
# A video whose last frame ends this much before the length in its header is called incomplete.
MISSING_SECONDS, MISSING_FRAMES = 0.25, 3


class Frame(NamedTuple):
    """One picture of a video."""

    image: np.ndarray       # (H, W, 3) uint8 RGB, upright
    pts: int                # when it is shown, in units of `VideoInfo.time_base`
    duration: int           # how long, in the same units; 0 if the file does not say
    time: float             # when it is shown, in seconds from the first frame


class Sound(NamedTuple):
    """One packet of compressed sound."""

    packet: Packet


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
    sound: AudioStream | None = None


def fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fit (H, W, 3) uint8 into the middle of `height` x `width`, aspect ratio kept, black round it."""
    scale = min(height / image.shape[0], width / image.shape[1])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    out[top:top + h, left:left + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return out


class VideoReader:
    """The frames and sound packets of a video file: `for item in VideoReader(path)`; `info` says what it is like.

    Frames have the size of the first one: of another size, later ones are fitted into it, and `remarks` says so. What
    could not be read is in `problems` at the end. Raises `FileNotFoundError`, or `ValueError` without a readable frame.
    """

    live = False

    def __init__(self, path: str | Path, *, sound: bool = True) -> None:
        self.path, self.problems, self.remarks = str(path), [], []
        if not Path(path).is_file():
            raise FileNotFoundError(f"no video at {path}")
        with reported(path, "is not a video that can be read"):
            self._container: InputContainer = import_av().open(self.path)
        if not self._container.streams.video:
            raise ValueError(f"{path} is not a video that can be read: it has no pictures")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._sound = self._container.streams.best("audio") if sound else None
        self._items, self._head, self._frames, self._bad, self._stopped = self._read(), (), 0, 0, False
        self._pts = self._first = self._size = None
        # One for all frames: setting it up costs ten times what a frame does.
        self._scaler = scaler()
        self._head = list(self._up_to_first_frame())

    def _up_to_first_frame(self) -> Iterator[Frame | Sound]:
        for item in self._items:
            yield item
            if isinstance(item, Frame):
                height, width = item.image.shape[:2]
                self.info = self._describe(height, width)
                return
        raise ValueError(f"{self.path} is not a video that can be read: no frame could be decoded")

    def _describe(self, height: int, width: int) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = float(stream.duration * stream.time_base) if stream.duration else None
        shape = context.sample_aspect_ratio
        turned = (height, width) == (stream.width, stream.height) != (width, height)
        return VideoInfo(width, height, stream.time_base, rate,
                         stream.frames or (round(seconds * rate) if seconds else None), self._matrix,
                         context.color_primaries, context.color_trc,
                         None if not shape or shape == 1 else 1 / shape if turned else shape, self._sound)

    def __iter__(self) -> Iterator[Frame | Sound]:
        for item in itertools.chain(self._head, self._items):
            if self._stopped:
                return
            yield item
        self._check_end()

    def stop(self) -> None:
        """Let the loop over the items end."""
        self._stopped = True

    def _packets(self) -> Iterator[Packet]:
        av = import_av()
        try:
            yield from self._container.demux(*[s for s in (self._stream, self._sound) if s])
        except av.FFmpegError as error:
            self.problems.append(f"reading stopped ({error.strerror})")

    def _read(self) -> Iterator[Frame | Sound]:
        av = import_av()
        for packet in self._packets():
            if packet.stream is self._sound:
                if packet.dts is not None:
                    yield Sound(packet)
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._bad += 1
                continue
            for frame in frames:
                yield self._frame(frame)

    @property
    def _matrix(self) -> int:
        """The file's colour matrix; where it is silent, what players assume for its size."""
        found = self._stream.codec_context.colorspace
        hd = self._stream.width >= HD_WIDTH or self._stream.height > HD_HEIGHT
        return found if found in MATRICES else BT709 if hd else BT601

    def _frame(self, frame: VideoFrame) -> Frame:
        image, base = to_rgb(frame, self._matrix, self._scaler), self._stream.time_base
        self._size = self._size or image.shape
        if image.shape != self._size:
            if not self.remarks:
                self.remarks.append(f"{self.path}: its size changes from {self._size[1]}x{self._size[0]} to "
                                    f"{image.shape[1]}x{image.shape[0]}; such frames are fitted into the first size")
            image = fitted(image, *self._size[:2])
        step = max(1, round(1 / (base * (self._stream.average_rate or 25))))
        if self._pts is None:
            self._first = self._pts = frame.pts or 0
        else:
            self._pts = max(self._pts + step if frame.pts is None else frame.pts, self._pts + 1)
        self._frames, self._end = self._frames + 1, self._pts + (frame.duration or step)
        return Frame(image, self._pts, frame.duration or 0, float((self._pts - self._first) * base))

    def _check_end(self) -> None:
        if self._bad:
            self.problems.append(f"{self._bad} packets could not be decoded")
        promised, length = self._stream.frames, self._stream.duration
        length = length and length * self._stream.time_base
        if not length and self._container.duration:
            length = Fraction(self._container.duration, import_av().time_base)
        found = (self._end - (self._stream.start_time or 0)) * self._stream.time_base
        late = length and length - found > max(MISSING_SECONDS, MISSING_FRAMES / self.info.rate)
        if late and (not promised or self._frames < promised):
            self.problems.append(f"it ends after {float(found):.2f} of {float(length):.2f} s")

    def close(self) -> None:
        """Close the file."""
        self._container.close()
