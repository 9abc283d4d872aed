"""Prune as others do, for `bench/pruning.py`: the published code's way to inherit weights, and Torch-Pruning."""
from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from src.complexity import count_macs
from src.models.channels import CONV, CONV_BN, CONV_IBN, DEPTHWISE, Wire, wires
from src.models.config import RGB, MODNetConfig
from src.models.modnet import IBNorm, MODNet
from src.pruning.criteria import State, l1
from src.pruning.slicing import strongest

# Without a bound, global pruning asks for all channels of some layers, and Torch-Pruning then leaves those layers whole.
MAX_RATIO, GRID, CLOSE = 0.9, 20, 0.0025


def published_state(state: State, dense: MODNetConfig, pruned: MODNetConfig) -> dict[str, torch.Tensor]:
    """Slice the weights as the published code does: each layer picks the rows and the columns that are strongest in itself,
    whatever the layer before kept; the statistics of an IBNorm are copied by position."""
    out, target = {}, {(wire.writes, wire.kind, wire.reads): wire for wire in wires(pruned)}
    for wire in wires(dense):
        to = target.get((wire.writes, wire.kind, wire.reads))
        if to is None:
            continue
        weight = state[f"{wire.layer}.weight"]
        rows = torch.from_numpy(strongest(l1(weight), pruned.width(wire.writes)))
        columns = _own_columns(weight, wire, dense, pruned)
        out[f"{to.layer}.weight"] = weight[rows][:, columns].clone()
        if wire.kind in (CONV, CONV_IBN):
            out[f"{to.layer}.bias"] = state[f"{wire.layer}.bias"][rows].clone()
        if wire.kind in (CONV_BN, DEPTHWISE, CONV_IBN):
            norm, new = (f"{wire.norm}.bnorm", f"{to.norm}.bnorm") if wire.kind == CONV_IBN else (wire.norm, to.norm)
            which = torch.arange(pruned.width(wire.writes) // 2) if wire.kind == CONV_IBN else rows
            if wire.kind == CONV_IBN and len(which) > len(state[f"{norm}.weight"]):
                raise ValueError(f"{norm} has {len(state[f'{norm}.weight'])} channels, the published code would take "
                                 f"{len(which)} by their position")
            for name in ("weight", "bias", "running_mean", "running_var"):
                out[f"{new}.{name}"] = state[f"{norm}.{name}"][which].clone()
            out[f"{new}.num_batches_tracked"] = state[f"{norm}.num_batches_tracked"].clone()
    return out


def _own_columns(weight: torch.Tensor, wire: Wire, dense: MODNetConfig, pruned: MODNetConfig) -> torch.Tensor:
    if wire.kind == DEPTHWISE:
        return torch.arange(1)
    norms, columns, offset = l1(weight.transpose(0, 1)), [], 0
    for group in wire.reads:
        width = dense.width(group)
        columns.append(offset + strongest(norms[offset:offset + width], pruned.width(group)))
        offset += width
    return torch.from_numpy(np.concatenate(columns))


def _replace_norms(model: MODNet) -> dict[str, IBNorm]:
    """Put a batch norm in the place of each IBNorm, whose running mean numbers its channels; the norms by name.

    Torch-Pruning knows batch norm; what is left of the numbers says afterwards which channels an IBNorm keeps.
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, IBNorm)}
    for name, norm in norms.items():
        width = norm.bnorm.num_features + norm.inorm.num_features
        stand_in = nn.BatchNorm2d(width)
        stand_in.running_mean.copy_(torch.arange(width))
        model.set_submodule(name, stand_in)
    return norms


def _restore_norms(model: MODNet, norms: dict[str, IBNorm]) -> None:
    for name, norm in norms.items():
        kept = model.get_submodule(name).running_mean.round().long()
        half = norm.bnorm.num_features
        rows = kept[kept < half]
        new = IBNorm(2 * len(rows)) if len(rows) else IBNorm(2)
        for key in ("weight", "bias", "running_mean", "running_var"):
            getattr(new.bnorm, key).data = getattr(norm.bnorm, key).data[rows].clone()
        new.bnorm.num_features, new.inorm.num_features = len(rows), len(kept) - len(rows)
        for part, count in (("bnorm", len(rows)), ("inorm", len(kept) - len(rows))):
            if count == 0:
                # Nothing of this half is left: the norms do not take tensors without channels.
                empty = nn.Identity()
                empty.num_features = 0
                setattr(new, part, empty)
        model.set_submodule(name, new)


class _WithEntry(nn.Module):
    """A network behind a convolution that changes nothing: Torch-Pruning loses count at a concat with the bare image."""

    def __init__(self, model: MODNet) -> None:
        super().__init__()
        self.entry, self.model = nn.Conv2d(RGB, RGB, 1), model

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the network."""
        return self.model(self.entry(image))


def torch_pruned(dense: MODNet, target: float, *, global_pruning: bool) -> MODNet:
    """Return the dense network cut by Torch-Pruning (L1, DepGraph) to about `target` multiply-accumulates as deployed.

    The nearest of what its one ratio can do: it moves many layers at once, so that two networks may lie some percent apart.
    """
    tried: dict[float, tuple[float, MODNet]] = {}

    def share(ratio: float) -> float:
        model = _torch_pruned(dense, ratio, global_pruning=global_pruning)
        tried[ratio] = count_macs(model, inference=True) / target, model
        return tried[ratio][0]

    # Not monotone: a layer of which all channels are asked for stays whole. So a bracket first, from below.
    high = next((step / GRID for step in range(1, GRID) if share(step / GRID) <= 1), None)
    for _ in range(12 if high else 0):
        low = max((ratio for ratio in tried if ratio < high), default=0.0)
        if abs(tried[high][0] - 1) <= CLOSE:
            break
        middle = (low + high) / 2
        high = middle if share(middle) <= 1 else high
    best = min(tried.values(), key=lambda pair: abs(pair[0] - 1))
    return best[1]


def _torch_pruned(dense: MODNet, ratio: float, *, global_pruning: bool) -> MODNet:
    import torch_pruning as tp

    model = copy.deepcopy(dense).eval()
    norms = _replace_norms(model)
    heads = [module for name, module in model.named_modules()
             if isinstance(module, nn.Conv2d) and module.out_channels == 1]
    entry = _WithEntry(model)
    importance = tp.importance.MagnitudeImportance(p=1, group_reduction="mean", normalizer="mean",
                                                   target_types=[nn.Conv2d, nn.Linear])
    pruner = tp.pruner.BasePruner(entry, torch.zeros(1, 3, 64, 64), importance, pruning_ratio=ratio,
                                  global_pruning=global_pruning,
                                  max_pruning_ratio=MAX_RATIO, ignored_layers=[entry.entry, *heads])
    pruner.step()
    _restore_norms(model, norms)
    return model.eval()
