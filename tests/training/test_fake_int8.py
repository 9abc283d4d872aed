"""Rounding to INT8 in training: levels by NumPy and by OpenVINO, gradients, and a network left as it was."""
import numpy as np
import openvino as ov
import pytest
import torch
import torch.nn.functional as F
from openvino import opset13
from torch import nn

from src.models.modnet import MODNet
from src.training.fake_int8 import computing_as_int8, fake_int8, fake_int8_weight
from src.training.recipe import Recipe
from tests.training.test_step import distance, one_step


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 6.0), (2.0, 3.0), (-5.0, -1.0)])
def test_values_are_those_of_openvinos_operation(low: float, high: float) -> None:
    x = torch.linspace(low, high, 1000).view(1, 1, 10, 100)
    found = fake_int8(x)
    assert len(found.unique()) <= 256 and 0 in fake_int8(torch.cat((x, 0 * x)))
    # The range holds 0, and 0 is a level: as NNCF moves it.
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    first = -round(-low / step) * step
    value = opset13.parameter(list(x.shape), np.float32)
    ends = [np.float32(end) for end in (first, first + 255 * step)] * 2
    network = ov.compile_model(ov.Model([opset13.fake_quantize(value, *ends, 256)], [value]), "CPU",
                               {"INFERENCE_PRECISION_HINT": "f32"})
    differs = np.abs(network([x.numpy()])[0] - found.numpy())
    assert (differs > 1e-5).mean() < 0.01 and differs.max() < 1.01 * step  # ties are rounded to either side


def test_weights_are_rounded_for_each_channel_and_zeros_stay() -> None:
    scales = torch.tensor([1, 10, 0.1, 0]).view(4, 1, 1, 1)
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * scales
    step = weight.abs().amax((1, 2, 3), keepdim=True).numpy() / 127
    levels = np.rint(weight.numpy() / np.maximum(step, 1e-8))
    np.testing.assert_allclose(fake_int8_weight(weight).numpy(), levels * step, atol=1e-6)


def test_a_network_computes_in_int8_for_a_while_and_learns(tiny_model: MODNet) -> None:
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tiny_model.eval()
    before, keys = tiny_model(image, inference=True)[2], list(tiny_model.state_dict())
    with pytest.raises(KeyboardInterrupt), computing_as_int8(tiny_model):
        rounded = tiny_model(image, inference=True)[2]
        rounded.sum().backward()
        assert list(tiny_model.state_dict()) == keys
        raise KeyboardInterrupt
    assert 1e-5 < (rounded - before).abs().mean() < 0.1
    assert torch.equal(tiny_model(image, inference=True)[2], before)
    silent = [name for name, value in tiny_model.named_parameters() if value.grad is None]
    assert all(name.startswith(("lr_branch.conv_lr.", "hr_branch.conv_hr.")) for name in silent)


def test_gradients_pass_as_if_nothing_were_rounded() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 4, 5, bias=False))
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    with computing_as_int8(layers):
        layers(x).square().sum().backward()
    found = [x.grad, *(value.grad for value in layers.parameters())]
    # The same by hand, each rounded value a leaf.
    leaves = [value.detach().requires_grad_() for value in
              (fake_int8(x), fake_int8_weight(layers[0].weight), layers[0].bias, fake_int8_weight(layers[2].weight))]
    between = F.conv2d(*leaves[:3], stride=2, padding=1).flatten(1)
    rounded = between + (fake_int8(between) - between).detach()
    F.linear(rounded, leaves[3]).square().sum().backward()
    for a, b in zip(found, leaves, strict=True):
        torch.testing.assert_close(a, b.grad)


def test_one_step_in_so_many(discs) -> None:
    assert [Recipe(int8_every=3).is_int8(step) for step in range(4)] == [True, False, False, True]
    assert not any(Recipe().is_int8(step) for step in range(4))
    assert distance(one_step(discs), one_step(discs, int8_every=2)) > 1e-5  # that is step 0
