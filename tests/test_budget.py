"""Costs in closed form against counted networks, and budgets met."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.budget import Budget, fit_budget
from src.checkpoint import clean_state
from src.complexity import complexity
from src.costs import macs, params
from src.criteria import filter_scores
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.rules import RULES
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
