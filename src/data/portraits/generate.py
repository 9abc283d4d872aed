"""Draw portrait-like pictures with exact soft alpha, and whole data sets of them; they show nobody."""
from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.console import progress_bar, shown
from src.data.portraits.clothes import draw_clothes, draw_neck
from src.data.portraits.face import draw_face, draw_head, random_skin
from src.data.portraits.hair import draw_hair_before, draw_hair_behind, random_hair
from src.data.portraits.scenery import draw_backdrop, noise, ramp
from src.data.portraits.sketch import Sketch
from src.files import write_atomically, write_json
from src.records import Whole, read_json

MIN_SIDE = 64
MAX_SIDE = 16_384
MAX_PICTURES = 100_000
RECORD = "generated.json"
# The least and the most of each number that a set is made by.
LIMITS = {"train": (1, MAX_PICTURES), "val": (0, MAX_PICTURES), "seed": (0, 2 ** 31 - 1), "height": (MIN_SIDE, MAX_SIDE),
          "width": (MIN_SIDE, MAX_SIDE)}
RECORD_SHAPE = {"settings": {name: Whole(*limits) for name, limits in LIMITS.items()}, "complete": bool}


class Layers(NamedTuple):
    """What a portrait is composed of."""

    foreground: np.ndarray      # (H, W, 3) float32 RGB in [0, 255]
    alpha: np.ndarray           # (H, W) uint8
    background: np.ndarray      # (H, W, 3) float32 RGB in [0, 255]


def _at_least(value: int, lowest: int, name: str) -> None:
    if value < lowest:
        raise ValueError(f"{name} is {value}, allowed are whole numbers from {lowest}")


def draw_figure(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random person: premultiplied colour (H, W, 3) in [0, 255] and alpha (H, W) in [0, 1], float32."""
    size = min(height, 1.2 * width)
    centre = (width / 2 + size * rng.uniform(-0.06, 0.06), height * 0.43 + size * rng.uniform(-0.02, 0.03))
    sketch = Sketch(height, width, centre=centre, scale=size * rng.uniform(0.165, 0.235))
    skin, (style, hair), wide = random_skin(rng), random_hair(rng), rng.uniform(0.72, 0.84)
    tilt, wind = rng.uniform(-0.14, 0.14), rng.normal(0, 0.35)
    sketch.tilt = tilt * 0.5
    draw_hair_behind(sketch, rng, style, hair, wide, wind)
    sketch.tilt = 0.0
    draw_neck(sketch, rng, skin)
    draw_clothes(sketch, rng, skin)
    sketch.tilt = tilt
    draw_head(sketch, rng, skin, wide)
    draw_face(sketch, rng, skin, hair, wide)
    draw_hair_before(sketch, rng, style, hair, wide, wind)
    # a lens softens colour and alpha alike, so they stay premultiplied
    blur = max(0.1, rng.uniform(0, 0.8) * size / 384)
    premultiplied, alpha = (cv2.GaussianBlur(layer, (0, 0), blur) for layer in sketch.finish())
    return premultiplied, np.clip(alpha, 0, 1)


def light_figure(rng: np.random.Generator, premultiplied: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Light a foreground (H, W, 3) float32 in [0, 255] from one side as if the figure were round."""
    height, width = alpha.shape
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.5)
    relief = cv2.GaussianBlur(alpha, (0, 0), min(height, width) * 0.03)
    down, across = np.gradient(relief)
    slope = (across * np.cos(angle) + down * np.sin(angle)) * min(height, width) * 0.12
    light = rng.uniform(0.75, 1.1) + strength * slope + rng.uniform(0, 0.3) * (ramp(rng, height, width) - 0.5)
    warmth = 1 + rng.uniform(-0.08, 0.08) * np.array([1, 0, -1], np.float32)
    foreground = premultiplied / np.maximum(alpha, 1 / 512)[..., None]
    return np.clip(foreground * light[..., None] * warmth, 0, 255).astype(np.float32)


def portrait_layers(seed: int, *, height: int = 384, width: int = 320) -> Layers:
    """Draw foreground, alpha and background of the portrait of `seed`. Raises `ValueError` for a bad seed or size."""
    for value, lowest, name in ((seed, 0, "seed"), (height, MIN_SIDE, "height"), (width, MIN_SIDE, "width")):
        _at_least(value, lowest, name)
    figure_rng, light_rng, backdrop_rng = (np.random.default_rng([seed, stream]) for stream in range(3))
    premultiplied, alpha = draw_figure(figure_rng, height, width)
    grain = light_rng.uniform(0, 4) * noise(light_rng, height, width, cell=1, octaves=1)[..., None]
    foreground = np.clip(light_figure(light_rng, premultiplied, alpha) + grain, 0, 255)
    background = np.clip(draw_backdrop(backdrop_rng, height, width) + grain, 0, 255)
    return Layers(foreground, np.rint(alpha * 255).astype(np.uint8), background)


def compose(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Compute alpha * foreground + (1 - alpha) * background, (H, W, 3) uint8, rounded once; arguments as in `Layers`."""
    share = alpha[..., None].astype(np.float64) / 255
    return np.rint(share * foreground + (1 - share) * background).astype(np.uint8)


def generate_portrait(seed: int, *, height: int = 384, width: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Generate a picture (H, W, 3) uint8 RGB and its alpha (H, W) uint8; the same for the same arguments.

    The picture is `compose` of the `portrait_layers`, so its alpha is exact. Raises `ValueError` for a negative seed or
    a side under 64.
    """
    layers = portrait_layers(seed, height=height, width=width)
    return compose(*layers), layers.alpha


def _write_png(path: Path, picture: np.ndarray) -> None:
    write_atomically(path, lambda to: to.write_bytes(cv2.imencode(".png", picture)[1].tobytes()))


def _names(split: str, count: int) -> list[str]:
    return [f"{split}/{kind}/{index:05d}.png" for index in range(count) for kind in ("fg", "alpha")]


def _read_record(out_dir: Path) -> dict | None:
    """Return what `generate_data_set` wrote of a set, `None` for a folder without one. Raises `ValueError` naming file and
    field, and for pictures without a record."""
    record = out_dir / RECORD
    if os.path.lexists(record):
        return read_json(record, RECORD_SHAPE)
    if (out_dir / "train").exists() or (out_dir / "val").exists():
        raise ValueError(f"{out_dir} holds train or val but no {RECORD}: not made here, choose another")
    return None


def _made_here(out_dir: Path, settings: dict) -> list[Path]:
    """Return the pictures of a set with these settings that are there. Raises `ValueError` naming a file that is not of
    them."""
    names, size = set(_names("train", settings["train"]) + _names("val", settings["val"])), (settings["width"],
                                                                                           settings["height"])
    made = []
    for path in sorted(path for split in ("train", "val") for path in (out_dir / split).rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        # Of a name of ours, but of another size, is somebody's own.
        if path.relative_to(out_dir).as_posix() not in names or not path.is_file() or _size_of(path) != size:
            raise ValueError(f"{path} was not made here, and is not removed: choose another folder, or move it")
        made.append(path)
    return made


def _size_of(path: Path) -> tuple[int, int] | None:
    """Width and height by the header of a PNG, `None` for what is no PNG."""
    head = path.read_bytes()[:24]
    return (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) if head[:4] == b"\x89PNG" else None


def generate_data_set(out_dir: Path, *, train: int, val: int, seed: int = 0, height: int = 384, width: int = 320,
                      overwrite: bool = False) -> None:
    """Write `train` and `val` portraits that share no seed, in the layout that `find_pairs` reads.

    A complete set with the same settings is left alone, an interrupted one made again. Raises `ValueError` for bad
    numbers, for a set with other settings unless `overwrite`, and for pictures that this function did not make: those are
    never removed.
    """
    settings = {"train": train, "val": val, "seed": seed, "height": height, "width": width}
    for name, (lowest, most) in LIMITS.items():
        if not lowest <= settings[name] <= most:
            raise ValueError(f"{name} is {shown(settings[name])}, allowed are whole numbers from {lowest} to {most}")
    found, record = _read_record(out_dir), out_dir / RECORD
    if found is not None and not overwrite:
        if found["settings"] != settings:
            raise ValueError(f"{out_dir} holds a set with {found['settings']}, not {settings}: --overwrite replaces it")
        if found["complete"] and all((out_dir / name).is_file() for split in ("train", "val")
                                     for name in _names(split, settings[split])):
            return
    if found is not None:
        old = _made_here(out_dir, found["settings"])
        # Until the last old picture is gone, the record is theirs.
        write_json(record, {**found, "complete": False})
        for path in old:
            path.unlink()
    write_json(record, {"settings": settings, "complete": False})
    jobs = [(split, index) for split, count in (("train", train), ("val", val)) for index in range(count)]
    for split, index in progress_bar(jobs, desc="draw portraits", leave=False):
        first = 2 * MAX_PICTURES * seed + (MAX_PICTURES if split == "val" else 0)
        image, alpha = generate_portrait(first + index, height=height, width=width)
        _write_png(out_dir / split / "fg" / f"{index:05d}.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        _write_png(out_dir / split / "alpha" / f"{index:05d}.png", alpha)
    write_json(record, {"settings": settings, "complete": True})
