"""Pairs on disk, trimaps and training samples."""
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from src.data import samples
from src.data.samples import MattingDataset, Pair, find_pairs, has_split, make_trimap, read_pair


def test_pairs_match_by_stem_over_file_types(tmp_path):
    for name in ("b.webp", "a.jpg"):
        (tmp_path / "train/fg").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "train/fg" / name), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "train/alpha").mkdir()
    for stem in "ab":
        cv2.imwrite(str(tmp_path / f"train/alpha/{stem}.png"), np.zeros((4, 4), np.uint8))
    assert [(p.image.name, p.alpha.name) for p in find_pairs(tmp_path, "train")] == [("a.jpg", "a.png"), ("b.webp", "b.png")]
    assert not has_split(tmp_path, "val")
    (tmp_path / "train/alpha/b.png").unlink()
    with pytest.raises(ValueError, match="b.webp has no partner"):
        find_pairs(tmp_path, "train")


def test_original_ppm100_layout(tmp_path, discs):
    (discs / "val/fg").rename(tmp_path / "image")
    (discs / "val/alpha").rename(tmp_path / "matte")
    assert len(find_pairs(tmp_path, "val")) == len(find_pairs(tmp_path, "train")) == 2
    assert not has_split(tmp_path, "val")


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_pairs(tmp_path / "nowhere", "train")
    for kind in ("fg", "alpha"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    with pytest.raises(ValueError, match="no pictures in"):
        find_pairs(tmp_path, "train")


def test_pairs_of_different_sizes_are_refused(discs):
    pair = find_pairs(discs, "val")[0]
    cv2.imwrite(str(pair.alpha), np.zeros((10, 12), np.uint8))
    with pytest.raises(ValueError, match="is 12x10, but .* is 80x96"):
        read_pair(pair)


def test_trimap_of_a_disc_is_a_ring():
    y, x = np.mgrid[:65, :65]
    radius = np.hypot(y - 32, x - 32)
    trimap = make_trimap((radius <= 20).astype(np.float32), 5)
    assert (trimap[radius < 14] == 1).all() and (trimap[radius > 26] == 0).all()
    assert (trimap[(radius > 17) & (radius < 23)] == 0.5).all()


def test_trimap_is_unknown_wherever_alpha_is_soft():
    alpha = np.full((20, 20), 0.5, np.float32)
    assert (make_trimap(alpha, 1) == 0.5).all()


def test_samples_have_the_promised_ranges_and_depend_on_seed_epoch_and_index_alone(discs):
    dataset = MattingDataset(discs, size=64, seed=3)
    sample = dataset[1]
    assert sample["image"].shape == (3, 64, 64) and sample["alpha"].shape == sample["trimap"].shape == (1, 64, 64)
    assert sample["image"].min() >= -1 and sample["image"].max() <= 1 and sample["image"].min() < 0
    assert sample["alpha"].max() > 0.99, "alpha is in [0, 1], not divided by 255 twice"
    assert set(sample["trimap"].unique().tolist()) <= {0.0, 0.5, 1.0}
    again = MattingDataset(discs, size=64, seed=3)
    assert not torch.equal(again[1 + 5 * len(again)]["image"], sample["image"])
    assert torch.equal(again[1]["image"], sample["image"])


def test_alpha_moves_with_the_picture(discs):
    dataset = MattingDataset(discs, size=64)
    for index in range(len(dataset)):
        sample = dataset[index]
        # The disc is blue, its surroundings red, whatever the colour jitter does short of grey.
        blue_minus_red = (sample["image"][2] - sample["image"][0]).flatten()
        if blue_minus_red.std() > 0.1:
            correlation = np.corrcoef(blue_minus_red.numpy(), sample["alpha"].flatten().numpy())[0, 1]
            assert correlation > 0.9


def test_a_matte_drawn_on_the_stored_picture_fits_whatever_its_exif_says(tmp_path):
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    for name, alpha in (("stored", stored[..., 0]), ("turned", np.rot90(stored[..., 0], -1))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), alpha)
        image, read = read_pair(Pair(tmp_path / "a.png", tmp_path / f"{name}.png"))
        assert (image[..., 0] / 255 == read).all()


def test_a_square_picture_is_turned_as_its_exif_says_and_so_is_its_matte(tmp_path):
    stored, exif = np.zeros((60, 60, 3), np.uint8), Image.Exif()
    stored[:, :30] = 255
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(stored[..., 0]).save(tmp_path / "exif.png", exif=exif)
    cv2.imwrite(str(tmp_path / "turned.png"), np.rot90(stored[..., 0], -1))
    for name in ("exif", "turned"):
        image, read = read_pair(Pair(tmp_path / "a.png", tmp_path / f"{name}.png"))
        assert (image[..., 0] / 255 == read).all() and read[0].all()


def test_memory_is_bounded(discs, monkeypatch):
    monkeypatch.setattr(samples, "CACHE_BYTES", 1)
    dataset = MattingDataset(discs, size=64)
    for index in range(len(dataset)):
        dataset.load(index)
    assert len(dataset._cache) == 1


@pytest.fixture
def masks(tmp_path):
    """A data set of one picture, 96x80, with a binary mask: the left half."""
    mask = np.zeros((96, 80), np.uint8)
    mask[:, :40] = 255
    for kind, picture in (("fg", np.dstack([mask // 2] * 3)), ("alpha", mask)):
        (tmp_path / "masks/train" / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "masks/train" / kind / "m.png"), picture)
    return tmp_path / "masks"


def test_rough_masks_are_mixed_in_marked_and_have_a_wide_trimap(discs, masks):
    dataset = MattingDataset(discs, size=96, semantic_only_dir=masks)
    assert len(dataset) == 6 and [dataset[i]["semantic_only"] for i in range(6)] == [False] * 5 + [True]
    for shuffle in range(20):
        sample = dataset[5 + 6 * shuffle]
        edge = (sample["alpha"] > 0) & (sample["alpha"] < 1)
        if edge.any():
            assert (sample["trimap"] == 0.5).sum() > 4 * 96


@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_a_composed_picture_keeps_the_foreground_and_loses_its_surroundings(discs, tmp_path, monkeypatch, stretch):
    # Without colour changes: the disc stays as it is, all round it is the green of the only background.
    monkeypatch.setattr("src.data.crops.jitter_colours", lambda image, rng: image)
    monkeypatch.setattr("src.data.composition.jitter_colours", lambda image, rng: image)
    monkeypatch.setattr("src.data.crops.degrade", lambda image, rng: image)
    (tmp_path / "green").mkdir()
    cv2.imwrite(str(tmp_path / "green/g.png"), np.full((70, 70, 3), (0, 255, 0), np.uint8))
    dataset = MattingDataset(discs, size=64, background_dir=tmp_path / "green", composition_prob=1.0, stretch=stretch,
                             cache_dir=tmp_path / "cache")
    dataset.prepare()
    assert len(list((tmp_path / "cache").iterdir())) == 5
    for index in range(5):
        sample = dataset[index]
        image, alpha = sample["image"].permute(1, 2, 0), sample["alpha"][0]
        torch.testing.assert_close(image[alpha == 0], torch.tensor([-1.0, 1, -1]).expand((alpha == 0).sum(), 3),
                                   atol=0.016, rtol=0)
        inside = (image[alpha == 1] + 1) * 127.5
        torch.testing.assert_close(inside, torch.tensor([0.0, 60, 200]).expand(len(inside), 3), atol=1.01, rtol=0)


def test_pictures_without_alpha_come_last_and_say_so(discs):
    dataset = MattingDataset(discs, size=64, unlabeled_dir=discs / "val/fg")
    assert [dataset[i]["labeled"] for i in range(7)] == [True] * 5 + [False] * 2
    sample = dataset[6]
    assert sample["alpha"].sum() == sample["trimap"].sum() == 0 and sample["image"].std() > 0.1
    with pytest.raises(ValueError, match="no pictures in"):
        MattingDataset(discs, size=64, unlabeled_dir=discs)
