"""Ways to choose widths: their checks, their names, and what the JSON says of them."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from src.deploy.instruction_set import chosen as chosen_cpu
from src.deploy.instruction_set import lanes
from src.models.config import MODNetConfig
from src.models.costs import macs, params
from src.pruning import choice
from src.pruning.budget import Budget
from src.pruning.choice import ByBudget, ByHand, ByLatency, ByRatio, BySearch, Choice, pruned_stem
from src.pruning.latency_cost import Fitted
from tests.conftest import tiny_config
from tests.pruning.test_budget import FILTERS

KEYS = ["rule", "scope", "budget", "search", "latency"]


@pytest.mark.parametrize(("how", "options", "stem"), [
    (ByRatio(), {}, "ratio_0.5_thresh_0.5"),
    (ByRatio(0.25, 0.3, "tied"), {"steps": 2}, "ratio_0.25_thresh_0.3_tied_2_steps"),
    (ByRatio(scope="branches"), {"criterion": "taylor"}, "ratio_0.5_thresh_0.5_branches_taylor"),
    (ByBudget(Budget(macs=3.66e9)), {}, "macs_3.66e+09_paper"),
    (BySearch(Budget(1.34e6, 3.66e9)), {}, "params_1.34e+06_macs_3.66e+09_tied_search"),
    (ByLatency(40, 1), {}, "latency_40ms_1_threads_fp32_tied"),
    (ByHand((("f.1x", 8), ("block2.hidden", 40))), {}, "widths_f-1x_8_block2-hidden_40")])
def test_published_and_other_names(how: Choice, options: dict, stem: str) -> None:
    assert pruned_stem(how, **options) == f"modnet_p_{stem}"


@pytest.mark.parametrize(("make", "said"), [
    (lambda: ByRatio(ratio=0.95), "ratio is 0.95"), (lambda: ByRatio(threshold=1), "threshold is 1"),
    (lambda: ByRatio(rule="best"), "rule is 'best', allowed are paper, tied"),
    (lambda: ByRatio(scope="head"), "scope is 'head'"), (lambda: ByRatio(rule="tied", round_to=0), "round-to is 0"),
    (lambda: ByBudget(Budget()), "needs --target-params or --target-macs"),
    (lambda: ByBudget(Budget(params=-1)), "--target-params is -1"),
    (lambda: BySearch(Budget(macs=float("inf"))), "--target-macs is inf"),
    (lambda: BySearch(Budget(macs=1e9), round_branches_to=0), "round-branches-to is 0"),
    (lambda: ByHand(()), "widths is empty"),
    (lambda: ByLatency(0), "--target-latency is 0"), (lambda: ByLatency(9, threads=0), "--threads is 0"),
    (lambda: ByLatency(9, precision="int3"), "precision is 'int3'"),
    (lambda: ByLatency(9, precision="int8"), "precision int8 needs calibration pictures: give --calib-dir"),
    (lambda: ByLatency(9, calib_dir=Path()), "--calib-dir is for --precision int8, not fp32")])
def test_a_choice_that_cannot_be_is_refused_when_it_is_made(make: Callable[[], Choice], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_every_way_says_the_same_keys_and_meets_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = MODNetConfig()
    monkeypatch.setattr(choice, "fit_machine", lambda dense, ms, **options: Fitted(tiny_config(), 0.97 * ms, {"f.1x": 2.5}))
    for how, count, bound in ((ByBudget(Budget(macs=4e9), "tied"), macs, 4e9), (BySearch(Budget(params=2e6)), params, 2e6)):
        chosen = how.choose(FILTERS, dense)
        assert 0.98 * bound <= count(chosen.config) <= bound and list(chosen.keys) == KEYS
        assert chosen.keys["budget"] == how.budget._asdict()
    chosen = ByLatency(20, 1).choose(FILTERS, dense)
    assert (chosen.config, chosen.ratio, chosen.threshold) == (tiny_config(), 1 - 8 / 32, 0)
    assert json.loads(json.dumps(chosen.keys)) == {
        "rule": "tied", "scope": "whole", "budget": None, "search": False,
        "latency": {"milliseconds": 20, "threads": 1, "precision": "fp32", "measured": pytest.approx(19.4),
                    "cpu": chosen_cpu(), "round_branches_to": max(8, lanes())}}
    assert "| f.1x | 2.5 |" in chosen.note


@pytest.mark.parametrize(("scope", "ratio", "kept"), [("whole", 0.5, []), ("branches", 0.5, ["stem", "block9.hidden", "se"]),
                                                      ("backbone", 0.0, ["hr.2x.a", "lr16x", "f.1x"])])
def test_outside_the_scope_nothing_is_cut(scope: str, ratio: float, kept: list[str]) -> None:
    dense = MODNetConfig()
    chosen = ByRatio(0.5, 0.4, scope=scope).choose(FILTERS, dense)
    assert (chosen.ratio, chosen.threshold, chosen.keys["scope"]) == (ratio, 0.4, scope)
    assert all(chosen.config.width(group) == dense.width(group) for group in kept)
    assert macs(chosen.config) < macs(dense)


def test_widths_by_hand_change_what_they_name_and_what_is_tied_to_it_alone() -> None:
    dense = MODNetConfig()
    chosen = ByHand((("f.1x", 8), ("block5", 24), ("block9.hidden", 100), ("hr.2x", 16))).choose(FILTERS, dense)
    new = chosen.config
    changed = {group: new.width(group) for group in dense.groups() if new.width(group) != dense.width(group)}
    assert changed == {"f.1x": 8, "block4": 24, "block5": 24, "block6": 24, "block9.hidden": 100, "hr.2x": 16}
    assert (chosen.ratio, chosen.threshold, list(chosen.keys)) == (0.5, 0, KEYS)


@pytest.mark.parametrize(("widths", "said"), [
    ((("f.3x", 8),), "the group 'f.3x', allowed are stem, block1.hidden, "),
    ((("f.1x", 17),), "f.1x=17: allowed are 1 to 16"), ((("f.1x", 0),), "f.1x=0: allowed are 1 to 16"),
    ((("f.1x", 1),), "width of f.1x is 1, allowed are whole numbers from 2"),
    ((("block4", 24), ("block6", 16)), "block6=16: it is tied to a group that is given another width")])
def test_widths_that_a_network_cannot_have_are_refused(widths: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ByHand(widths).choose(FILTERS, MODNetConfig())
