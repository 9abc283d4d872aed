"""One step: accumulation, clipping, frozen batch norms."""
import dataclasses

import pytest
import torch

from src.data.batches import Batches, make_loader
from src.models.modnet import MODNet
from src.training import step as train_step
from src.training.loading import make_dataset
from src.training.loop import train
from src.training.recipe import Recipe
from src.training.state import start_state
from src.training.step import train_epoch
from tests.conftest import randomise, tiny_config
from tests.test_trainer import fresh


def one_step(discs, **change) -> MODNet:
    """The tiny network after one step of SGD on the same 4 samples, batch norms frozen."""
    model = randomise(MODNet(tiny_config()))
    recipe = dataclasses.replace(Recipe(epochs=1, batch_size=4, steps_per_epoch=1, input_size=64), **change)
    dataset = make_dataset(discs, recipe)
    batches = Batches(len(dataset), recipe.batch_size, seed=0, accumulate=recipe.accumulate, steps=1)
    state = start_state(model, recipe, 1)

    def freeze_all(model, recipe, step):
        model.eval()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_step, "set_modes", freeze_all)
        train_epoch(state, make_loader(dataset, batches), batches, recipe, title="epoch")
    return model


def distance(a: MODNet, b: MODNet) -> float:
    return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_accumulated_batches_equal_one_big_batch(discs):
    whole, parts = one_step(discs), one_step(discs, batch_size=1, accumulate=4)
    assert distance(whole, randomise(MODNet(tiny_config()))) > 1e-3
    assert distance(whole, parts) < 1e-5


def test_gradients_are_cut_to_the_length_asked_for(discs):
    start, cut = randomise(MODNet(tiny_config())), one_step(discs, clip_norm=1e-3)
    moved = torch.cat([(p - q).flatten() for p, q in zip(cut.parameters(), start.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3 * 0.01, rel=0.02)


def test_frozen_batch_norms_keep_their_statistics_and_only_for_the_steps_asked_for(discs):
    def stats_after(steps):
        model, info = fresh()
        recipe = Recipe(epochs=1, batch_size=2, steps_per_epoch=2, input_size=64, freeze_bn_steps=steps)
        train(model, info, discs, recipe, stem=discs.parent / "bn")
        return (model.backbone.model.features[0][1].num_batches_tracked.item(),
                model.f_branch.conv_lr4x.layers[1].bnorm.num_batches_tracked.item())
    assert [stats_after(steps) for steps in (0, 1, 2, -1)] == [(2, 2), (1, 2), (0, 2), (0, 2)]
