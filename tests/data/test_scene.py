"""People and other things put into one room."""
import cv2
import numpy as np
import pytest

from src.data import scene
from src.data.composition import Backgrounds
from src.data.samples import MattingDataset
from src.data.scene import Layer, Staging, add_person, blob, compose, lay, make_layer, offset, visible_person


@pytest.fixture
def rooms(tmp_path):
    """A green room and a blue thing, for ever the same colours."""
    (tmp_path / "rooms").mkdir()
    for name, colour in (("hous_a", (0, 255, 0)), ("coco_b", (255, 0, 0))):
        cv2.imwrite(str(tmp_path / f"rooms/{name}.png"), np.full((40, 50, 3), colour, np.uint8))
    return tmp_path / "rooms"


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch):
    for module in ("scene", "composition"):
        monkeypatch.setattr(f"src.data.{module}.jitter_colours", lambda image, rng: image)


def person(height: int = 40, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Red; a box in the middle that no side of the picture cuts, half transparent at its left."""
    alpha = np.zeros((height, width), np.uint8)
    alpha[10:-10, 10:-10] = 255
    alpha[10:-10, 10:13] = 128
    return np.full((height, width, 3), (255, 0, 0), np.uint8), alpha


def test_two_half_transparent_layers_leave_a_quarter_through():
    room, alpha = np.full((4, 4, 3), 100.0, np.float32), np.zeros((4, 4), np.float32)
    layer = Layer(np.full((2, 2, 3), 100.0, np.float32), np.full((2, 2), 0.5, np.float32))
    for _ in range(2):
        lay(room, alpha, layer, -1, 3)
    expected = np.zeros((4, 4))
    expected[0, 3] = 0.75
    np.testing.assert_allclose(alpha, expected)
    assert room[0, 3, 0] == (100 / 2 + 100) / 2 + 100 and (room[1:] == 100).all(), "premultiplied colours are added"


def test_what_lies_beside_a_foreground_does_not_bleed_into_it():
    colours, alpha = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    colours[:, :31], alpha[:, :31] = 200, 255
    layer = make_layer(colours, alpha, 24, 24)
    soft = (layer.alpha > 0.01) & (layer.alpha < 0.99)
    assert soft.any()
    np.testing.assert_allclose(layer.colours[..., 0][soft] / layer.alpha[soft], 200, atol=0.01)


def test_a_person_is_as_large_as_asked_and_anywhere():
    rng, places = np.random.default_rng(0), set()
    for scale in (0.25, 0.5, 1.0):
        for _ in range(20):
            room, alpha = np.zeros((80, 80, 3), np.float32), np.zeros((80, 80), np.float32)
            add_person(room, alpha, *person(), scale=(scale, scale), rng=rng)
            seen = alpha > 0.3
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            cut = rows[0] == 0 or rows[-1] == 79 or columns[0] == 0 or columns[-1] == 79
            assert abs(len(rows) - 80 * scale) <= 1 and abs(len(columns) - 40 * scale) <= 1 or cut
            assert len(rows) >= 0.5 * 80 * scale
            places.add((rows[0], columns[0]))
            np.testing.assert_allclose(room[..., 0], 255 * alpha, atol=0.1)
    assert len(places) > 40


def test_where_the_picture_cut_somebody_the_frame_cuts_too():
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert offset(20, 80, (False, True), rng) >= 60 and offset(20, 80, (True, False), rng) <= 0
        assert -0.4 * 80 - 40 <= offset(120, 80, (False, False), rng) <= 32


def test_shoulders_that_a_side_cuts_are_hidden_by_chance():
    alpha = np.zeros((40, 40), np.uint8)
    alpha[5:, 15:25] = 255
    alpha[30:] = 255
    seen = {str(visible_person(alpha, np.random.default_rng(seed))) for seed in range(20)}
    assert seen == {str((slice(5, 30), slice(15, 25))), str((slice(5, 40), slice(0, 40)))}


def test_things_change_the_room_and_not_the_matte(rooms):
    backgrounds, rng = Backgrounds(rooms, 64), np.random.default_rng(2)
    assert [backgrounds.paths[index].name for index in backgrounds.things] == ["coco_b.png"]
    blue = 0
    for _ in range(10):
        image, alpha = compose([person()], (slice(0, 30), slice(0, 30)), backgrounds, Staging(distractor_prob=1.0), size=64,
                               rng=rng)
        assert (image[alpha == 255] == [255, 0, 0]).all() and image.dtype == alpha.dtype == np.uint8
        assert (alpha == alpha.max()).sum() > 0 and (image[alpha == 0][:, 0] == 0).all()
        blue += ((image == [0, 0, 255]).all(-1) & (alpha == 0)).any()
    assert blue >= 5


def test_a_blob_has_a_soft_outline_and_touches_no_edge():
    for seed in range(10):
        shape = blob(64, np.random.default_rng(seed))
        assert shape.max() == 255 and ((shape > 0) & (shape < 255)).sum() > 64
        assert max(shape[[0, -1]].max(), shape[:, [0, -1]].max()) < 128


def test_samples_with_every_kind_of_staging(discs, rooms, tmp_path, monkeypatch):
    options = {"size": 64, "background_dir": rooms, "composition_prob": 1.0, "cache_dir": tmp_path / "cache"}
    counted = []
    original = scene.add_person
    monkeypatch.setattr(scene, "add_person", lambda *args, **kwargs: (counted.append(1), original(*args, **kwargs)))
    for staging, least in ((Staging(person_scale=(0.3, 0.5)), 5), (Staging(two_people_prob=1.0), 5),
                           (Staging((0.3, 0.5), 1.0, 1.0), 10)):
        counted.clear()
        dataset = MattingDataset(discs, staging=staging, **options)
        for index in range(5):
            sample = dataset[index]
            assert sample["alpha"].max() > 0.9 and sample["image"].shape == (3, 64, 64)
            assert (dataset[index]["image"] == sample["image"]).all()
        assert len(counted) == 2 * least
    (rooms / "coco_b.png").unlink()
    with pytest.raises(ValueError, match=r"rooms has no pictures of things, whose names begin with coco_ or flic_"):
        MattingDataset(discs, staging=Staging(distractor_prob=0.1), **options)
