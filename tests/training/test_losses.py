"""Losses against hand values and the official trainer's formulas written out once more."""
import math

import pytest
import torch
import torch.nn.functional as F

from src.training.losses import detail_loss, matte_loss, modnet_losses, semantic_loss, semantic_target


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    alpha, detail, matte = torch.rand(3, 2, 1, 64, 64, generator=generator)
    trimap = torch.randint(0, 3, (2, 1, 64, 64), generator=generator) / 2
    return image, alpha, trimap, (torch.rand(2, 1, 4, 4, generator=generator), detail, matte)


def test_perfect_prediction_costs_nothing():
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., 16:48, 16:48] = 1
    trimap = alpha.clone()
    losses = modnet_losses((semantic_target(alpha), alpha, alpha), torch.rand(1, 3, 64, 64), alpha, trimap)
    assert losses.total.item() == 0


def test_semantic_target_of_a_constant_is_the_constant():
    torch.testing.assert_close(semantic_target(torch.full((1, 1, 64, 64), 0.3)), torch.full((1, 1, 4, 4), 0.3),
                               atol=1e-5, rtol=0)


def test_semantic_target_uses_the_official_gaussian():
    # scipy's gaussian_filter (sigma 0.8, cut at 4 sigma, edges reflected) of a 3x3 delta, as in the official trainer.
    g = [math.exp(-k * k / (2 * 0.8**2)) for k in range(4)]
    line = torch.tensor([g[1] + g[2], g[0] + 2 * g[3], g[1] + g[2]]) / (g[0] + 2 * sum(g[1:]))
    alpha = torch.rand(1, 1, 80, 80)
    coarse = F.pad(F.interpolate(alpha, scale_factor=1 / 16, mode="bilinear"), (1, 1, 1, 1), mode="reflect")
    expected = F.conv2d(coarse, (line[:, None] * line)[None, None])
    torch.testing.assert_close(semantic_target(alpha), expected, atol=1e-4, rtol=0)


def test_semantic_loss_by_hand():
    assert semantic_loss(torch.full((1, 1, 4, 4), 0.5), torch.ones(1, 1, 64, 64)).item() == pytest.approx(0.25, abs=1e-5)


def test_detail_loss_by_hand():
    trimap = torch.tensor([0.0, 0.5, 0.5, 1.0]).view(1, 1, 2, 2)
    pred, alpha = torch.tensor([0.9, 0.5, 0.2, 0.0]).view(1, 1, 2, 2), torch.tensor([0, 0.1, 0.4, 1.0]).view(1, 1, 2, 2)
    assert detail_loss(pred, alpha, trimap).item() == pytest.approx((0.4 + 0.2) / 4)


def test_detail_and_matte_losses_equal_the_official_formulas():
    image, alpha, trimap, (_, detail, matte) = batch()
    sure = (trimap < 0.5) | (trimap > 0.5)
    official_detail = F.l1_loss(torch.where(sure, trimap, detail), torch.where(sure, trimap, alpha))
    boundary = torch.where(sure, trimap, matte)
    official_matte = (F.l1_loss(matte, alpha) + 4 * F.l1_loss(boundary, alpha) + F.l1_loss(image * matte, image * alpha)
                      + 4 * F.l1_loss(image * boundary, image * alpha))
    assert detail_loss(detail, alpha, trimap).item() == pytest.approx(official_detail.item(), rel=1e-5)
    assert matte_loss(matte, alpha, trimap, image).item() == pytest.approx(official_matte.item(), rel=1e-5)


def test_scales_multiply():
    image, alpha, trimap, pred = batch()
    one = modnet_losses(pred, image, alpha, trimap, semantic_scale=1, detail_scale=1, matte_scale=1)
    scaled = modnet_losses(pred, image, alpha, trimap, semantic_scale=2, detail_scale=3, matte_scale=0)
    assert scaled.semantic.item() == pytest.approx(2 * one.semantic.item())
    assert scaled.detail.item() == pytest.approx(3 * one.detail.item())
    assert scaled.matte.item() == 0


def test_rough_masks_count_only_where_they_are_sure():
    image, alpha, trimap, (semantic, detail, matte) = batch()
    rough = torch.tensor([False, True])
    detail.requires_grad_()
    matte.requires_grad_()
    losses = modnet_losses((semantic, detail, matte), image, alpha, trimap, semantic_only=rough, semantic_scale=1)
    losses.total.backward()
    assert losses.semantic == semantic_loss(semantic, alpha)
    assert (detail.grad[1] == 0).all() and detail.grad[0].any()
    unknown = trimap[1] == 0.5
    assert (matte.grad[1][unknown] == 0).all() and (matte.grad[1][~unknown] != 0).all()
    # The first sample counts in full: half of the losses of a batch of it alone.
    alone = modnet_losses((semantic[:1], detail[:1], matte[:1]), image[:1], alpha[:1], trimap[:1])
    sure = ((matte[1] - alpha[1]).abs() * ~unknown + 4 * (trimap[1] - alpha[1]).abs() * ~unknown)
    expected = (alone.matte + (sure * (1 + image[1].abs().mean(0))).mean()) / 2
    assert losses.matte.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.detail.item() == pytest.approx(alone.detail.item() / 2, rel=1e-5)


def test_semantics_alone_need_no_other_prediction():
    image, alpha, trimap, (semantic, _, _) = batch()
    losses = modnet_losses((semantic, None, None), image, alpha, trimap)
    assert losses.total == 10 * semantic_loss(semantic, alpha) and losses.detail == losses.matte == 0
