"""Read frames from a webcam. No torch here."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from fractions import Fraction

import cv2

from src.media.video_item import Frame, VideoInfo

FPS = 25
TIME_BASE = Fraction(1, 1000)


class WebcamReader:
    """The frames of webcam `number` until `stop`, stamped with the time at which they came.

    The camera keeps no more than one frame: where the network is slower, frames fall out and the video stays in time.
    Raises `ValueError` if there is no such camera.
    """

    live = True

    def __init__(self, number: int) -> None:
        # FFmpeg, which reads this when it is first used, and OpenCV would add lines of their own to ours.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(number)
        good, frame = self._capture.read()
        if not good:
            raise ValueError(f"webcam {number} is not there, or gives no picture")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.path, self.problems, self.remarks, self._going = f"webcam{number}", [], [], True
        height, width = frame.shape[:2]
        rate = Fraction(self._capture.get(cv2.CAP_PROP_FPS) or FPS).limit_denominator(1001)
        self.info = VideoInfo(width, height, TIME_BASE, rate, None)

    def __iter__(self) -> Iterator[Frame]:
        start, last = time.monotonic(), -1
        while self._going:
            good, frame = self._capture.read()
            if not good:
                self.problems.append("the camera gives no more pictures")
                return
            last = max(last + 1, round((time.monotonic() - start) / TIME_BASE))
            yield Frame(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), last, 0, float(last * TIME_BASE))

    def stop(self) -> None:
        """Let the loop over the frames end."""
        self._going = False

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()
