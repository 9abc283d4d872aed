"""How the widths of a pruned network are chosen: one type for each way, with its own checks, file name and JSON keys."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from src.deploy.instruction_set import chosen as chosen_cpu
from src.deploy.instruction_set import lanes
from src.models.channels import tied_group
from src.models.config import MODNetConfig
from src.pruning.budget import Budget, check_budget, check_over_zero, fit_budget, search_budget
from src.pruning.criteria import Scores
from src.pruning.latency_cost import check_precision, fit_machine
from src.pruning.report import channel_table
from src.pruning.rules import check_numbers, check_round_to, check_rule, check_scope, limit_scope, widths_of


class Chosen(NamedTuple):
    """The network that a way of choosing found, and what the pruning JSON says about it.

    `ratio` and `threshold` go under the published keys; where there are none, `ratio` is that of the HR width and
    `threshold` 0. `keys` are ours: `rule`, `scope`, `budget`, `search`, `latency`. `note` is Markdown for the report.
    """

    config: MODNetConfig
    ratio: float
    threshold: float
    keys: dict[str, object]
    note: str = ""


@dataclass(frozen=True)
class ByRatio:
    """Choose by the published numbers: a threshold for the encoder and `lr16x`, a ratio for the other branches.

    `round_to` is rule `tied`'s. Raises `ValueError` for a value out of range.
    """

    ratio: float = 0.5
    threshold: float = 0.5
    rule: str = "paper"
    scope: str = "whole"
    round_to: int = 8

    def __post_init__(self) -> None:
        check_numbers(self.ratio, self.threshold)
        check_rule(self.rule)
        check_scope(self.scope)
        if self.rule == "tied":
            check_round_to(self.round_to)

    @property
    def name(self) -> str:
        """The part of the file name that says how the widths were chosen."""
        return f"ratio_{self.ratio}_thresh_{self.threshold}" + (f"_{self.rule}" if self.rule != "paper" else "")

    def choose(self, sizes: Scores, dense: MODNetConfig) -> Chosen:
        """Choose the widths by `sizes`, a score for each filter of the `dense` network."""
        config = widths_of(sizes, dense, self.ratio, self.threshold, rule=self.rule, round_to=self.round_to)
        # By `ratio` the published code knows the HR width, which is the dense one where only the encoder is cut.
        ratio = 0.0 if self.scope == "backbone" else self.ratio
        return Chosen(limit_scope(dense, config, self.scope), ratio, self.threshold, json_keys(self))


@dataclass(frozen=True)
class ByBudget:
    """Choose the ratio and threshold whose network fills a budget of parameters or multiply-accumulates.

    Raises `ValueError` for a value out of range.
    """

    budget: Budget
    rule: str = "paper"
    round_to: int = 8
    scope: ClassVar[str] = "whole"

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_rule(self.rule)
        if self.rule == "tied":
            check_round_to(self.round_to)

    @property
    def name(self) -> str:
        """The part of the file name that says how the widths were chosen."""
        return f"{self.budget.name}_{self.rule}"

    def choose(self, sizes: Scores, dense: MODNetConfig) -> Chosen:
        """Choose as `fit_budget` does. Raises `ValueError` for a budget that cannot be met."""
        found = fit_budget(sizes, dense, self.budget, rule=self.rule, round_to=self.round_to)
        return Chosen(*found, json_keys(self, budget=self.budget._asdict()))


@dataclass(frozen=True)
class BySearch:
    """Choose a width for each channel group, where least is lost for what is saved, until a budget is met.

    Raises `ValueError` for a value out of range.
    """

    budget: Budget
    round_to: int = 8
    round_branches_to: int | None = None
    scope: str = "whole"
    rule: ClassVar[str] = "tied"

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_scope(self.scope)
        check_round_to(self.round_to)
        if self.round_branches_to is not None:
            check_round_to(self.round_branches_to, name="round-branches-to")

    @property
    def name(self) -> str:
        """The part of the file name that says how the widths were chosen."""
        return f"{self.budget.name}_{self.rule}_search"

    def choose(self, sizes: Scores, dense: MODNetConfig) -> Chosen:
        """Choose as `search_budget` does; `sizes` have no say. Raises `ValueError` for a budget that cannot be met."""
        config = search_budget(dense, self.budget, round_to=self.round_to, round_branches_to=self.round_branches_to,
                               scope=self.scope)
        return Chosen(config, cut_of_hr(config, dense), 0.0, json_keys(self, budget=self.budget._asdict(), search=True))


@dataclass(frozen=True)
class ByLatency:
    """Choose by the search for a time of OpenVINO for one 512x512 image on this machine's CPU.

    Raises `ValueError` for a value out of range.
    """

    milliseconds: float
    threads: int = 2
    precision: str = "fp32"
    round_to: int = 8
    calib_dir: Path | None = None
    round_branches_to: int | None = None
    rule: ClassVar[str] = "tied"
    scope: ClassVar[str] = "whole"

    def __post_init__(self) -> None:
        check_over_zero("target-latency", self.milliseconds)
        check_over_zero("threads", self.threads)
        check_precision(self.precision, self.calib_dir)
        check_round_to(self.round_to)
        if self.round_branches_to is not None:
            check_round_to(self.round_branches_to, name="round-branches-to")

    @property
    def name(self) -> str:
        """The part of the file name that says how the widths were chosen."""
        return f"latency_{self.milliseconds:g}ms_{self.threads}_threads_{self.precision}_{self.rule}"

    def choose(self, sizes: Scores, dense: MODNetConfig) -> Chosen:
        """Choose by measuring; `sizes` have no say. Raises `ValueError` for a time that this machine cannot meet."""
        # By default the branches keep to whole vectors of this machine.
        branches = self.round_branches_to or max(self.round_to, lanes())
        config, measured, costs = fit_machine(dense, self.milliseconds, threads=self.threads, precision=self.precision,
                                              calib_dir=self.calib_dir, round_to=self.round_to, round_branches_to=branches)
        latency = {"milliseconds": self.milliseconds, "threads": self.threads, "precision": self.precision,
                   "measured": measured, "cpu": chosen_cpu(), "round_branches_to": branches}
        return Chosen(config, cut_of_hr(config, dense), 0.0, json_keys(self, latency=latency),
                      channel_table(costs, self.threads, self.precision))


@dataclass(frozen=True)
class ByHand:
    """Give some channel groups a width, with those that residuals tie to them, and leave all others as they are.

    Raises `ValueError` for no group, and for two widths of groups that are tied.
    """

    widths: tuple[tuple[str, int], ...]
    rule: ClassVar[str] = "tied"
    scope: ClassVar[str] = "whole"

    def __post_init__(self) -> None:
        if not self.widths:
            raise ValueError("widths is empty, give at least one GROUP=N")

    @property
    def name(self) -> str:
        """The part of the file name that says how the widths were chosen; without dots, which would begin a suffix."""
        return "_".join(["widths", *(f"{group.replace('.', '-')}_{width}" for group, width in self.widths)])

    def choose(self, sizes: Scores, dense: MODNetConfig) -> Chosen:
        """Return the `dense` network with these widths; `sizes` have no say. Raises `ValueError` for a group that it does
        not have, and for a width that it cannot have."""
        leaders, asked = {group: tied_group(dense, group) for group in dense.groups()}, {}
        for group, width in self.widths:
            if group not in leaders:
                raise ValueError(f"--widths names the group {group!r}, allowed are {', '.join(leaders)}")
            if not 1 <= width <= dense.width(group):
                raise ValueError(f"--widths {group}={width}: allowed are 1 to {dense.width(group)}, which the network has")
            if asked.setdefault(leaders[group], width) != width:
                raise ValueError(f"--widths {group}={width}: it is tied to a group that is given another width")
        config = dense.with_widths({group: asked[leader] for group, leader in leaders.items() if leader in asked})
        return Chosen(config, cut_of_hr(config, dense), 0.0, json_keys(self))


Choice = ByRatio | ByBudget | BySearch | ByLatency | ByHand


def json_keys(how: Choice, *, budget: dict | None = None, search: bool = False, latency: dict | None = None) -> dict:
    """Give the keys of the pruning JSON that say how the widths were chosen, the same for every way."""
    return {"rule": how.rule, "scope": how.scope, "budget": budget, "search": search, "latency": latency}


def cut_of_hr(config: MODNetConfig, dense: MODNetConfig) -> float:
    """Give the share of the HR channels that was cut, which the published keys call the ratio."""
    return 1 - config.hr_2x / dense.hr_2x


def pruned_stem(how: Choice, *, criterion: str = "l1", steps: int = 0) -> str:
    """Give the name of a pruned checkpoint, without suffix; the published one for the published options."""
    parts = ["modnet_p", how.name] + [f"{steps}_steps"] * (steps > 0)
    return "_".join(parts + [how.scope] * (how.scope != "whole") + [criterion] * (criterion != "l1"))
