"""From inherited weights, or from nothing."""
import math

import torch

from src.complexity import count_macs
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.training.modes import apply_mode, scratch_epochs
from src.training.recipe import Recipe
from tests.conftest import tiny_config


def test_finetuning_keeps_the_weights(tiny_model):
    recipe = Recipe(epochs=3)
    assert apply_mode(tiny_model, recipe) == (tiny_model, recipe)


def test_scratch_draws_new_weights_from_the_seed_alone(tiny_model):
    first, recipe = apply_mode(tiny_model, Recipe(epochs=3, mode="scratch-e", seed=1))
    torch.rand(5)
    again, _ = apply_mode(tiny_model, Recipe(epochs=3, mode="scratch-e", seed=1))
    other, _ = apply_mode(tiny_model, Recipe(epochs=3, mode="scratch-e", seed=2))
    first, again, other, old = (m.hr_branch.conv_hr[0].layers[0].weight for m in (first, again, other, tiny_model))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, old)
    assert recipe.epochs == 3


def test_scratch_b_costs_as_much_as_the_dense_network(tiny_model):
    epochs = scratch_epochs(tiny_config(), 3)
    ratio = count_macs(MODNet(), inference=True) / count_macs(tiny_model, inference=True)
    assert epochs == math.ceil(3 * ratio) and ratio > 20
    assert apply_mode(tiny_model, Recipe(epochs=3, mode="scratch-b"))[1].epochs == epochs
    assert scratch_epochs(MODNetConfig(), 3) == 3
