"""One track of sound of an output video: as it is in the input, or encoded anew where the container refuses it. No torch."""
from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from src.media.pyav import DISK_ERRORS, import_av
from src.media.video_item import Sound

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import OutputContainer

# What every player of the container knows.
CODECS = {".mp4": "aac", ".mov": "aac", ".webm": "libopus"}
OPUS_RATE = 48000
# FFmpeg's own choice for so many channels, where a file does not say how they lie; of more than these, what it mixes down.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1"}
KEPT = ("language", "title", "handler_name", "creation_time")


def takes(suffix: str, stream: AudioStream) -> bool:
    """Return whether files of `suffix` hold the stream's codec: tried, since FFmpeg's tables do not know."""
    av = import_av()
    # FFmpeg writes it since 2023, but few players know it, and at the end it may refuse a layout after all.
    if suffix == ".mp4" and stream.codec_context.name.startswith("pcm_"):
        return False
    try:
        with av.open(io.BytesIO(), "w", format={".webm": "webm", ".mov": "mov"}.get(suffix, "mp4")) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


class SoundTrack:
    """A track that `container` gets of the input's `stream`: `write` its packets, then `close`.

    `remark` says if it is encoded anew, and what could not be written: sound never stops the pictures. Raises `ValueError`
    saying why if there can be no such track.
    """

    def __init__(self, container: OutputContainer, stream: AudioStream, suffix: str) -> None:
        self._container, self._template, self._lost, self._encoder = container, stream, 0, None
        name = stream.codec_context.name
        self.remark = ""
        if takes(suffix, stream):
            self._stream = container.add_stream_from_template(stream)
        else:
            self._stream = self._encoder = self._opened_encoder(CODECS[suffix], suffix, name)
            self.remark = f"sound encoded anew as {CODECS[suffix].removeprefix('lib')}, {suffix} takes no {name}"
        self._stream.metadata.update({key: value for key, value in stream.metadata.items() if key.lower() in KEPT})
        self._stream.disposition = stream.disposition

    def _opened_encoder(self, codec: str, suffix: str, name: str) -> AudioStream:
        av, given = import_av(), self._template.codec_context
        if not given.codec or not given.rate:
            raise ValueError(f"{suffix} takes no {name}")
        channels = given.layout.nb_channels
        layout, rate = LAYOUTS.get(channels, "stereo"), OPUS_RATE if codec == "libopus" else given.rate
        try:
            # Tried beforehand: a stream that was added and cannot be opened would spoil the file.
            trial = av.CodecContext.create(codec, "w")
            trial.sample_rate, trial.layout, trial.format = rate, layout, trial.codec.audio_formats[0].name
            trial.open()
        except (av.FFmpegError, ValueError):
            raise ValueError(f"{suffix} takes no {name}, and {codec} not its {given.layout.name} at {rate} Hz") from None
        encoder = self._container.add_stream(codec, rate=rate, layout=layout)
        encoder.bit_rate = 96_000 * len(encoder.layout.channels)
        return encoder

    def write(self, sound: Sound) -> None:
        """Append a packet of the input's track."""
        if self._encoder is None:
            sound.packet.stream = self._stream
            self._attempt(lambda: self._container.mux_one(sound.packet))
        else:
            self._attempt(lambda: [self._container.mux(self._encoder.encode(frame)) for frame in sound.packet.decode()])

    def close(self) -> None:
        """Append what the encoder still holds."""
        if self._encoder is not None:
            self._attempt(lambda: self._container.mux(self._encoder.encode(None)))
        if self._lost:
            self.remark = "; ".join(filter(None, (self.remark, f"{self._lost} packets of sound could not be written")))

    def _attempt(self, work: Callable[[], object]) -> None:
        av = import_av()
        try:
            work()
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in DISK_ERRORS:
                raise
            self._lost += 1
