"""Put something behind the person: a colour, a picture, a video, or the blurred original. No torch here."""
from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import numpy as np

from src.console import note, printable
from src.media.foreground import Colour
from src.media.picture_formats import HEIF_SUFFIXES, image_suffixes
from src.media.picture_reader import WHITE, read_image
from src.media.video_item import Frame
from src.media.video_reader import VIDEO_SUFFIXES, VideoReader

# A picture (H, W, 3) uint8 RGB, its alpha (H, W) in [0, 1] and the second of a video in which it is shown, to what stands
# behind: (H, W, 3) uint8 RGB or one colour.
Backdrop = Callable[[np.ndarray, np.ndarray, float], np.ndarray | Colour]
BLUR_SHRINK = 8
# Of the short side: the standard deviation of the blur.
BLUR_SHARE = 1 / 25
_SMALL = 1e-3


def parse_colour(text: str) -> Colour:
    """Parse `"R,G,B"` to three whole numbers. Raises `ValueError` unless each is in 0 ... 255."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        raise ValueError(f"background is {text!r}, allowed is R,G,B, each a whole number from 0 to 255, the word blur, "
                         "or the path of a picture or video")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


def covering(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the middle of (H, W, 3) uint8, aspect ratio kept, so large that it covers `height` x `width`."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    h, w = (max(least, round(side * scale)) for least, side in zip((height, width), picture.shape[:2], strict=True))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    top, left = (h - height) // 2, (w - width) // 2
    return np.ascontiguousarray(cv2.resize(picture, (w, h), interpolation=way)[top:top + height, left:left + width])


def blurred(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the blurred background of (H, W, 3) uint8 RGB, without the person: (H, W, 3) uint8.

    Each pixel counts by 1 - alpha, and a few next to the person do not count, so that the blur has no glow of the person's
    colours. Behind the person, where nothing is known, stand the nearest colours, or the mean.
    """
    height, width = alpha.shape
    size = max(1, width // BLUR_SHRINK), max(1, height // BLUR_SHRINK)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = cv2.erode(1 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    sigma = max(0.5, min(size) * BLUR_SHARE)
    behind = np.float32([cv2.mean(small, np.uint8(seen > 0.5))[:3]])
    # From far to near: where a narrow blur knows nothing, the wider one before it does.
    for factor in (8, 3, 1):
        colours, weight = (cv2.GaussianBlur(x, (0, 0), factor * sigma) for x in (small * seen[..., None], seen))
        behind = (colours + _SMALL * behind) / (weight + _SMALL)[..., None]
    return cv2.resize(np.rint(np.clip(behind, 0, 255)).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)


class _Still:
    def __init__(self, picture: np.ndarray) -> None:
        self._picture = self._fitted = picture

    def __call__(self, image: np.ndarray, alpha: np.ndarray, time: float) -> np.ndarray:
        fitted = self._fitted  # another thread may put one of another size there
        if fitted.shape != image.shape:
            self._fitted = fitted = covering(self._picture, *image.shape[:2])
        return fitted


def _endless(path: Path) -> Generator[Frame, None, None]:
    """Return the frames of a video, over and over, their times ever rising."""
    start = 0.0
    while True:
        with contextlib.closing(VideoReader(path, sound=False)) as reader:
            for item in reader:
                yield item._replace(time=start + item.time)
            for problem in reader.problems:
                note(f"{printable(path)}: the background is read in part: {problem}")
            start += item.time + float(1 / reader.info.rate)


class _Moving:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()
        self._one_at_a_time = threading.Lock()

    def _begin(self) -> None:
        self._frames = _endless(self._path)
        self._now, self._next = next(self._frames), next(self._frames)
        self._fitted: np.ndarray | None = None

    def __call__(self, image: np.ndarray, alpha: np.ndarray, time: float) -> np.ndarray:
        with self._one_at_a_time:
            return self._at(time, image)

    def _at(self, time: float, image: np.ndarray) -> np.ndarray:
        if time < self._now.time:  # of the next video, before which it begins again
            self._frames.close()
            self._begin()
        while self._next.time <= time:
            self._now, self._next, self._fitted = self._next, next(self._frames), None
        if self._fitted is None or self._fitted.shape != image.shape:
            self._fitted = covering(self._now.over(WHITE), *image.shape[:2])
        return self._fitted


def parse_backdrop(text: str) -> Backdrop:
    """Parse `R,G,B`, `blur`, or the path of a picture or of a video (shown from its beginning, over and over).

    Raises `ValueError` or `FileNotFoundError` with what is allowed, or with the file that cannot be read.
    """
    if text == "blur":
        return lambda image, alpha, time: blurred(image, alpha)
    suffix = Path(text).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _Moving(Path(text))
    if suffix in image_suffixes() or suffix in HEIF_SUFFIXES or Path(text).is_file():
        return _Still(read_image(Path(text), ground=WHITE))
    colour = parse_colour(text)
    return lambda image, alpha, time: colour
