"""Our metrics against those written with SciPy, on the hair of a drawn portrait."""
import importlib.util

import cv2
import numpy as np
import pytest

from src.data.portraits.generate import generate_portrait
from src.data.samples import make_trimap
from src.evaluation.metrics import METRICS
from tests.conftest import ROOT

# By path: bench/metrics.py and src/evaluation/metrics.py share their name.
spec = importlib.util.spec_from_file_location("bench_metrics", ROOT / "bench" / "metrics.py")
bench = importlib.util.module_from_spec(spec)
pytest.importorskip("scipy")
spec.loader.exec_module(bench)


@pytest.mark.parametrize("seed", [3, 11])
@pytest.mark.parametrize("unknown_only", [False, True])
def test_metrics_equal_those_of_scipy(seed, unknown_only):
    true = generate_portrait(seed, height=240, width=200)[1].astype(np.float32) / 255
    pred = np.clip(cv2.GaussianBlur(np.roll(true, (2, -3), (0, 1)), (0, 0), 2) * np.float32(0.95), 0, 1)
    pred[5:20, 5:20] = 0.7
    region = make_trimap(true, 5) == 0.5 if unknown_only else np.ones(true.shape, bool)
    assert 0.05 < region.mean() < 0.9 or not unknown_only
    for name, value in bench.independent(pred, true, region).items():
        assert value > 0 and METRICS[name](pred, true, region=region) == pytest.approx(value, rel=2e-5), name
