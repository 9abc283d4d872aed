"""One picture through the network, by the published evaluation protocol."""
from __future__ import annotations

import numpy as np
import torch

from src.models.modnet import MODNet
from src.preprocess import REF_SIZE, to_alpha, to_input


@torch.inference_mode()
def predict_alpha(model: MODNet, image: np.ndarray, *, ref_size: int = REF_SIZE) -> np.ndarray:
    """Alpha (H, W) float32 in [0, 1] of a picture (H, W, 3) uint8 RGB; runs where the model's weights are."""
    device = next(model.parameters()).device
    _, _, matte = model(torch.from_numpy(to_input(image, ref_size)).to(device), inference=True)
    return to_alpha(matte.float().cpu().numpy(), *image.shape[:2])
