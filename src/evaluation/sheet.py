"""Draw a sheet of pictures, their true and predicted mattes, and where these differ."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from src.console import printable
from src.data.samples import Pair, read_pair
from src.evaluation.predict import Predict
from src.evaluation.report import format_error
from src.media.compositing import to_uint8
from src.media.picture_writer import write_picture

TILE, CAPTION, GAP = 256, 20, 4
_GREY = 48


def worst(results: Mapping[str, Mapping], count: int, metric: str) -> list[int]:
    """Return the places of the `count` images with the highest `metric`, mean over the checkpoints, the highest first."""
    errors = np.mean([[row[metric] for row in result["images"]] for result in results.values()], axis=0)
    return np.argsort(-np.nan_to_num(errors, nan=np.inf), kind="stable")[:count].tolist()


def tile(picture: np.ndarray) -> np.ndarray:
    """Fit a picture (H, W, 3) or (H, W) uint8 into (`TILE`, `TILE`, 3), grey round it."""
    scale = TILE / max(picture.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.full((TILE, TILE, 3), _GREY, np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    out[top:top + size[1], left:left + size[0]] = small if small.ndim == 3 else small[..., None]
    return out


def heat_map(pred_alpha: np.ndarray, true_alpha: np.ndarray) -> np.ndarray:
    """Draw the absolute error of two alphas (H, W) as colours (H, W, 3) uint8 RGB, from black (0) by red to light yellow
    (1)."""
    error = cv2.applyColorMap(to_uint8(np.abs(pred_alpha - true_alpha)), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(error, cv2.COLOR_BGR2RGB)


def paste_line(tiles: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Paste tiles side by side, each under its caption; (H, W, 3) uint8."""
    line = Image.new("RGB", (len(tiles) * (TILE + GAP) - GAP, CAPTION + TILE + GAP), "white")
    draw, font = ImageDraw.Draw(line), ImageFont.load_default(13)
    for place, (picture, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = place * (TILE + GAP)
        while draw.textlength(caption, font) > TILE - 4:
            # The end says more than the beginning: names of runs differ there.
            caption = "..." + caption.lstrip(".")[1:]
        draw.text((left + 2, 2), caption, "black", font)
        line.paste(Image.fromarray(picture), (left, CAPTION))
    return np.asarray(line)


def write_sheet(predictors: Mapping[str, Predict], pairs: Sequence[Pair], results: Mapping[str, Mapping], path: Path, *,
                count: int, metric: str) -> None:
    """Write a PNG of the `count` images with the highest `metric`, a line each: image, true alpha, and of each checkpoint
    the predicted alpha and its error. `results` are those of `errors_of` for the same predictors and pairs."""
    lines = []
    for place in worst(results, count, metric):
        image, true_alpha = read_pair(pairs[place])
        tiles, captions = [image, to_uint8(true_alpha)], [printable(pairs[place].image.name), "true alpha"]
        for label, predict in predictors.items():
            pred_alpha = predict(image)
            tiles += [to_uint8(pred_alpha), heat_map(pred_alpha, true_alpha)]
            error = format_error(metric, results[label]["images"][place][metric])
            captions += [printable(label), f"{metric} {error}; black 0, yellow 1"]
        lines.append(paste_line([tile(picture) for picture in tiles], captions))
    write_picture(path, np.concatenate(lines))
