"""Turn the scores of a network's filters into the widths of the pruned network, by a rule. Pure functions."""
from __future__ import annotations

import numpy as np

from src.models.channels import LINEAR, block_input, tied_group, wires
from src.models.config import BRANCH_GROUPS, NUM_BLOCKS, MODNetConfig, hr_width, is_ibn, paper_config
from src.pruning.criteria import Scores
from src.pruning.slicing import group_scores

RULES = ("paper", "tied")
SCOPES = ("whole", "branches", "backbone")
MIN_HR_WIDTH = 4


def check_numbers(ratio: float, threshold: float) -> None:
    """Raise `ValueError` for a ratio or threshold out of range."""
    if not 0 <= ratio < 1 or hr_width(ratio) < MIN_HR_WIDTH:
        raise ValueError(f"ratio is {ratio}, allowed are numbers from 0 that leave at least {MIN_HR_WIDTH} of the 32 HR "
                         f"channels (up to {1 - MIN_HR_WIDTH / 32})")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}, allowed are numbers between 0 and 1")


def check_round_to(round_to: int, *, name: str = "round-to") -> None:
    """Raise `ValueError` for a step of widths out of range."""
    if not 1 <= round_to <= 32:
        raise ValueError(f"{name} is {round_to}, allowed are whole numbers from 1 to 32")


def check_rule(rule: str) -> None:
    """Raise `ValueError` for what is none of `RULES`."""
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, allowed are {', '.join(RULES)}")


def check_scope(scope: str) -> None:
    """Raise `ValueError` for what is none of `SCOPES`."""
    if scope not in SCOPES:
        raise ValueError(f"scope is {scope!r}, allowed are {', '.join(SCOPES)}")


def adaptive_count(norms: np.ndarray, threshold: float) -> int:
    """Count how many of a layer's filters to keep, by the published adaptive threshold.

    Norms (O,) are sorted downwards and min-max normalised; k = 1 + the first index under `threshold`, rounded to a
    multiple of 8 as MobileNet does. A layer whose filters all have the same norm keeps all.
    """
    norms = np.sort(norms)[::-1]
    spread = norms[0] - norms[-1]
    if spread == 0:
        return len(norms)
    k = 1 + int(np.argmax((norms - norms[-1]) / spread < threshold))
    value = k / len(norms) * len(norms)
    count = 1 if k == 1 else max(8, int(value + 4) // 8 * 8)
    if k > 1 and count < 0.9 * value:
        count += 8
    return min(count, len(norms))


def paper_widths(filters: Scores, dense: MODNetConfig, ratio: float, threshold: float) -> MODNetConfig:
    """Choose the widths by rule `paper`: adaptive threshold for the encoder and `lr16x`, fixed ratio for the other branches.

    A residual survives where the dense network has it and the new widths on both sides are equal. Raises `ValueError` for
    a `ratio` or `threshold` out of range.
    """
    check_numbers(ratio, threshold)
    counts: dict[str, int] = {}
    for wire in wires(dense):
        if wire.kind != LINEAR:
            count = adaptive_count(filters[wire.layer], threshold)
            counts[wire.writes] = max(count, counts.get(wire.writes, 0))
    expansion = [max(1, counts[f"block{number}.hidden"] // counts[block_input(number)]) if block.expand else 1
                 for number, block in enumerate(dense.blocks, 1)]
    new_cfg = [counts["stem"], *(counts[f"block{number}"] for number in range(1, NUM_BLOCKS + 1)), counts["enc32x"]]
    return paper_config(new_cfg, expansion, lr16x=counts["lr16x"], lr8x=dense.lr8x, hr=hr_width(ratio),
                        residual=[block.residual for block in dense.blocks])


def round_width(value: float, dense: int, *, round_to: int, least: int) -> int:
    """Round `value` to the nearest multiple of `round_to`, at least `least` and one multiple, at most `dense`."""
    return min(dense, max(least, round_to, int(value + round_to / 2) // round_to * round_to))


def over_threshold(scores: np.ndarray, threshold: float) -> int:
    """Count the scores (C,) that reach `threshold` times twice their mean, so that 0.5 keeps what is above average.

    Not min-max normalised as rule `paper` does it: there one large filter decides how many of its layer stay.
    """
    return int((scores >= threshold * 2 * scores.mean()).sum())


def tied_widths(filters: Scores, dense: MODNetConfig, ratio: float, threshold: float, *,
                round_to: int = 8) -> MODNetConfig:
    """Choose the widths by rule `tied`: what residuals join is cut as one, and no residual or expansion is lost.

    The encoder keeps the channels whose score reaches `threshold` times twice the group's mean; its last layer, which
    only the low-resolution branch reads, SE and all branches keep `1 - ratio`. Widths are rounded to `round_to`. Raises
    `ValueError`.
    """
    check_numbers(ratio, threshold)
    check_round_to(round_to)
    scores, widths = group_scores(filters, dense, dense), {}
    for group in dense.groups():
        leader, width = tied_group(dense, group), dense.width(group)
        value = (1 - ratio) * width if group in BRANCH_GROUPS else over_threshold(scores[leader], threshold)
        widths[group] = round_width(value, width, round_to=round_to, least=2 if is_ibn(group) else 1)
    return dense.with_widths(widths)


def widths_of(filters: Scores, dense: MODNetConfig, ratio: float, threshold: float, *, rule: str,
              round_to: int = 8) -> MODNetConfig:
    """Choose the widths by one of `RULES`; `round_to` is rule `tied`'s. Raises `ValueError` as the rules do."""
    check_rule(rule)
    if rule == "paper":
        return paper_widths(filters, dense, ratio, threshold)
    return tied_widths(filters, dense, ratio, threshold, round_to=round_to)


def fixed_groups(dense: MODNetConfig, scope: str) -> set[str]:
    """Return the channel groups that a scope leaves as they are: of the encoder and its SE block for `branches`, all but
    those for `backbone`."""
    encoder = {group for group in dense.groups() if group not in BRANCH_GROUPS or group in ("enc32x", "se")}
    return {"whole": set(), "branches": encoder, "backbone": set(dense.groups()) - encoder}[scope]


def limit_scope(dense: MODNetConfig, pruned: MODNetConfig, scope: str) -> MODNetConfig:
    """Put back the dense widths outside `scope` (`fixed_groups`)."""
    if scope == "whole":
        return pruned
    fixed = fixed_groups(dense, scope)
    source = dense if scope == "branches" else pruned
    # Built in one go: a width taken over alone could break a residual that the flags still state.
    flags = {"residual": [block.residual for block in source.blocks], "expand": [block.expand for block in source.blocks]}
    return pruned.with_widths({group: dense.width(group) for group in fixed}, **flags)
