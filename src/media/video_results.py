"""Name and write the files that a video becomes, whole or not at all. No torch here."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.files import moved_into_place
from src.media.backdrop import Backdrop
from src.media.compositing import VIDEO_KINDS
from src.media.video_item import Frame, Sound
from src.media.video_reader import VideoReader
from src.media.video_writer import ALPHA_ENCODINGS, Encoding, VideoWriter, opaque_encoding
from src.media.webcam import WebcamReader

TEMPORAL = ("none", "ofd")
Item = tuple[Frame, object] | Sound


class Look(NamedTuple):
    """What is written of a video."""

    save: Sequence[str]                 # of `src.media.compositing.KINDS`
    backdrop: Backdrop
    foreground: str = "fast"            # of `src.media.foreground.METHODS`
    alpha_video: str = "prores"         # how a cut-out is written, of ALPHA_ENCODINGS
    temporal: str = "none"              # of TEMPORAL


def video_kinds(save: Sequence[str] | None, alpha_video: str) -> Sequence[str]:
    """Choose what is written of a video. Raises `ValueError` if that is nothing."""
    kinds = [kind for kind in save or VIDEO_KINDS if kind != "cutout" or alpha_video != "none"]
    if not kinds:
        raise ValueError("--save cutout with --alpha-video none writes nothing: prores and vp9 keep the alpha")
    return tuple(dict.fromkeys(kinds))


def encoding_of(kind: str, look: Look) -> Encoding:
    """Return how videos of `kind` are written."""
    return ALPHA_ENCODINGS[look.alpha_video] if kind == "cutout" else opaque_encoding()


def result_paths(video: str | Path, output_dir: Path, look: Look) -> dict[str, Path]:
    """Return where each kind of result of a video goes."""
    stem = Path(video).stem
    return {kind: output_dir / f"{stem}_{kind}{encoding_of(kind, look).suffix}" for kind in look.save}


class VideoFiles:
    """The files of one video, opened when the first pictures say how large they are."""

    def __init__(self, parts: dict[str, Path], paths: dict[str, Path], reader: VideoReader | WebcamReader,
                 look: Look) -> None:
        self._parts, self._paths, self._reader, self._look = parts, paths, reader, look
        self._writers: dict[str, VideoWriter] = {}
        self._early: list[Sound] = []

    def write(self, items: Iterator[Item]) -> Iterator[Item]:
        """Return the last stage: writes each (frame, pictures by kind) and each sound, and hands the former on."""
        for item in items:
            if isinstance(item, Sound):
                self._hear(item)
                continue
            frame, pictures = item
            if not self._writers:
                self._open(pictures)
            for kind, writer in self._writers.items():
                writer.write(pictures[kind], frame.pts, frame.duration)
            yield item
        for writer in self._writers.values():
            writer.close()
            self._reader.remarks += writer.remarks

    def _hear(self, sound: Sound) -> None:
        if not self._writers:
            self._early.append(sound)
        for writer in self._writers.values():
            writer.write_sound(sound)

    def _open(self, pictures: dict[str, np.ndarray]) -> None:
        for kind, part in self._parts.items():
            height, width = pictures[kind].shape[:2]
            writer = VideoWriter(part, encoding_of(kind, self._look), self._reader.info, width=width, height=height,
                                 sound=kind != "alpha", shown=self._paths[kind])
            self._writers[kind] = writer
        for sound in self._early:
            self._hear(sound)

    def abandon(self) -> None:
        """Close the files as they are."""
        for writer in self._writers.values():
            writer.abandon()


@contextlib.contextmanager
def writing(paths: dict[str, Path], reader: VideoReader | WebcamReader, look: Look) -> Iterator[VideoFiles]:
    """Yield writers to `paths`, whose files are whole when the block ends, or not there if it raises."""
    with contextlib.ExitStack() as stack:
        parts = {kind: stack.enter_context(moved_into_place(path)) for kind, path in paths.items()}
        files = VideoFiles(parts, paths, reader, look)
        try:
            yield files
        except BaseException:
            files.abandon()
            raise
