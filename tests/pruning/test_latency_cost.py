"""Milliseconds of layers, and targets met with a clock that is known."""
import numpy as np
import pytest

from src.models.channels import CONV_IBN, wires
from src.models.costs import LinearCost, linear_macs, macs, wire_key
from src.pruning.latency_cost import channel_costs, fit_latency, fit_machine, search_path
from src.pruning.machine_cost import Machine, profile_cost


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_layer_of_the_deployed_network_is_found_in_the_profile(tiny_model, precision):
    pytest.importorskip("openvino")
    if precision == "int8":
        pytest.importorskip("nncf")
    pictures = [np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)]
    cost = profile_cost(tiny_model.config, Machine(1, precision, pictures))
    heads = {"lr_branch.conv_lr.layers.0", "hr_branch.conv_hr.0.layers.0", "hr_branch.conv_hr.1.layers.0"}
    for wire in wires(tiny_model.config):
        # The linear layers of so small an SE block are quicker than the clock ticks.
        if ".se_block." not in wire.layer:
            assert (cost.per_pair[wire_key(wire)] > 0) == (wire.layer not in heads), wire.layer
        if wire.kind == CONV_IBN and wire.layer not in heads:
            assert cost.per_width[wire_key(wire)] > 0, wire.layer


def test_a_channel_costs_what_the_layers_that_it_touches_save_without_it(tiny_model):
    config, cost = tiny_model.config, linear_macs()
    found = channel_costs(config, cost, round_to=4)
    narrower = config.with_widths({"hr.2x.b": 4})
    assert found["hr.2x.b"] == pytest.approx(1000 * (macs(config) - macs(narrower)) / 4)


def test_a_search_in_int8_without_pictures_is_refused(tiny_model):
    with pytest.raises(ValueError, match="precision int8 needs calibration pictures: give --calib-dir"):
        fit_machine(tiny_model.config, 5, precision="int8")


def test_the_path_falls_from_dense_to_smallest(tiny_model):
    config = tiny_model.config
    path = search_path(config, linear_macs(), round_to=4)
    counts = [macs(step) for step in path]
    assert path[0] == config and counts == sorted(set(counts), reverse=True)
    # The training head alone costs a deployed network nothing.
    assert max(path[-1].width(group) for group in config.groups() if group != "hr.1x") == 4


def test_a_target_is_met_by_a_known_clock(tiny_model):
    config = tiny_model.config
    found, ms = fit_latency(config, 0.6 * macs(config), round_to=1, cost=linear_macs(), measure=macs)
    assert 0.95 <= ms / (0.6 * macs(config)) <= 1 and ms == macs(found)


def test_a_layer_that_is_dear_is_cut_first(tiny_model):
    config = tiny_model.config
    cheap = LinearCost(dict.fromkeys(linear_macs().per_pair, 1e-6), {})
    for group in ("hr.2x.b", "block16.hidden"):
        dear = LinearCost({key: 1.0 if key[0] == group else value for key, value in cheap.per_pair.items()}, {})
        first = search_path(config, dear, round_to=4)[1]
        cut = {name for name in config.groups() if first.width(name) < config.width(name)}
        # Its inputs cost as much as its outputs.
        touched = {name for wire in wires(config) if wire.writes == group for name in (group, *wire.reads)}
        assert cut and cut <= touched


@pytest.mark.parametrize("factor", [0.001, 2])
def test_an_impossible_target_says_what_is_possible(tiny_model, factor):
    config = tiny_model.config
    with pytest.raises(ValueError, match="possible here are .* the time of the dense network"):
        fit_latency(config, factor * macs(config), round_to=4, cost=linear_macs(), measure=macs)
