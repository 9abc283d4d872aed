from __future__ import annotations

import numpy as np
import pytest

from src.data.portraits.generate import compose, portrait_layers
from src.media.foreground import METHODS, blur_fusion, estimate_foreground

RED, GREEN = (200, 20, 30), (10, 220, 20)


@pytest.fixture
def disc() -> tuple[np.ndarray, np.ndarray]:
    """A red disc with a soft rim of 16 pixels on green, and its alpha."""
    y, x = np.mgrid[:160, :200]
    alpha = np.clip((60 - np.hypot(y - 80, x - 100)) / 16 + 0.5, 0, 1).astype(np.float32)
    image = np.rint(alpha[..., None] * RED + (1 - alpha[..., None]) * GREEN).astype(np.uint8)
    return image, alpha


@pytest.mark.parametrize("method", ["fast", "ml"])
def test_a_red_disc_cut_out_of_green_has_no_green_in_its_rim(disc: tuple[np.ndarray, np.ndarray], method: str) -> None:
    if method == "ml":
        pytest.importorskip("pymatting")
    image, alpha = disc
    rim = (alpha > 0.05) & (alpha < 0.95)
    foreground = estimate_foreground(image, alpha, method)
    assert foreground.shape == image.shape and foreground.dtype == np.uint8
    assert image[rim][:, 1].mean() > 100
    # The published method itself, at full size, is up to 20 off here.
    off = np.abs(foreground[rim].astype(int) - RED)
    assert off.max() <= 25 and off.mean() <= 10
    np.testing.assert_allclose(foreground[alpha == 1], np.broadcast_to(RED, foreground[alpha == 1].shape), atol=1)


def test_where_nothing_of_the_person_is_seen_stands_a_colour_of_the_person(disc: tuple) -> None:
    image, alpha = disc
    near = (alpha == 0) & (np.hypot(*(np.mgrid[:160, :200] - np.array([80, 100])[:, None, None])) < 73)
    assert near.sum() > 500
    assert np.abs(estimate_foreground(image, alpha)[near].astype(int) - RED).max() <= 25


def test_known_colours_of_a_drawn_portrait_are_found_better_than_by_the_picture_itself() -> None:
    layers = portrait_layers(3)
    image, alpha = compose(*layers), layers.alpha.astype(np.float32) / 255
    rim = (alpha > 0.1) & (alpha < 0.9)
    errors = {method: np.abs(estimate_foreground(image, alpha, method)[rim] - layers.foreground[rim]).mean()
              for method in ("fast", "none")}
    assert rim.sum() > 300 and errors["fast"] < 0.5 * errors["none"]


def test_a_plain_alpha_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(estimate_foreground(image, np.ones((9, 7), np.float32)), image)
    assert estimate_foreground(image[:1, :1], np.zeros((1, 1), np.float32)).shape == (1, 1, 3)


def test_another_method_is_refused_with_those_allowed() -> None:
    with pytest.raises(ValueError, match=f"foreground is 'best', allowed are {', '.join(METHODS)}"):
        estimate_foreground(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32), "best")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (2, 2), (1, 300)])
def test_the_smallest_pictures_have_foregrounds_too(size: tuple[int, int], method: str) -> None:
    if method == "ml":
        pytest.importorskip("pymatting")
    foreground = estimate_foreground(np.full((*size, 3), 90, np.uint8), np.full(size, 0.5, np.float32), method)
    assert foreground.shape == (*size, 3) and (abs(foreground.astype(int) - 90) <= 1).all()


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_colours_off_the_rim_are_what_computing_every_pixel_gives(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (200, 300, 3), np.uint8)
    alpha = np.where(rng.random((200, 300)) < share, rng.random((200, 300)), rng.random((200, 300)) < 0.5).astype(np.float32)
    # Under half a level from none and from all of the person, to either side.
    alpha[:20] = rng.uniform(0, 0.9 / 255, (20, 300))
    alpha[20:40] = 1 - rng.uniform(0, 0.9 / 255, (20, 300))
    found = blur_fusion(image, alpha)
    monkeypatch.setattr("src.media.foreground._MOST_RIM", -1)
    np.testing.assert_array_equal(found, blur_fusion(image, alpha))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 1), (1, 3), (4, 4), (2, 1000)])
def test_pictures_of_a_few_pixels_have_colours_too(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    for level in (0, 0.5, 1):
        found = blur_fusion(image, np.full(size, level, np.float32))
        assert found.shape == image.shape and np.abs(found.astype(int) - 90).max() <= (1 if level else 90)
