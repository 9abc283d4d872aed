"""Compute bootstrap intervals over pictures: how much an error, or the ratio of two, depends on which pictures were at hand.

The percentile bootstrap of Efron 1979: pictures are drawn anew with replacement, many times.
"""
from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

PERCENTILES = (2.5, 97.5)


@functools.lru_cache(maxsize=2)
def draws(pictures: int, count: int, seed: int) -> np.ndarray:
    """Draw how often each of `pictures` is in each of `count` samples of as many, (count, pictures) uint16."""
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, pictures, pictures), minlength=pictures) for _ in range(count)]).astype(
        np.uint16)


def _values(rows: Sequence[Mapping], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows])


def _sums(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    return times.astype(np.float64) @ values


def interval(values: np.ndarray, *, count: int, seed: int = 0) -> tuple[float, float] | None:
    """Compute the 95 % interval of the mean of `values` (N,), those that are NaN left out; `None` if all are."""
    known = ~np.isnan(values)
    if not known.any():
        return None
    times = draws(int(known.sum()), count, seed)
    low, high = np.percentile(_sums(values[known], times) / known.sum(), PERCENTILES)
    return float(low), float(high)


def ratio(values: np.ndarray, base: np.ndarray, *, count: int, seed: int = 0) -> tuple[float, float, float] | None:
    """Compute the mean of `values` over mean of `base`, both (N,) of the same pictures, with its paired 95 % interval;
    `None` where that is no number."""
    known = ~(np.isnan(values) | np.isnan(base))
    if not known.any() or not base[known].any():
        return None
    times = draws(int(known.sum()), count, seed)
    tops, bottoms = _sums(values[known], times), _sums(base[known], times)
    # A sample of pictures without any error in the base has no ratio.
    some = bottoms > 0
    low, high = np.percentile(tops[some] / bottoms[some], PERCENTILES)
    return float(values[known].mean() / base[known].mean()), float(low), float(high)


def uncertainty(rows: Sequence[Mapping], base: Sequence[Mapping] | None, names: Sequence[str], *, count: int,
                seed: int = 0) -> dict[str, dict]:
    """Compute `{"intervals": {error: (low, high)}}`, and with the rows of a `base` on the same pictures also `{"ratios":
    {error: (ratio, low, high)}}`."""
    said = {"intervals": {name: interval(_values(rows, name), count=count, seed=seed) for name in names}}
    if base is not None:
        said["ratios"] = {name: ratio(_values(rows, name), _values(base, name), count=count, seed=seed) for name in names}
    return said
