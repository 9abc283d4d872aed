from __future__ import annotations

import numpy as np
import pytest

from src.evaluation.metrics import dtssd
from src.runtime.temporal import flicker, one_frame_delay, without_flicker


def test_one_frame_delay_by_hand() -> None:
    before, now, after = (np.array([row], np.float32) for row in (
        [0.90, 0.20, 0.90, 0.90, 0.50, 0.50], [0.10, 0.80, 0.85, 0.10, 0.61, 0.59], [0.94, 0.10, 0.94, 0.60, 0.50, 0.50]))
    # neighbours agree, a peak, near one neighbour, neighbours disagree, just over the limit, just under it
    np.testing.assert_allclose(without_flicker(before, now, after), [[0.92, 0.15, 0.85, 0.10, 0.50, 0.59]], atol=1e-6)


def test_the_stream_keeps_order_and_ends_and_uses_the_mattes_that_came_in() -> None:
    values = [1.0, 0.0, 1.0, 0.0, 1.0]
    given = []

    def source():
        for index, value in enumerate(values):
            given.append(index)
            yield index, np.full((1, 1), value, np.float32)

    found = []
    for index, matte in one_frame_delay(source()):
        assert given[-1] == min(index + 1, 4)
        found.append((index, float(matte[0, 0])))
    assert found == [(0, 1.0), (1, 1.0), (2, 0.0), (3, 1.0), (4, 1.0)]
    assert [float(matte) for _, matte in one_frame_delay([(0, np.float32(0.3))])] == [pytest.approx(0.3)]
    assert list(one_frame_delay([])) == []


def test_dtssd_of_a_still_matte_with_single_bad_frames_falls_to_nothing() -> None:
    true = np.tile(np.float32([0, 0.5, 1]), (9, 4, 1))
    pred = true.copy()
    pred[3, :, 0] = 1
    pred[6, :, 2] = 0.2
    calm = np.stack([matte for _, matte in one_frame_delay(enumerate(pred))])
    assert dtssd(pred, true) > 10 and dtssd(calm, true) == 0
    assert flicker(calm) == 0 and flicker(pred) > 0.1


def test_flicker_by_hand() -> None:
    assert flicker(np.float32([[[0.0]], [[1.0]], [[0.5]], [[0.0]]])) == pytest.approx((0.75 + 0) / 2)
    with pytest.raises(ValueError, match="at least 3"):
        flicker([np.zeros((1, 1))] * 2)
