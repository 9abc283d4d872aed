"""Costs in closed form against counted networks, and budgets met."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.checkpoint import clean_state
from src.complexity import complexity
from src.models.config import BRANCH_GROUPS, MODNetConfig
from src.models.costs import linear_macs, linear_params, linear_total, macs, params
from src.models.modnet import MODNet
from src.pruning.budget import Budget, fit_budget, search_budget
from src.pruning.criteria import filter_scores
from src.pruning.rules import RULES
from src.pruning.search import ENCODER_WEIGHT, Search
from tests.conftest import tiny_config, upstream_state

FILTERS = filter_scores(clean_state(upstream_state("seed", 11)), MODNetConfig())


@settings(max_examples=6, deadline=None)
@given(hidden=st.integers(1, 40), hr=st.integers(2, 30), se=st.integers(1, 9), lr=st.integers(2, 40))
def test_closed_form_equals_the_counted_network(hidden, hr, se, lr):
    config = tiny_config().with_widths({"block9.hidden": hidden, "hr.2x.a": hr, "f.1x": hr, "se": se, "lr16x": lr})
    counted = complexity(MODNet(config))
    assert (params(config), macs(config)) == (counted.params, counted.macs_deploy)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("budget", [Budget(params=1.34e6), Budget(macs=3.66e9), Budget(params=2e6, macs=6e9)])
def test_budgets_are_met_within_2_percent(rule, budget):
    config, ratio, threshold = fit_budget(FILTERS, MODNetConfig(), budget, rule=rule)
    with torch.device("meta"):
        assert sum(p.numel() for p in MODNet(config).parameters()) == params(config)
    assert 0.98 <= budget.share(config) <= 1
    assert 0 <= ratio < 1 and 0 < threshold < 1


@pytest.mark.parametrize("budget", [Budget(params=1e3), Budget(params=7e6), Budget(macs=2e10)])
def test_an_impossible_budget_says_what_is_possible(budget):
    with pytest.raises(ValueError, match=r"dense network has 6.487 M parameters and 15.466 GMACs, the smallest .* makes"):
        fit_budget(FILTERS, MODNetConfig(), budget)


@pytest.mark.parametrize(("cost", "count"), [(linear_macs(), macs), (linear_params(), params)])
def test_linear_costs_equal_the_counts_at_even_widths(cost, count):
    for config in (MODNetConfig(), tiny_config()):
        assert linear_total(config, cost) == count(config)


@pytest.mark.parametrize("leader", ["stem", "block4", "block16.hidden", "enc32x", "se", "lr8x", "hr.2x", "f.1x"])
def test_a_step_saves_what_the_counts_say(leader):
    search = Search(MODNetConfig(), round_to=4)
    saved, before = search.saving(leader, linear_macs()), macs(search.config())
    search.widths[leader] = search.narrower(leader)
    assert saved == before - macs(search.config()) > 0


@pytest.mark.parametrize("budget", [Budget(params=1.34e6), Budget(macs=3.66e9), Budget(params=1.34e6, macs=3.66e9)])
def test_a_search_meets_the_budget_and_keeps_the_topology(budget):
    dense = MODNetConfig()
    config = search_budget(dense, budget)
    assert 0.98 <= budget.share(config) <= 1
    assert [(b.residual, b.expand) for b in config.blocks] == [(b.residual, b.expand) for b in dense.blocks]


def test_a_search_of_the_branches_leaves_the_encoder():
    dense = MODNetConfig()
    config = search_budget(dense, Budget(macs=5.5e9), scope="branches")
    assert 0.98 * 5.5e9 <= macs(config) <= 5.5e9 and config.blocks == dense.blocks
    assert config.width("se") == dense.width("se") and config.width("hr.2x.a") < dense.width("hr.2x.a")
    with pytest.raises(ValueError, match="the smallest in steps of 8 channels"):
        search_budget(dense, Budget(macs=1.5e9), scope="branches")


def test_a_search_spends_alike_on_layers_that_it_cuts():
    """Where the weighted -log of the shares is least for a sum of costs, the product of width and marginal cost over the
    weight is the same for all."""
    config = search_budget(MODNetConfig(), Budget(macs=1.5e9), round_to=1)
    search = Search(MODNetConfig(), round_to=1)
    search.widths = {leader: config.width(leader) for leader in search.widths}
    spent = [width * search.saving(leader, linear_macs()) / (1 if leader in BRANCH_GROUPS else ENCODER_WEIGHT)
             for leader, width in search.widths.items() if 8 < width < MODNetConfig().width(leader)]
    assert len(spent) >= 8 and max(spent) < 1.3 * min(spent)


@pytest.mark.parametrize(("budget", "said"), [(Budget(params=1e3), "the smallest in steps of 8 channels"),
                                              (Budget(macs=2e10), "the dense network has 6.487 M")])
def test_an_impossible_search_says_what_is_possible(budget, said):
    with pytest.raises(ValueError, match=said):
        search_budget(MODNetConfig(), budget)


def test_branches_can_have_a_step_of_their_own():
    config = search_budget(MODNetConfig(), Budget(macs=4e9), round_branches_to=16)
    assert {config.width(group) % 16 for group in ("hr.4x", "hr.2x.a", "hr.2x.c", "f.2x", "f.1x", "lr8x")} == {0}
    assert macs(config) <= 4e9 and any(config.width(group) % 16 for group in config.groups())
