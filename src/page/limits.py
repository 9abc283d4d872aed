"""What a visitor of the page may send, and the sentence that he reads otherwise."""
from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from src.media.picture_decoder import TooManyPixelsError
from src.media.video_reader import VideoReader
from src.page.files import keep_used
from src.script import NetworkError, one_line

UNEXPECTED_LENGTH = 1.05
# Of an absolute path, but not of a URL.
FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\s]+/)+(?=[^/\s])")
# What is the fault of a file, a choice or the network, not of the page.
USER_ERRORS = (ValueError, OSError, MemoryError, NetworkError)


class Limits(NamedTuple):
    """The most that the page takes."""

    upload_mb: int = 200
    megapixels: int = 50
    seconds: int = 120


def clock(seconds: float) -> str:
    """Format seconds as `2:05` or `2:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def frame_limit(reader: VideoReader, limits: Limits) -> int:
    """Return how many frames of a video are taken at most; more than its header promises are a mistake of the header.

    Raises `ValueError` for a video that is too long, or whose frames are too large.
    """
    info, name = reader.info, Path(reader.path).name
    if info.width * info.height > limits.megapixels * 1e6:
        raise ValueError(f"{name} has frames of {info.width}x{info.height}, this page takes {limits.megapixels} megapixels")
    seconds = float(info.count / info.rate) if info.count else 0
    if seconds > limits.seconds:
        raise ValueError(f"{name} lasts {clock(seconds)}, this page takes videos of up to {clock(limits.seconds)}: cut it, "
                         "or run inference_openvino.py on the file, which takes any length")
    return round(limits.seconds * float(info.rate) * UNEXPECTED_LENGTH)


def told(work: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what a handler says to a user (`USER_ERRORS`) into a message for its visitor, without the server's paths; the
    files among its values count as used."""
    @functools.wraps(work)
    def handler(*values: Any) -> Any:
        try:
            keep_used(values)
            return work(*values)
        except USER_ERRORS as error:
            raise said(error, values) from None
    return handler


def said(error: Exception, values: tuple) -> gr.Error:
    """Make the message for a visitor; of paths, those of the handler's `values` and all others, only the names."""
    text = one_line(error) or "not enough memory for this"
    if isinstance(error, TooManyPixelsError):
        text = (f"{error.path} is too large for this page: {error.claim} is over {Image.MAX_IMAGE_PIXELS / 1e6:.0f} "
                "megapixels; inference_openvino.py takes larger ones")
    return gr.Error(without_folders(text, values), duration=None, title="That did not work", print_exception=False)


def without_folders(text: str, paths: Iterable[object] = ()) -> str:
    """Leave only the names of the files in a text, of `paths` and of all other absolute paths."""
    for path in paths:
        if isinstance(path, str) and "/" in path:
            text = text.replace(path, Path(path).name)
    return FOLDERS.sub("", text)


def noted(line: str, notes: Iterable[str], paths: Iterable[object] = ()) -> str:
    """Add notes, once each, to a line (Markdown) for a visitor, without the server's paths."""
    return "  \n".join([line, *(f"Note: {without_folders(text, paths)}" for text in dict.fromkeys(notes))])
