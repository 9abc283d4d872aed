"""Neck, shoulders and clothes of a generated portrait, drawn into a `Sketch`."""
from __future__ import annotations

import cv2
import numpy as np

from src.data.portraits.scenery import mix, noise
from src.data.portraits.sketch import Colour, Sketch, blend, darken, ellipse, random_colour, smooth

PATTERNS = ("plain", "plain", "across", "down", "checks", "dots", "knit", "print")
COLLARS = ("crew", "crew", "vee", "shirt", "jacket", "jacket", "roll", "hood")


def pattern(rng: np.random.Generator, kind: str, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Draw cloth (H, W, 3) uint8 of one of `PATTERNS` for a head of `scale` pixels half height."""
    base = random_colour(rng, (0.1, 0.8), (0.12, 0.95))
    other = darken(base, 0.6) if rng.random() < 0.4 else random_colour(rng, (0.0, 0.8), (0.2, 1.0))
    y, x = (grid.astype(np.float32) / scale for grid in np.mgrid[:shape[0], :shape[1]])
    step = 2 * np.pi / rng.uniform(0.12, 0.5)
    bend = 0.06 * noise(rng, *shape, cell=scale, octaves=2)
    across, down = np.sin((y + bend + 0.1 * x * x / (1 + x)) * step), np.sin((x + bend) * step)
    share = {"plain": 0 * x, "across": 0.5 + 4 * across, "down": 0.5 + 4 * down,
             "checks": 0.5 + 0.4 * np.sign(across) + 0.4 * np.sign(down), "dots": 6 * across * down - 2.5,
             "knit": 0.3 + 0.3 * np.sin(x * 60) * np.sin(y * 40), "print": 3 * bend / 0.06}[kind]
    folds = 1 + 0.09 * noise(rng, *shape, cell=scale * 1.2, octaves=3)
    return np.clip(mix(share, base, other) * folds[..., None], 0, 255).astype(np.uint8)


def draw_neck(sketch: Sketch, rng: np.random.Generator, skin: Colour) -> None:
    """Draw the neck and the bare skin down to the collarbones, in the shadow of the chin."""
    wide = rng.uniform(0.36, 0.46)
    sides = [(wide, 0.4), (wide, 1.1), (wide + 0.06, 1.4), (0.62, 1.75), (0.6, 2.6)]
    outline = smooth([*sides, *((-x, y) for x, y in reversed(sides))])
    sketch.fill(outline, darken(skin, 0.93))
    sketch.tint(ellipse(0, 0.8, 0.62, 0.45), darken(skin, 0.45), 0.6, 0.09)


def torso(rng: np.random.Generator, bottom: float, neck: float) -> np.ndarray:
    """Return the outline (N, 2) of shoulders and arms down to `bottom`, with a neckline `neck` half heads wide."""
    shoulder, slope, waist = rng.uniform(1.45, 2.05), rng.uniform(1.85, 2.15), rng.uniform(0.0, 0.4)
    side = [(neck, 1.32), (neck + 0.3, 1.55), (shoulder * 0.8, slope - 0.22), (shoulder, slope + 0.08),
            (shoulder + 0.17, slope + 0.8), (shoulder + 0.1 + waist, bottom * 0.6 + 1.5), (shoulder + waist, bottom)]
    return np.concatenate([smooth([(-x, y) for x, y in reversed(side)], closed=False), smooth(side, closed=False)])


def _neckline(sketch: Sketch, rng: np.random.Generator, skin: Colour, depth: float) -> None:
    wide = 0.47
    outline = [(-wide, 1.28), (-wide * 0.6, 1.3 + depth * 0.62), (0, 1.32 + depth), (wide * 0.6, 1.3 + depth * 0.62),
               (wide, 1.28)]
    curve = np.array(outline) if depth > 0.6 else smooth(outline, closed=False)
    sketch.fill(curve, darken(skin, 0.95))
    sketch.tint(ellipse(0, 1.2, 0.42, 0.22), darken(skin, 0.5), 0.5, 0.08)
    sketch.line(curve, random_colour(rng, (0.0, 0.6), (0.1, 0.9)), rng.uniform(0.02, 0.08))


def _shirt_collar(sketch: Sketch, rng: np.random.Generator, skin: Colour, colour: Colour) -> None:
    sketch.fill(np.array([(-0.42, 1.25), (0, 1.75), (0.42, 1.25)]), darken(skin, 0.85))
    for side in (-1, 1):
        flap = np.array([(0.5, 1.16), (0.02, 1.72), (0.34, 1.98), (0.66, 1.5)]) * (side, 1)
        sketch.fill(flap, darken(colour, 1.0 if side > 0 else 0.93))
        sketch.line(flap[1:], darken(colour, 0.7), 0.02)
    for y in np.arange(2.1, 4.5, 0.55):
        sketch.fill(ellipse(0.0, y, 0.045, 0.045), darken(colour, rng.choice([0.5, 1.2])))


def _jacket(sketch: Sketch, rng: np.random.Generator, skin: Colour, bottom: float, cloth: Colour) -> None:
    shirt = random_colour(rng, (0.0, 0.3), (0.75, 1.0))
    sketch.fill(np.array([(-0.5, 1.3), (-0.62, 1.55), (0, 3.6), (0.62, 1.55), (0.5, 1.3)]), shirt)
    _shirt_collar(sketch, rng, skin, shirt)
    if rng.random() < 0.6:
        tie = random_colour(rng, (0.4, 0.9), (0.2, 0.8))
        sketch.fill(np.array([(-0.13, 1.7), (0.13, 1.7), (0.09, 1.95), (0.2, 3.1), (-0.2, 3.1), (-0.09, 1.95)]), tie)
        sketch.line(np.array([(-0.1, 1.93), (0.1, 1.97)]), darken(tie, 0.6), 0.03)
    for side in (-1, 1):
        lapel = [(0.5, 1.2), (0.98, 1.62), (0.9, 2.1), (1.02, 2.2), (0.02, 3.6), (0.0, bottom), (0.6, 1.75)]
        sketch.fill(np.array(lapel) * (side, 1), darken(cloth, 0.8 if side > 0 else 0.72))
        sketch.line(np.array(lapel[1:5]) * (side, 1), darken(cloth, 0.5), 0.02)


def draw_clothes(sketch: Sketch, rng: np.random.Generator, skin: Colour) -> None:
    """Draw shoulders in cloth of a random pattern and a random collar, down to the lower edge of the picture."""
    bottom = max(4.0, (sketch.height - sketch.centre[1]) / sketch.scale + 1)
    collar, kind = COLLARS[rng.integers(len(COLLARS))], PATTERNS[rng.integers(len(PATTERNS))]
    cloth = pattern(rng, "plain" if collar == "jacket" else kind, (sketch.height, sketch.width), sketch.scale)
    colour: Colour = tuple(float(channel) for channel in cv2.mean(cloth)[:3])
    if collar == "hood":
        sketch.fill(smooth([(-1.0, 1.7), (-0.95, 0.9), (-0.5, 0.75), (0.5, 0.75), (0.95, 0.9), (1.0, 1.7)]),
                    darken(colour, 0.7))
        draw_neck(sketch, rng, skin)
    sketch.fill_texture(torso(rng, bottom, 0.5), cloth)
    for side in (-1, 1):
        arm = smooth([(1.25, 2.7), (1.35, 3.4), (1.3, bottom)], closed=False) * (side, 1)
        sketch.tint(np.concatenate([arm, arm[::-1] + (0.12, 0)]), darken(colour, 0.3), 0.55, 0.1)
    if collar in ("crew", "vee", "hood"):
        _neckline(sketch, rng, skin, rng.uniform(0.75, 1.3) if collar == "vee" else rng.uniform(0.12, 0.5))
    elif collar == "shirt":
        _shirt_collar(sketch, rng, skin, blend(colour, (255, 255, 255), rng.uniform(0, 0.8)))
    elif collar == "jacket":
        _jacket(sketch, rng, skin, bottom, colour)
    else:
        sketch.fill(smooth([(-0.5, 1.0), (0.5, 1.0), (0.58, 1.6), (0, 1.75), (-0.58, 1.6)]), darken(colour, 0.9))
        sketch.line(smooth([(-0.52, 1.15), (0, 1.3), (0.52, 1.15)], closed=False), darken(colour, 0.65), 0.03)
