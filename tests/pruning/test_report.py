"""Tables and picture of what was cut."""
import cv2
import torch

from src.complexity import complexity
from src.models.config import MODNetConfig
from src.models.costs import macs, params
from src.models.modnet import MODNet
from src.pruning.report import BRANCHES, branch_costs, draw_widths, pruning_table
from tests.conftest import tiny_config


def test_branches_add_up_to_the_network():
    config = MODNetConfig()
    totals = [sum(costs) for costs in zip(*(branch_costs(config, branch) for branch in BRANCHES), strict=True)]
    assert totals == [params(config), macs(config)]


def test_table_names_each_group_and_the_residuals_lost():
    dense = tiny_config()
    pruned = dense.with_widths({"hr.1x": 4}, residual=[False] * 17)
    counts = [complexity(MODNet(config), size=(64, 64)) for config in (dense, pruned)]
    table = pruning_table(dense, pruned, *counts)
    assert "| hr.1x | 8 | 4 |" in table and "| se | 8 | 8 |" in table and "| f_branch |" in table
    assert f"| parameters (M) | {counts[0].params / 1e6:.3f} | {counts[1].params / 1e6:.3f} |" in table
    lost = [number for number, block in enumerate(dense.blocks, 1) if block.residual]
    assert f"lost: {', '.join(f'block{number}' for number in lost)}." in table


def test_picture_shows_narrower_bars(tmp_path):
    with torch.no_grad():
        draw_widths(MODNetConfig(), tiny_config(), tmp_path / "w.png")
    picture = cv2.imread(str(tmp_path / "w.png")).reshape(-1, 3).astype(int)
    grey = (abs(picture - 217).max(1) < 4).sum()
    blue = (picture[:, 0] - picture[:, 2] > 100).sum()
    assert grey > 1000 and blue > 1000
