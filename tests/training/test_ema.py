"""The average of weights."""
import pytest
import torch

from src.models.modnet import MODNet
from src.training.ema import Ema
from tests.conftest import tiny_config


def test_average_follows_its_closed_form(tiny_model):
    ema, model = Ema(tiny_model, 0.2), MODNet(tiny_config())
    model.load_state_dict(tiny_model.state_dict())
    start = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    for value in model.state_dict().values():
        value.add_(1)
    # Decay at update n is min(0.2, (1 + n) / (10 + n)): 2/11, then 0.2.
    ema.update(model)
    ema.update(model)
    left = 2 / 11 * 0.2
    for key, value in ema.model.state_dict().items():
        expected = start[key] + (1 - left) if value.is_floating_point() else start[key] + 1
        torch.testing.assert_close(value, expected)
    again = Ema(tiny_model, 0.2)
    again.load_state_dict(ema.state_dict())
    assert again.updates == 2 and not any(p.requires_grad for p in again.model.parameters())


def test_decay_out_of_range_is_refused(tiny_model):
    with pytest.raises(ValueError, match="ema is 1.0"):
        Ema(tiny_model, 1.0)
