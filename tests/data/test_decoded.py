"""Decoded pictures in one file."""
import pickle

import numpy as np
import pytest
import torch

from src.data import samples
from src.data.decoded import Pack, Sample, write_pack
from src.data.samples import MattingDataset


def sample(height: int, width: int, colours: int | None, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    shapes = (height, width, 3), (height, width), None if colours is None else (colours, 3)
    return Sample(*(None if s is None else rng.integers(0, 256, s, dtype=np.uint8) for s in shapes))


def test_samples_come_back_as_they_were_in_another_process_too(tmp_path):
    samples = [sample(5, 7, 3), sample(4, 2, None, 1), sample(3, 3, 0, 2)]
    write_pack(tmp_path / "a.pack", samples)
    for pack in (Pack(tmp_path / "a.pack"), pickle.loads(pickle.dumps(Pack(tmp_path / "a.pack")))):
        assert len(pack) == 3
        for number, expected in enumerate(samples):
            for a, b in zip(pack[number], expected, strict=True):
                assert (a is None and b is None) or np.array_equal(a, b)


def test_half_a_pack_is_none(tmp_path):
    write_pack(tmp_path / "a.pack", [sample(5, 7, 3)])
    (tmp_path / "a.pack").write_bytes(b"123")
    with pytest.raises(ValueError, match="a.pack is not whole"):
        Pack(tmp_path / "a.pack")


def test_training_samples_do_not_change_by_packing_and_nothing_is_decoded_twice(discs, tmp_path, monkeypatch):
    options = {"size": 64, "background_dir": discs / "val/fg", "unlabeled_dir": discs / "val/fg",
               "cache_dir": tmp_path / "cache"}
    plain, packed = MattingDataset(discs, **options), MattingDataset(discs, **options)
    packed.prepare(pack=True)

    def no(path):
        raise AssertionError(path)

    again = MattingDataset(discs, **options)
    monkeypatch.setattr(samples, "read_pair", no)
    again.prepare(pack=True)
    monkeypatch.undo()
    for key in range(0, 21, 2):
        for other in (packed, again):
            assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b))
                       for a, b in zip(plain[key].values(), other[key].values(), strict=True))
