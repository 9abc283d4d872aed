"""Write a video file that is as long and as fast as its input, with its sound. No torch here."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.media.pyav import LIMITED, from_rgb, import_av, reported, scaler
from src.media.video_reader import Sound, VideoInfo


class Encoding(NamedTuple):
    """A codec, its pixels and its settings."""

    codec: str
    pixel_format: str
    suffix: str
    options: dict[str, str]


H264 = Encoding("libx264", "yuv420p", ".mp4", {"preset": "veryfast", "crf": "18"})
# For an FFmpeg without libx264.
MPEG4 = Encoding("mpeg4", "yuv420p", ".mp4", {"flags": "+qscale", "global_quality": "354"})
ALPHA_ENCODINGS = {
    "prores": Encoding("prores_ks", "yuva444p10le", ".mov", {"profile": "4444", "vendor": "apl0"}),
    "vp9": Encoding("libvpx-vp9", "yuva420p", ".webm", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6",
                                                        "auto-alt-ref": "0", "row-mt": "1"})}


def opaque_encoding() -> Encoding:
    """Return H.264, or MPEG-4 where this FFmpeg has no libx264."""
    av = import_av()
    try:
        av.Codec(H264.codec, "w")
    except ValueError:
        return MPEG4
    return H264


class VideoWriter:
    """Writes pictures with their time stamps, and sound packets as they are: `write`, `write_sound`, then `close`.

    `info` is that of the input: its time base, pixel shape and colour matrix stay. Halved colours want even sides: of an
    odd one the last row or column is left out. Raises `ValueError` or `OSError` naming `path`, or `shown` in its place.
    """

    def __init__(self, path: Path, encoding: Encoding, info: VideoInfo, *, width: int, height: int, sound: bool = False,
                 shown: Path | None = None) -> None:
        self._path, self._encoding, self._matrix, self._scaler = shown or path, encoding, info.matrix, scaler()
        self._sound = None
        halved = "420" in encoding.pixel_format
        self._height, self._width = (side - side % 2 if halved else side for side in (height, width))
        if not (self._height and self._width):
            raise ValueError(f"{self._path} cannot be written: {width}x{height} is too small for {encoding.codec}")
        with reported(self._path, "cannot be written"):
            self._container = import_av().open(str(path), "w")
            self._stream = self._container.add_stream(encoding.codec, rate=Fraction(info.rate).limit_denominator(65535),
                                                      options=encoding.options)
            self._describe(info)
            self.sound_left_out = self._add_sound(info) if sound else None

    def _describe(self, info: VideoInfo) -> None:
        stream, context = self._stream, self._stream.codec_context
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, self._encoding.pixel_format
        stream.time_base = context.time_base = info.time_base
        context.colorspace, context.color_range = info.matrix, LIMITED
        context.color_primaries, context.color_trc = info.primaries, info.transfer
        if info.pixel_shape:
            context.sample_aspect_ratio = info.pixel_shape

    def _add_sound(self, info: VideoInfo) -> str | None:
        """Add the input's sound; why that is not possible, if so."""
        if info.sound is None:
            return None
        name = info.sound.codec_context.name
        try:
            self._sound = self._container.add_stream_from_template(info.sound)
        except ValueError:
            return f"{self._path.suffix} takes no {name}"
        return None

    def write(self, picture: np.ndarray, pts: int, duration: int = 0) -> None:
        """Append (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8, shown at `pts` of the input's time base."""
        frame = from_rgb(picture[:self._height, :self._width], self._encoding.pixel_format, self._matrix, self._scaler)
        frame.pts, frame.time_base, frame.duration = pts, self._stream.codec_context.time_base, duration
        with reported(self._path, "cannot be written"):
            self._container.mux(self._stream.encode(frame))

    def write_sound(self, sound: Sound) -> None:
        """Append a packet of the input's sound, unless there is none in this file."""
        if self._sound is not None:
            packet = sound.packet
            packet.stream = self._sound
            with reported(self._path, "cannot be written"):
                self._container.mux_one(packet)

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        with reported(self._path, "cannot be written"):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        try:
            self._container.close()
        except (import_av().FFmpegError, OSError):
            pass
