"""Counts against the published code's, and the pruned network against the dense one with channels silenced."""
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.checkpoint import clean_state
from src.models.channels import CONV_IBN, is_block_output, tied_group, wires
from src.models.config import MODNetConfig, is_ibn
from src.models.modnet import MODNet
from src.models.prune_info import PUBLISHED_KEYS, to_prune_info
from src.pruning.criteria import filter_scores
from src.pruning.rules import adaptive_count, limit_scope, over_threshold, paper_widths, round_width, tied_widths
from src.pruning.slicing import group_scores, inherit, keep_channels, strongest
from tests.conftest import FIXTURES, randomise, tiny_config, upstream_state

EXAMPLES = json.loads((FIXTURES / "paper_rule_examples.json").read_text())


@pytest.mark.parametrize("example", EXAMPLES)
def test_json_equals_that_of_the_published_code(example):
    expected = example["expect"]
    state = clean_state(upstream_state("seed", example["seed"]))
    config = paper_widths(filter_scores(state, MODNetConfig()), MODNetConfig(), expected["ratio"], expected["threshold"])
    info = to_prune_info(config, ratio=expected["ratio"], threshold=expected["threshold"])
    assert {key: info[key] for key in PUBLISHED_KEYS} == expected


@pytest.mark.parametrize(("norms", "threshold", "count"), [
    (np.arange(16), 0.5, 16),          # 7/15 at index 8 is the first under: k = 9 -> 8, under 90 % of 9 -> 16
    (np.arange(16), 0.99, 8),          # k = 2 -> at least 8
    (np.arange(32), 0.1, 32),          # k = 29 -> 32 is nearest
    (np.arange(96), 0.5, 48),          # k = 49 -> 48
    (np.ones(24), 0.5, 24),            # all the same: all stay
    ([1.0] * 11 + [0.0] * 5, 0.5, 16),  # k = 12 -> int(16) = 16
    (np.arange(4), 0.5, 4),            # never more than there are
])
def test_adaptive_count_by_hand(norms, threshold, count):
    assert adaptive_count(np.asarray(norms, np.float32), threshold) == count


def test_strongest_keeps_order_and_the_lower_index_of_a_tie():
    assert strongest(np.array([1.0, 5, 5, 0, 9]), 3).tolist() == [1, 2, 4]


def kept(state: dict[str, torch.Tensor], dense: MODNetConfig, pruned: MODNetConfig) -> dict[str, np.ndarray]:
    return keep_channels(group_scores(filter_scores(state, dense), dense, pruned), dense, pruned)


def silence(model: MODNet, keep: dict[str, np.ndarray]) -> None:
    """Sets every channel that is not in `keep` to zero where it is written; by forward hooks, no slicing."""
    modules = dict(model.named_modules())
    for wire in wires(model.config):
        mask = torch.zeros(1, model.config.width(wire.writes))
        mask[:, keep[wire.writes]] = 1
        if wire.norm:
            mask = mask[..., None, None]
        if wire.norm or wire.writes == "se":
            modules[wire.norm or wire.layer].register_forward_hook(lambda _, __, out, m=mask: out * m)


def pruned_config(dense: MODNetConfig, draw) -> MODNetConfig:
    """Random widths that respect the residuals drawn to stay."""
    residual = [block.residual and draw(st.booleans()) for block in dense.blocks]
    tied = dense.with_widths({}, residual=residual)
    leaders: dict[str, int] = {}
    widths = {}
    for group in dense.groups():
        leader = tied_group(tied, group)
        least = 2 if is_ibn(group) else 1
        if leader not in leaders:
            leaders[leader] = draw(st.integers(least, dense.width(group)))
        widths[group] = leaders[leader]
    return dense.with_widths(widths, residual=residual)


@settings(max_examples=12, deadline=None)
@given(data=st.data(), seed=st.integers(0, 5))
def test_pruned_equals_dense_with_the_removed_channels_silenced(data, seed):
    dense = randomise(MODNet(tiny_config().with_widths({"hr.4x": 14, "lr16x": 12, "enc32x": 24})), seed)
    config = pruned_config(dense.config, data.draw)
    state = dense.state_dict()
    pruned = MODNet(config).eval()
    pruned.load_state_dict(inherit(state, dense.config, config))
    for block, new in zip(dense.backbone.model.features[1:18], config.blocks, strict=True):
        block.residual = new.residual
    silence(dense, kept(state, dense.config, config))
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for a, b in zip(pruned(image), dense(image), strict=True):
            assert (a - b).abs().max() < 1e-5


def kill(model: MODNet, keep: dict[str, np.ndarray]) -> None:
    """Makes every channel that is not in `keep` dead: no filter, no norm, nothing comes out of it."""
    state = model.state_dict()
    for wire in wires(model.config):
        dead = np.setdiff1d(np.arange(model.config.width(wire.writes)), keep[wire.writes])
        # The second linear layer of the SE block weighs channels and does not make them.
        if wire.writes == "alpha" or wire.layer.endswith("fc.2"):
            continue
        state[f"{wire.layer}.weight"][dead] = 0
        if f"{wire.layer}.bias" in state:
            state[f"{wire.layer}.bias"][dead] = 0
        if wire.norm:
            norm = f"{wire.norm}.bnorm" if wire.kind == CONV_IBN else wire.norm
            for name in ("weight", "bias", "running_mean"):
                vector = state[f"{norm}.{name}"]
                vector[dead[dead < len(vector)]] = 0


@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99), height=st.integers(1, 3), width=st.integers(1, 3))
def test_a_network_whose_removed_channels_are_dead_gives_the_same_matte(data, seed, height, width):
    dense = randomise(MODNet(tiny_config()), seed)
    rng, leaders = np.random.default_rng(seed), {}
    for group in dense.config.groups():
        least = 2 if is_ibn(group) else 1
        leaders.setdefault(tied_group(dense.config, group), data.draw(st.integers(least, dense.config.width(group))))
    config = dense.config.with_widths({g: leaders[tied_group(dense.config, g)] for g in dense.config.groups()})
    keep = keep_channels({g: rng.random(dense.config.width(g)) for g in dense.config.groups()}, dense.config, config)
    kill(dense, keep)
    pruned = MODNet(config).eval()
    pruned.load_state_dict(inherit(dense.state_dict(), dense.config, config))
    image = torch.randn(1, 3, 32 * height, 32 * width, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for a, b in zip(pruned(image), dense(image), strict=True):
            assert (a - b).abs().max() < 1e-5


@pytest.mark.parametrize("layout_seed", [2, 11])
def test_paper_rule_on_the_full_network_equals_silencing(layout_seed):
    # In float64: the rounding of a random network of this depth would hide a small mistake.
    dense = MODNet().eval().double()
    dense.load_state_dict(clean_state(upstream_state("seed", layout_seed)))
    state = dense.state_dict()
    config = paper_widths(filter_scores(state, dense.config), dense.config, 0.25, 0.1)
    assert all(block.expand for block in config.blocks[1:])
    pruned = MODNet(config).eval().double()
    pruned.load_state_dict(inherit(state, dense.config, config))
    for block, new in zip(dense.backbone.model.features[1:18], config.blocks, strict=True):
        block.residual = new.residual
    silence(dense, kept(state, dense.config, config))
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for a, b in zip(pruned(image), dense(image), strict=True):
            assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.4, 0.6, 0.875])
@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.95])
def test_every_ratio_and_threshold_gives_a_network_that_loads(ratio, threshold):
    state = clean_state(upstream_state("seed", 2))
    config = paper_widths(filter_scores(state, MODNetConfig()), MODNetConfig(), ratio, threshold)
    with torch.device("meta"):
        expected = {key: value.shape for key, value in MODNet(config).state_dict().items()}
    assert {key: value.shape for key, value in inherit(state, MODNetConfig(), config).items()} == expected


def test_one_choice_of_channels_for_all_writers_and_readers():
    state = clean_state(upstream_state("seed", 11))
    dense = MODNetConfig()
    config = paper_widths(filter_scores(state, dense), dense, 0.5, 0.5)
    keep = kept(state, dense, config)
    for number, block in enumerate(config.blocks, 1):
        if block.residual:
            assert keep[f"block{number}"].tolist() == keep[f"block{number - 1}"].tolist()
    for group in dense.groups():
        if is_ibn(group):
            assert (keep[group] < dense.width(group) // 2).sum() == config.width(group) // 2


def test_pruning_nothing_changes_nothing(tiny_model):
    state = tiny_model.state_dict()
    same = inherit(state, tiny_model.config, tiny_model.config)
    assert all(torch.equal(same[key], value) for key, value in state.items())


def test_the_strongest_filters_stay():
    dense = randomise(MODNet(tiny_config()))
    with torch.no_grad():
        dense.hr_branch.conv_hr[0].layers[0].weight[[1, 3, 4, 6]] *= 10
    config = dense.config.with_widths({"hr.1x": 4})
    keep = kept(dense.state_dict(), dense.config, config)
    assert keep["hr.1x"].tolist() == [1, 3, 4, 6]


def test_a_group_cannot_grow(tiny_model):
    with pytest.raises(ValueError, match="hr.1x has 8 channels, 12"):
        inherit(tiny_model.state_dict(), tiny_model.config, tiny_model.config.with_widths({"hr.1x": 12}))


@pytest.mark.parametrize(("ratio", "threshold", "said"), [
    (-0.1, 0.5, "ratio"), (1.0, 0.5, "ratio"), (0.9, 0.5, "ratio"), (float("nan"), 0.5, "ratio"),
    (0.5, 0.0, "threshold"), (0.5, 1.0, "threshold"), (0.5, float("nan"), "threshold")])
def test_numbers_out_of_range_are_refused(ratio, threshold, said):
    with pytest.raises(ValueError, match=f"{said} is"):
        paper_widths({}, MODNetConfig(), ratio, threshold)


def test_every_wire_writes_a_group_that_is_scored(tiny_model):
    scores = group_scores(filter_scores(tiny_model.state_dict(), tiny_model.config), tiny_model.config, tiny_model.config)
    for wire in wires(tiny_model.config):
        if wire.writes != "alpha":
            assert len(scores[tied_group(tiny_model.config, wire.writes)]) == tiny_model.config.width(wire.writes)
    assert any(is_block_output(name) for name in scores) and wire.kind != CONV_IBN


def test_rule_tied_keeps_every_residual_and_expansion_and_ties_widths():
    state = clean_state(upstream_state("seed", 11))
    dense = MODNetConfig()
    for round_to in (1, 8):
        config = tied_widths(filter_scores(state, dense), dense, 0.5, 0.5, round_to=round_to)
        assert [(b.residual, b.expand) for b in config.blocks] == [(b.residual, b.expand) for b in dense.blocks]
        assert config.width("block7") == config.width("block10") < 64
        assert config.hr_2x == config.lr8x == 16 and config.se == 160 and config.f_1x == 8
        assert all(config.width(group) % round_to == 0 for group in dense.groups())


def test_rule_tied_counts_by_hand():
    scores = np.array([0.0, 1, 2, 3, 10])  # their mean is 3.2
    assert over_threshold(scores, 0.15) == 4 and over_threshold(scores, 0.5) == 1 and over_threshold(np.ones(4), 0.5) == 4
    assert [round_width(v, 32, round_to=8, least=2) for v in (0, 11.9, 12, 99)] == [8, 8, 16, 32]
    assert round_width(0, 5, round_to=8, least=2) == 5 and round_width(0, 32, round_to=1, least=2) == 2


@pytest.mark.parametrize("rule", [paper_widths, tied_widths])
def test_scope_leaves_the_rest_dense(rule):
    state = clean_state(upstream_state("seed", 11))
    dense = MODNetConfig()
    pruned = rule(filter_scores(state, dense), dense, 0.5, 0.5)
    branches, backbone = (limit_scope(dense, pruned, scope) for scope in ("branches", "backbone"))
    assert branches.blocks == dense.blocks and branches.enc32x == 1280 and branches.hr_2x == 16
    assert backbone.blocks == pruned.blocks and backbone.enc32x == pruned.enc32x and backbone.hr_2x == 32
    assert limit_scope(dense, pruned, "whole") == pruned


def test_pruning_twice_keeps_what_pruning_once_keeps():
    dense = randomise(MODNet(tiny_config()))
    state = dense.state_dict()
    middle, small = (dense.config.with_widths({"hr.1x": n, "block9.hidden": 2 * n, "se": n}) for n in (6, 4))
    once = inherit(state, dense.config, small)
    twice = inherit(inherit(state, dense.config, middle), middle, small)
    assert all(torch.equal(once[key], twice[key]) for key in once)
