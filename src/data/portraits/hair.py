"""Hair of a generated portrait: a mass behind the head, a cap over it, and single strands that reach out of both."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.data.portraits.sketch import Colour, Sketch, blend, darken, ellipse, smooth

COLOURS = ((25, 20, 20), (50, 34, 26), (92, 58, 36), (140, 92, 52), (205, 165, 100), (235, 208, 150), (160, 66, 34),
           (150, 148, 146), (225, 222, 218), (120, 50, 120), (40, 90, 130))


class HairStyle(NamedTuple):
    """Shape of the hair in half heads, and of its strands."""

    crown: float            # how thick it lies on the skull
    temple: float           # y at which the cap ends beside the face
    fall: float | None      # y at which the mass behind the head ends
    spread: float           # half width of that mass at its lower end
    bumps: float            # unevenness of the outline
    reach: float            # length of a typical strand outside
    curl: float             # sideways swing of a strand, in parts of its length
    droop: float            # how far a strand follows gravity
    knot: str | None = None


STYLES = (
    HairStyle(0.09, -0.02, None, 0.0, 0.02, 0.16, 0.1, 0.2),                 # short
    HairStyle(0.2, 0.05, None, 0.0, 0.09, 0.3, 0.15, 0.0),                   # tousled
    HairStyle(0.15, 0.75, 1.05, 0.98, 0.03, 0.28, 0.15, 0.5),                # bob
    HairStyle(0.14, 0.9, 2.7, 1.05, 0.03, 0.45, 0.2, 0.8),                   # long
    HairStyle(0.2, 0.8, 2.3, 1.3, 0.08, 0.45, 0.6, 0.6),                     # wavy
    HairStyle(0.5, 0.1, 0.75, 1.15, 0.1, 0.26, 0.9, 0.0),                    # afro
    HairStyle(0.1, 0.1, None, 0.0, 0.02, 0.3, 0.3, 0.3, "bun"),
    HairStyle(0.1, 0.1, None, 0.0, 0.02, 0.3, 0.25, 0.4, "tail"),
    HairStyle(0.24, 0.6, 1.5, 1.25, 0.07, 0.65, 0.3, 0.1),                   # windblown
)


def random_hair(rng: np.random.Generator) -> tuple[HairStyle, Colour]:
    """Choose a style and a colour, RGB in [0, 255]."""
    shade = blend(COLOURS[rng.integers(len(COLOURS))], COLOURS[rng.integers(4)], rng.uniform(0, 0.3))
    return STYLES[rng.integers(len(STYLES))], shade


def strand(root: np.ndarray, direction: np.ndarray, style: HairStyle, length: float, swing: float) -> np.ndarray:
    """Return the curve (13, 2) of a strand that leaves `root` along the unit vector `direction` and swings aside and
    down."""
    t = np.linspace(0, 1, 13)[:, None]
    side = np.array([-direction[1], direction[0]])
    wave = np.sin(t * (3 + 5 * style.curl)) * swing * style.curl
    return root + length * (t * direction + wave * side + np.array([0, style.droop]) * t**2 * 0.6)


def draw_strands(sketch: Sketch, rng: np.random.Generator, edge: np.ndarray, style: HairStyle, colour: Colour, *,
                 count: int, wind: float) -> None:
    """Draw strands from random places of the curve `edge` (N, 2), clockwise round the hair, outwards."""
    along = np.gradient(edge, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    outward = np.stack([along[:, 1], -along[:, 0]], 1)
    for index in rng.integers(len(edge), size=count):
        # roots lie inside, so that a strand leaves the mass as a line and not as a dot
        direction = outward[index] * rng.uniform(0.15, 1.0) + along[index] * rng.normal(0, 0.7) + np.array([wind, 0])
        direction /= np.linalg.norm(direction) + 1e-9
        length = style.reach * min(2.0, rng.exponential(0.55) + 0.2)
        root = edge[index] - 0.1 * outward[index]
        curve = strand(root, direction, style, length + 0.1, rng.normal(0, 0.5))
        shade = darken(colour, rng.uniform(0.7, 1.35))
        sketch.line(curve, shade)
        sketch.line(curve[:rng.integers(3, 9)], shade, rng.uniform(0.0, 0.018))


def draw_locks(sketch: Sketch, rng: np.random.Generator, start: np.ndarray, end: np.ndarray, colour: Colour,
               count: int) -> None:
    """Draw lines of lighter and darker hair from points of `start` (N, 2) to the same points of `end` (N, 2)."""
    for index in rng.integers(len(start), size=count):
        middle = (start[index] + end[index]) / 2 + rng.normal(0, 0.03, 2)
        middle *= 1.04
        curve = smooth([start[index], middle, end[index]], closed=False)
        sketch.line(curve, darken(colour, rng.choice([0.6, 0.75, 1.2, 1.45])), rng.uniform(0.0, 0.025))


def _uneven(points: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    return smooth(points + rng.normal(0, amount, points.shape), closed=False, steps=5)


def _between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return start + (end - start) * np.linspace(0, 1, 30)[:, None]


def _mass_edge(style: HairStyle, wide: float, rng: np.random.Generator) -> np.ndarray:
    top = wide + style.crown
    side = [(style.spread, style.fall), (style.spread * 1.02, style.fall * 0.55), (top * 1.04, 0.1), (top, -0.35),
            (top * 0.75, -0.85 - style.crown * 0.6)]
    points = [(-x, y) for x, y in side] + [(0, -1 - style.crown)] + side[::-1]
    return _uneven(smooth(points, closed=False, steps=3), rng, style.bumps * 0.6)


def draw_hair_behind(sketch: Sketch, rng: np.random.Generator, style: HairStyle, colour: Colour, wide: float,
                     wind: float) -> None:
    """Draw what lies behind neck and head: the mass of long hair, a bun or a tail, with its strands."""
    dark = darken(colour, 0.72)
    if style.knot is not None:
        x, y, size = (rng.uniform(-0.2, 0.2), -1.25, 0.36) if style.knot == "bun" else (rng.choice([-1, 1]), 0.3, 0.3)
        tall = size if style.knot == "bun" else 1.1
        knot = _uneven(ellipse(x, y, size, tall)[::2], rng, 0.03)
        sketch.fill(knot, dark)
        draw_locks(sketch, rng, knot, np.roll(knot, len(knot) // 3, 0), dark, 30)
        draw_strands(sketch, rng, knot, style, dark, count=35, wind=wind)
    if style.fall is not None:
        edge = _mass_edge(style, wide, rng)
        sketch.fill(edge, dark)
        draw_locks(sketch, rng, edge * (0.7, 0.75), edge, dark, 70)
        draw_strands(sketch, rng, edge, style, dark, count=rng.integers(50, 120), wind=wind)
        draw_strands(sketch, rng, _between(edge[-1], edge[0]), style, dark, count=30, wind=wind)


def draw_hair_before(sketch: Sketch, rng: np.random.Generator, style: HairStyle, colour: Colour, wide: float,
                     wind: float) -> None:
    """Draw the cap over skull and forehead, parted, combed back or in a fringe, with its strands."""
    top, part = wide + style.crown * 0.9, rng.uniform(-0.4, 0.4)
    hairline = rng.choice([-0.68, -0.58, -0.4, -0.26])
    half = [(top, style.temple), (top * 1.01, -0.3), (top * 0.74, -0.85 - style.crown * 0.55)]
    outer = [(-x, y) for x, y in half] + [(0, -1 - style.crown)] + half[::-1]
    edge = _uneven(smooth(outer, closed=False, steps=3), rng, style.bumps * 0.5)
    inner = [(wide * 0.93, style.temple), (wide * 0.86, -0.25), (wide * 0.5, hairline + 0.02), (part, hairline - 0.1),
             (-wide * 0.5, hairline + 0.04), (-wide * 0.86, -0.25), (-wide * 0.93, style.temple)]
    front = smooth(inner, closed=False)
    sketch.tint(front + (0, 0.07), (40, 20, 10), 0.35, 0.05)
    sketch.fill(np.concatenate([edge, front]), colour)
    crown = np.array([part * 0.8, -1 - style.crown * 0.5])
    for curve in (edge, front[::-1]):
        draw_locks(sketch, rng, curve * 0.15 + crown * 0.85, curve, colour, 60)
    draw_strands(sketch, rng, edge, style, colour, count=rng.integers(80, 180), wind=wind)
    ends = style._replace(reach=0.5 * style.reach + 0.12 * style.temple)
    for tips in (_between(edge[-1], front[0]), _between(front[-1], edge[0])):
        draw_strands(sketch, rng, tips, ends, colour, count=25, wind=wind)
    fringe = style._replace(reach=0.1, droop=0.4)
    draw_strands(sketch, rng, front, fringe, colour, count=40, wind=wind * 0.3)
