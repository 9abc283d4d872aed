"""Choose the channels to keep by their scores, and cut the weights down to them. Pure functions over the wiring table; how
wide each group becomes is decided in `src/pruning/rules.py`."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from src.models.channels import CONV, CONV_IBN, DEPTHWISE, LINEAR, Wire, has_expansion, tied_group, wires
from src.models.config import MODNetConfig, is_ibn
from src.pruning.criteria import Scores, State, filter_scores


def check_weights(state: State) -> None:
    """Raise `ValueError` naming the first tensor with a value that is not finite."""
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{key} holds values that are not finite")


def group_scores(filters: Scores, dense: MODNetConfig, pruned: MODNetConfig) -> dict[str, np.ndarray]:
    """Score each channel of each group, float64 (dense width,), by the filters that write it; groups that residuals of the
    `pruned` network join have one score.

    Each writer's scores are divided by their mean before they are added, so that no layer of a residual chain drowns the
    others. The linear layers of the SE block only rescale `enc32x`; its own convolution decides.
    """
    scores: dict[str, np.ndarray] = {}
    for wire in wires(dense):
        if wire.writes == "alpha" or (wire.kind == LINEAR and wire.writes == "enc32x"):
            continue
        norms = filters[wire.layer].astype(np.float64)
        name = scored_group(dense, pruned, wire.writes)
        scores[name] = scores.get(name, 0.0) + norms / max(norms.mean(), np.finfo(np.float64).tiny)
    return scores


def scored_group(dense: MODNetConfig, pruned: MODNetConfig, group: str) -> str:
    """Return the `tied_group`, save that the hidden channels of a block that loses its expansion keep a choice of their
    own."""
    if group.endswith(".hidden") and has_expansion(dense, group):
        return group
    return tied_group(pruned, group)


def strongest(scores: np.ndarray, width: int) -> np.ndarray:
    """Return the indices, ascending, of the `width` highest scores; the lower index wins a tie."""
    return np.sort(np.argsort(-scores, kind="stable")[:width])


def keep_channels(scores: Mapping[str, np.ndarray], dense: MODNetConfig, pruned: MODNetConfig) -> dict[str, np.ndarray]:
    """Choose the kept channels of every group, ascending; the batch and instance norm halves of an IBN group separately."""
    keep = {"rgb": np.arange(3), "alpha": np.arange(1)}
    for group in dense.groups():
        score, width = scores[scored_group(dense, pruned, group)], pruned.width(group)
        if is_ibn(group):
            half, new_half = dense.width(group) // 2, width // 2
            keep[group] = np.concatenate([strongest(score[:half], new_half),
                                          half + strongest(score[half:], width - new_half)])
        else:
            keep[group] = strongest(score, width)
    return keep


def read_columns(wire: Wire, keep: Mapping[str, np.ndarray], config: MODNetConfig) -> np.ndarray:
    """List the input channels of a layer that stay: the kept channels of the groups it reads, with running offsets."""
    columns, offset = [], 0
    for group in wire.reads:
        columns.append(offset + keep[group])
        offset += config.width(group)
    return np.concatenate(columns)


def slice_state(state: State, dense: MODNetConfig, keep: Mapping[str, np.ndarray],
                pruned: MODNetConfig) -> dict[str, torch.Tensor]:
    """Cut the weights to the kept channels, under the names of the pruned network."""
    out, target = {}, {(wire.writes, wire.kind, wire.reads): wire for wire in wires(pruned)}
    for wire in wires(dense):
        to = target.get((wire.writes, wire.kind, wire.reads))
        if to is None:  # the expansion of a block that lost it
            continue
        rows, weight = torch.from_numpy(keep[wire.writes]), state[f"{wire.layer}.weight"][keep[wire.writes]]
        if wire.kind != DEPTHWISE:
            weight = weight[:, read_columns(wire, keep, dense)]
        out[f"{to.layer}.weight"] = weight.clone()
        if wire.kind in (CONV, CONV_IBN):
            out[f"{to.layer}.bias"] = state[f"{wire.layer}.bias"][rows].clone()
        if wire.norm:
            out |= _slice_norm(state, wire, rows, to)
    return out


def _slice_norm(state: State, wire: Wire, rows: torch.Tensor, to: Wire) -> dict[str, torch.Tensor]:
    norm, new = (f"{wire.norm}.bnorm", f"{to.norm}.bnorm") if wire.kind == CONV_IBN else (wire.norm, to.norm)
    # Of an IBN group only the first half has parameters; the rest is instance norm without any.
    rows = rows[rows < len(state[f"{norm}.weight"])]
    vectors = {f"{new}.{name}": state[f"{norm}.{name}"][rows].clone()
               for name in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{new}.num_batches_tracked": state[f"{norm}.num_batches_tracked"].clone()}


def inherit(state: State, dense: MODNetConfig, pruned: MODNetConfig, *,
            filters: Scores | None = None) -> dict[str, torch.Tensor]:
    """Make the state dict of the `pruned` network from the strongest channels of the `dense` one's weights.

    `filters` are the scores of the dense network's filters, L1 norms by default. Raises `ValueError` naming a group that
    would have to grow.
    """
    for group in dense.groups():
        if pruned.width(group) > dense.width(group):
            raise ValueError(f"{group} has {dense.width(group)} channels, {pruned.width(group)} cannot be kept: rule paper "
                             "is for the dense network, one that was pruned already is cut by --rule tied")
    filters = filter_scores(state, dense) if filters is None else filters
    keep = keep_channels(group_scores(filters, dense, pruned), dense, pruned)
    return slice_state(state, dense, keep, pruned)
