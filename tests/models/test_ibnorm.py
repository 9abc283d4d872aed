"""The norm of a training step against torch's own two norms."""
from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.models.ibnorm import IBNorm


def torch_norms(norm: IBNorm, x: torch.Tensor) -> torch.Tensor:
    half = norm.bnorm.num_features
    return torch.cat((norm.bnorm(x[:, :half]), norm.inorm(x[:, half:])), 1)


@settings(max_examples=25, deadline=None)
@given(width=st.integers(2, 9), images=st.integers(1, 3), height=st.integers(2, 7), seed=st.integers(0, 99),
       channels_last=st.booleans())
def test_a_training_step_equals_the_two_norms_of_torch(width, images, height, seed, channels_last):
    torch.manual_seed(seed)
    ours = IBNorm(width).double()
    torch.nn.init.normal_(ours.bnorm.weight)
    torch.nn.init.normal_(ours.bnorm.bias)
    theirs = copy.deepcopy(ours)
    x, dy = (torch.randn(images, width, height, 5, dtype=torch.double) for _ in range(2))
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y_ours, y_theirs = ours(x_ours), torch_norms(theirs, x_theirs)
    y_ours.backward(dy)
    y_theirs.backward(dy)
    near = {"rtol": 1e-7, "atol": 1e-8}
    torch.testing.assert_close(y_ours, y_theirs, **near)
    torch.testing.assert_close(x_ours.grad, x_theirs.grad, **near)
    torch.testing.assert_close(ours.bnorm.weight.grad, theirs.bnorm.weight.grad, **near)
    torch.testing.assert_close(ours.bnorm.bias.grad, theirs.bnorm.bias.grad, **near)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, **near)


def test_a_training_step_keeps_the_memory_format():
    x = torch.randn(2, 6, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = IBNorm(6)(x)
    y.sum().backward()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_in_eval_mode_batch_statistics_do_not_count():
    norm, x = IBNorm(4).eval(), torch.randn(2, 4, 5, 5) + 3
    y = norm(x.requires_grad_()).detach()
    assert float(y[:, :2].mean()) == pytest.approx(float(x[:, :2].detach().mean()), rel=1e-4)
    assert float(y[:, 2:].mean()) == pytest.approx(0, abs=1e-5)


def test_in_fp16_the_squares_of_large_features_do_not_overflow():
    x = (400 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))).half().requires_grad_()
    norm = IBNorm(4)
    assert float(norm(x).detach().float().std()) == pytest.approx(1, abs=0.02)
    assert norm.bnorm.running_var.isfinite().all()
