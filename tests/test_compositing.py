from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.compositing import composite, cutout, parse_colour, save_results

IMAGE = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)
ALPHA = np.array([[0.25, 1.0]], np.float32)


def test_composite_by_hand() -> None:
    np.testing.assert_array_equal(composite(IMAGE, ALPHA, (250, 0, 255)), [[[190, 5, 199], [200, 100, 0]]])


def test_cutout_has_the_colours_and_the_rounded_alpha() -> None:
    np.testing.assert_array_equal(cutout(IMAGE, np.array([[0.499, 0.0]])), [[[10, 20, 30, 127], [200, 100, 0, 0]]])


def test_files_read_back_by_opencv_are_what_was_given(tmp_path: Path) -> None:
    paths = save_results(IMAGE, ALPHA, "x.y", tmp_path, save=["alpha", "cutout", "composite"], background=(0, 0, 255))
    assert [path.name for path in paths] == ["x.y_alpha.png", "x.y_cutout.png", "x.y_composite.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    alpha, rgba, rgb = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    np.testing.assert_array_equal(alpha, [[64, 255]])
    np.testing.assert_array_equal(rgba, [[[30, 20, 10, 64], [0, 100, 200, 255]]])
    np.testing.assert_array_equal(rgb[..., ::-1], composite(IMAGE, ALPHA, (0, 0, 255)))


def test_sizes_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"alpha of x is \(2, 2\), but its picture is \(1, 2\)"):
        save_results(IMAGE, np.zeros((2, 2)), "x", tmp_path, save=["alpha"], background=(0, 0, 0))


def test_parse_colour() -> None:
    assert parse_colour("0, 177,64") == (0, 177, 64)
    for text in ("", "1,2", "1,2,3,4", "1,2,256", "-1,2,3", "red", "1,2,x"):
        with pytest.raises(ValueError, match="allowed is R,G,B, each a whole number from 0 to 255"):
            parse_colour(text)
