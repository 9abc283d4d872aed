"""The files that a video becomes: which, how encoded, whole or not at all. No torch here."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.backdrop import Backdrop
from src.files import moved_into_place
from src.video_reader import Frame, Sound, VideoReader
from src.video_writer import ALPHA_ENCODINGS, Encoding, VideoWriter, opaque_encoding
from src.webcam import WebcamReader

TEMPORAL = ("none", "ofd")
Item = tuple[Frame, object] | Sound


class Look(NamedTuple):
    """What is written of a video."""

    save: Sequence[str]                 # of `src.compositing.KINDS`
    backdrop: Backdrop
    foreground: str = "fast"            # of `src.foreground.METHODS`
    alpha_video: str = "prores"         # how a cut-out is written, of ALPHA_ENCODINGS
    temporal: str = "none"              # of TEMPORAL


def encoding_of(kind: str, look: Look) -> Encoding:
    """How videos of `kind` are written."""
    return ALPHA_ENCODINGS[look.alpha_video] if kind == "cutout" else opaque_encoding()


def result_paths(reader: VideoReader | WebcamReader, output_dir: Path, look: Look) -> dict[str, Path]:
    """Where each kind goes."""
    stem = Path(reader.path).stem
    return {kind: output_dir / f"{stem}_{kind}{encoding_of(kind, look).suffix}" for kind in look.save}


@contextlib.contextmanager
def writing(paths: dict[str, Path], reader: VideoReader | WebcamReader,
            look: Look) -> Iterator[Callable[[Iterator[Item]], Iterator[Item]]]:
    """A stage that writes what comes to `paths`, by kind; the files are there, whole, at the end, or none is."""
    writers: dict[str, VideoWriter] = {}
    early: list[Sound] = []
    with contextlib.ExitStack() as stack:
        parts = {kind: stack.enter_context(moved_into_place(path)) for kind, path in paths.items()}

        def hear(sound: Sound) -> None:
            if not writers:
                early.append(sound)
            for writer in writers.values():
                writer.write_sound(sound)

        def open_writers(pictures: dict[str, np.ndarray]) -> None:
            for kind, part in parts.items():
                height, width = pictures[kind].shape[:2]
                writers[kind] = VideoWriter(part, encoding_of(kind, look), reader.info, width=width, height=height,
                                            sound=kind != "alpha", shown=paths[kind])
                if writers[kind].sound_left_out:
                    reader.remarks.append(f"{paths[kind]}: sound left out, {writers[kind].sound_left_out}")
            for sound in early:
                hear(sound)

        def write(items: Iterator[Item]) -> Iterator[Item]:
            for item in items:
                if isinstance(item, Sound):
                    hear(item)
                    continue
                frame, pictures = item
                if not writers:
                    open_writers(pictures)
                for kind, writer in writers.items():
                    writer.write(pictures[kind], frame.pts, frame.duration)
                yield item
            for writer in writers.values():
                writer.close()

        try:
            yield write
        except BaseException:
            for writer in writers.values():
                writer.abandon()
            raise
