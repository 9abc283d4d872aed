from __future__ import annotations

import numpy as np
import pytest
import torch

from src.media.preprocess import (
    area_resize,
    network_size,
    to_alpha,
    to_fixed_input,
    to_input,
)


def test_area_resize_equals_torchs_area_interpolation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        h, w, height, width = (int(side) for side in rng.integers(1, 200, 4))
        picture = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
        expected = torch.nn.functional.interpolate(tensor, (height, width), mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(area_resize(picture, height, width), expected, atol=1e-4)


def test_area_resize_of_a_plane_keeps_two_dimensions() -> None:
    np.testing.assert_array_equal(area_resize(np.array([[0, 2], [4, 6]], np.float32), 1, 2), [[2, 4]])


@pytest.mark.parametrize(("size", "expected"), [
    ((512, 512), (512, 512)), ((600, 800), (512, 672)), ((800, 600), (672, 512)), ((256, 256), (512, 512)),
    ((500, 700), (480, 672)), ((1, 1), (512, 512)), ((10, 600), (32, 576)), ((4320, 7680), (512, 896)),
    ((511, 300), (864, 512))])
def test_network_size_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_size(*size) == expected


def test_to_input_is_rgb_from_minus_one_to_one() -> None:
    batch = to_input(np.full((512, 512, 3), (0, 255, 51), np.uint8))
    assert batch.shape == (1, 3, 512, 512) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, :, 7, 9], [-1, 1, -0.6], atol=1e-6)


def test_to_input_refuses_a_picture_that_would_need_gigabytes() -> None:
    with pytest.raises(ValueError, match="300x1 becomes 153600x512 for the network, allowed are 4194304 pixels"):
        to_input(np.zeros((1, 300, 3), np.uint8))


@pytest.mark.parametrize(("size", "box"), [
    ((50, 100), (slice(8, 56), slice(0, 96))), ((64, 64), (slice(0, 64), slice(16, 80))),
    ((1, 500), (slice(31, 32), slice(0, 96)))])
def test_to_fixed_input_keeps_the_aspect_ratio_and_is_zero_round_it(size: tuple[int, int], box: tuple) -> None:
    batch, found = to_fixed_input(np.full((*size, 3), 255, np.uint8), 64, 96)
    assert found == box and batch.shape == (1, 3, 64, 96)
    inside = np.zeros((64, 96), bool)
    inside[box] = True
    assert (batch[0, :, inside] == 1).all() and (batch[0, :, ~inside] == 0).all()


def test_a_large_alpha_is_enlarged_without_blocks_on_request_and_with_less_error() -> None:
    y, x = np.mgrid[:900, :600]
    true = np.clip((np.hypot(y - 450, x - 300) - 200) / 6 + 0.5, 0, 1).astype(np.float32)
    matte = area_resize(true, 300, 200)[None, None]
    off = {smooth: np.square(to_alpha(matte, 900, 600, smooth=smooth) - true).mean() for smooth in (False, True)}
    assert off[True] < 0.5 * off[False]
    np.testing.assert_array_equal(to_alpha(matte, 320, 220, smooth=True), to_alpha(matte, 320, 220))
    large = to_alpha(matte, 900, 600, smooth=True)
    assert large.min() == 0 and large.max() == 1
