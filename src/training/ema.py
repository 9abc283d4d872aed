"""Keep an exponential moving average of the weights: it is evaluated and saved, while the raw weights are trained."""
from __future__ import annotations

import copy
import math

import torch

from src.models.modnet import MODNet


class Ema:
    """`model` is the average, in eval mode: a <- d a + (1 - d) w after each step, running statistics included.

    d grows to `decay` by min(decay, (1 + n) / (10 + n)) at update n, so that the start is soon forgotten (as in
    TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: MODNet, decay: float) -> None:
        if not (math.isfinite(decay) and 0 <= decay < 1):
            raise ValueError(f"ema is {decay}, allowed are numbers from 0, under 1")
        self.model, self.decay, self.updates = copy.deepcopy(model).eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, model: MODNet) -> None:
        """Add the weights of `model` to the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, values = self.model.state_dict().values(), model.state_dict().values()
        floats = [(a, v) for a, v in zip(averages, values, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [v for _, v in floats], 1 - decay)
        for average, value in zip(averages, values, strict=True):
            if not average.is_floating_point():
                average.copy_(value)

    def state_dict(self) -> dict:
        """Return what `load_state_dict` takes."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        """Restore the average from `state`."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
