"""Intervals over pictures."""
import numpy as np
import pytest

from src.evaluation.bootstrap import interval, ratio, uncertainty
from src.evaluation.evaluate import summarise_sets, with_uncertainty


def test_an_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = interval(values, count=4000)
    half = 1.96 * values.std() / 400 ** 0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06 * half)
    assert interval(values, count=4000) == (low, high) != interval(values, count=4000, seed=1)


def test_a_ratio_is_paired():
    base = np.random.default_rng(0).exponential(1.0, 50)
    assert ratio(1.2 * base, base, count=500) == pytest.approx((1.2, 1.2, 1.2))
    middle, low, high = ratio(base[::-1].copy(), base, count=500)
    assert middle == pytest.approx(1) and low < 0.8 and high > 1.2


def test_pictures_without_the_error_are_left_out_and_none_stays_none():
    values = np.array([1.0, np.nan, 3.0])
    assert interval(values, count=500) == (1.0, 3.0) and interval(values * np.nan, count=500) is None
    assert ratio(values, np.zeros(3), count=500) is None and ratio(values, values * np.nan, count=500) is None
    rows = [{"mse": 1.0, "mse_unknown": None}, {"mse": 1.0, "mse_unknown": None}]
    assert uncertainty(rows, rows, ["mse", "mse_unknown"], count=100) == {
        "intervals": {"mse": (1.0, 1.0), "mse_unknown": None}, "ratios": {"mse": (1.0, 1.0, 1.0), "mse_unknown": None}}


def test_every_set_has_intervals_of_its_own():
    def result(factor: float) -> dict:
        return summarise_sets({name: [{"name": str(n), "mse": factor * base * n} for n in (1, 2)]
                               for name, base in (("a", 1.0), ("b", 10.0))})

    said = with_uncertainty({"dense": result(1), "pruned": result(1.5)}, count=200)
    assert said["dense"]["mse"] == pytest.approx(8.25) and said["dense"]["sets"]["b"]["intervals"]["mse"] == (10.0, 20.0)
    assert "ratios" not in said["dense"] and said["pruned"]["sets"]["a"]["ratios"]["mse"] == pytest.approx((1.5,) * 3)
    assert [row["set"] for row in said["pruned"]["images"]] == ["a", "a", "b", "b"]
