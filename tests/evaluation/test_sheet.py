"""The sheet of the worst images: which, in what order, and what its tiles show."""
import cv2
import numpy as np

from src.data.samples import find_pairs
from src.evaluation.evaluate import errors_of
from src.evaluation.sheet import CAPTION, GAP, TILE, heat_map, tile, worst, write_sheet


def results_of(*columns):
    return {f"m{number}": {"images": [{"mse": value} for value in column]} for number, column in enumerate(columns)}


def test_worst_are_ranked_by_the_mean_over_checkpoints():
    assert worst(results_of([0.1, 0.3, 0.2]), 2, "mse") == [1, 2]
    assert worst(results_of([0.1, 0.3, 0.2], [0.9, 0.0, 0.0]), 9, "mse") == [0, 1, 2]
    assert worst(results_of([0.1, float("nan"), 0.2]), 1, "mse") == [1]


def test_a_tile_keeps_the_aspect_ratio():
    box = tile(np.full((100, 50), 255, np.uint8))
    assert box.shape == (TILE, TILE, 3)
    white = (box == 255).all(2)
    assert white.sum() == TILE * TILE // 2 and white[:, TILE // 4:3 * TILE // 4].all()


def test_heat_grows_with_the_error():
    error = np.linspace(0, 1, 11, dtype=np.float32)[None]
    heat = heat_map(np.zeros_like(error), error).astype(int)
    assert heat.shape == (1, 11, 3) and heat[0, 0].sum() < 20 and (heat[0, -1, :2] > 240).all()
    assert (np.diff(heat.sum(2)[0]) > 0).all()


def test_sheet_has_a_line_an_image_and_two_tiles_a_checkpoint(discs, tmp_path):
    pairs = find_pairs(discs, "val")
    predictors = {"black": lambda image: np.zeros(image.shape[:2], np.float32),
                  "white": lambda image: np.ones(image.shape[:2], np.float32)}
    results = errors_of(predictors, pairs, progress=False)
    write_sheet(predictors, pairs, results, tmp_path / "sheet.png", count=9, metric="mse")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * (CAPTION + TILE + GAP), 6 * (TILE + GAP) - GAP, 3)
    centre = CAPTION + TILE // 2
    across = [sheet[centre, place * (TILE + GAP) + TILE // 2] for place in range(6)]
    assert (across[1] == 255).all() and (across[2] == 0).all() and (across[4] == 255).all()
    assert across[3].sum() > 500 and across[5].sum() < 20
    captions = [sheet[:CAPTION, place * (TILE + GAP):][:, :TILE] for place in range(6)]
    assert all((caption < 128).any() for caption in captions)
