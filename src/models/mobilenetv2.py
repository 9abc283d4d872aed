"""MobileNetV2 encoder built from a list of block widths, with the features that MODNet taps."""
from __future__ import annotations

import torch
from torch import nn

from src.models.config import RGB, BlockConfig, MODNetConfig


def conv_bn(width_in: int, width_out: int, kernel: int, *, stride: int = 1, groups: int = 1,
            act: bool = True) -> list[nn.Module]:
    """Build a convolution without bias, a batch norm and, if `act`, ReLU6."""
    conv = nn.Conv2d(width_in, width_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(width_out)] + ([nn.ReLU6(inplace=True)] if act else [])


def run_layer(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Call a layer, in float32 for a depthwise convolution of stride 2 that is trained in half precision on a CPU: its
    gradient in bfloat16 takes oneDNN five times as long."""
    slow = isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.stride != (1, 1)
    if not (slow and x.device.type == "cpu" and x.requires_grad and torch.is_autocast_enabled("cpu")):
        return layer(x)
    with torch.autocast("cpu", enabled=False):
        return layer(x.float()).to(x.dtype)


class InvertedResidual(nn.Module):
    """A block of MobileNetV2: expansion (1x1), depthwise (3x3) and linear projection (1x1); the config says whether it has a
    residual."""

    def __init__(self, width_in: int, block: BlockConfig) -> None:
        super().__init__()
        self.residual = block.residual
        layers = conv_bn(width_in, block.hidden, 1) if block.expand else []
        layers += conv_bn(block.hidden, block.hidden, 3, stride=block.stride, groups=block.hidden)
        layers += conv_bn(block.hidden, block.out, 1, act=False)
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block on features (N, C, H, W)."""
        y = x
        for layer in self.conv:
            y = run_layer(layer, y)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """The encoder: from an image (N, 3, H, W) to features at 1/2, 1/4 and 1/32 of its size."""

    TAPS = {1: "enc2x", 3: "enc4x", 18: "enc32x"}

    def __init__(self, config: MODNetConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*conv_bn(RGB, config.stem, 3, stride=2))]
        for number, block in enumerate(config.blocks, 1):
            layers.append(InvertedResidual(config.block_input(number), block))
        layers.append(nn.Sequential(*conv_bn(config.blocks[-1].out, config.enc32x, 1)))
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode an image (N, 3, H, W); return the features at 1/2, 1/4 and 1/32 of its size."""
        taps = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.TAPS:
                taps[self.TAPS[index]] = x
        return taps
