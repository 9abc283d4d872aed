"""Head and face of a generated portrait, drawn into a `Sketch`."""
from __future__ import annotations

import numpy as np

from src.data.portraits.sketch import Colour, Sketch, blend, darken, ellipse, random_colour, smooth

SKINS = ((255, 219, 190), (241, 194, 158), (224, 172, 125), (198, 134, 90), (160, 102, 66), (120, 74, 48), (84, 54, 40))
IRISES = ((70, 45, 25), (95, 65, 35), (60, 110, 150), (80, 125, 80), (105, 120, 130))


def random_skin(rng: np.random.Generator) -> Colour:
    """Choose a skin colour, RGB in [0, 255]."""
    return blend(SKINS[rng.integers(len(SKINS))], SKINS[rng.integers(len(SKINS))], rng.uniform(0, 0.35))


def head_outline(wide: float, jaw: float) -> np.ndarray:
    """Return the outline (80, 2) of a head from (0, -1) to (0, 1), `wide` at its widest; `jaw` in [0, 0.3] narrows the
    chin."""
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    x, y = np.sin(angle), -np.cos(angle)
    x = np.sign(x) * np.abs(x) ** 0.88
    return np.stack([wide * x * (1 - jaw * np.clip(y, 0, 1) ** 1.5), y], 1)


def draw_head(sketch: Sketch, rng: np.random.Generator, skin: Colour, wide: float) -> None:
    """Draw the ears and the bare head, darker on one side."""
    for side in (-1, 1):
        sketch.fill(ellipse(side * (wide - 0.01), 0.12, 0.12, 0.24), darken(skin, 0.9))
        sketch.fill(ellipse(side * (wide + 0.01), 0.12, 0.05, 0.14), darken(skin, 0.7))
    outline = head_outline(wide, rng.uniform(0.08, 0.3))
    sketch.fill(outline, skin)
    side = rng.choice([-1, 1])
    sketch.tint(ellipse(side * wide * 1.05, 0.1, 0.4, 1.1), darken(skin, 0.55), rng.uniform(0.3, 0.7), 0.16)
    sketch.tint(ellipse(-side * 0.3, -0.4, 0.3, 0.35), (255, 250, 240), rng.uniform(0.1, 0.3), 0.16)
    for cheek in (-1, 1):
        sketch.tint(ellipse(cheek * wide * 0.58, 0.4, 0.17, 0.12), (225, 90, 80), rng.uniform(0.1, 0.4), 0.1)


def _eye(sketch: Sketch, x: float, iris: Colour, skin: Colour, height: float, look: float) -> None:
    sketch.tint(ellipse(x, 0.03, 0.21, 0.15), darken(skin, 0.5), 0.4, 0.05)
    white = ellipse(x, 0.08, 0.155, height)
    sketch.fill(white, (244, 242, 238))
    at = x + look
    sketch.fill(ellipse(at, 0.075, 0.08, min(0.082, height)), iris)
    sketch.fill(ellipse(at, 0.075, 0.038, 0.04), (15, 12, 12))
    sketch.fill(ellipse(at - 0.025, 0.05, 0.02, 0.02), (255, 255, 255))
    lid = smooth([(x - 0.17, 0.1), (x - 0.08, 0.08 - height), (x + 0.08, 0.08 - height), (x + 0.17, 0.1)], closed=False)
    sketch.line(lid, darken(skin, 0.25), 0.03)


def _nose(sketch: Sketch, x: float, skin: Colour, side: float) -> None:
    sketch.tint(np.array([(x, -0.05), (x + side * 0.15, 0.38), (x, 0.42)]), darken(skin, 0.5), 0.55, 0.03)
    base = smooth([(x - 0.14, 0.36), (x - 0.1, 0.42), (x, 0.44), (x + 0.1, 0.42), (x + 0.14, 0.36)], closed=False)
    sketch.line(base, darken(skin, 0.6), 0.028)


def _mouth(sketch: Sketch, rng: np.random.Generator, x: float, skin: Colour) -> None:
    wide, smile, full = rng.uniform(0.22, 0.33), rng.uniform(-0.02, 0.09), rng.uniform(0.03, 0.09)
    lip = blend(darken(skin, 0.75), (190, 50, 60), rng.uniform(0.2, 0.7))
    upper = [(x - wide, 0.65 - smile), (x - 0.08, 0.64 - full), (x, 0.66 - full), (x + 0.08, 0.64 - full)]
    sketch.fill(smooth([*upper, (x + wide, 0.65 - smile), (x, 0.67 + full * 1.3)]), lip)
    line = smooth([(x - wide, 0.65 - smile), (x, 0.66), (x + wide, 0.65 - smile)], closed=False)
    if rng.random() < 0.35 and smile > 0.02:
        sketch.fill(np.concatenate([line, line[::-1] * (0.94, 0) + (x * 0.06, 0.655 - smile)]), (245, 243, 238))
    sketch.line(line, darken(lip, 0.5), 0.025)


def _beard(sketch: Sketch, rng: np.random.Generator, hair: Colour, wide: float, x: float) -> None:
    sides = [(wide * 0.97, 0.15), (wide * 0.9, 0.6), (0.45, 1.0)]
    inner = [(0.34, 0.86), (0.4, 0.6), (0.3, 0.5), (0.0, 0.5)]
    outline = [*sides, (0, 1.12), *((-a, b) for a, b in reversed(sides))]
    mouth = smooth([(x + 0.36, 0.64), (x, 0.54), (x - 0.36, 0.64), (x - 0.2, 0.78), (x + 0.2, 0.78)])
    if rng.random() < 0.5:
        hole = [(-a, b) for a, b in inner[1:]] + [(a, b) for a, b in reversed(inner[1:3])]
        sketch.tint(smooth([*outline, (-wide * 0.8, 0.4), *hole, (wide * 0.8, 0.4)]), hair, 0.95, 0.02)
        sketch.tint(mouth, (180, 90, 80), 0.5, 0.03)
    else:
        sketch.tint(smooth([*outline, (-wide * 0.6, 0.55), (0, 0.5), (wide * 0.6, 0.55)]), hair, 0.35, 0.06)


def _glasses(sketch: Sketch, rng: np.random.Generator, wide: float, x: float, gap: float) -> None:
    frame = random_colour(rng, (0.0, 0.8), (0.05, 0.5))
    size, round_ = rng.uniform(0.22, 0.28), rng.uniform(0.75, 1.0)
    for side in (-1, 1):
        glass = ellipse(x + side * gap, 0.08, size, size * round_)
        sketch.tint(glass, (200, 220, 235), 0.15, 0.01)
        sketch.line(np.concatenate([glass, glass[:1]]), frame, rng.uniform(0.025, 0.05))
        sketch.line(np.array([(x + side * (gap + size), 0.05), (side * wide, 0.0)]), frame, 0.035)
    sketch.line(np.array([(x - gap + size, 0.05), (x + gap - size, 0.05)]), frame, 0.035)


def draw_face(sketch: Sketch, rng: np.random.Generator, skin: Colour, hair: Colour, wide: float) -> None:
    """Draw eyes, brows, nose, mouth, and by chance beard, glasses and freckles, all turned a little to one side."""
    x, gap, iris = rng.uniform(-0.1, 0.1), wide * rng.uniform(0.4, 0.46), IRISES[rng.integers(len(IRISES))]
    height, look, lift = rng.uniform(0.06, 0.1), rng.uniform(-0.05, 0.05), rng.uniform(-0.03, 0.06)
    if rng.random() < 0.2:
        for dot in rng.normal((x, 0.3), (0.25, 0.09), (40, 2)):
            sketch.fill(ellipse(*dot, 0.013, 0.013), darken(skin, 0.68))
    if rng.random() < 0.3:
        _beard(sketch, rng, darken(hair, 0.85), wide, x)
    _nose(sketch, x * 1.4, skin, rng.choice([-1, 1]))
    _mouth(sketch, rng, x, skin)
    for side in (-1, 1):
        at = x + side * gap
        _eye(sketch, at, iris, skin, height, look)
        brow = np.array([(at - side * 0.17, -0.13), (at + side * 0.02, -0.2 - lift), (at + side * 0.2, -0.12 - lift)])
        sketch.line(smooth(brow, closed=False), darken(hair, 0.7), rng.uniform(0.04, 0.075))
    if rng.random() < 0.25:
        _glasses(sketch, rng, wide, x, gap)
