"""Rewrite the network as it is deployed: the matte alone, in as few passes over feature maps as its arithmetic allows."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from src.deploy.half_size import HalfSizeOutput, of_unshuffled, quarter_picture, unshuffle
from src.models.channels import CONV_BN, CONV_IBN, DEPTHWISE, wires
from src.models.modnet import FusionBranch, IBNorm, MODNet
from src.runtime.network import import_openvino

if TYPE_CHECKING:
    from openvino import Model


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


class HalfSizeFusion(nn.Module):
    """A deployed `FusionBranch` up to its logits, its last stage a `HalfSizeOutput`."""

    features = FusionBranch.features

    def __init__(self, branch: FusionBranch) -> None:
        super().__init__()
        self.conv_lr4x, self.conv_f2x = branch.conv_lr4x, branch.conv_f2x
        (conv, norm, _), (head,) = (layer.layers for layer in branch.conv_f)
        self.conv_f = HalfSizeOutput(conv, head, int(norm.plain.sum()), norm.inorm.eps)

    def forward(self, image: torch.Tensor, places: torch.Tensor, lr8x: torch.Tensor, hr2x: torch.Tensor) -> torch.Tensor:
        """Return the matte (N, 1, H, W) of an image (N, 3, H, W), its `places` and the features of both branches."""
        return self.conv_f(self.features(lr8x, hr2x), image, places)


class HalfSizeMODNet(nn.Module):
    """A deployed MODNet, made of `model`, which is used up, that reads the picture once, as `unshuffle` gives it, and whose
    last stage works at half of the picture's size."""

    def __init__(self, model: MODNet) -> None:
        super().__init__()
        self.backbone, self.lr_branch, self.hr_branch = model.backbone, model.lr_branch, model.hr_branch
        weight = self.hr_branch.conv_enc2x.layers[0].weight
        self.unshuffle, self.quarter = unshuffle().to(weight), quarter_picture().to(weight)
        # Called as a module, so that the layers of the traced graph keep their branch's name.
        self.hr_branch.forward = self.hr_branch.features
        first = self.hr_branch.conv_enc2x.layers
        first[0] = of_unshuffled(first[0])
        self.f_branch = HalfSizeFusion(model.f_branch)

    def forward(self, image: torch.Tensor, inference: bool = True) -> tuple[None, None, torch.Tensor]:
        """Return the matte (N, 1, H, W) of an image (N, 3, H, W) in [-1, 1] as the third of what `MODNet` returns."""
        taps, places = self.backbone(image), self.unshuffle(image)
        _, lr8x = self.lr_branch(taps["enc32x"], inference)
        hr2x = self.hr_branch(places, self.quarter(places), taps, lr8x)
        return None, None, torch.sigmoid(self.f_branch(image, places, lr8x, hr2x))


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


def deploy(model: MODNet, *, half_size: bool = True) -> MatteOnly:
    """Return a copy of `model`, in eval mode, that gives the same matte: without training heads, every batch norm folded
    into its convolution, every `IBNorm` without split and concat, and with `half_size` its last stage at half of the
    size."""
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
    if half_size:
        network.model = HalfSizeMODNet(modules)
    return network.eval()


def traced(module: nn.Module, shape: Sequence[int]) -> Model:
    """Return a module as an OpenVINO network, without a file between them, for images of `shape` (N, C, H, W) and others."""
    with warnings.catch_warnings():
        # torch calls the tracer that OpenVINO's converter uses deprecated.
        warnings.simplefilter("ignore")
        return import_openvino().convert_model(module, example_input=torch.zeros(*shape))
