"""The training bench: its rival is not crippled, and its table is arithmetic."""
import sys

import numpy as np
import pytest
import torch

from src.data.portraits.generate import generate_data_set
from tests.conftest import ROOT

sys.path.append(str(ROOT / "bench"))
from training import OURS, PUBLISHED, SQUEEZED, STREAMED, Published, Squeezed, data_ways, main, race, table

SIZE = 96


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "portraits"
    generate_data_set(folder, train=3, val=0, height=160, width=128)
    return folder


def test_both_paths_put_out_the_same(portraits):
    published, ours = Published(portraits, SIZE), Squeezed(portraits, SIZE)
    for index in range(3):
        for theirs, mine, channels in zip(published[index], ours[index], (3, 1, 1), strict=True):
            assert theirs.shape == mine.shape == (channels, SIZE, SIZE) and theirs.dtype == mine.dtype == torch.float32
        (image, trimap, alpha), (image2, trimap2, alpha2) = published[index], ours[index]
        assert (image - image2).abs().mean() < 0.03 and (alpha - alpha2).abs().mean() < 0.005
        assert image.min() >= -1 and image.std() > 0.1 and 0.5 < alpha.max() <= 1
        assert set(trimap.unique().tolist()) <= {0, 0.5, 1} and set(trimap2.unique().tolist()) == {0, 0.5, 1}


def test_both_draw_bands_of_the_same_widths(portraits):
    """A straight edge: the published band grows by (kernel - 1) / 2 a pass, which is 2.5 to 21 pixels a side."""
    edge = np.zeros((100, 100), np.uint8)
    edge[:, 50:] = 255
    rival = Published(portraits, SIZE)
    widths = [int((rival.trimap(edge)[50] == 0.5).sum()) for _ in range(300)]
    assert 5 <= min(widths) <= 8 and 38 <= max(widths) <= 42


def test_ways_take_turns_and_each_sees_every_picture(portraits, tmp_path):
    seen = []
    ways = {name: lambda epoch, name=name: seen.append((name, epoch)) for name in "ab"}
    rates = race(ways, 10, rounds=2)
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert len(rates["a"]["rates"]) == 3 and rates["a"]["median"] > 0
    ways = data_ways(portraits, tmp_path, size=SIZE, batch_size=2, workers=0)
    assert set(ways) == {PUBLISHED, OURS, SQUEEZED, STREAMED}
    ways[STREAMED](0)


def test_table_by_hand():
    rate = {"first_epoch": 5.0, "q1": 9.0, "median": 10.0, "q3": 11.0}
    text = table({"data path": {PUBLISHED: rate, OURS: rate | {"median": 35.0}}})
    assert "| data path: published | 5.0 | 10.0 (9.0-11.0) | 1.00 |" in text
    assert f"| data path: {OURS} | 5.0 | 35.0 (9.0-11.0) | 3.50 |" in text


def test_script_with_training_steps(portraits, tiny_ckpt, tmp_path, capsys):
    assert main(["--data-dir", str(portraits), "--size", "64", "--batch-size", "2", "--rounds", "1", "--network", "--device",
                 "cpu", "--ckpt-path", str(tiny_ckpt), "--output-dir", str(tmp_path / "r")]) == 0
    said = (tmp_path / "r/training_bench.md").read_text()
    assert said.strip() in capsys.readouterr().out
    assert said.count("| training step: ") == 2 and said.count("| data path: ") == 4
    assert list(portraits.parent.glob("*_shards")) == []
    with pytest.raises(SystemExit, match="2"):
        main(["--rounds", "0"])
