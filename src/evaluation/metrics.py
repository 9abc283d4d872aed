"""Compute errors between alpha mattes; pure functions.

Mattes are (H, W) float32 in [0, 1]. `region`, a boolean (H, W), restricts a metric to some pixels, such as the unknown
ones of a trimap; without one all pixels count. A mean over an empty region is NaN, a sum over it 0. SAD, Grad and Conn
are Rhemann et al. 2009 with the constants and the division by 1000 that PaddleSeg and RobustVideoMatting share; those two
also multiply MSE and MAD by 1000 in places, here they are plain means.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

SUM_SCALE = 1000
GRAD_SIGMA = 1.4
GRAD_EPSILON = 1e-2
CONN_STEPS = 10
CONN_THETA = 0.15
DTSSD_SCALE = 100


def _norm(pred_alpha: np.ndarray, true_alpha: np.ndarray, kind: int, region: np.ndarray | None) -> float:
    # OpenCV sums in double without the copies of a picture that NumPy would make.
    pred, true = (np.ascontiguousarray(alpha, np.float32) for alpha in (pred_alpha, true_alpha))
    if pred.shape != true.shape:
        raise ValueError(f"the predicted matte is {pred.shape}, the true one {true.shape}")
    return cv2.norm(pred, true, kind, None if region is None else region.astype(np.uint8))


def _count(alpha: np.ndarray, region: np.ndarray | None) -> int:
    return alpha.size if region is None else int(np.count_nonzero(region))


def _mean(total: float, count: int) -> float:
    return total / count if count else math.nan


def mse(pred_alpha: np.ndarray, true_alpha: np.ndarray, *, region: np.ndarray | None = None) -> float:
    """Compute the mean squared error (Rhemann et al. 2009, not scaled; PaddleSeg `MSE`)."""
    return _mean(_norm(pred_alpha, true_alpha, cv2.NORM_L2SQR, region), _count(true_alpha, region))


def mad(pred_alpha: np.ndarray, true_alpha: np.ndarray, *, region: np.ndarray | None = None) -> float:
    """Compute the mean absolute difference (not scaled; PaddleSeg `MAD`)."""
    return _mean(_norm(pred_alpha, true_alpha, cv2.NORM_L1, region), _count(true_alpha, region))


def sad(pred_alpha: np.ndarray, true_alpha: np.ndarray, *, region: np.ndarray | None = None) -> float:
    """Compute the sum of absolute differences / 1000 (PaddleSeg `SAD`)."""
    return _norm(pred_alpha, true_alpha, cv2.NORM_L1, region) / SUM_SCALE


def gradient_kernels() -> tuple[np.ndarray, np.ndarray]:
    """Return a Gaussian of sigma 1.4 and its derivative, cut where it falls under 0.01, each of L2 norm 1; their outer
    product is the 9x9 filter of PaddleSeg and RobustVideoMatting."""
    half = math.ceil(GRAD_SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * GRAD_SIGMA * GRAD_EPSILON)))
    x = np.arange(-half, half + 1)
    gauss = np.exp(-np.square(x) / (2 * GRAD_SIGMA ** 2))
    slope = -x * gauss
    return gauss / np.linalg.norm(gauss), slope / np.linalg.norm(slope)


def _gradient(alpha: np.ndarray) -> np.ndarray:
    gauss, slope = gradient_kernels()
    alpha = np.ascontiguousarray(alpha, np.float32)
    across, down = (cv2.sepFilter2D(alpha, cv2.CV_32F, *kernels, borderType=cv2.BORDER_REPLICATE)
                    for kernels in ((slope, gauss), (gauss, slope)))
    return cv2.magnitude(across, down)


def grad(pred_alpha: np.ndarray, true_alpha: np.ndarray, *, region: np.ndarray | None = None) -> float:
    """Compute the sum of squared differences of gradient magnitudes / 1000, Gaussian derivative of sigma 1.4, borders
    repeated (PaddleSeg `Grad`; RobustVideoMatting's, but without stretching both mattes to [0, 1] first)."""
    return _norm(_gradient(pred_alpha), _gradient(true_alpha), cv2.NORM_L2SQR, region) / SUM_SCALE


def _largest_component(mask: np.ndarray) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    return labels == 1 + sizes.argmax() if sizes.size else np.zeros(mask.shape, bool)


def connected_level(pred_alpha: np.ndarray, true_alpha: np.ndarray) -> np.ndarray:
    """Find the highest of 0, 0.1, ..., 1 up to which a pixel stays, step after step, in the largest 4-connected region where
    both mattes reach that level: l of Rhemann et al. 2009; (H, W) float32."""
    both = np.minimum(pred_alpha, true_alpha)
    level, inside = np.zeros(both.shape, np.float32), np.ones(both.shape, bool)
    for step in range(1, CONN_STEPS + 1):
        inside &= _largest_component(both >= np.float32(step / CONN_STEPS))
        level[inside] = step / CONN_STEPS
    return level


def conn(pred_alpha: np.ndarray, true_alpha: np.ndarray, *, region: np.ndarray | None = None) -> float:
    """Compute the connectivity error / 1000: step 0.1, theta 0.15 (PaddleSeg `Conn`, RobustVideoMatting `MetricCONN`)."""
    level = connected_level(pred_alpha, true_alpha)
    phis = (1 - np.where(alpha - level >= CONN_THETA, alpha - level, 0) for alpha in (pred_alpha, true_alpha))
    return _norm(*phis, cv2.NORM_L1, region) / SUM_SCALE


def dtssd(pred_alphas: np.ndarray, true_alphas: np.ndarray) -> float:
    """Compute the error of the change from frame to frame of a video, mattes (T, H, W) in [0, 1], T >= 2: the root of the
    mean squared difference of the changes, x 100, mean over the T - 1 steps (Erofeev et al. 2015; scale of
    RobustVideoMatting).

    Raises `ValueError` if the shapes differ or there are under two frames.
    """
    if pred_alphas.shape != true_alphas.shape or len(true_alphas) < 2:
        raise ValueError(f"dtSSD needs two videos of one shape and at least 2 frames, not {pred_alphas.shape} and "
                         f"{true_alphas.shape}")
    steps = (np.subtract(pred_alphas[t] - pred_alphas[t - 1], true_alphas[t] - true_alphas[t - 1], dtype=np.float64)
             for t in range(1, len(true_alphas)))
    return float(np.mean([DTSSD_SCALE * math.sqrt(np.square(step).mean()) for step in steps]))


METRICS: dict[str, Callable[..., float]] = {"mse": mse, "mad": mad, "sad": sad, "grad": grad, "conn": conn}
