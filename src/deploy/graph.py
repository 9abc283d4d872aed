"""Rewrite the network as it is deployed: the matte alone, in as few passes over feature maps as its arithmetic allows."""
from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from src.models.channels import CONV_BN, CONV_IBN, DEPTHWISE, wires
from src.models.modnet import IBNorm, MODNet


class MatteOnly(nn.Module):
    """Image (N, 3, H, W) to matte (N, 1, H, W): a MODNet without its training heads."""

    def __init__(self, model: MODNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the matte (N, 1, H, W) of an image (N, 3, H, W) in [-1, 1]."""
        return self.model(image, inference=True)[2]


class FoldedIBNorm(nn.Module):
    """An `IBNorm` whose batch norm half is folded into the convolution before it: no feature map is split or joined.

    All channels are instance-normalised; a weight of 0 or 1 says whose result counts.
    """

    def __init__(self, norm: IBNorm) -> None:
        super().__init__()
        half, width = norm.bnorm.num_features, norm.bnorm.num_features + norm.inorm.num_features
        self.inorm = nn.InstanceNorm2d(width, eps=norm.inorm.eps)
        instance = (torch.arange(width) >= half).float().reshape(1, width, 1, 1)
        self.register_buffer("instance", instance)
        self.register_buffer("plain", 1 - instance)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise features (N, C, H, W)."""
        return x * self.plain + self.inorm(x) * self.instance


def fold_half(conv: nn.Conv2d, norm: IBNorm) -> nn.Conv2d:
    """Return the convolution with the batch norm folded into the rows of that half; the others lose their bias, which an
    instance norm takes out anyway."""
    conv, half, bnorm = copy.deepcopy(conv), norm.bnorm.num_features, norm.bnorm
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(conv.weight[:half], conv.bias[:half], bnorm.running_mean, bnorm.running_var,
                                            bnorm.eps, bnorm.weight, bnorm.bias)
        conv.weight[:half], conv.bias[:half] = weight, bias
        conv.bias[half:] = 0
    return conv


def deploy(model: MODNet) -> MatteOnly:
    """Copy `model`, in eval mode, into a network that gives the same matte: without training heads, every batch norm folded
    into its convolution, every `IBNorm` without split and concat."""
    network = MatteOnly(copy.deepcopy(model)).eval()
    modules = network.model
    for wire in wires(model.config):
        if wire.norm is None:
            continue
        conv, norm = modules.get_submodule(wire.layer), modules.get_submodule(wire.norm)
        if wire.kind in (CONV_BN, DEPTHWISE):
            modules.set_submodule(wire.layer, fuse_conv_bn_eval(conv, norm))
            modules.set_submodule(wire.norm, nn.Identity())
        elif wire.kind == CONV_IBN:
            modules.set_submodule(wire.layer, fold_half(conv, norm))
            modules.set_submodule(wire.norm, FoldedIBNorm(norm))
    return network.eval()
