"""Search for the widths that lose the least for what they save. Pure functions."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from src.models.channels import DEPTHWISE, Wire, tied_group, wires
from src.models.config import BRANCH_GROUPS, MODNetConfig, is_ibn
from src.models.costs import LinearCost, wire_key
from src.pruning.rules import check_round_to, check_scope, fixed_groups

# What is lost in the encoder counts so often: it learned from ImageNet what a thousand portraits do not teach again. With 1
# the retrained MSE of bench/pruning.py was 0.077 at 2.5 GMACs, with 4 it is 0.036; from 5.5 GMACs on both are the same.
ENCODER_WEIGHT = 4.0


def weight_of(leader: str) -> float:
    """Return how much a loss in the group counts; the encoder's last layer is read by a branch alone and counts as one."""
    return 1.0 if leader in BRANCH_GROUPS else ENCODER_WEIGHT


class Search:
    """A network that gives up channels one step at a time, always where least is lost for what is saved.

    What a group has lost is -log of the share of its channels that is left: what layers in a row let through is the
    product of their shares; losses in the encoder weigh `ENCODER_WEIGHT`. Scores have no say in it, they choose the channels
    afterwards: the sum of L1 that is left would cut the trunk of the encoder first, where few channels hold most of it and
    every block reads them all.
    Widths are multiples of `round_to`, those of the branches of `round_branches_to` if it is given; what `scope` leaves as
    it is keeps its width. Raises `ValueError` for either number out of range or no scope.
    """

    def __init__(self, dense: MODNetConfig, *, round_to: int = 8, round_branches_to: int | None = None,
                 scope: str = "whole") -> None:
        self.dense, self.round_to, self.round_branches_to = dense, round_to, round_branches_to or round_to
        for step in (self.round_to, self.round_branches_to):
            check_round_to(step)
        check_scope(scope)
        self.leader = {group: tied_group(dense, group) for group in dense.groups()}
        self.widths = {leader: dense.width(leader) for leader in self.leader.values()}
        self.least = {leader: min(dense.width(leader), max(self.step_of(leader), 2 if is_ibn(leader) else 1))
                      for leader in self.widths}
        self.least |= {self.leader[group]: dense.width(group) for group in fixed_groups(dense, scope)}
        self.touching: dict[str, list[Wire]] = {leader: [] for leader in self.widths}
        for wire in wires(dense):
            for leader in {self.leader[group] for group in (wire.writes, *wire.reads) if group in self.leader}:
                self.touching[leader].append(wire)

    def config(self) -> MODNetConfig:
        """Return the network at its present widths."""
        return self.dense.with_widths({group: self.widths[leader] for group, leader in self.leader.items()})

    def step_of(self, group: str) -> int:
        """Return the number that the width of a group is a multiple of."""
        return self.round_branches_to if is_ibn(group) else self.round_to

    def narrower(self, leader: str) -> int:
        """Return the next width of a group; the present one where it is the least."""
        step = self.step_of(leader)
        return max(self.least[leader], (self.widths[leader] - 1) // step * step)

    def saving(self, leader: str, cost: LinearCost) -> float:
        """Compute what one step of a group saves of `cost`."""
        before = sum(self._wire_cost(wire, cost, {}) for wire in self.touching[leader])
        other = {leader: self.narrower(leader)}
        return before - sum(self._wire_cost(wire, cost, other) for wire in self.touching[leader])

    def _wire_cost(self, wire: Wire, cost: LinearCost, other: Mapping[str, int]) -> float:
        def width(group: str) -> int:
            leader = self.leader.get(group)
            return self.dense.width(group) if leader is None else other.get(leader, self.widths[leader])

        width_in = 1 if wire.kind == DEPTHWISE else sum(width(group) for group in wire.reads)
        key = wire_key(wire)
        return width(wire.writes) * (cost.per_pair.get(key, 0.0) * width_in + cost.per_width.get(key, 0.0))

    def step(self, costs: Sequence[tuple[LinearCost, float]]) -> bool:
        """Take the best step for `costs`, pairs of a cost and its weight; return `False` if none is left."""
        prices = {}
        for leader, width in self.widths.items():
            to = self.narrower(leader)
            saved = sum(weight * self.saving(leader, cost) for cost, weight in costs) if to < width else 0.0
            if saved > 0:
                prices[leader] = weight_of(leader) * math.log(width / to) / saved
        if not prices:
            return False
        best = min(prices, key=prices.__getitem__)
        self.widths[best] = self.narrower(best)
        return True
