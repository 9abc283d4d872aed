"""Evaluate networks on a data set: the errors of each matte, and their means."""
from __future__ import annotations

import functools
import math
import statistics
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from src.console import progress_bar
from src.data.samples import Pair, find_pairs, make_trimap, read_pair
from src.evaluation.bootstrap import uncertainty
from src.evaluation.metrics import METRICS
from src.evaluation.predict import Predict, predict_alpha
from src.evaluation.report import NO_ERRORS
from src.media.preprocess import REF_SIZE
from src.models.modnet import MODNet

DEFAULT_METRICS = ("mse", "mad")
UNKNOWN = "_unknown"
_AHEAD = 2


def read_ahead(pairs: Sequence[Pair]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what `read_pair` gives for each pair, in order; the next ones are decoded while the caller works."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future] = deque()
        for pair in pairs:
            waiting.append(pool.submit(read_pair, pair))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        for read in waiting:
            yield read.result()


def matte_errors(pred_alpha: np.ndarray, true_alpha: np.ndarray, metrics: Sequence[str] = DEFAULT_METRICS, *,
                 region: np.ndarray | None = None) -> dict[str, float | None]:
    """Compute each of `metrics` over the whole picture, then `<metric>_unknown` over `region` (H, W) bool if there is one;
    `None` where a mean has no pixels."""
    errors = {name: METRICS[name](pred_alpha, true_alpha) for name in metrics}
    if region is not None:
        within = {name: METRICS[name](pred_alpha, true_alpha, region=region) for name in metrics}
        # A mean over no pixels is NaN, which JSON does not know.
        errors |= {name + UNKNOWN: None if math.isnan(value) and not region.any() else value
                   for name, value in within.items()}
    return errors


def summarise(rows: list[dict]) -> dict:
    """Average each error over the images that have it; return the means, their number `n`, and the `images` themselves."""
    columns = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0] if name not in ("name", "set")}
    means = {name: statistics.fmean(values) if values else None for name, values in columns.items()}
    return {**means, "n": len(rows), "images": rows}


def summarise_sets(rows: Mapping[str, list[dict]]) -> dict:
    """Summarise all rows, which are marked with their data set, and, of several, those of each set as `sets`."""
    if len(rows) == 1:
        return summarise(next(iter(rows.values())))
    whole = summarise([{"set": name, **row} for name, own in rows.items() for row in own])
    own = {name: {key: value for key, value in summarise(found).items() if key != "images"} for name, found in rows.items()}
    return {"sets": own, **whole}


def with_uncertainty(results: Mapping[str, dict], *, count: int, seed: int = 0) -> dict[str, dict]:
    """Return the results with `intervals` of each error by `count` bootstrap samples, and `ratios` to the first of them, of
    all pictures and of each data set. All are of the same pictures."""
    first = next(iter(results))
    names = [name for name in results[first] if name not in NO_ERRORS]

    def said(label: str, set_name: str | None) -> dict:
        rows, base = ([row for row in results[name]["images"] if set_name in (None, row.get("set"))]
                      for name in (label, first))
        return uncertainty(rows, None if label == first else base, names, count=count, seed=seed)

    out = {}
    for label, result in results.items():
        sets = {name: own | said(label, name) for name, own in result.get("sets", {}).items()}
        out[label] = {**said(label, None), **({"sets": sets} if sets else {}),
                      **{key: value for key, value in result.items() if key != "sets"}}
    return out


def errors_of(predictors: Mapping[str, Predict], pairs: Sequence[Pair], *, metrics: Sequence[str] = DEFAULT_METRICS,
              unknown_width: int | None = None, title: str = "eval", progress: bool = True) -> dict[str, dict]:
    """Compute the errors of each predictor's mattes of `pairs`, at their original size, as `summarise` returns them; each
    file is read once.

    `unknown_width` also measures within that many pixels of every pixel that is not fully 0 or 1 in the true alpha.
    Raises `ValueError` naming a pair that cannot be read or does not fit.
    """
    rows: dict[str, list[dict]] = {name: [] for name in predictors}
    bar = progress_bar(pairs, desc=title, leave=False, hidden=not progress)
    for pair, (image, true_alpha) in zip(bar, read_ahead(pairs), strict=True):
        region = None if unknown_width is None else make_trimap(true_alpha, unknown_width) == 0.5
        for name, predict in predictors.items():
            try:
                alpha = predict(image)
            except ValueError as error:
                raise ValueError(f"{pair.image}: {error}") from None
            errors = matte_errors(alpha, true_alpha, metrics, region=region)
            rows[name].append({"name": pair.image.name, **errors})
    return {name: summarise(found) for name, found in rows.items()}


def evaluate(model: MODNet, data_dir: Path, split: str = "val", *, limit: int | None = None,
             progress: bool = True) -> dict:
    """Compute MSE and MAD of a model in eval mode: `{"mse", "mad", "n", "images": [{"name", "mse", "mad"}, ...]}`.

    Raises `ValueError` naming a pair that cannot be read or does not fit.
    """
    return evaluate_pairs(model, find_pairs(data_dir, split)[:limit], title=f"eval {split}", progress=progress)


def evaluate_pairs(model: MODNet, pairs: Sequence[Pair], *, title: str = "eval", progress: bool = True,
                   ref_size: int = REF_SIZE) -> dict:
    """Evaluate as `evaluate` does, on the given pairs, the network at `ref_size` (`network_size`)."""
    predictors = {"model": functools.partial(predict_alpha, model, ref_size=ref_size)}
    return errors_of(predictors, pairs, title=title, progress=progress)["model"]
