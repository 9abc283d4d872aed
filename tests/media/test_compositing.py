from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.media.backdrop import parse_backdrop
from src.media.compositing import KINDS, checkerboard, composite, cutout, render, save_results, write_png

IMAGE = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)
ALPHA = np.array([[0.25, 1.0]], np.float32)


def test_composite_by_hand() -> None:
    np.testing.assert_array_equal(composite(IMAGE, ALPHA, (250, 0, 255)), [[[190, 5, 199], [200, 100, 0]]])


def test_cutout_has_the_colours_and_the_rounded_alpha() -> None:
    np.testing.assert_array_equal(cutout(IMAGE, np.array([[0.499, 0.0]])), [[[10, 20, 30, 127], [200, 100, 0, 0]]])


def test_a_composite_of_noise_equals_the_formula_but_for_rounding() -> None:
    rng = np.random.default_rng(0)
    front, behind = rng.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    alpha = np.clip(rng.normal(0.5, 0.6, (40, 50)), 0, 1).astype(np.float32)
    share = alpha[..., None].astype(np.float64)
    assert np.abs(composite(front, alpha, behind) - (share * front + (1 - share) * behind)).max() <= 0.51


def test_files_read_back_by_opencv_are_what_was_given(tmp_path: Path) -> None:
    paths = save_results(IMAGE, ALPHA, "x.y", tmp_path, save=["alpha", "cutout", "composite"],
                         backdrop=parse_backdrop("0,0,255"), foreground="none")
    assert [path.name for path in paths] == ["x.y_alpha.png", "x.y_cutout.png", "x.y_composite.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    alpha, rgba, rgb = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    np.testing.assert_array_equal(alpha, [[64, 255]])
    np.testing.assert_array_equal(rgba, [[[30, 20, 10, 64], [0, 100, 200, 255]]])
    np.testing.assert_array_equal(rgb[..., ::-1], composite(IMAGE, ALPHA, (0, 0, 255)))


def test_a_full_disk_is_said_with_the_name_of_the_file() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.media.compositing.write_atomically", lambda path, write: write(path))
        with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
            write_png(Path("/dev/full"), IMAGE)


def test_a_sheet_holds_the_four_pictures_side_by_side_under_their_names() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    alpha = np.zeros((90, 70), np.float32)
    alpha[:, 35:] = 1
    found = render(image, alpha, KINDS, backdrop=parse_backdrop("1,2,3"))
    assert list(found) == list(KINDS)
    sheet, band = found["sheet"], found["sheet"].shape[0] - 90
    assert sheet.shape[1] == 280 and 0 < band < 30
    np.testing.assert_array_equal(sheet[band:, :70], image)
    np.testing.assert_array_equal(sheet[band:, 70:140, 1], alpha * 255)
    np.testing.assert_array_equal(sheet[band:, 140:175], checkerboard(90, 70, 4)[:, :35])
    np.testing.assert_array_equal(sheet[band:, 175:210], image[:, 35:])
    np.testing.assert_array_equal(sheet[band:, 210:], found["composite"])
    assert (sheet[:band] < 128).sum() > 50


def test_a_sheet_of_a_large_picture_is_made_smaller() -> None:
    image = np.zeros((1280, 1000, 3), np.uint8)
    assert render(image, np.zeros((1280, 1000), np.float32), ["sheet"], backdrop=parse_backdrop("0,0,0"))["sheet"].shape == (
        640 + 32 * 0.7 // 1, 2000, 3)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the alpha is \(2, 2\), but its picture is \(1, 2\)"):
        render(IMAGE, np.zeros((2, 2)), ["alpha"], backdrop=parse_backdrop("0,0,0"))
