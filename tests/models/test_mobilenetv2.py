"""What the encoder does differently while it is trained in half precision on a CPU."""
import pytest
import torch
from torch import nn

from src.models.config import BlockConfig
from src.models.mobilenetv2 import InvertedResidual


def gradients(block: InvertedResidual, x: torch.Tensor, weight: torch.Tensor, half: bool) -> list[torch.Tensor]:
    block.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        (block(x) * weight).sum().backward()
    # The convolutions' alone: a batch norm before another one hardly has a gradient.
    return [p.grad.clone() for p in block.parameters() if p.ndim == 4]


@pytest.mark.parametrize(("stride", "depthwise"), [(1, torch.bfloat16), (2, torch.float32)])
def test_only_a_strided_depthwise_convolution_trains_in_float32(stride, depthwise):
    torch.manual_seed(0)
    x, weight = torch.randn(4, 6, 32, 32), torch.randn(4, 8, 32 // stride, 32 // stride)
    block = InvertedResidual(6, BlockConfig(hidden=12, out=8, stride=stride, expand=True, residual=False))
    seen = {}
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, _x, y: seen.__setitem__(m.kernel_size[0], y.dtype))
    exact = gradients(block, x, weight, False)
    assert seen == {1: torch.float32, 3: torch.float32}
    half = gradients(block, x, weight, True)
    assert seen == {1: torch.bfloat16, 3: depthwise}
    for a, b in zip(exact, half, strict=True):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.15 * a.norm()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        block(x)
    assert seen == {1: torch.bfloat16, 3: torch.bfloat16}
