"""Count parameters, multiply-accumulates and bytes of a network."""
from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn

from src.checkpoint import state_bytes
from src.models.modnet import MODNet

# What only training needs: branch and layer.
TRAINING_HEADS = (("lr_branch", "conv_lr"), ("hr_branch", "conv_hr"))


class Complexity(NamedTuple):
    """`params` counts all heads; `macs_train` is with the two training heads, `macs_deploy` the matte alone; `bytes_fp32` is
    the size of a float32 checkpoint file.
    """

    params: int
    macs_train: int
    macs_deploy: int
    bytes_fp32: int


def _count_nothing(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
    """Count nothing: thop's hook for layers whose work a deployed network folds into a convolution."""


def count_macs(model: MODNet, *, size: tuple[int, int] = (512, 512), inference: bool) -> int:
    """Count the multiply-accumulates of convolutions and linear layers for one image, by thop on a copy."""
    return _count(model, size, inference)[0]


def _count(model: MODNet, size: tuple[int, int], inference: bool) -> tuple[int, int]:
    """Count the multiply-accumulates of the whole, and of the heads that only training needs."""
    from thop import profile

    model = copy.deepcopy(model).cpu().eval()
    free = dict.fromkeys((nn.BatchNorm2d, nn.InstanceNorm2d, nn.AdaptiveAvgPool2d), _count_nothing)
    macs, _, parts = profile(model, (torch.zeros(1, 3, *size), inference), custom_ops=free, verbose=False,
                             ret_layer_info=True)
    return int(macs), int(sum(parts[branch][2][head][0] for branch, head in TRAINING_HEADS))


def count_params(model: MODNet) -> int:
    """Count the trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def complexity(model: MODNet, *, size: tuple[int, int] = (512, 512)) -> Complexity:
    """Return all four counts of a network; `size` is height and width of the image."""
    macs, heads = _count(model, size, inference=False)
    return Complexity(count_params(model), macs, macs - heads, state_bytes(model.state_dict()))
