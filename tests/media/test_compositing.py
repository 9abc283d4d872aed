from __future__ import annotations

import numpy as np
import pytest

from src.media.backdrop import parse_backdrop
from src.media.compositing import KINDS, checkerboard, composite, cutout, render
from src.media.picture_reader import NEUTRAL

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


def test_the_pictures_own_alpha_multiplies_the_matte_and_what_it_hides_is_neutral_everywhere() -> None:
    image = np.full((40, 60, 3), (220, 30, 10), np.uint8)
    image[:, 30:] = NEUTRAL
    opacity = np.uint8([255] * 15 + [51] * 15 + [0] * 30)[None].repeat(40, 0)
    found = render(image, np.full((40, 60), 0.5, np.float32), ["alpha", "cutout", "composite", "sheet"], foreground="none",
                   backdrop=parse_backdrop("0,0,255"), opacity=opacity)
    np.testing.assert_array_equal(found["alpha"][0, ::15], [128, 26, 0, 0])
    np.testing.assert_array_equal(found["cutout"][..., 3], found["alpha"])
    np.testing.assert_array_equal(found["composite"][0, ::15], [(110, 15, 132), (22, 3, 230), (0, 0, 255), (0, 0, 255)])
    band = found["sheet"].shape[0] - 40
    np.testing.assert_array_equal(found["sheet"][band:, 30:60], checkerboard(40, 60, 16)[:, 30:])


def test_colours_behind_transparency_do_not_reach_the_persons() -> None:
    image = np.full((64, 64, 3), (250, 0, 0), np.uint8)
    image[:, 32:] = NEUTRAL
    opacity = np.uint8([255] * 32 + [0] * 32)[None].repeat(64, 0)
    found = render(image, np.ones((64, 64), np.float32), ["cutout"], backdrop=parse_backdrop("0,0,0"), opacity=opacity)
    visible = found["cutout"][found["cutout"][..., 3] > 0]
    assert np.abs(visible[:, :3].astype(int) - (250, 0, 0)).max() <= 2


def test_a_huge_picture_is_composed_in_strips_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    image, alpha = rng.integers(0, 256, (90, 70, 3), dtype=np.uint8), rng.random((90, 70), np.float32)
    opacity = rng.integers(0, 256, (90, 70), dtype=np.uint8)
    whole = render(image, alpha, KINDS, backdrop=parse_backdrop("1,2,3"), opacity=opacity)
    monkeypatch.setattr("src.media.strips.STRIP_PIXELS", 7 * 70)
    for kind, picture in render(image, alpha, KINDS, backdrop=parse_backdrop("1,2,3"), opacity=opacity).items():
        np.testing.assert_array_equal(picture, whole[kind])
