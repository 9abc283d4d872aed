"""A video or webcam, frame by frame, to videos of its mattes and composites. No torch here."""
from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from src.compositing import render
from src.files import moved_into_place

KINDS = ("alpha", "composite")
WEBCAM_FPS = 25.0


def is_webcam(source: str) -> bool:
    """Whether `source` is the number of a webcam, and not a file of that name."""
    return source.isdecimal() and not Path(source).exists()


def open_video(source: str) -> cv2.VideoCapture:
    """The video file at `source`, or webcam 0, 1, ... Raises `FileNotFoundError` or `ValueError` naming it."""
    # FFmpeg, which reads this when it is first used, and OpenCV would add lines of their own to ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    webcam = is_webcam(source)
    if not webcam and not Path(source).is_file():
        raise FileNotFoundError(f"no video at {source}")
    capture = cv2.VideoCapture(int(source) if webcam else source)
    if not capture.isOpened():
        raise ValueError(f"{f'webcam {source}' if webcam else source} is not a video that OpenCV can read")
    return capture


def read_frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """The frames, (H, W, 3) uint8 RGB."""
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


@contextlib.contextmanager
def video_writer(path: Path, fps: float, *, width: int, height: int) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends (H, W) grey or (H, W, 3) RGB uint8 to an mp4 at `path`, which is there at the end.

    The codec wants even sides: of an odd one the last row or column is left out. Raises `ValueError`.
    """
    with moved_into_place(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
        if not writer.isOpened():
            raise ValueError(f"OpenCV cannot write {path}: {width}x{height} at {fps:g} fps")
        try:
            yield lambda picture: writer.write(
                cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR if picture.ndim == 2 else cv2.COLOR_RGB2BGR))
        finally:
            writer.release()


def matte_video(source: str, alpha_of: Callable[[np.ndarray], np.ndarray], *, output_dir: Path, save: Sequence[str],
                background: tuple[int, int, int], show: Callable[[np.ndarray], bool] | None = None) -> list[Path]:
    """Writes `<stem>_<kind>.mp4` for each of `save` (of `KINDS`), at the source's size and fps; returns the paths.

    `alpha_of` maps a frame (H, W, 3) uint8 RGB to its alpha (H, W) float32 in [0, 1]. `show` gets each composite and
    returns whether to stop; Ctrl-C ends a webcam too. Sound is not copied. Raises `FileNotFoundError` or `ValueError`
    for what cannot be read or written.
    """
    capture = open_video(source)
    frames, webcam = read_frames(capture), is_webcam(source)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{source} has no frame that can be read")
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    stem = f"webcam{source}" if webcam else Path(source).stem
    paths = [output_dir / f"{stem}_{kind}.mp4" for kind in save]
    if Path(source).resolve() in [path.resolve() for path in paths]:
        raise ValueError(f"the result would overwrite {source}: use another --output-dir")
    with contextlib.ExitStack() as stack:
        stack.callback(capture.release)
        writers = [stack.enter_context(video_writer(path, fps if fps > 0 else WEBCAM_FPS, width=first.shape[1],
                                                    height=first.shape[0])) for path in paths]
        stack.enter_context(contextlib.suppress(KeyboardInterrupt) if webcam else contextlib.nullcontext())
        total = count if count > 0 else None
        for frame in tqdm(itertools.chain([first], frames), total=total, desc=stem, unit="frame"):
            alpha = alpha_of(frame)
            for write, kind in zip(writers, save, strict=True):
                write(render(frame, alpha, kind, background=background))
            if show and show(render(frame, alpha, "composite", background=background)):
                break
    return paths
