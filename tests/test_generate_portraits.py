"""Generated portraits: exact alpha against closed forms and triangulation, and the data set as a user makes it."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.portraits.generate import compose, generate_data_set, generate_portrait, portrait_layers
from src.data.portraits.hair import STYLES, strand
from src.data.portraits.sketch import Sketch, ellipse
from src.data.samples import find_pairs, read_pair

ROOT = Path(__file__).resolve().parent.parent
SEEDS = range(6)


def run_cli(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "src/generate_portraits.py"), *options], capture_output=True,
                          text=True, timeout=120, cwd=ROOT)


def sketch_of(outline: np.ndarray) -> np.ndarray:
    sketch = Sketch(80, 80, centre=(40.0, 40.0), scale=20.0)
    sketch.fill(outline, (200.0, 100.0, 50.0))
    return sketch.finish()[1]


def test_alpha_of_a_disc_sums_to_its_area_with_a_border_under_a_third_of_a_pixel() -> None:
    total = sketch_of(ellipse(0.1, -0.2, 1.0, 1.0)).sum()
    assert np.pi * 20**2 < total < np.pi * (20 + 1 / 3) ** 2


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0, 1.75])
def test_edge_moved_by_a_part_of_a_pixel_adds_that_part_to_each_row(step: float) -> None:
    square = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    wider = square + np.array([(0, 0), (step / 20, 0), (step / 20, 0), (0, 0)])
    assert sketch_of(wider)[40].sum() - sketch_of(square)[40].sum() == pytest.approx(step, abs=0.06)


def test_sketch_colour_is_premultiplied() -> None:
    sketch = Sketch(64, 64, centre=(32.0, 32.0), scale=15.0)
    sketch.fill(ellipse(0, 0, 1, 1), (200.0, 100.0, 50.0))
    colour, alpha = sketch.finish()
    np.testing.assert_allclose(colour, alpha[..., None] * np.float32([200, 100, 50]), atol=1.5)


def test_tint_leaves_alpha() -> None:
    sketch = Sketch(64, 64, centre=(32.0, 32.0), scale=15.0)
    sketch.fill(ellipse(0, 0, 1, 1), (200.0, 100.0, 50.0))
    before = sketch.finish()
    sketch.tint(ellipse(0.9, 0, 0.5, 0.5), (0.0, 0.0, 0.0), 0.5, 0.05)
    after = sketch.finish()
    np.testing.assert_array_equal(before[1], after[1])
    assert after[0][32, 42, 0] == pytest.approx(100, abs=6)


def test_straight_strand_has_its_length() -> None:
    straight = STYLES[0]._replace(curl=0.0, droop=0.0)
    curve = strand(np.zeros(2), np.array([0.6, -0.8]), straight, 0.5, 0.3)
    np.testing.assert_allclose(curve[-1], [0.3, -0.4], atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_is_nothing_in_the_upper_corners_and_full_in_face_and_chest(seed: int) -> None:
    _, alpha = generate_portrait(seed)
    assert alpha[:12, :12].max() == 0 and alpha[:12, -12:].max() == 0
    assert alpha[150:180, 150:170].min() == 255 and alpha[-20:, 130:190].min() == 255


@pytest.mark.parametrize("seed", SEEDS)
def test_share_of_soft_pixels_is_that_of_portraits(seed: int) -> None:
    _, alpha = generate_portrait(seed)
    assert 0.01 < ((alpha > 0) & (alpha < 255)).mean() < 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_strands_stand_out_that_an_opening_of_five_pixels_removes(seed: int) -> None:
    _, alpha = generate_portrait(seed)
    thin = alpha - np.minimum(alpha, cv2.morphologyEx(alpha, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    rows = (thin > 40).sum(1)
    assert rows[:200].sum() > 100
    assert rows[300:].sum() < rows[:200].sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_triangulation_of_the_figure_before_black_and_white_gives_alpha(seed: int) -> None:
    """Smith and Blinn 1996: 1 - alpha is what remains of the difference of two known backgrounds."""
    foreground, alpha, background = portrait_layers(seed)
    black, white = (compose(foreground, alpha, np.full_like(background, value)).astype(float) for value in (0, 255))
    np.testing.assert_allclose(255 - (white - black), np.repeat(alpha[..., None], 3, 2), atol=1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_picture_is_background_without_alpha_and_foreground_where_full(seed: int) -> None:
    foreground, alpha, background = portrait_layers(seed)
    image, same_alpha = generate_portrait(seed)
    np.testing.assert_array_equal(alpha, same_alpha)
    np.testing.assert_array_equal(image[alpha == 0], np.rint(background[alpha == 0]))
    np.testing.assert_array_equal(image[alpha == 255], np.rint(foreground[alpha == 255]))


def test_same_seed_gives_the_same_bytes_and_another_seed_another_picture() -> None:
    first, again, other = generate_portrait(3), generate_portrait(3), generate_portrait(4)
    assert first[0].tobytes() == again[0].tobytes() and first[1].tobytes() == again[1].tobytes()
    assert (first[1] != other[1]).mean() > 0.02 and (first[0] != other[0]).mean() > 0.5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 200), (301, 64), (127, 333)])
def test_any_size_from_64_works(height: int, width: int) -> None:
    for seed in SEEDS:
        image, alpha = generate_portrait(seed, height=height, width=width)
        assert image.shape == (height, width, 3) and alpha.shape == (height, width)
        assert image.dtype == alpha.dtype == np.uint8
        assert alpha.min() == 0 and alpha[int(height * 0.43), width // 2] == 255


@pytest.mark.parametrize(("options", "name"), [
    ({"seed": -1}, "seed is -1"), ({"seed": 0, "height": 63}, "height is 63"), ({"seed": 0, "width": 8}, "width is 8")])
def test_bad_argument_is_named_with_its_value(options: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        generate_portrait(**options)


def test_data_set_is_read_back_as_it_was_drawn(tmp_path: Path) -> None:
    generate_data_set(tmp_path, train=3, val=2, seed=1, height=96, width=80)
    assert [len(find_pairs(tmp_path, split)) for split in ("train", "val")] == [3, 2]
    image, alpha = read_pair(find_pairs(tmp_path, "train")[2])
    true_image, true_alpha = generate_portrait(200_002, height=96, width=80)
    np.testing.assert_array_equal(image, true_image)
    np.testing.assert_array_equal(np.rint(alpha * 255), true_alpha)


def test_no_alpha_is_in_both_splits(tmp_path: Path) -> None:
    generate_data_set(tmp_path, train=4, val=4, height=64, width=64)
    train, val = ({pair.alpha.read_bytes() for pair in find_pairs(tmp_path, split)} for split in ("train", "val"))
    assert len(train) == len(val) == 4 and not train & val


def test_complete_set_is_left_alone_and_an_incomplete_one_finished(tmp_path: Path) -> None:
    settings = {"train": 2, "val": 1, "height": 64, "width": 64}
    generate_data_set(tmp_path, **settings)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    generate_data_set(tmp_path, **settings)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "val/fg/00000.png").unlink()
    generate_data_set(tmp_path, **settings)
    assert (tmp_path / "val/fg/00000.png").is_file()


def test_other_settings_need_overwrite_which_leaves_no_old_picture(tmp_path: Path) -> None:
    generate_data_set(tmp_path, train=3, val=1, height=64, width=64)
    with pytest.raises(ValueError, match="--overwrite"):
        generate_data_set(tmp_path, train=2, val=1, height=64, width=64)
    generate_data_set(tmp_path, train=2, val=1, height=64, width=64, overwrite=True)
    assert len(find_pairs(tmp_path, "train")) == 2


def test_pictures_of_the_user_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train/fg").mkdir(parents=True)
    mine = tmp_path / "train/fg/00000.png"
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match="not made here"):
        generate_data_set(tmp_path, train=1, val=0, height=64, width=64, overwrite=True)
    assert mine.read_bytes() == b"mine"


def test_script_writes_a_set(tmp_path: Path) -> None:
    done = run_cli("--output-dir", str(tmp_path), "--train", "1", "--val", "0", "--height", "64", "--width", "64")
    assert done.returncode == 0, done.stderr
    assert len(find_pairs(tmp_path, "train")) == 1


def test_bad_number_is_one_line_and_exit_2_and_writes_nothing(tmp_path: Path) -> None:
    done = run_cli("--output-dir", str(tmp_path / "set"), "--train", "0")
    assert (done.returncode, done.stderr) == (2, "error: train is 0, allowed are whole numbers from 1 to 100000\n")
    assert not (tmp_path / "set").exists()
