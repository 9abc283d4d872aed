"""Learn from a teacher network: from its three heads, and from its features through adapters that are thrown away
afterwards.

Heads as in Hinton et al. 2015 (here regression, so no temperature), features as in FitNets (Romero et al. 2015).
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from src.models.config import MODNetConfig
from src.models.modnet import MODNet

Heads = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
Features = dict[str, torch.Tensor]


class Output(NamedTuple):
    """The output of a network for a batch: its heads as `MODNet` returns them, and its features by name."""

    heads: Heads
    features: Features


def forward(model: MODNet, image: torch.Tensor, *, semantic_training: bool) -> Heads:
    """Run `model` on a batch; with `semantic_training` the coarse semantics alone, for a fifth of the work."""
    if not semantic_training:
        return model(image)
    semantic, _ = model.lr_branch(model.backbone(image)["enc32x"], False)
    return semantic, None, None


@contextlib.contextmanager
def tapped(model: MODNet) -> Iterator[Features]:
    """Return a dict that the next call of `model` fills with `lr8x` (N, C, H/8, W/8) and `hr2x` (N, C, H/2, W/2)."""
    features: Features = {}
    taps = {"lr8x": model.lr_branch.conv_lr8x, "hr2x": model.hr_branch.conv_hr2x}
    hooks = [module.register_forward_hook(lambda _m, _x, out, name=name: features.__setitem__(name, out))
             for name, module in taps.items()]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def feature_widths(config: MODNetConfig) -> dict[str, int]:
    """Return the channels of the features that `tapped` gives."""
    return {"lr8x": config.lr8x, "hr2x": config.hr_2x}


class Student(nn.Module):
    """The network in training, and 1x1 convolutions from its features to those of the teacher."""

    def __init__(self, model: MODNet, teacher: MODNetConfig | None = None, *, semantic_training: bool = False) -> None:
        super().__init__()
        self.model, self.semantic_training = model, semantic_training
        wanted = {} if teacher is None else feature_widths(teacher)
        if semantic_training:
            wanted.pop("hr2x", None)
        widths = feature_widths(model.config)
        self.adapters = nn.ModuleDict({name: nn.Conv2d(widths[name], width, 1) for name, width in wanted.items()})

    def forward(self, image: torch.Tensor) -> Output:
        """Run the network on a batch (N, 3, H, W) in [-1, 1], its features adapted to those of the teacher."""
        if not self.adapters:
            return Output(forward(self.model, image, semantic_training=self.semantic_training), {})
        with tapped(self.model) as features:
            heads = forward(self.model, image, semantic_training=self.semantic_training)
        return Output(heads, {name: adapter(features[name]) for name, adapter in self.adapters.items()})


@torch.no_grad()
def teach(teacher: MODNet, image: torch.Tensor, *, semantic_training: bool) -> Output:
    """Run a teacher in eval mode on a batch (N, 3, H, W) in [-1, 1]."""
    with tapped(teacher) as features:
        heads = forward(teacher, image, semantic_training=semantic_training)
    return Output(heads, features)


def soft_region(matte: torch.Tensor, radius: int) -> torch.Tensor:
    """Find where a matte (N, 1, H, W) is neither sure foreground nor sure background, `radius` pixels wider; bool."""
    soft = ((matte > 0.05) & (matte < 0.95)).float()
    return F.max_pool2d(soft, 2 * radius + 1, 1, radius) > 0


def head_loss(pred: Heads, taught: Heads, *, scales: tuple[float, float, float]) -> torch.Tensor:
    """Compute MODNet's three losses with the teacher in place of the truth: squared error of the semantics, absolute error
    of the detail in the soft region of the teacher's matte, absolute error of the matte, there five times as heavy.

    `scales` multiply semantic, detail and matte; the heads as `MODNet` returns them. Every term is 0 where both agree.
    """
    semantic, detail, matte = (None if p is None else p.float() for p in pred)
    true_semantic, true_detail, true_matte = (None if t is None else t.float() for t in taught)
    loss = scales[0] * F.mse_loss(semantic, true_semantic)
    if detail is None or matte is None:
        return loss
    soft = soft_region(true_matte, max(1, matte.shape[-1] // 64))
    loss = loss + scales[1] * ((detail - true_detail).abs() * soft).mean()
    return loss + scales[2] * ((matte - true_matte).abs() * (1 + 4 * soft)).mean()


def feature_loss(features: Features, taught: Features) -> torch.Tensor:
    """Compute the squared error of the adapted features, divided by the teacher's own mean square, averaged over the
    features."""
    terms = [F.mse_loss(value.float(), taught[name].float()) / taught[name].float().square().mean().clamp_min(1e-6)
             for name, value in features.items()]
    return torch.stack(terms).mean()
