"""The wiring table against the modules of the network."""
import pytest
import torch

from src.models.channels import CONV_IBN, DEPTHWISE, tied_group, wires
from src.models.config import MODNetConfig, is_ibn
from src.models.modnet import MODNet
from tests.conftest import tiny_config


@pytest.mark.parametrize("config", [MODNetConfig(), tiny_config(), MODNetConfig().with_widths({"hr.4x.b": 22, "se": 7})])
def test_every_weight_has_the_shape_that_the_table_says(config):
    with torch.device("meta"):
        state = MODNet(config).state_dict()
    covered = set()
    for wire in wires(config):
        weight = state[f"{wire.layer}.weight"]
        width_in = 1 if wire.kind == DEPTHWISE else sum(config.width(group) for group in wire.reads)
        assert weight.shape[:2] == (config.width(wire.writes), width_in), wire
        assert (wire.kind == CONV_IBN) == is_ibn(wire.writes), wire
        covered.add(wire.layer)
        if wire.norm:
            norm = wire.norm + (".bnorm" if wire.kind == CONV_IBN else "")
            assert len(state[f"{norm}.weight"]) == config.width(wire.writes) // (2 if wire.kind == CONV_IBN else 1)
            covered.add(norm)
    assert {key.rpartition(".")[0] for key in state} == covered


def test_residual_chains_are_one_group():
    dense = MODNetConfig()
    assert {tied_group(dense, f"block{n}") for n in (7, 8, 9, 10)} == {"block7"}
    assert tied_group(dense, "block11") == "block11"
    assert tied_group(dense, "block1.hidden") == "stem" and tied_group(dense, "block5.hidden") == "block5.hidden"
    assert tied_group(dense, "hr.2x") == "hr.2x"
