"""The deployed graph against the network that it is made of."""
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from src.deploy.graph import FoldedIBNorm, deploy, fold_half
from src.models.config import is_ibn
from src.models.modnet import IBNorm, MODNet
from tests.conftest import randomise, tiny_config


@settings(max_examples=8, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99), height=st.integers(1, 4), width=st.integers(1, 4), half_size=st.booleans())
def test_the_matte_is_the_same_for_any_widths_and_sizes(data, seed, height, width, half_size):
    config = tiny_config()
    config = config.with_widths({group: data.draw(st.integers(2, 12)) for group in config.groups() if is_ibn(group)})
    # In float64: networks of random weights amplify the rounding of float32 beyond any fixed bound.
    model = randomise(MODNet(config), seed).double()
    image = torch.randn(2, 3, 32 * height, 32 * width, generator=torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        assert (deploy(model, half_size=half_size)(image) - model(image, inference=True)[2]).abs().max() < 1e-7


def test_one_layer_equals_its_two_halves_computed_by_hand():
    conv, norm = nn.Conv2d(3, 5, 3), IBNorm(5)
    for value in (norm.bnorm.weight, norm.bnorm.bias, norm.bnorm.running_mean, norm.bnorm.running_var):
        value.data.uniform_(0.5, 2)
    x = torch.randn(2, 3, 9, 7)
    with torch.no_grad():
        y = conv(x).numpy()
        got = FoldedIBNorm(norm)(fold_half(conv, norm)(x)).numpy()
        gamma, beta, mean, var = (getattr(norm.bnorm, name).numpy() for name in ("weight", "bias", "running_mean",
                                                                                 "running_var"))
    for c in range(2):
        assert abs(got[:, c] - ((y[:, c] - mean[c]) / (var[c] + 1e-5) ** 0.5 * gamma[c] + beta[c])).max() < 1e-5
    for n in range(2):
        for c in range(2, 5):
            assert abs(got[n, c] - (y[n, c] - y[n, c].mean()) / (y[n, c].var() + 1e-5) ** 0.5).max() < 1e-5


def test_the_model_is_not_changed_and_no_norm_of_it_is_left(tiny_model):
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    deployed = deploy(tiny_model)
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d | IBNorm) for name, module in deployed.named_modules())
