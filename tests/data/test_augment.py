"""Crops and changes of pictures for training."""
import numpy as np
import pytest

from src.data.augment import add_noise, degrade, jitter_colours, jpeg, random_window, resize_square, turn


def test_windows_are_squares_inside_the_picture_and_of_the_sides_asked_for():
    rng, sides = np.random.default_rng(0), []
    for _ in range(300):
        rows, columns = random_window(120, 50, rng, (1.0, 2.0))
        assert rows.stop - rows.start == columns.stop - columns.start
        assert min(rows.start, columns.start) >= 0 and rows.stop <= 120 and columns.stop <= 50
        sides.append(rows.stop - rows.start)
    assert min(sides) == 25 and max(sides) == 50


@pytest.mark.parametrize(("height", "width"), [(120, 50), (50, 120)])
def test_stretched_windows_are_longer_along_the_longer_side_up_to_the_whole_picture(height, width):
    rng, longer = np.random.default_rng(0), []
    for _ in range(300):
        rows, columns = random_window(height, width, rng, (1.0, 1.2), 3.0)
        long, short = (rows, columns) if height > width else (columns, rows)
        assert long.start >= 0 and long.stop <= 120 and short.start >= 0 and short.stop <= 50
        longer.append((long.stop - long.start) / (short.stop - short.start))
    assert min(longer) < 1.1 and 120 / 50 <= max(longer) <= 3 and longer.count(max(longer)) < 150
    square = random_window(80, 80, rng, (1.0, 1.0), 3.0)
    assert square == (slice(0, 80), slice(0, 80))


def test_aspect_cuts_one_side_of_a_window_by_up_to_what_was_asked():
    rng, ratios = np.random.default_rng(0), []
    for _ in range(300):
        rows, columns = random_window(120, 100, rng, (1.0, 1.0), aspect=(0.5, 2.0))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        assert max(height, width) == 100 and rows.start >= 0 and rows.stop <= 120
        ratios.append(width / height)
    assert 0.5 <= min(ratios) < 0.53 and 1.9 < max(ratios) <= 2.0
    assert abs(np.mean(np.log(ratios))) < 0.1, "as often narrower as wider"


def test_turning_by_a_right_angle_is_rot90():
    image, alpha = (np.random.default_rng(0).integers(0, 256, s, dtype=np.uint8) for s in ((8, 8, 3), (8, 8)))
    turned, turned_alpha = turn(image, alpha, 90)
    np.testing.assert_array_equal(turned, np.rot90(image))
    np.testing.assert_array_equal(turned_alpha, np.rot90(alpha))


def test_noise_has_the_deviation_asked_for_and_no_bias():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = add_noise(grey, 8.0, np.random.default_rng(1)).astype(float) - 128
    assert abs(noise.mean()) < 0.1 and noise.std() == pytest.approx(8, rel=0.02)


def test_jpeg_comes_back_in_the_same_channel_order():
    image = np.full((32, 32, 3), (200, 100, 30), np.uint8)
    assert np.abs(jpeg(image, 90).astype(int) - image).max() <= 6


def test_grey_stays_grey_in_position_and_everything_stays_uint8():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for _ in range(50):
        out = degrade(jitter_colours(image, rng), rng)
        assert out.dtype == np.uint8 and out.shape == image.shape
    assert resize_square(image, 64).shape == (64, 64, 3) and resize_square(image, 20).shape == (20, 20, 3)
