"""The recipe of a training run: its numbers, its optimiser and its learning rates."""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from src.data.scene import Staging
from src.models.config import STRIDE
from src.models.modnet import MODNet

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine", "onecycle")
PRECISIONS = ("fp32", "bf16", "fp16")
MODES = ("finetune", "scratch-e", "scratch-b")
OVER_0 = ("epochs", "batch_size", "lr", "backbone_lr", "steps_per_epoch", "accumulate", "clip_norm")
FROM_0 = ("semantic_scale", "detail_scale", "matte_scale", "weight_decay", "warmup_steps", "distill_scale",
          "feature_scale", "soc_scale", "int8_every", "seed")
# What says nothing by itself.
NEEDS = {"composition_prob": "background_dir", "distill_scale": "teacher", "feature_scale": "teacher", "soc_scale": "soc"}
PROBABILITIES = ("composition_prob", "two_people_prob", "distractor_prob")


@dataclass(frozen=True)
class Recipe:
    """All that decides the result of a training run, besides the start and the data; a resumed run must have the same."""

    epochs: int = 2
    batch_size: int = 2
    steps_per_epoch: int | None = None
    accumulate: int = 1
    lr: float = 0.01
    backbone_lr: float | None = None
    optimizer: str = "sgd"
    weight_decay: float | None = None
    schedule: str = "step"
    warmup_steps: int = 0
    clip_norm: float | None = None
    freeze_bn_steps: int = 0
    ema: float | None = None
    semantic_scale: float = 10.0
    detail_scale: float = 10.0
    matte_scale: float = 1.0
    input_size: int | tuple[int, int] = 512
    scale: tuple[float, float] = (1.0, 1.6)
    stretch: float = 1.0
    aspect: tuple[float, float] = (1.0, 1.0)
    background_dir: str | None = None
    composition_prob: float = 0.5
    person_scale: tuple[float, float] = (1.0, 1.0)
    two_people_prob: float = 0.0
    distractor_prob: float = 0.0
    semantic_only_dir: str | tuple[str, ...] | None = None
    teacher: str | None = None
    distill_scale: float = 1.0
    feature_scale: float = 1.0
    unlabeled_dir: str | None = None
    soc: bool = False
    soc_scale: float = 1.0
    mode: str = "finetune"
    precision: str = "fp32"
    int8_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in OVER_0 + FROM_0:
            value, least = getattr(self, name), 0
            if value is not None and not (math.isfinite(value) and (value > least or name in FROM_0 and value == least)):
                allowed = "numbers from 0" if name in FROM_0 else "numbers over 0"
                raise ValueError(f"{name.replace('_', '-')} is {value}, allowed are {allowed}")
        if self.freeze_bn_steps < -1:
            raise ValueError(f"freeze-bn-steps is {self.freeze_bn_steps}, allowed are -1 (always) and numbers from 0")
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name.replace('_', '-')} is {getattr(self, name)}, allowed are numbers from 0 to 1")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}, allowed are numbers from 0, under 1")
        low, high = self.scale
        if not 1 <= low <= high < math.inf:
            raise ValueError(f"scale is {low} {high}, allowed are two numbers from 1, the smaller first")
        if not 1 <= self.stretch < math.inf:
            raise ValueError(f"stretch is {self.stretch}, allowed are numbers from 1")
        low, high = self.aspect
        if not 0.25 <= low <= high <= 4:
            raise ValueError(f"aspect is {low} {high}, allowed are two numbers from 0.25 to 4, the smaller first")
        low, high = self.person_scale
        if not 0.05 <= low <= high <= 4:
            raise ValueError(f"person-scale is {low} {high}, allowed are two numbers from 0.05 to 4, the smaller first")
        low, high = self.sizes
        if low < 2 * STRIDE or low % STRIDE or high % STRIDE or low > high:
            raise ValueError(f"input-size is {self.input_size}, allowed are multiples of {STRIDE} from {2 * STRIDE}: one, "
                             "or the smallest and the largest")
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", PRECISIONS),
                              ("mode", MODES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed are {', '.join(allowed)}")
        if self.schedule == "onecycle" and self.warmup_steps:
            raise ValueError("warmup-steps goes with the schedules step and cosine: onecycle warms up by itself")
        self._check_sources()

    def _check_sources(self) -> None:
        for name, source in NEEDS.items():
            if not getattr(self, source) and getattr(self, name) != getattr(Recipe, name):
                raise ValueError(f"{name.replace('_', '-')} is {getattr(self, name)}, which says nothing without "
                                 f"{source.replace('_', '-')}")
        if self.background_dir is None and not self.staging.is_plain:
            raise ValueError("person-scale, two-people-prob and distractor-prob compose pictures: give background-dir")
        if self.unlabeled_dir is not None and self.teacher is None and not self.soc:
            raise ValueError("unlabeled-dir says nothing by itself: give a teacher, or soc")
        if self.soc and self.unlabeled_dir is None:
            raise ValueError("soc needs pictures without alpha: give unlabeled-dir")
        if self.soc and self.semantic_training:
            raise ValueError("soc needs detail and matte, but detail-scale and matte-scale are 0")

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest side of training crops."""
        return (self.input_size, self.input_size) if isinstance(self.input_size, int) else self.input_size

    def size_at(self, step: int) -> int:
        """Return the side of the crops of a step: any multiple of `STRIDE` between `sizes`, alike in all processes and when
        resumed."""
        low, high = self.sizes
        rng = np.random.default_rng([self.seed, step, STRIDE])
        return low if low == high else STRIDE * int(rng.integers(low // STRIDE, high // STRIDE + 1))

    def is_int8(self, step: int) -> bool:
        """Return whether the network computes as its INT8 version at `step`."""
        return self.int8_every > 0 and step % self.int8_every == 0

    @property
    def staging(self) -> Staging:
        """How composed pictures are filled."""
        return Staging(self.person_scale, self.two_people_prob, self.distractor_prob)

    @property
    def semantic_training(self) -> bool:
        """Whether only the coarse semantics are trained, for which half of the network is enough."""
        return self.detail_scale == 0 and self.matte_scale == 0


def make_optimizer(model: MODNet, recipe: Recipe, *, extra: Iterable[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """Make the optimiser: SGD with momentum 0.9 as published, or AdamW; the encoder may have a learning rate of its own,
    `extra` are parameters outside the model.

    Weight decay is 0 with SGD and 0.01 with AdamW where the recipe does not say.
    """
    backbone = list(model.backbone.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")] + list(extra)
    groups = [{"params": backbone, "lr": recipe.backbone_lr or recipe.lr}, {"params": rest, "lr": recipe.lr}]
    decay = recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=1e-2 if decay is None else decay)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, weight_decay=decay or 0.0)


def rate_factor(step: int, recipe: Recipe, steps_per_epoch: int) -> float:
    """Return the share of the highest learning rate at `step`: a line up over `warmup_steps`; after it divided by 10 every
    quarter of the epochs as published (`step`), or half a cosine down to 0 (`cosine`)."""
    if step < recipe.warmup_steps:
        return (step + 1) / (recipe.warmup_steps + 1)
    if recipe.schedule == "step":
        return 0.1 ** (step // (max(1, recipe.epochs // 4) * steps_per_epoch))
    left = recipe.epochs * steps_per_epoch - recipe.warmup_steps
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - recipe.warmup_steps) / max(1, left))))


# Steps that have a way up and a way down.
SHORTEST_CYCLE = 3


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe,
                  steps_per_epoch: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Make the schedule of the learning rate: `rate_factor`, or one cycle (Smith 2018) whose first tenth goes up, but at
    least a step, and of one or two steps in all the highest rate."""
    if recipe.schedule == "onecycle":
        rates, steps = [group["lr"] for group in optimizer.param_groups], recipe.epochs * steps_per_epoch
        if steps < SHORTEST_CYCLE:
            return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        # PyTorch divides by the steps of the way up less one, which has to be over 0.
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=max(0.1, 1.1 / steps))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, recipe, steps_per_epoch))
