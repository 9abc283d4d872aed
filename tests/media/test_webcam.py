from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("av")

from src.media.backdrop import parse_backdrop
from src.media.video_item import Frame
from src.media.video_reader import VideoReader
from src.media.video_results import Look
from src.media.webcam import WebcamReader
from src.runtime.video import matte_video
from tests.runtime.test_video import constant


class Camera:
    """A stand-in for `cv2.VideoCapture` that gives grey pictures, and Ctrl-C after `presses` of them."""

    presses = 6

    def __init__(self, number: int) -> None:
        self.count = 0

    def read(self) -> tuple[bool, np.ndarray]:
        self.count += 1
        if self.count == self.presses:
            os.kill(os.getpid(), signal.SIGINT)
        return self.count < 200, np.full((64, 96, 3), (0, 0, 200), np.uint8)

    def get(self, what: int) -> float:
        return 30.0

    def set(self, what: int, value: float) -> None:
        pass

    def release(self) -> None:
        pass


def test_ctrl_c_ends_a_webcam_and_its_files_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    before = signal.getsignal(signal.SIGINT)
    reader = WebcamReader(0)
    done = matte_video(reader, constant(tmp_path, 1.0), Look(["composite"], parse_backdrop("0,0,0")), output_dir=tmp_path)
    reader.close()
    assert done.paths == [tmp_path / "webcam0_composite.mp4"] and signal.getsignal(signal.SIGINT) is before
    frames = [item for item in VideoReader(done.paths[0]) if isinstance(item, Frame)]
    assert 4 <= len(frames) == done.frames < 200
    assert np.abs(frames[-1].image[30, 40].astype(int) - (200, 0, 0)).max() <= 4
    stamps = [frame.pts for frame in frames]
    assert stamps == sorted(set(stamps))


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="webcam 97 is not there"):
        WebcamReader(97)
