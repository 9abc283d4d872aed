"""What decides the result of a training run: its numbers, its optimiser and its learning rates."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from src.models.config import STRIDE
from src.models.modnet import MODNet


@dataclass(frozen=True)
class Recipe:
    """What decides the result of a training run, besides the start and the data; a resumed run must have the same."""

    epochs: int = 2
    batch_size: int = 2
    lr: float = 0.01
    backbone_lr: float | None = None
    optimizer: str = "sgd"
    schedule: str = "step"
    semantic_scale: float = 10.0
    detail_scale: float = 10.0
    matte_scale: float = 1.0
    input_size: int = 512
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "backbone_lr"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name.replace('_', '-')} is {value}, allowed are numbers over 0")
        for name in ("semantic_scale", "detail_scale", "matte_scale"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name.replace('_', '-')} is {getattr(self, name)}, allowed are numbers from 0")
        if self.input_size < 2 * STRIDE or self.input_size % STRIDE:
            raise ValueError(f"input-size is {self.input_size}, allowed are multiples of {STRIDE} from {2 * STRIDE}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, allowed are whole numbers from 0")


def make_optimizer(model: MODNet, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 as published, or AdamW; the encoder may have a learning rate of its own."""
    backbone = list(model.backbone.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups = [{"params": backbone, "lr": recipe.backbone_lr or recipe.lr}, {"params": rest, "lr": recipe.lr}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=1e-2)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe,
                  steps_per_epoch: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Learning rate by step: divided by 10 every quarter of the epochs as published, or one cycle."""
    if recipe.schedule == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=recipe.epochs * steps_per_epoch,
                                                   pct_start=0.1)
    return torch.optim.lr_scheduler.StepLR(optimizer, max(1, recipe.epochs // 4) * steps_per_epoch, gamma=0.1)
