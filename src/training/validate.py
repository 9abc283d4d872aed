"""What a network in training is worth on `val`."""
from __future__ import annotations

import statistics
from pathlib import Path

import torch
from tqdm import tqdm

from src.data.samples import find_pairs, read_pair
from src.evaluation.evaluate import evaluate
from src.media.preprocess import area_resize, to_input
from src.models.modnet import MODNet
from src.training.distillation import forward
from src.training.losses import semantic_loss


@torch.inference_mode()
def semantic_error(model: MODNet, data_dir: Path, limit: int | None) -> dict:
    """Mean squared error of the coarse semantics alone, `{"val_semantic", "val_n"}`, for a network in eval mode."""
    device, errors = next(model.parameters()).device, []
    for pair in tqdm(find_pairs(data_dir, "val")[:limit], desc="eval val", leave=False):
        image, alpha = read_pair(pair)
        x = torch.from_numpy(to_input(image)).to(device)
        semantic, _, _ = forward(model, x, semantic_training=True)
        true_alpha = torch.from_numpy(area_resize(alpha, *x.shape[2:]))[None, None].to(device)
        errors.append(semantic_loss(semantic, true_alpha).item())
    return {"val_semantic": statistics.fmean(errors), "val_n": len(errors)}


def validate(model: MODNet, data_dir: Path, *, semantic_training: bool, limit: int | None) -> dict:
    """`val_mse`, `val_mad` and `val_n`, or `val_semantic` where nothing else is trained."""
    if semantic_training:
        return semantic_error(model.eval(), data_dir, limit)
    result = evaluate(model.eval(), data_dir, "val", limit=limit)
    return {"val_mse": result["mse"], "val_mad": result["mad"], "val_n": result["n"]}
