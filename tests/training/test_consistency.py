"""Self-supervised consistency of the three heads."""
import pytest
import torch

from src.training.consistency import boundary, consistency_loss, mean_in
from src.training.losses import semantic_target


def disc(size: int = 128, radius: int = 30) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((y - size / 2).square() + (x - size / 2).square() < radius**2).float()[None, None]


def test_heads_that_agree_cost_nothing():
    matte = disc()
    # Under 0.01 the targets are 0, as in the official code.
    semantic = semantic_target(matte)
    assert (semantic[semantic <= 0.01]).sum() < 1e-6
    assert consistency_loss((semantic, matte, matte), matte).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_a_boundary_loss_and_gradients_are_finite(value):
    heads = [torch.full(shape, value, requires_grad=True) for shape in ((2, 1, 4, 4), (2, 1, 64, 64), (2, 1, 64, 64))]
    assert boundary(heads[0], heads[2]).sum() == 0
    loss = consistency_loss(tuple(heads), torch.rand(2, 1, 64, 64))
    loss.backward()
    assert loss.isfinite() and all(head.grad is None or head.grad.isfinite().all() for head in heads)


def test_boundary_is_a_band_of_5_percent_round_the_outline():
    band = boundary(semantic_target(disc(320, 80)), disc(320, 80))[0, 0]
    # 5 % of 320 are 16 pixels: 8 inside, 8 outside, along the middle row.
    assert band[160].nonzero().flatten().tolist() == [*range(73, 89), *range(232, 248)]


def test_detail_terms_by_hand():
    matte = disc()
    semantic = semantic_target(matte)
    loss = consistency_loss((semantic, matte + 0.2, matte), matte - 0.1, detail_scale=2.0)
    assert loss.item() == pytest.approx(2 * (0.2 + 0.3), rel=1e-4)


def test_semantic_terms_by_hand():
    matte = torch.full((1, 1, 64, 64), 0.5)
    loss = consistency_loss((torch.full((1, 1, 4, 4), 0.8), matte, matte), matte)
    assert loss.item() == pytest.approx(100 * 2 * 0.3**2, rel=1e-4)


def test_mean_is_taken_in_each_sample_by_itself():
    error = torch.tensor([1.0, 3, 5, 7, 100, 100]).view(3, 1, 1, 2)
    region = torch.tensor([1.0, 1, 1, 0, 0, 0]).view(3, 1, 1, 2)
    assert mean_in(error, region).item() == pytest.approx((2 + 5 + 0) / 3)
