"""Run one picture through a network, by the published evaluation protocol."""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from src.checkpoint import load_model
from src.media.preprocess import REF_SIZE, to_alpha, to_input
from src.models.modnet import MODNet
from src.runtime.network import check_matte

if TYPE_CHECKING:
    from src.runtime.matting import Matting

# A picture (H, W, 3) uint8 RGB to its alpha (H, W) float32 in [0, 1].
Predict = Callable[[np.ndarray], np.ndarray]


@torch.inference_mode()
def predict_alpha(model: MODNet, image: np.ndarray, *, ref_size: int = REF_SIZE,
                  name: object = "the network") -> np.ndarray:
    """Predict the alpha (H, W) float32 in [0, 1] of a picture (H, W, 3) uint8 RGB; runs where the model's weights are.

    Raises `NetworkError` with the `name` of the model for a matte that is none (`check_matte`).
    """
    batch = torch.from_numpy(to_input(image, ref_size)).to(next(model.parameters()).device)
    matte = model(batch, inference=True)[2].float().cpu().numpy()
    check_matte(matte[0, 0], batch.shape[2:], name)
    return to_alpha(matte, *image.shape[:2])


def load_predictor(path: Path, prune_info: Path | None = None, *, device: str = "cpu",
                   ref_size: int | None = None) -> Predict:
    """Load what predicts alphas: the checkpoint at `path`, or a file in .xml or .onnx by OpenVINO on the CPU in float32.

    `ref_size` is what `network_size` takes, by default that of the protocol or of the IR. Raises `FileNotFoundError` or
    `ValueError` naming the file.
    """
    if path.suffix not in (".xml", ".onnx"):
        return functools.partial(predict_alpha, load_model(path, prune_info, device), ref_size=ref_size or REF_SIZE,
                                 name=path)
    if prune_info is not None:
        kind = "OpenVINO" if path.suffix == ".xml" else "ONNX"
        raise ValueError(f"{path} is an {kind} model, which takes no pruning JSON: leave --prune-info out")
    from src.runtime.matting import Matting

    return openvino_predictor(Matting(path, ref_size=ref_size))


def openvino_predictor(matting: Matting) -> Predict:
    """Return what predicts alphas by OpenVINO as the protocol does."""
    def predict(image: np.ndarray) -> np.ndarray:
        # Not `Matting.alpha`, which enlarges a matte smoothly, where the protocol repeats pixels.
        return to_alpha(matting.finish(matting.start(image))[None, None], *image.shape[:2])

    return predict
