from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from src.media.backdrop import blurred, covering, parse_backdrop, parse_colour
from tests.conftest import write_video

GREY = np.full((60, 80, 3), 128, np.uint8)
NOBODY = np.zeros((60, 80), np.float32)


def test_parse_colour() -> None:
    assert parse_colour("0, 177,64") == (0, 177, 64)
    for text in ("", "1,2", "1,2,3,4", "1,2,256", "-1,2,3", "red", "1,2,x"):
        with pytest.raises(ValueError, match="allowed is R,G,B, each a whole number from 0 to 255"):
            parse_colour(text)


def test_a_picture_covers_the_frame_by_its_middle() -> None:
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, 15:25] = 200
    np.testing.assert_array_equal(covering(picture, 10, 10), picture[:, 15:25])
    assert covering(picture, 33, 17).shape == (33, 17, 3) and covering(picture, 3, 100).shape == (3, 100, 3)


def test_the_blur_holds_nothing_of_the_persons_colours() -> None:
    image = np.full((240, 320, 3), (0, 0, 255), np.uint8)
    image[60:200, 120:200] = (255, 0, 0)
    alpha = np.zeros((240, 320), np.float32)
    alpha[60:200, 120:200] = 1
    found = blurred(image, alpha)
    assert found.shape == image.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - (0, 0, 255)).max() <= 1
    assert cv2.GaussianBlur(image, (0, 0), 8)[100, 115, 0] > 60     # a plain blur does glow there


def test_the_blur_of_a_scene_is_smooth_and_of_its_colours() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    found = blurred(noise, np.zeros((240, 320), np.float32))
    assert abs(found.mean() - noise.mean()) < 3 and found.std() < 0.2 * noise.std()
    assert blurred(noise, np.ones((240, 320), np.float32)).shape == noise.shape
    assert blurred(noise[:1, :1], np.zeros((1, 1), np.float32)).shape == (1, 1, 3)


def test_a_video_goes_by_time_and_begins_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", [np.full((64, 96, 3), 40 * i, np.uint8) for i in range(5)], rate=10)
    backdrop = parse_backdrop(str(path))
    found = [float(backdrop(GREY, NOBODY, time).mean()) for time in (0.0, 0.05, 0.1, 0.25, 0.41, 0.51, 0.95, 1.05)]
    np.testing.assert_allclose(found, [0, 0, 40, 80, 160, 0, 160, 0], atol=3)
    assert backdrop(GREY, NOBODY, 1.1).shape == GREY.shape


def test_a_video_behind_begins_anew_before_the_next_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", [np.full((64, 96, 3), 40 * i, np.uint8) for i in range(5)], rate=10)
    backdrop = parse_backdrop(str(path))
    found = [float(backdrop(GREY, NOBODY, time).mean()) for time in (0.0, 0.1, 0.2, 0.0, 0.1, 0.9, 0.1)]
    np.testing.assert_allclose(found, [0, 40, 80, 0, 40, 160, 40], atol=3)


def test_a_video_behind_that_is_read_in_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), dtype=np.uint8)
    path = write_video(tmp_path / "half.mkv", list(noise))
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    backdrop = parse_backdrop(str(path))
    assert backdrop(GREY, NOBODY, 3.0).shape == GREY.shape
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {path}: the background is read in part: it ends after")


def test_a_still_and_a_colour_and_what_is_neither(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.png"), np.full((5, 5, 3), (3, 2, 1), np.uint8))
    assert (parse_backdrop(str(tmp_path / "b.png"))(GREY, NOBODY, 0) == (1, 2, 3)).all()
    assert parse_backdrop("9,8,7")(GREY, NOBODY, 0) == (9, 8, 7)
    for name, said in (("none.jpg", "no picture at"), ("none.mp4", "no video at"), ("beach", "the word blur")):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            parse_backdrop(name)
