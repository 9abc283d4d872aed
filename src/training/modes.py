"""How a pruned network is trained: from the weights that it inherited, or from nothing.

Liu et al., *Rethinking the Value of Network Pruning*, ICLR 2019: scratch-E gets the same epochs, scratch-B the same
computation as the training of the dense network.
"""
from __future__ import annotations

import dataclasses
import math

import torch

from src.models.config import MODNetConfig
from src.models.costs import macs
from src.models.modnet import MODNet
from src.training.recipe import Recipe


def scratch_epochs(config: MODNetConfig, epochs: int) -> int:
    """Count the epochs that cost as many multiply-accumulates, as deployed, as `epochs` of the dense network; rounded up."""
    return math.ceil(epochs * macs(MODNetConfig()) / macs(config))


def apply_mode(model: MODNet, recipe: Recipe) -> tuple[MODNet, Recipe]:
    """Return the network to start from and the recipe with its epochs, by `recipe.mode`.

    Without `finetune` the weights are new, drawn from the recipe's seed. The returned recipe keeps the mode and must not
    be given to this function again.
    """
    if recipe.mode == "finetune":
        return model, recipe
    device = next(model.parameters()).device
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        fresh = MODNet(model.config).to(device)
    epochs = recipe.epochs if recipe.mode == "scratch-e" else scratch_epochs(model.config, recipe.epochs)
    return fresh, dataclasses.replace(recipe, epochs=epochs)
