"""One picture of people and the mattes that several networks give them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.checkpoint import load_model
from src.data.samples import find_pairs, read_pair
from src.evaluation.metrics import mse
from src.evaluation.predict import predict_alpha
from src.files import write_atomically

TITLES = {"dense": "dense", "published": "published rule", "ours": "ours (search)", "shipped": "shipped"}
INCHES = 2.0


def draw_comparison(networks: Mapping[str, Path], data_dir: Path, path: Path, *, rows: int = 4) -> None:
    """Write a picture of image, true matte and each network's matte for some images spread over `val`.

    `networks` are checkpoints by a key of `TITLES`.
    """
    from matplotlib.figure import Figure

    models = {name: load_model(ckpt_path) for name, ckpt_path in networks.items()}
    pairs = find_pairs(data_dir, "val")
    pairs = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).astype(int))]
    shown = [read_pair(pair) for pair in pairs]
    heights = [INCHES * min(2.0, image.shape[0] / image.shape[1]) + 0.3 for image, _ in shown]
    figure = Figure(figsize=(INCHES * (2 + len(models)), sum(heights) + 0.2), layout="constrained")
    grid = figure.subplots(len(pairs), 2 + len(models), squeeze=False, height_ratios=heights)
    for line, (image, true_alpha) in zip(grid, shown, strict=True):
        mattes = [true_alpha, *(predict_alpha(model, image) for model in models.values())]
        line[0].imshow(image)
        for axis, matte in zip(line[1:], mattes, strict=True):
            axis.imshow(matte, cmap="gray", vmin=0, vmax=1)
        for axis, matte in zip(line[2:], mattes[1:], strict=True):
            axis.set_xlabel(f"MSE {mse(matte, true_alpha):.4f}", fontsize=9)
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, title in zip(grid[0], ("picture", "true matte", *(TITLES[name] for name in models)), strict=True):
        axis.set_title(title, fontsize=11)
    write_atomically(path, lambda to: figure.savefig(to, dpi=100))
