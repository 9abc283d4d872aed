"""Numbers of a training run."""
import numpy as np
import pytest

from src.state_file import check_structure
from src.training import recipe as recipes
from src.training.recipe import Recipe
from tests.test_trainer import fresh


def test_cosine_and_warm_up_by_hand():
    recipe = Recipe(epochs=2, schedule="cosine", warmup_steps=4)
    rates = [recipes.rate_factor(step, recipe, 6) for step in range(13)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(rates[8:], [0.5, 0.5 - 0.5 * np.sin(np.pi / 8), 0.5 - 0.5 * np.sin(np.pi / 4),
                                           0.5 - 0.5 * np.sin(3 * np.pi / 8), 0], atol=1e-12)


def test_learning_rate_steps_every_quarter_as_published():
    model, _ = fresh()
    recipe = Recipe(epochs=8)
    optimizer = recipes.make_optimizer(model, recipe)
    scheduler, rates = recipes.make_schedule(optimizer, recipe, steps_per_epoch=3), []
    for _ in range(8):
        for _ in range(3):
            optimizer.step()
            scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    np.testing.assert_allclose(rates, [1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 10, 11, 40])
def test_one_cycle_goes_up_and_down_however_short(steps):
    model, _ = fresh()
    recipe = Recipe(schedule="onecycle", lr=1.0, epochs=1)
    optimizer = recipes.make_optimizer(model, recipe)
    scheduler, rates = recipes.make_schedule(optimizer, recipe, steps_per_epoch=steps), []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[1])
        optimizer.step()
        scheduler.step()
    assert max(rates) > 0.8 and min(rates) >= 0 and (steps < 3 or rates[0] < 0.1 > rates[-1])
    # What is kept of it passes the check of a state that is gone on from.
    check_structure(scheduler.state_dict(), scheduler.state_dict(), "scheduler")


def test_each_step_has_a_size_of_its_own_and_the_same_when_resumed():
    sizes, again, others = ([Recipe(input_size=(64, 128), seed=seed).size_at(step) for step in range(60)]
                            for seed in (1, 1, 2))
    assert set(sizes) == {64, 96, 128} and sizes == again != others
    assert Recipe(input_size=96).sizes == (96, 96) and Recipe(input_size=96).size_at(7) == 96


@pytest.mark.parametrize(("change", "said"), [
    ({"epochs": 0}, "epochs is 0"), ({"lr": -1}, "lr is -1"), ({"input_size": 100}, "input-size is 100"),
    ({"ema": 1.0}, "ema is 1.0"), ({"scale": (0.5, 1)}, "scale is 0.5 1"), ({"stretch": 0.9}, "stretch is 0.9"),
    ({"clip_norm": 0}, "clip-norm is 0"), ({"input_size": (128, 64)}, r"input-size is \(128, 64\)"),
    ({"input_size": (64, 100)}, "input-size is"), ({"person_scale": (0.9, 0.3)}, "person-scale is 0.9 0.3"),
    ({"person_scale": (0.01, 1)}, "person-scale is 0.01"), ({"two_people_prob": -1}, "two-people-prob is -1"),
    ({"aspect": (1.2, 0.8)}, "aspect is 1.2 0.8"), ({"distractor_prob": 0.5}, "give background-dir"),
    ({"composition_prob": 1.5}, "composition-prob is 1.5"), ({"freeze_bn_steps": -2}, "freeze-bn-steps is -2"),
    ({"schedule": "onecycle", "warmup_steps": 5}, "warmup-steps"), ({"weight_decay": -1}, "weight-decay is -1"),
    ({"unlabeled_dir": "x"}, "give a teacher"), ({"soc": True}, "soc needs pictures"), ({"mode": "x"}, "mode is x"),
    ({"soc": True, "unlabeled_dir": "x", "detail_scale": 0, "matte_scale": 0}, "soc needs detail and matte"),
    ({"composition_prob": 0.9}, "composition-prob is 0.9, which says nothing without background-dir"),
    ({"distill_scale": 2}, "distill-scale is 2, which says nothing without teacher"),
    ({"feature_scale": 0}, "feature-scale is 0, which says nothing without teacher"),
    ({"teacher": "t", "soc_scale": 2}, "soc-scale is 2, which says nothing without soc"),
    ({"batch_size": 0}, "batch-size is 0"), ({"matte_scale": float("nan")}, "matte-scale"), ({"seed": -1}, "seed is -1")])
def test_bad_numbers_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**change)
