"""The last stage at half size against the enlargement, the convolution and the norm as torch computes them."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from src.deploy.graph import FoldedIBNorm, deploy, fold_half
from src.deploy.half_size import (
    HalfSizeOutput,
    enlarged_weights,
    of_unshuffled,
    quarter_picture,
    unshuffle,
    unshuffled_weights,
)
from src.models.ibnorm import IBNorm
from src.models.modnet import ConvIBNormReLU, MODNet, upsample2x
from tests.conftest import randomise, tiny_config


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_a_convolution_of_the_enlarged_map_is_one_of_the_small_map_within_the_rim() -> None:
    x, weight = noise(2, 3, 6, 5), noise(4, 3, 3, 3)
    whole = F.conv2d(upsample2x(x), weight, padding=1)[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(F.pixel_shuffle(F.conv2d(x, enlarged_weights(weight)), 2), whole)


def test_a_convolution_of_the_picture_is_one_of_its_places_of_two_by_two() -> None:
    image, weight = noise(1, 3, 8, 12), noise(5, 3, 3, 3)
    whole = F.conv2d(image, weight, padding=1)[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(F.pixel_shuffle(F.conv2d(F.pixel_unshuffle(image, 2), unshuffled_weights(weight)), 2), whole)


@torch.no_grad()
def test_the_picture_at_half_and_quarter_size_comes_of_the_same_places() -> None:
    image, places = noise(1, 3, 16, 8), unshuffle().double()(noise(1, 3, 16, 8))
    torch.testing.assert_close(places, F.pixel_unshuffle(image, 2))
    torch.testing.assert_close(quarter_picture().double()(places), F.interpolate(image, scale_factor=0.25, mode="bilinear"))
    conv, other = torch.nn.Conv2d(5, 4, 3, 2, 1).double(), noise(1, 2, 8, 4)
    half = F.interpolate(image, scale_factor=0.5, mode="bilinear")
    torch.testing.assert_close(of_unshuffled(conv)(torch.cat((places, other), 1)), conv(torch.cat((half, other), 1)))


@torch.no_grad()
@pytest.mark.parametrize(("width", "size"), [(2, (16, 16)), (5, (48, 16)), (8, (16, 80))])
def test_the_stage_is_exact_also_in_its_outermost_pixels(width: int, size: tuple[int, int]) -> None:
    layer, head = ConvIBNormReLU(3 + 4, width, 3).double(), torch.nn.Conv2d(width, 1, 1).double()
    norm: IBNorm = layer.layers[1].eval()
    for value in (norm.bnorm.weight, norm.bnorm.bias, norm.bnorm.running_mean, norm.bnorm.running_var):
        value.data.uniform_(0.5, 2)
    x, image = noise(2, 4, *size), noise(2, 3, 2 * size[0], 2 * size[1])
    expected = head(layer(torch.cat((upsample2x(x), image), 1)))
    conv, half = fold_half(layer.layers[0], norm), width // 2
    found = HalfSizeOutput(conv, head, half, FoldedIBNorm(norm).inorm.eps)(x, image, unshuffle().double()(image))
    for part in (slice(None), slice(1), slice(1, 2), slice(-2, -1), slice(-1, None)):
        torch.testing.assert_close(found[:, :, part], expected[:, :, part], atol=1e-9, rtol=0)
        torch.testing.assert_close(found[..., part], expected[..., part], atol=1e-9, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (32, 224), (96, 160)])
def test_the_matte_in_float32_differs_by_under_1e_4_rim_included(size: tuple[int, int]) -> None:
    model = randomise(MODNet(tiny_config()), 3)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert (deploy(model)(image) - model(image, inference=True)[2]).abs().max() < 1e-4
