"""Write a video file that is as long and as fast as its input, with its sound. No torch here."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.media.pyav import LIMITED, from_rgb, import_av, open_file, reported, scaler
from src.media.sound_track import SoundTrack
from src.media.video_item import Sound, VideoInfo

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame

# FFmpeg's AV_CODEC_FLAG_FRAME_DURATION: without it an encoder leaves out how long a frame is shown, so that the last one of
# a slow GIF would be as short as the mean.
FRAME_DURATION = 1 << 8
# Of the mean: a last frame that is shown longer than this is the last in the file too. Of one that another follows there, as
# a B-frame does, MP4 forgets how long it is shown.
LONG = 1.25
# Metadata that belongs to a file as it is encoded.
OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


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
    """Writes pictures with their time stamps, and packets of sound: `write`, `write_sound`, then `close`.

    `info` is that of the input: its time base, pixel shape, colours, titles and chapters stay, and with `sound` its tracks,
    encoded anew where the container refuses them. `remarks` says what did not stay. Halved colours want even sides: of an
    odd one the last row or column is left out. Raises `ValueError` or `OSError` naming `path`, or `shown` in its place.
    """

    def __init__(self, path: Path, encoding: Encoding, info: VideoInfo, *, width: int, height: int, sound: bool = False,
                 shown: Path | None = None) -> None:
        self._path, self._encoding, self._info, self._scaler = shown or path, encoding, info, scaler()
        self._sounds: dict[AudioStream, SoundTrack] = {}
        self._left_out: list[str] = []
        self._held: list[VideoFrame] = []
        halved = "420" in encoding.pixel_format
        self._height, self._width = (side - side % 2 if halved else side for side in (height, width))
        if cut := [name for name, side in (("row", height % 2), ("column", width % 2)) if halved and side]:
            self._left_out.append(f"the last {' and '.join(cut)} of {width}x{height} left out, {encoding.codec} takes even "
                                  "sides")
        if not (self._height and self._width):
            raise ValueError(f"{self._path} cannot be written: {width}x{height} is too small for {encoding.codec}")
        with reported(self._path, "cannot be written"):
            self._container = open_file(path, "w")
            self._stream = self._container.add_stream(encoding.codec, rate=Fraction(info.rate).limit_denominator(65535),
                                                      options=encoding.options)
            self._describe()
            self._add_sounds(info.sounds if sound else ())

    @property
    def remarks(self) -> list[str]:
        """What of the sides and the sound did not stay as it was; complete after `close`."""
        found = [*self._left_out, *(track.remark for track in self._sounds.values() if track.remark)]
        return [f"{self._path}: {remark}" for remark in dict.fromkeys(found)]

    def _describe(self) -> None:
        info, stream, context = self._info, self._stream, self._stream.codec_context
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, self._encoding.pixel_format
        stream.time_base = context.time_base = info.time_base
        context.colorspace, context.color_range = info.matrix, LIMITED
        context.color_primaries, context.color_trc = info.primaries, info.transfer
        context.flags |= FRAME_DURATION
        if info.pixel_shape:
            context.sample_aspect_ratio = info.pixel_shape
        self._container.metadata.update({key: value for key, value in (info.metadata or {}).items()
                                         if key.lower() not in OF_THE_FILE})
        if info.chapters:
            self._container.set_chapters(list(info.chapters))

    def _add_sounds(self, streams: Sequence[AudioStream]) -> None:
        for stream in streams:
            try:
                self._sounds[stream] = SoundTrack(self._container, stream, self._encoding.suffix)
            except ValueError as error:
                self._left_out.append(f"sound left out, {error}")

    def write(self, picture: np.ndarray, pts: int, duration: int = 0) -> None:
        """Append (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8, shown at `pts` of the input's time base."""
        frame = from_rgb(picture[:self._height, :self._width], self._encoding.pixel_format, self._info.matrix,
                         self._scaler)
        # Some encoders (ProRes) write down what the frames say, others what was said before the first.
        frame.color_primaries, frame.color_trc = self._info.primaries, self._info.transfer
        frame.colorspace, frame.color_range = self._info.matrix, LIMITED
        frame.pts, frame.time_base, frame.duration = pts, self._stream.codec_context.time_base, duration
        self._held.append(frame)
        self._encode(2)

    def _encode(self, most: int) -> None:
        """Encode the frames that are held, but for the last `most`."""
        with reported(self._path, "cannot be written"):
            while len(self._held) > most:
                self._container.mux(self._stream.encode(self._held.pop(0)))

    def write_sound(self, sound: Sound) -> None:
        """Append a packet of the input's sound, unless its track is not in this file."""
        track = self._sounds.get(sound.track)
        if track:
            with reported(self._path, "cannot be written"):
                track.write(sound)

    def close(self) -> None:
        """Write what the encoders still hold, and the end of the file."""
        last = self._held[-1] if self._held else None
        if last and last.duration * last.time_base * self._info.rate > LONG:
            for frame in self._held:
                frame.pict_type = import_av().video.frame.PictureType.P
        self._encode(0)
        with reported(self._path, "cannot be written"):
            self._container.mux(self._stream.encode(None))
            for track in self._sounds.values():
                track.close()
            self._container.close()

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        try:
            self._container.close()
        except (import_av().FFmpegError, OSError):
            pass
