"""Backgrounds of generated portraits: (H, W, 3) float32 RGB in [0, 255], each kind a function of a random generator."""
from __future__ import annotations

import cv2
import numpy as np

from src.data.portraits.sketch import Colour, darken, random_colour


def noise(rng: np.random.Generator, height: int, width: int, *, cell: float, octaves: int = 4) -> np.ndarray:
    """Draw smooth noise (H, W) float32, mean 0 and standard deviation near 1; `cell` is its coarsest period in pixels."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(1.0, cell / 2**octave)
        grid = rng.standard_normal((int(height / step) + 2, int(width / step) + 2)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def mix(share: np.ndarray, first: Colour, second: Colour) -> np.ndarray:
    """Mix two colours or pictures to (H, W, 3) float32, from `first` to `second` with `share` (H, W), cut to [0, 1]."""
    share = np.clip(share, 0, 1)[..., None].astype(np.float32)
    return np.float32(first) * (1 - share) + np.float32(second) * share


def ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a linear ramp (H, W) over the picture in a random direction, 0 to 1."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5:0.5:height * 1j, -0.5:0.5:width * 1j].astype(np.float32)
    return 0.5 + (x * np.cos(angle) + y * np.sin(angle)) / 1.2


def gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw two colours of a studio wall."""
    first = random_colour(rng, (0.05, 0.6), (0.35, 0.95))
    second = random_colour(rng, (0.05, 0.6), (0.15, 0.9))
    return mix(ramp(rng, height, width) + 0.05 * noise(rng, height, width, cell=width / 3), first, second)


def bokeh(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw discs of light out of focus before a dark or bright ground."""
    picture = mix(ramp(rng, height, width), *(random_colour(rng, (0.2, 0.7), (0.1, 0.6)) for _ in range(2)))
    for _ in range(rng.integers(15, 45)):
        disc = np.zeros((height, width), np.float32)
        at = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        cv2.circle(disc, at, max(1, int(rng.uniform(0.015, 0.11) * width)), rng.uniform(0.2, 0.7), cv2.FILLED)
        picture += disc[..., None] * (np.float32(random_colour(rng, (0.1, 0.8), (0.5, 1.0))) - picture)
    return cv2.GaussianBlur(picture, (0, 0), max(0.5, width * rng.uniform(0.003, 0.02)))


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw plaster, marble or cloth."""
    first = random_colour(rng, (0.05, 0.6), (0.3, 0.95))
    share = 0.5 + 0.4 * noise(rng, height, width, cell=width * rng.uniform(0.05, 0.5), octaves=6)
    if rng.random() < 0.4:
        share = np.abs(np.sin(3 * share))
    return mix(share, first, darken(first, rng.uniform(0.4, 0.8)))


def stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw wallpaper with hard edges, or the soft folds of a curtain."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.choice([0.0, 0.0, np.pi / 2, rng.uniform(0, np.pi)])
    phase = (x * np.cos(angle) + y * np.sin(angle)) / (width * rng.uniform(0.03, 0.18)) * 2 * np.pi
    wave = np.sin(phase + 0.6 * noise(rng, height, width, cell=width / 2, octaves=2) * (rng.random() < 0.5))
    first = random_colour(rng, (0.05, 0.7), (0.4, 0.95))
    second = darken(first, 0.55) if rng.random() < 0.5 else random_colour(rng, (0.05, 0.6), (0.2, 0.9))
    return mix(0.5 + wave * rng.choice([0.5, 6.0]), first, second)


def bricks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a wall of bricks or tiles, each of its own shade."""
    tall = max(3, int(height * rng.uniform(0.03, 0.1)))
    long = int(tall * rng.uniform(1.0, 3.0))
    y, x = np.mgrid[:height, :width]
    row = y // tall
    shifted = x + (row % 2) * (long // 2)
    shade = rng.uniform(0.75, 1.1, (height // tall + 1, (width + long) // long + 1))[row, shifted // long]
    joint = (y % tall < max(1, tall // 10)) | (shifted % long < max(1, tall // 10))
    colour = np.float32(random_colour(rng, (0.1, 0.6), (0.4, 0.85)))
    picture = colour * (shade + 0.05 * noise(rng, height, width, cell=tall))[..., None]
    return np.where(joint[..., None], colour * rng.uniform(0.5, 1.3), picture).astype(np.float32)


def outdoors(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw sky with clouds, hills one behind the other, and leaves before them."""
    sky = np.linspace(0, 1, height)[:, None] + 0.25 * noise(rng, height, width, cell=width / 3)
    picture = mix(sky, (rng.uniform(60, 140), rng.uniform(130, 180), 230), (235, rng.uniform(200, 240), 225))
    rows = np.arange(height)[:, None]
    for level in np.sort(rng.uniform(0.35, 0.85, rng.integers(2, 5))):
        edge = height * (level + 0.05 * noise(rng, 1, width, cell=width / 3))
        green = np.float32([rng.uniform(40, 120), rng.uniform(90, 150), rng.uniform(40, 90)])
        leaves = 1 + 0.25 * noise(rng, height, width, cell=width * 0.06)
        picture = np.where((rows > edge)[..., None], green * leaves[..., None], picture)
    return picture.astype(np.float32)


def room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a wall with a window, frames and a shelf of books above a floor."""
    wall = random_colour(rng, (0.02, 0.4), (0.45, 0.95))
    picture = mix(ramp(rng, height, width), wall, darken(wall, 0.75))
    box = (np.array([width, height] * 2) * 1.0).tolist()

    def block(x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        left, top, right, bottom = (int(a * b) for a, b in zip((x, y, x + wide, y + tall), box, strict=True))
        cv2.rectangle(picture, (left, top), (right, bottom), colour, cv2.FILLED)

    block(0, rng.uniform(0.72, 0.9), 1, 1, random_colour(rng, (0.2, 0.6), (0.2, 0.6)))
    x, y, wide, tall = rng.uniform(-0.1, 0.7), rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.4), rng.uniform(0.25, 0.5)
    block(x - 0.02, y - 0.02, wide + 0.04, tall + 0.04, darken(wall, 1.2))
    for pane in range(4):
        block(x + pane % 2 * wide / 2, y + pane // 2 * tall / 2, wide / 2 - 0.015, tall / 2 - 0.015, (225, 238, 250))
    for _ in range(rng.integers(1, 4)):
        x, y, wide = rng.uniform(0, 0.85), rng.uniform(0.05, 0.5), rng.uniform(0.08, 0.2)
        block(x - 0.01, y - 0.01, wide + 0.02, wide + 0.02, darken(wall, 0.4))
        block(x, y, wide, wide, random_colour(rng, (0.2, 0.8), (0.4, 0.9)))
    x, y = rng.uniform(0, 0.6), rng.uniform(0.35, 0.65)
    block(x, y, 0.45, 0.02, (110, 75, 45))
    for book in range(rng.integers(4, 14)):
        tall = rng.uniform(0.06, 0.13)
        block(x + 0.03 * book, y - tall, 0.022, tall, random_colour(rng, (0.3, 0.9), (0.3, 0.9)))
    return picture


KINDS = (gradient, bokeh, texture, stripes, bricks, outdoors, room, room)


def draw_backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a random background (H, W, 3) float32 RGB in [0, 255], lit from a side and somewhat out of focus."""
    picture = KINDS[rng.integers(len(KINDS))](rng, height, width)
    picture = cv2.GaussianBlur(picture, (0, 0), max(0.3, width * rng.uniform(0.0, 0.016)))
    light = rng.uniform(0.75, 1.1) + rng.uniform(0, 0.4) * (ramp(rng, height, width) - 0.5)
    return np.clip(picture * light[..., None], 0, 255).astype(np.float32)
