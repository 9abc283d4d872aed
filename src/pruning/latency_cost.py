"""Widths for a target in milliseconds of OpenVINO on this machine."""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from src.console import progress_bar
from src.deploy.quantise import calibration_pictures
from src.models.channels import tied_group
from src.models.config import MODNetConfig
from src.models.costs import LinearCost, linear_total
from src.pruning.machine_cost import PRECISIONS, Machine, measure_ms, profile_cost
from src.pruning.search import Search

TOLERANCE = 0.05
MAX_REFUSED = 8
# Ranges do not change how long a network takes.
CALIBRATED = 2


class Fitted(NamedTuple):
    """Widths for a target, their milliseconds, and what a channel of each group of the dense network costs."""

    config: MODNetConfig
    milliseconds: float
    channel_us: dict[str, float]


def check_precision(precision: str, calib_dir: Path | None = None) -> None:
    """Raise `ValueError` for what is none of `PRECISIONS`, and for int8 without pictures."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, allowed are {', '.join(PRECISIONS)}")
    if precision == "int8" and calib_dir is None:
        raise ValueError("precision int8 needs calibration pictures: give --calib-dir")
    if precision != "int8" and calib_dir is not None:
        raise ValueError(f"--calib-dir is for --precision int8, not {precision}")


def search_path(dense: MODNetConfig, cost: LinearCost, *, round_to: int = 8,
                round_branches_to: int | None = None) -> list[MODNetConfig]:
    """Return the networks that the search passes for one cost, from the dense one to the smallest."""
    search = Search(dense, round_to=round_to, round_branches_to=round_branches_to)
    path = [search.config()]
    while search.step([(cost, 1.0)]):
        path.append(search.config())
    return path


def channel_costs(dense: MODNetConfig, cost: LinearCost, *, round_to: int = 8) -> dict[str, float]:
    """Return microseconds that a channel of each group costs: what one step of the search saves, over its channels."""
    search = Search(dense, round_to=round_to)
    steps = {leader: width - search.narrower(leader) for leader, width in search.widths.items()}
    return {leader: 1000 * search.saving(leader, cost) / step for leader, step in steps.items() if step}


def fit_machine(dense: MODNetConfig, target: float, *, threads: int = 2, precision: str = "fp32",
                calib_dir: Path | None = None, round_to: int = 8, round_branches_to: int | None = None) -> Fitted:
    """Fit the widths to `target` milliseconds as `fit_latency` does, by what this machine measures.

    Raises `FileNotFoundError` for a missing `calib_dir`, and `ValueError` as `fit_latency` does.
    """
    check_precision(precision, calib_dir)
    pictures = calibration_pictures(calib_dir, most=CALIBRATED) if precision == "int8" else ()
    machine = Machine(threads, precision, pictures)
    cost = profile_cost(dense, machine)
    config, found = fit_latency(dense, target, round_to=round_to, round_branches_to=round_branches_to, cost=cost,
                                measure=functools.partial(measure_ms, machine=machine))
    return Fitted(config, found, channel_costs(dense, cost, round_to=round_to))


def fit_latency(dense: MODNetConfig, target: float, *, round_to: int = 8,
                round_branches_to: int | None = None, cost: LinearCost,
                measure: Callable[[MODNetConfig], float]) -> tuple[MODNetConfig, float]:
    """Find the widths on the search's path that `measure` finds under `target` milliseconds, by at most 5 %, and their
    milliseconds.

    Raises `ValueError` for a target over the dense network's time or under the smallest one's, and where the machine is
    too noisy to come that near.
    """
    path = search_path(dense, cost, round_to=round_to, round_branches_to=round_branches_to)
    slow, fast, best = 0, len(path) - 1, None
    slowest, fastest = measure(path[slow]), measure(path[fast])
    if not fastest <= target <= slowest:
        raise ValueError(f"target-latency is {target:g} ms, possible here are {fastest:.1f} to {slowest:.1f}, the time of "
                         "the dense network")
    with progress_bar(desc="latency", unit="network") as bar:
        while fast - slow > 1:
            middle = (slow + fast) // 2
            found = measure(path[middle])
            bar.set_postfix(ms=f"{found:.1f}")
            bar.update()
            if found > target:
                slow = middle
                continue
            fast = middle
            if best is None or found > best[1]:
                best = path[middle], found
            if found >= (1 - TOLERANCE) * target:
                return best
    best = widen(best, dense, target, round_to=round_to, cost=cost, measure=measure) if best else (path[fast], fastest)
    if best[1] < (1 - TOLERANCE) * target:
        raise ValueError(f"no network was measured within 5 % under target-latency {target:g} ms; the nearest took "
                         f"{best[1]:.1f} ms; is the machine busy?")
    return best


def widen(start: tuple[MODNetConfig, float], dense: MODNetConfig, target: float, *, round_to: int, cost: LinearCost,
          measure: Callable[[MODNetConfig], float]) -> tuple[MODNetConfig, float]:
    """Widen single groups of `start`, a network and its milliseconds, while it stays under `target` and more than 5 % is
    left: a step of the search may be longer than that."""
    (config, found), members, refused = start, {}, set()
    for group in dense.groups():
        members.setdefault(tied_group(dense, group), []).append(group)
    while found < (1 - TOLERANCE) * target and len(refused) < MAX_REFUSED:
        scale, grown = found / linear_total(config, cost), {}
        for leader, groups in members.items():
            wider = config.with_widths(dict.fromkeys(groups, min(dense.width(leader), config.width(leader) + round_to)))
            more = scale * linear_total(wider, cost) - found
            if leader not in refused and 0 < more <= target - found:
                grown[leader] = more, wider
        if not grown:
            break
        leader = max(grown, key=lambda name: grown[name][0])
        now = measure(grown[leader][1])
        if now > target:
            refused.add(leader)
        else:
            config, found = grown[leader][1], now
    return config, found
