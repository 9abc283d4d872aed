"""Criteria against hand values, and Taylor against taking a filter out."""
import numpy as np
import pytest
import torch

from src.models.channels import wires
from src.models.modnet import MODNet
from src.pruning.criteria import CRITERIA, bn_gamma, filter_scores, fpgm, l1, l2, taylor_scores
from src.training.losses import modnet_losses
from tests.conftest import randomise, tiny_config

WEIGHT = torch.tensor([[3.0, -4.0], [0.0, 1.0], [3.0, -4.0]])[:, :, None, None]


def test_hand_values():
    np.testing.assert_allclose(l1(WEIGHT), [7, 1, 7])
    np.testing.assert_allclose(l2(WEIGHT), [5, 1, 5])
    far = np.hypot(3, 5)
    np.testing.assert_allclose(fpgm(WEIGHT), [far, 2 * far, far])


def test_bn_gamma_scores_the_instance_norm_half_by_l1(tiny_model):
    state = tiny_model.state_dict()
    wire = next(w for w in wires(tiny_model.config) if w.writes == "hr.1x")
    gamma = state[f"{wire.norm}.bnorm.weight"].abs().numpy()
    norms = l1(state[f"{wire.layer}.weight"])[4:]
    expected = np.concatenate([gamma / gamma.mean(), norms / norms.mean()])
    np.testing.assert_allclose(bn_gamma(state, wire), expected, rtol=1e-6)


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "taylor"])
def test_every_layer_gets_a_positive_score_for_each_filter(tiny_model, criterion):
    scores = filter_scores(tiny_model.state_dict(), tiny_model.config, criterion)
    for wire in wires(tiny_model.config):
        assert scores[wire.layer].shape == (tiny_model.config.width(wire.writes),)
        assert wire.writes == "alpha" or (scores[wire.layer] > 0).all()


def test_random_scores_depend_on_the_seed_alone(tiny_model):
    state, layer = tiny_model.state_dict(), "lr_branch.se_block.fc.0"
    one, same, other = (filter_scores(state, tiny_model.config, "random", seed=seed)[layer] for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).all()


def test_an_unknown_criterion_is_refused(tiny_model):
    with pytest.raises(ValueError, match="criterion is 'best', allowed are l1, l2"):
        filter_scores(tiny_model.state_dict(), tiny_model.config, "best")


def test_taylor_is_the_slope_of_the_loss_along_the_filter():
    model = randomise(MODNet(tiny_config())).double()
    generator = torch.Generator().manual_seed(0)
    batch = {"image": torch.rand(1, 3, 64, 64, generator=generator, dtype=torch.float64) * 2 - 1,
             "alpha": torch.rand(1, 1, 64, 64, generator=generator, dtype=torch.float64),
             "trimap": torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)}
    layer = "f_branch.conv_f.0.layers.0"
    found = np.sqrt(taylor_scores(model, [batch])[layer][2])
    weight, losses, step = dict(model.named_modules())[layer].weight, [], 1e-5
    original = weight.detach().clone()
    for sign in (1, -1):
        with torch.no_grad():
            weight.copy_(original)
            weight[2] *= 1 + sign * step
            losses.append(modnet_losses(model(batch["image"]), batch["image"], batch["alpha"], batch["trimap"]).total.item())
    assert found == pytest.approx(abs(losses[0] - losses[1]) / (2 * step), rel=2e-2)
