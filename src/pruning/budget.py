"""Find the widths that fill a budget of parameters or multiply-accumulates."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from src.models.channels import tied_group, wires
from src.models.config import MODNetConfig
from src.models.costs import LinearCost, linear_macs, linear_params, macs, params
from src.pruning.criteria import Scores
from src.pruning.rules import MIN_HR_WIDTH, widths_of
from src.pruning.search import Search, weight_of
from src.pruning.slicing import group_scores

TOLERANCE = 0.02
MAX_RATIO, MAX_THRESHOLD = 1 - MIN_HR_WIDTH / 32, 0.999


class Budget(NamedTuple):
    """Upper bounds for a network; `None` is no bound. `macs` counts one image of 512x512 as deployed."""

    params: float | None = None
    macs: float | None = None

    def share(self, config: MODNetConfig) -> float:
        """Return the larger of the costs of `config` over their bounds: at most 1 is within the budget."""
        return max(count(config) / bound for count, bound in ((params, self.params), (macs, self.macs)) if bound)

    def exceeded(self, config: MODNetConfig) -> list[tuple[LinearCost, float]]:
        """List the costs that `config` has too much of, each with 1 over its bound as its weight."""
        table = ((params, linear_params(), self.params), (macs, linear_macs(), self.macs))
        return [(cost, 1 / bound) for count, cost, bound in table if bound and count(config) > bound]

    @property
    def name(self) -> str:
        """The bounds as a part of a file name."""
        return "_".join(f"{key}_{value:g}" for key, value in self._asdict().items() if value)


def check_over_zero(name: str, value: float) -> None:
    """Raise `ValueError` for the value of an option that is not finite or not over 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"--{name} is {value}, allowed are numbers over 0")


def check_budget(budget: Budget) -> None:
    """Raise `ValueError` for a budget without a bound, or with one that is not over 0."""
    if budget == Budget():
        raise ValueError("a budget needs --target-params or --target-macs")
    for name, bound in budget._asdict().items():
        if bound is not None:
            check_over_zero(f"target-{name}", bound)


def search_budget(dense: MODNetConfig, budget: Budget, *, round_to: int = 8, round_branches_to: int | None = None,
                  scope: str = "whole") -> MODNetConfig:
    """Find the widths within the budget that lose the least (`Search`), at most 2 % under it; every residual stays, and so
    does what `scope` leaves as it is.

    Raises `ValueError` for a budget over the dense network or under the smallest one.
    """
    search = Search(dense, round_to=round_to, round_branches_to=round_branches_to, scope=scope)
    if budget.share(dense) < 1:
        raise ValueError(f"the budget ({_say(budget)}) cannot be: the dense network has {_costs(dense)}")
    while costs := budget.exceeded(search.config()):
        if not search.step(costs):
            raise ValueError(f"the budget ({_say(budget)}) cannot be: the dense network has {_costs(dense)}, the smallest "
                             f"in steps of {round_to} channels {_costs(search.config())}")
    alike = {wire.layer: np.ones(dense.width(wire.writes)) for wire in wires(dense)}
    return fill(alike, dense, search.config(), budget, search.step_of)


def fit_budget(filters: Scores, dense: MODNetConfig, budget: Budget, *, rule: str = "tied",
               round_to: int = 8) -> tuple[MODNetConfig, float, float]:
    """Find widths within the budget and at most 2 % under it, with the ratio and threshold that lead there: of all pairs
    that meet it, rule `tied` takes the one that loses the least (`lost`), rule `paper` the same number for both where it
    can.

    Raises `ValueError` for a budget over the dense network, under the smallest one, or that `rule` cannot come near.
    """
    def widths(ratio: float, threshold: float) -> MODNetConfig:
        return widths_of(filters, dense, ratio, threshold, rule=rule, round_to=round_to)

    smallest = budget.share(widths(MAX_RATIO, MAX_THRESHOLD))
    if budget.share(dense) < 1 or smallest > 1:
        raise ValueError(f"the budget ({_say(budget)}) cannot be: the dense network has {_costs(dense)}, the smallest "
                         f"that rule {rule} makes {_costs(widths(MAX_RATIO, MAX_THRESHOLD))}")
    lines = [lambda knob: (min(knob, MAX_RATIO), knob),   # both together: 0.5 and 0.5 is the published choice
             *(lambda knob, r=r: (r / 96, knob) for r in range(int(96 * MAX_RATIO) + 1))]
    if rule == "paper":
        found = _bisect(lines[0], widths, budget)
        if budget.share(found[0]) < 1 - TOLERANCE:
            tries = [_bisect(line, widths, budget) for line in lines[1:]]
            found = max((t for t in tries if budget.share(t[0]) <= 1), key=lambda t: budget.share(t[0]))
        if budget.share(found[0]) < 1 - TOLERANCE:
            raise ValueError(f"rule paper cannot come within 2 % of {_say(budget)}; the nearest has {_costs(found[0])}, "
                             f"by ratio {found[1]:.4g} and threshold {found[2]:.4g}")
        return found
    tries = [_bisect(line, widths, budget) for line in lines]
    found = min((t for t in tries if budget.share(t[0]) <= 1), key=lambda t: lost(dense, t[0]))
    return (fill(filters, dense, found[0], budget, lambda _: round_to), *found[1:])


def lost(dense: MODNetConfig, config: MODNetConfig) -> float:
    """Compute what `Search` counts as lost: weighted -log of the share of channels left, summed over what is cut as one."""
    leaders = {tied_group(dense, group) for group in dense.groups()}
    return sum(weight_of(leader) * math.log(dense.width(leader) / config.width(leader)) for leader in leaders)


def _bisect(knobs: Callable[[float], tuple[float, float]], widths: Callable[[float, float], MODNetConfig],
            budget: Budget) -> tuple[MODNetConfig, float, float]:
    """Find the largest network within the budget on a line of ratios and thresholds, to 12 bits."""
    low, high = 0.001, MAX_THRESHOLD
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if budget.share(widths(*knobs(middle))) <= 1 else (middle, high)
    return widths(*knobs(high)), *knobs(high)


def fill(filters: Scores, dense: MODNetConfig, config: MODNetConfig, budget: Budget,
         step_of: Callable[[str], int]) -> MODNetConfig:
    """Widen groups of `config` by a step of channels, the highest score for its cost first, while the budget lasts."""
    ranked = {name: np.sort(scores)[::-1] for name, scores in group_scores(filters, dense, dense).items()}
    members: dict[str, list[str]] = {}
    for group in dense.groups():
        members.setdefault(tied_group(dense, group), []).append(group)
    while (spent := budget.share(config)) < 1 - TOLERANCE / 4:
        best, gain = None, 0.0
        for leader, groups in members.items():
            width = config.width(leader)
            wider = min(width + step_of(leader), dense.width(leader))
            if wider == width:
                continue
            candidate = config.with_widths(dict.fromkeys(groups, wider))
            share = budget.share(candidate)
            per_cost = ranked[leader][width:wider].sum() / max(1e-9, share - spent)
            if share <= 1 and per_cost > gain:
                best, gain = candidate, per_cost
        if best is None:
            break
        config = best
    return config


def _costs(config: MODNetConfig) -> str:
    return f"{params(config) / 1e6:.3f} M parameters and {macs(config) / 1e9:.3f} GMACs"


def _say(budget: Budget) -> str:
    parts = [f"{budget.params:g} parameters"] if budget.params else []
    return " and ".join(parts + ([f"{budget.macs:g} MACs as deployed"] if budget.macs else []))
