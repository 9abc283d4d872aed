"""Read frames and sound of a video file, in the order in which they lie there. No torch here."""
from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from src.console import no_file
from src.media.frame_decoder import FrameDecoder, alpha_decoder
from src.media.pyav import BT601, BT709, MATRICES, import_av, open_file, reported
from src.media.video_clock import Clock
from src.media.video_item import Frame, Sound, VideoInfo

if TYPE_CHECKING:
    from av import CodecContext, Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob",
                  ".wmv", ".flv", ".3gp", ".ogv", ".gif")
HD_WIDTH, HD_HEIGHT = 1280, 576
# A video whose last frame ends this much before the length in its header is called incomplete.
MISSING_SECONDS, MISSING_FRAMES = 0.25, 3
# What a video may hold beside its pictures and sound.
OTHERS = {"video": "further videos", "subtitle": "subtitles", "data": "data tracks", "attachment": "attachments"}


def fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fit (H, W) or (H, W, 3) uint8 into the middle of `height` x `width`, aspect ratio kept, black round it."""
    scale = min(height / image.shape[0], width / image.shape[1])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    out = np.zeros((height, width, *image.shape[2:]), np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    out[top:top + h, left:left + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return out


def is_cover(stream: Stream) -> bool:
    """Return whether a stream is the picture of a cover."""
    return bool(stream.disposition & import_av().stream.Disposition.attached_pic)


def left_out(container: InputContainer, taken: VideoStream) -> list[str]:
    """Name the kinds of streams in a file that are neither the video nor sound; chapters are no stream of their own."""
    others = [stream for stream in container.streams if stream is not taken and stream.type != "audio"
              and not (stream.name == "bin_data" and container.chapters())]
    return list(dict.fromkeys("pictures of the cover" if is_cover(stream) else OTHERS.get(stream.type, stream.type)
                              for stream in others))


class VideoReader:
    """The frames and sound packets of a video file: `for item in VideoReader(path)`; `info` says what it is like.

    Frames have the size of the first one: of another size, later ones are fitted into it, and `remarks` says so. What
    could not be read is in `problems` at the end. Raises `FileNotFoundError`, or `ValueError` without a readable frame.
    """

    live = False

    def __init__(self, path: str | Path, *, sound: bool = True) -> None:
        self.path, self.problems, self.remarks = str(path), [], []
        if not Path(path).is_file():
            raise no_file("video", path)
        if not Path(path).stat().st_size:
            raise ValueError(f"{path} is not a video that can be read: the file is empty")
        with reported(path, "is not a video that can be read"):
            self._container: InputContainer = open_file(path)
        # A picture of the cover counts as a video, but not as the best.
        self._stream = self._container.streams.best("video")
        if self._stream is None or is_cover(self._stream):
            raise ValueError(f"{path} is not a video that can be read: it has no pictures"
                             f"{'' if self._stream is None else ' but that of its cover'}")
        self._stream.thread_type = "AUTO"
        self._clock = Clock(self._container, self._stream.start_time)
        self._sounds = tuple(self._container.streams.audio) if sound else ()
        if sound and (kinds := left_out(self._container, self._stream)):
            self.remarks.append(f"{self.path}: {' and '.join(kinds)} are left out")
        self._decoder = FrameDecoder(self._matrix)
        self._with_alpha = self._alpha_context()
        self._items, self._head, self._frames, self._bad, self._stopped = self._read(), (), 0, 0, False
        self._pts = self._first = self._size = None
        self._resized = False
        self._sound_end = Fraction(0)
        self._head = list(self._up_to_first_frame())

    def _alpha_context(self) -> CodecContext | None:
        """Make a decoder of its own where FFmpeg's would leave the alpha out. It does not know how the file is turned."""
        name, av = alpha_decoder(self._stream), import_av()
        try:
            context = name and av.CodecContext.create(name, "r")
        except ValueError:
            self.remarks.append(f"{self.path}: its alpha is left out: this FFmpeg has no {name}")
            return None
        if context:
            with reported(self.path, "is not a video that can be read"), open_file(self.path) as again:
                self._decoder.show_as(next(again.decode(again.streams.best("video"))))
        return context or None

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
        pixel_shape = None if not shape or shape == 1 else 1 / shape if turned else shape
        matrix, primaries, transfer = self._matrix, context.color_primaries, context.color_trc
        if self._decoder.hdr:
            matrix = primaries = transfer = BT709
            self.remarks.append(f"{self.path}: it is HDR ({self._decoder.hdr}); results are SDR (BT.709), tone-mapped")
        return VideoInfo(width, height, stream.time_base, rate,
                         stream.frames or (round(seconds * rate) if seconds else None), matrix, primaries, transfer,
                         pixel_shape, self._sounds, dict(self._container.metadata), self._container.chapters())

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
            for packet in self._container.demux(self._stream, *self._sounds):
                self._clock.set(packet)
                yield packet
        except av.FFmpegError as error:
            self.problems.append(f"reading stopped ({error.strerror})")

    def _read(self) -> Iterator[Frame | Sound]:
        av = import_av()
        for packet in self._packets():
            if packet.stream is not self._stream:
                if packet.dts is not None:
                    shown = packet.dts if packet.pts is None else packet.pts
                    end = (shown + (packet.duration or 0)) * packet.time_base
                    self._sound_end = max(self._sound_end, end)
                    yield Sound(packet, packet.stream)
                continue
            try:
                frames = self._with_alpha.decode(packet if packet.size else None) if self._with_alpha else packet.decode()
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
        (image, opacity), base = self._decoder.decode(frame), self._stream.time_base
        self._size = self._size or image.shape
        if not self._frames and frame.interlaced_frame:
            self.remarks.append(f"{self.path}: it is interlaced; the two fields of a frame stay one picture")
        if image.shape != self._size:
            if not self._resized:
                self.remarks.append(f"{self.path}: its size changes from {self._size[1]}x{self._size[0]} to "
                                    f"{image.shape[1]}x{image.shape[0]}; such frames are fitted into the first size")
            self._resized = True
            image, opacity = fitted(image, *self._size[:2]), None if opacity is None else fitted(opacity, *self._size[:2])
        step = max(1, round(1 / (base * (self._stream.average_rate or 25))))
        if self._pts is None:
            self._first = self._pts = frame.pts or 0
        else:
            self._pts = max(self._pts + step if frame.pts is None else frame.pts, self._pts + 1)
        self._frames, self._end = self._frames + 1, self._pts + (frame.duration or step)
        return Frame(image, self._pts, frame.duration or 0, float((self._pts - self._first) * base), opacity)

    def _check_end(self) -> None:
        if self._bad:
            self.problems.append(f"{self._bad} packets could not be decoded")
        # In Matroska, lengths count from the beginning of the file, not of its pictures.
        start = 0 if "matroska" in self._container.format.name else self._stream.start_time or 0
        begin = start * self._stream.time_base + self._clock.offset
        found, (length, alone) = self._end * self._stream.time_base, self._length()
        found = (found if alone or not self._sounds else max(found, self._sound_end)) - begin
        # Where recordings were joined, no length in the file is that of all of them.
        late = length and not self._clock.jumped and length - found > max(MISSING_SECONDS, MISSING_FRAMES / self.info.rate)
        if late and (not self._stream.frames or self._frames < self._stream.frames):
            self.problems.append(f"it ends after {float(found):.2f} of {float(length):.2f} s")

    def _length(self) -> tuple[Fraction | None, bool]:
        """Return the seconds that the file promises, and whether of the pictures alone; else sound may outlast them."""
        stream, whole = self._stream, self._container.duration and Fraction(self._container.duration, import_av().time_base)
        tag = next((value for key, value in stream.metadata.items() if key.upper() == "DURATION"), "")
        with contextlib.suppress(ValueError):
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds.rstrip("0").rstrip(".") or 0), True
        own = stream.duration and stream.duration * stream.time_base
        # Where a stream does not say how long it is, FFmpeg says what the file is.
        return own or whole, bool(own and stream.frames) or bool(own and whole and own + MISSING_SECONDS < whole)

    def close(self) -> None:
        """Close the file."""
        self._container.close()
