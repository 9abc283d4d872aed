"""Metrics against hand values."""
import numpy as np
import pytest

from src.metrics import mad, mse


def test_hand_values():
    pred, true = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32), np.array([[0.0, 1.0], [0.0, 0.25]], np.float32)
    assert mse(pred, true) == pytest.approx((0.25 + 1) / 4)
    assert mad(pred, true) == pytest.approx((0.5 + 1) / 4)


def test_equal_mattes_have_no_error():
    alpha = np.random.default_rng(0).random((9, 7), np.float32)
    assert mse(alpha, alpha) == 0 and mad(alpha, alpha) == 0
