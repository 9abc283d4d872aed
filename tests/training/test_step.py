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


def test_a_resized_batch_keeps_means_and_an_unknown_pixel_makes_unknown():
    trimap = torch.ones(1, 1, 64, 64)
    trimap[..., :32], trimap[..., 31] = 0, 0.5
    batch = {"image": torch.rand(1, 3, 64, 64), "alpha": torch.rand(1, 1, 64, 64), "trimap": trimap, "index": torch.ones(1)}
    small = train_step.resize_batch(batch, 32)
    torch.testing.assert_close(small["alpha"], batch["alpha"].unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5)))
    assert small["trimap"][0, 0, 0].tolist() == [0.0] * 15 + [0.5] + [1.0] * 16
    assert train_step.resize_batch(batch, 64) is batch and small["index"] is batch["index"]


def test_steps_of_several_sizes_are_run_at_these(discs, monkeypatch):
    seen, original = [], train_step.batch_losses

    def watched(state, batch, recipe):
        seen.append(batch["image"].shape[-1])
        return original(state, batch, recipe)

    monkeypatch.setattr(train_step, "batch_losses", watched)
    recipe = Recipe(epochs=1, batch_size=2, accumulate=2, steps_per_epoch=3, input_size=(64, 128), lr=1e-3)
    train(*fresh(), discs, recipe, stem=discs.parent / "sizes")
    assert seen == [recipe.size_at(step) for step in range(3) for _ in range(2)] and len(set(seen)) > 1
