"""Errors over a data set: regions, order, and pairs that do not do."""
import cv2
import numpy as np
import pytest

from src.data.samples import find_pairs, read_pair
from src.evaluation.evaluate import errors_of, matte_errors, read_ahead, summarise


def blank(value):
    return lambda image: np.full(image.shape[:2], value, np.float32)


def test_unknown_region_by_hand():
    true, pred = np.zeros((9, 20), np.float32), np.zeros((9, 20), np.float32)
    true[:, 10:] = 1
    pred[:, :10], pred[:, 9] = 0.5, 1
    band = np.zeros(true.shape, bool)
    band[:, 8:12] = True
    errors = matte_errors(pred, true, ("mse", "sad"), region=band)
    # eleven columns are wrong by 1 (column 9, and the ten of the foreground), nine by 0.5; in the band three and one
    assert errors["mse"] == pytest.approx((11 * 1 + 9 * 0.25) / 20)
    assert errors["mse_unknown"] == pytest.approx((3 * 1 + 0.25) / 4)
    assert errors["sad_unknown"] == pytest.approx(9 * 3.5 / 1000)


def test_a_mean_without_pixels_is_none_and_does_not_count():
    rows = [{"name": "a", "mse": 0.5, "mse_unknown": None}, {"name": "b", "mse": 0.1, "mse_unknown": 0.3}]
    assert summarise(rows) == {"mse": pytest.approx(0.3), "mse_unknown": 0.3, "n": 2, "images": rows}
    assert summarise(rows[:1])["mse_unknown"] is None
    broken = np.full((4, 4), np.nan, np.float32)
    black = np.zeros((4, 4), np.float32)
    errors = matte_errors(broken, black, ("mse",), region=np.ones((4, 4), bool))
    assert np.isnan(errors["mse"]) and np.isnan(errors["mse_unknown"])


def test_all_black_alpha_is_measured(discs):
    path = find_pairs(discs, "val")[0].alpha
    cv2.imwrite(str(path), np.zeros((96, 80), np.uint8))
    result = errors_of({"half": blank(0.5)}, find_pairs(discs, "val"), unknown_width=2, progress=False)["half"]
    assert result["images"][0]["mse"] == 0.25 and result["images"][0]["mse_unknown"] is None
    assert result["images"][1]["mse_unknown"] == result["mse_unknown"] > 0


def test_every_predictor_sees_every_image_once(discs):
    seen = []

    def predict(image):
        seen.append(image.sum())
        return blank(1)(image)

    results = errors_of({"white": predict, "black": blank(0)}, find_pairs(discs, "val"), progress=False)
    alphas = [read_pair(pair)[1] for pair in find_pairs(discs, "val")]
    assert len(seen) == 2 and list(results) == ["white", "black"]
    assert results["white"]["mad"] == pytest.approx(np.mean([1 - alpha.mean() for alpha in alphas]), rel=1e-5)
    assert results["black"]["mad"] == pytest.approx(np.mean([alpha.mean() for alpha in alphas]), rel=1e-5)


def test_reading_ahead_keeps_the_order(discs):
    pairs = find_pairs(discs, "train")
    assert len(pairs) == 5
    for pair, (image, alpha) in zip(pairs, read_ahead(pairs), strict=True):
        np.testing.assert_array_equal(image, read_pair(pair)[0])
        np.testing.assert_array_equal(alpha, read_pair(pair)[1])


def test_a_bad_pair_is_named_when_its_turn_comes(discs):
    pairs = find_pairs(discs, "train")
    pairs[3].image.write_bytes(b"half a picture")
    ahead = read_ahead(pairs)
    assert len([next(ahead) for _ in range(3)]) == 3
    with pytest.raises(ValueError, match="3.png is not a picture"):
        next(ahead)
