"""Metrics against hand values and against their definitions, written the slow way."""
import math

import cv2
import numpy as np
import pytest

from src.data.samples import make_trimap
from src.evaluation.metrics import METRICS, conn, connected_level, dtssd, grad, mad, mse, sad

SIGMA, HALF = 1.4, 4


@pytest.fixture
def mattes():
    """Two soft blobs, one shifted and spotted, in the 8-bit steps of a file, so that 0.2, 0.4, ... occur exactly."""
    y, x = np.mgrid[:37, :29]
    true = np.clip((11 - np.hypot(y - 18, x - 14)) / 6, 0, 1)
    pred = np.clip((11 - np.hypot(y - 17, x - 16)) / 5, 0, 1)
    pred[2:5, 2:5], true[3:6, 2:4], true[30:34, 20:26], pred[31:35, 22:25] = 0.8, 0.6, 0.4, 1.0
    return tuple(np.float32(np.rint(alpha * 255) / 255) for alpha in (pred, true))


def slow_gradient(alpha):
    def gauss(t):
        return math.exp(-t * t / (2 * SIGMA ** 2)) / (SIGMA * math.sqrt(2 * math.pi))

    kernel = np.array([[gauss(i) * -j * gauss(j) / SIGMA ** 2 for j in range(-HALF, HALF + 1)]
                       for i in range(-HALF, HALF + 1)])
    kernel /= math.sqrt((kernel ** 2).sum())
    padded = np.pad(alpha.astype(np.float64), HALF, mode="edge")
    out = np.zeros(alpha.shape)
    for i, j in np.ndindex(alpha.shape):
        window = padded[i:i + 2 * HALF + 1, j:j + 2 * HALF + 1]
        out[i, j] = math.hypot((window * kernel).sum(), (window * kernel.T).sum())
    return out


def flood_fill(mask):
    """The pixels of the largest 4-connected region, as a set."""
    left, best = set(zip(*np.nonzero(mask), strict=True)), set()
    while left:
        open_, region = [min(left)], set()
        while open_:
            i, j = open_.pop()
            if (i, j) in left:
                left.remove((i, j))
                region.add((i, j))
                open_ += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        best = max(best, region, key=len)
    return best


def slow_conn_map(pred, true):
    level = np.full(true.shape, -1.0)
    thresholds = np.arange(11) / 10
    for low, high in zip(thresholds, thresholds[1:], strict=False):
        omega = flood_fill((pred >= np.float32(high)) & (true >= np.float32(high)))
        for at in np.ndindex(true.shape):
            if level[at] == -1 and at not in omega:
                level[at] = low
    level[level == -1] = 1
    phis = []
    for alpha in (pred, true):
        distance = alpha - level
        phis.append(1 - distance * (distance >= 0.15))
    return np.abs(phis[0] - phis[1])


def test_hand_values():
    pred, true = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32), np.array([[0.0, 1.0], [0.0, 0.25]], np.float32)
    assert mse(pred, true) == pytest.approx((0.25 + 1) / 4)
    assert mad(pred, true) == pytest.approx((0.5 + 1) / 4)
    assert sad(pred, true) == pytest.approx((0.5 + 1) / 1000)
    right = np.array([[False, True], [False, True]])
    assert mse(pred, true, region=right) == pytest.approx(0.25 / 2)
    assert mad(pred, true, region=right) == pytest.approx(0.5 / 2)


def test_connectivity_of_an_island_by_hand():
    true = np.array([[1, 1, 1, 0, 1]], np.float32)
    pred = np.array([[1, 1, 1, 0, 0.5]], np.float32)
    assert connected_level(pred, true).tolist() == [[1, 1, 1, 0, 0]]
    assert conn(pred, true) == pytest.approx(0.5 / 1000)
    assert conn(np.float32([[1, 1, 1, 0, 0.9]]), np.float32([[1, 1, 1, 0, 1]])) == pytest.approx(0.1 / 1000)


def test_distance_under_theta_is_forgiven():
    assert conn(np.float32([[1, 0.14]]), np.float32([[1, 0]])) == 0
    assert conn(np.float32([[1, 0.16]]), np.float32([[1, 0]])) == pytest.approx(0.16 / 1000)


def test_gradient_of_a_slope_by_hand():
    x = np.arange(-HALF, HALF + 1)
    gauss = np.exp(-x ** 2 / (2 * SIGMA ** 2))
    response = 0.02 * (x ** 2 * gauss).sum() * gauss.sum() / np.linalg.norm(gauss) / np.linalg.norm(x * gauss)
    slope = np.tile(np.arange(30, dtype=np.float32) * np.float32(0.02), (20, 1))
    inner = np.zeros(slope.shape, bool)
    inner[:, HALF:-HALF] = True
    assert grad(slope, np.zeros_like(slope), region=inner) == pytest.approx(20 * 22 * response ** 2 / 1000, rel=1e-5)


@pytest.mark.parametrize("unknown_only", [False, True])
def test_equals_the_slow_definitions(mattes, unknown_only):
    pred, true = mattes
    region = make_trimap(true, 2) == 0.5 if unknown_only else np.ones(true.shape, bool)
    assert 0 < region.sum() <= region.size and (not unknown_only or region.sum() < region.size)
    difference = (pred.astype(np.float64) - true)[region]
    slow = {"mse": (difference ** 2).sum() / region.sum(), "mad": np.abs(difference).sum() / region.sum(),
            "sad": np.abs(difference).sum() / 1000,
            "grad": ((slow_gradient(pred) - slow_gradient(true)) ** 2)[region].sum() / 1000,
            "conn": slow_conn_map(pred, true)[region].sum() / 1000}
    for name, metric in METRICS.items():
        assert slow[name] > 0
        assert metric(pred, true, region=region) == pytest.approx(slow[name], rel=1e-5), name


@pytest.mark.parametrize("name", METRICS)
def test_invariances(mattes, name):
    pred, true = mattes
    metric = METRICS[name]
    assert metric(true, true) == pytest.approx(0, abs=1e-12)  # OpenCV filters unaligned rows by another summation order
    assert metric(pred, true) == pytest.approx(metric(true, pred))
    assert metric(pred, true) == pytest.approx(metric(pred, true, region=np.ones(true.shape, bool)), rel=1e-6)
    assert metric(pred[:, ::-1], true[:, ::-1]) == pytest.approx(metric(pred, true), rel=1e-5)


def test_sums_stay_exact_at_original_size():
    rng = np.random.default_rng(0)
    pred, true = rng.random((2000, 1500), np.float32), rng.random((2000, 1500), np.float32)
    difference = pred.astype(np.float64) - true
    assert mse(pred, true) == pytest.approx((difference ** 2).mean(), rel=1e-6)
    assert mad(pred, true) == pytest.approx(np.abs(difference).mean(), rel=1e-6)


def test_empty_region_has_no_mean_and_black_alpha_has_errors():
    black, pred = np.zeros((8, 9), np.float32), np.full((8, 9), 0.5, np.float32)
    nothing = np.zeros((8, 9), bool)
    assert math.isnan(mse(pred, black, region=nothing)) and math.isnan(mad(pred, black, region=nothing))
    assert all(METRICS[name](pred, black, region=nothing) == 0 for name in ("sad", "grad", "conn"))
    assert mse(pred, black) == pytest.approx(0.25) and conn(pred, black) == pytest.approx(72 * 0.5 / 1000)


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        mse(np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float32))


def test_dtssd_by_hand_and_blind_to_a_constant_error():
    true = np.zeros((3, 2, 2), np.float32)
    pred = true.copy()
    pred[1, 0, 0] = 1.0
    assert dtssd(pred, true) == pytest.approx(100 * math.sqrt(1 / 4))
    assert dtssd(true + np.float32(0.25), true) == 0
    with pytest.raises(ValueError, match="2 frames"):
        dtssd(true[:1], true[:1])


def test_mean_squared_error_is_that_of_opencv_psnr(mattes):
    assert 10 * math.log10(1 / mse(*mattes)) == pytest.approx(cv2.PSNR(*mattes, 1.0), rel=1e-6)
