"""Errors between two alpha mattes; pure functions."""
from __future__ import annotations

import numpy as np


def mse(pred_alpha: np.ndarray, true_alpha: np.ndarray) -> float:
    """Mean squared error of two mattes (H, W) in [0, 1], over all pixels (Rhemann et al. 2009, not scaled)."""
    return float(np.mean(np.square(pred_alpha.astype(np.float64) - true_alpha)))


def mad(pred_alpha: np.ndarray, true_alpha: np.ndarray) -> float:
    """Mean absolute difference of two mattes (H, W) in [0, 1], over all pixels."""
    return float(np.mean(np.abs(pred_alpha.astype(np.float64) - true_alpha)))
