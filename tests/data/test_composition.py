"""Foreground colours and composition."""
import cv2
import numpy as np
import pytest

from src.data import composition
from src.data.composition import Backgrounds, cached_colours, foreground_colours, put_on


def mixed(alpha: np.ndarray) -> np.ndarray:
    """Red over blue by `alpha` (H, W) uint8."""
    a = alpha[..., None] / 255
    return np.rint(a * [250, 20, 10] + (1 - a) * [10, 20, 250]).astype(np.uint8)


@pytest.fixture
def ramp() -> np.ndarray:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, :20], alpha[:, 20:40] = 255, np.linspace(254, 1, 20)
    return alpha


def test_foreground_colours_are_free_of_the_background(ramp):
    colours = foreground_colours(mixed(ramp), ramp)
    assert colours.shape == (40 * 20, 3) and colours.dtype == np.uint8
    assert np.abs(colours.astype(int) - [250, 20, 10]).max() <= 12


def test_a_hard_mask_has_no_colours_to_estimate():
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 255
    assert foreground_colours(np.zeros((8, 8, 3), np.uint8), mask).shape == (0, 3)


def test_composition_by_hand():
    foreground, background = np.full((1, 3, 3), (200, 100, 0), np.uint8), np.full((1, 3, 3), (0, 50, 250), np.uint8)
    out = put_on(foreground, np.array([[0, 51, 255]], np.uint8), background)
    np.testing.assert_array_equal(out[0], [[0, 50, 250], [40, 60, 200], [200, 100, 0]])


def test_colours_are_estimated_once_and_again_when_a_file_changes(ramp, tmp_path, monkeypatch):
    paths = tmp_path / "image.png", tmp_path / "alpha.png"
    for path in paths:
        path.write_bytes(b"1")
    first = cached_colours(paths, mixed(ramp), ramp, tmp_path / "cache")
    calls = []
    original = composition.foreground_colours
    monkeypatch.setattr(composition, "foreground_colours", lambda *args: calls.append(1) or original(*args))
    np.testing.assert_array_equal(cached_colours(paths, mixed(ramp), ramp, tmp_path / "cache"), first)
    assert not calls
    next((tmp_path / "cache").iterdir()).write_bytes(b"broken")
    np.testing.assert_array_equal(cached_colours(paths, mixed(ramp), ramp, tmp_path / "cache"), first)
    paths[1].write_bytes(b"22")
    cached_colours(paths, mixed(ramp), ramp, tmp_path / "cache")
    assert len(calls) == 2


def test_backgrounds_are_squares_and_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Backgrounds(tmp_path / "nowhere", 64)
    with pytest.raises(ValueError, match="no pictures in"):
        Backgrounds(tmp_path, 64)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((400, 300, 3), 90, np.uint8))
    backgrounds = Backgrounds(tmp_path, 64)
    assert backgrounds.load(0).shape == (128, 96, 3)
    drawn = backgrounds.draw(50, np.random.default_rng(0))
    assert drawn.shape == (50, 50, 3) and drawn.std(axis=(0, 1)).max() < 1


def test_a_large_folder_of_backgrounds_does_not_fill_the_memory(tmp_path, monkeypatch):
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((64, 64, 3), 50 * index, np.uint8))
    monkeypatch.setattr(composition, "CACHE_BYTES", 2 * 64 * 64 * 3)
    read, original = [], composition.read_image
    monkeypatch.setattr(composition, "read_image", lambda path: (read.append(path.stem), original(path))[1])
    backgrounds = Backgrounds(tmp_path, 64)
    backgrounds.load_all()
    assert read == ["0", "1"]
    assert [int(backgrounds.load(index).max()) for index in (0, 1, 4, 4)] == [0, 50, 200, 200]
    assert read == ["0", "1", "4", "4"]
