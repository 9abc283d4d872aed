"""Validate a network in training on `val`."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch

from src.console import progress_bar
from src.data.samples import Pair, read_pair
from src.data.sources import Sources, pairs_by_set
from src.evaluation.evaluate import evaluate_pairs
from src.media.preprocess import REF_SIZE, area_resize, to_input
from src.models.modnet import MODNet
from src.script import NetworkError
from src.training.distillation import forward
from src.training.losses import semantic_loss


@torch.inference_mode()
def semantic_error(model: MODNet, pairs: Sequence[Pair], title: str, *, ref_size: int = REF_SIZE) -> float:
    """Compute the mean squared error of the coarse semantics alone, for a network in eval mode. Raises `NetworkError`
    if it is none."""
    device, errors = next(model.parameters()).device, []
    for pair in progress_bar(pairs, desc=title, leave=False):
        image, alpha = read_pair(pair)
        x = torch.from_numpy(to_input(image, ref_size)).to(device)
        semantic, _, _ = forward(model, x, semantic_training=True)
        true_alpha = torch.from_numpy(area_resize(alpha, *x.shape[2:]))[None, None].to(device)
        errors.append(semantic_loss(semantic, true_alpha).item())
    if not math.isfinite(mean := statistics.fmean(errors)):
        raise NetworkError("the network gives coarse semantics that are not finite")
    return mean


def validate(model: MODNet, data_dir: Sources, *, semantic_training: bool, limit: int | None,
             half: str | None = None, ref_size: int = REF_SIZE) -> dict:
    """Compute `val_mse`, `val_mad` and `val_n`, or `val_semantic` where nothing else is trained, on the first `limit`
    pictures of one or both halves of `val`, the network at `ref_size`; of several data sets the mean over the sets, and
    each set's own as `val_mse_<set>`."""
    model.eval()
    rows: dict[str, dict[str, float]] = {}
    sets = pairs_by_set(data_dir, "val", half=half, limit=limit)
    for name, pairs in sets.items():
        title = "eval val" if len(sets) == 1 else f"eval {name}"
        if semantic_training:
            rows[name] = {"val_semantic": semantic_error(model, pairs, title, ref_size=ref_size)}
        else:
            result = evaluate_pairs(model, pairs, title=title, ref_size=ref_size)
            rows[name] = {"val_mse": result["mse"], "val_mad": result["mad"]}
    means = {error: statistics.fmean(row[error] for row in rows.values()) for error in next(iter(rows.values()))}
    own = {f"{error}_{name}": value for name, row in rows.items() for error, value in row.items()} if len(rows) > 1 else {}
    return {**means, "val_n": sum(map(len, sets.values())), **own}
