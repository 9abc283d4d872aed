"""Criteria of pruning: a score for each filter of a layer, from its weights, or from gradients on pictures."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from src.data.samples import MattingDataset
from src.models.channels import CONV_IBN, Wire, wires
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.training.losses import modnet_losses

State = Mapping[str, torch.Tensor]
# Layer name -> score of each of its filters (O,).
Scores = Mapping[str, np.ndarray]


def l1(weight: torch.Tensor) -> np.ndarray:
    """Compute the L1 norm of each filter of (O, I, kH, kW) or (O, I), float32 (O,), summed by NumPy as the published code
    does.

    Li et al. 2017, Pruning Filters for Efficient ConvNets, section 3.1.
    """
    return np.abs(weight.detach().cpu().numpy()).sum(axis=tuple(range(1, weight.ndim)))


def l2(weight: torch.Tensor) -> np.ndarray:
    """Compute the L2 norm of each filter, (O,). He et al. 2018, Soft Filter Pruning, section 3.2."""
    return weight.detach().flatten(1).norm(dim=1).cpu().numpy()


def fpgm(weight: torch.Tensor) -> np.ndarray:
    """Sum the distances of each filter to all others, (O,): near the geometric median is redundant.

    He et al. 2019, Filter Pruning via Geometric Median, equation 8.
    """
    flat = weight.detach().flatten(1).double()
    return torch.cdist(flat, flat).sum(1).cpu().numpy()


def bn_gamma(state: State, wire: Wire) -> np.ndarray:
    """Return the absolute scale of the batch norm behind each filter, (O,). Liu et al. 2017, Network Slimming, section 3.

    Instance norm has no scale here: its half of an IBN group, and layers without norm, are scored by L1. Each half is
    divided by its mean.
    """
    norms = l1(state[f"{wire.layer}.weight"]).astype(np.float64)
    if wire.norm is None:
        return norms
    norm = f"{wire.norm}.bnorm" if wire.kind == CONV_IBN else wire.norm
    gamma = state[f"{norm}.weight"].detach().abs().double().cpu().numpy()
    parts = (gamma, norms[len(gamma):])
    return np.concatenate([part / max(part.mean(), np.finfo(np.float64).tiny) for part in parts if len(part)])


def random_scores(state: State, wire: Wire, seed: int) -> np.ndarray:
    """Draw scores in [0.5, 1.5], (O,), the same for the same layer and seed: the criterion that any other must beat."""
    rng = np.random.default_rng([seed, *wire.layer.encode()])
    return rng.uniform(0.5, 1.5, len(state[f"{wire.layer}.weight"]))


_OF_WEIGHT: dict[str, Callable[[torch.Tensor], np.ndarray]] = {"l1": l1, "l2": l2, "fpgm": fpgm}
CRITERIA = (*_OF_WEIGHT, "bn-gamma", "taylor", "random")


def filter_scores(state: State, config: MODNetConfig, criterion: str = "l1", *, seed: int = 0) -> dict[str, np.ndarray]:
    """Score each filter of each layer by one of `CRITERIA` that needs no data. Raises `ValueError` for another."""
    if criterion in _OF_WEIGHT:
        return {wire.layer: _OF_WEIGHT[criterion](state[f"{wire.layer}.weight"]) for wire in wires(config)}
    if criterion == "bn-gamma":
        return {wire.layer: bn_gamma(state, wire) for wire in wires(config)}
    if criterion == "random":
        return {wire.layer: random_scores(state, wire, seed) for wire in wires(config)}
    raise ValueError(f"criterion is {criterion!r}, allowed are {', '.join(CRITERIA)}; taylor needs data")


def taylor_scores(model: MODNet, batches: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """Estimate the change of the loss without each filter, summed over `batches` (image, alpha, trimap) in eval mode.

    (sum of gradient x weight over the filter)^2, Molchanov et al. 2019, Importance Estimation for Neural Network Pruning,
    equation 8.
    """
    model.eval()
    modules, scores = dict(model.named_modules()), {}
    for batch in batches:
        model.zero_grad(set_to_none=True)
        modnet_losses(model(batch["image"]), batch["image"], batch["alpha"], batch["trimap"]).total.backward()
        for wire in wires(model.config):
            weight = modules[wire.layer].weight
            change = (weight.grad * weight.detach()).flatten(1).sum(1).square().double().cpu().numpy()
            scores[wire.layer] = scores.get(wire.layer, 0.0) + change
    model.zero_grad(set_to_none=True)
    return scores


def taylor_batches(data_dir: Path | None, seed: int) -> Iterable[dict[str, torch.Tensor]]:
    """Load training images of a data set, at most 16, one at a time. Raises `ValueError` without a data set."""
    if data_dir is None:
        raise ValueError("criterion taylor needs pictures: give --data-dir")
    dataset = MattingDataset(data_dir, size=256, seed=seed)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:16].tolist()
    return DataLoader(Subset(dataset, order))


def score_model(model: MODNet, criterion: str, *, data_dir: Path | None = None, seed: int = 0) -> Scores:
    """Score the filters of a network by one of `CRITERIA`. Raises `ValueError` for taylor without a data set."""
    if criterion == "taylor":
        return taylor_scores(model, taylor_batches(data_dir, seed))
    return filter_scores(model.state_dict(), model.config, criterion, seed=seed)
