"""Put people of several pictures, and things that are no people, into one room."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from src.data.augment import jitter_colours
from src.data.composition import Backgrounds

AS_IT_IS = (1.0, 1.0)
# Of the second person, where the first keeps its size.
SECOND_SCALE = (0.4, 1.0)
# Alpha under this (of 255) is dust that does not make a person larger.
DUST = 12
# How often an edge of the frame cuts somebody who is not cut yet, and at most how much of it.
CUT_PROB, CUT_MOST = 0.2, 0.4
# How often what a side of the picture cut is hidden under the frame, if that leaves this much of the height.
HIDE_PROB, HIDE_FROM = 0.75, 0.4


@dataclass(frozen=True)
class Staging:
    """How a room is filled: size of people as a share of its side, how often two of them, how often other things."""

    person_scale: tuple[float, float] = AS_IT_IS
    two_people_prob: float = 0.0
    distractor_prob: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether each person simply stays where it is, alone."""
        return self == PLAIN


PLAIN = Staging()


class Layer(NamedTuple):
    """Something to lay over a room: colours times alpha (h, w, 3) and alpha (h, w), float32 in [0, 255] and [0, 1]."""

    colours: np.ndarray
    alpha: np.ndarray


def make_layer(foreground: np.ndarray, alpha: np.ndarray, height: int, width: int) -> Layer:
    """Resize a foreground (h, w, 3) and alpha (h, w), uint8, to a layer; what lies beside the foreground does not bleed into
    it, since colours are weighted before."""
    weight = alpha.astype(np.float32) / 255
    shrinks = min(alpha.shape[0] / height, alpha.shape[1] / width) > 1
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return Layer(*(cv2.resize(x, (width, height), interpolation=how) for x in (foreground * weight[..., None], weight)))


def lay(room: np.ndarray, alpha: np.ndarray | None, layer: Layer, top: int, left: int) -> None:
    """Lay a layer over `room` (S, S, 3), in place, what stands out is cut off; in `alpha` (S, S), if given, what is
    transparent there is multiplied by what is in the layer."""
    height, width = layer.alpha.shape
    rows = slice(max(0, top), max(0, min(room.shape[0], top + height)))
    columns = slice(max(0, left), max(0, min(room.shape[1], left + width)))
    part = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    through = 1 - layer.alpha[part]
    room[rows, columns] = layer.colours[part] + through[..., None] * room[rows, columns]
    if alpha is not None:
        alpha[rows, columns] = 1 - through * (1 - alpha[rows, columns])


def visible_person(alpha: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Find the rows and columns of a person in `alpha` (h, w) uint8; by chance without the lower part that a side of the
    picture cuts, so that a smaller copy has no straight edge in the middle of a room."""
    body = alpha > DUST
    if rng.random() < HIDE_PROB and body[-1].any():
        beside = np.flatnonzero(body[:, 0] | body[:, -1])
        first = np.flatnonzero(body.any(1))[0]
        if len(beside) and beside[0] - first > HIDE_FROM * (len(body) - first):
            body = body[:beside[0]]
    left, top, width, height = cv2.boundingRect(body.astype(np.uint8))
    if not width:
        return slice(0, alpha.shape[0]), slice(0, alpha.shape[1])
    return slice(top, top + height), slice(left, left + width)


def offset(length: int, side: int, cuts: tuple[bool, bool], rng: np.random.Generator) -> int:
    """Choose where something of `length` begins along a frame of `side`: within it, or over all of it if it is longer. An
    end where it is cut already comes to the frame's edge; now and then an edge cuts off up to `CUT_MOST`."""
    low, high = sorted((0, side - length))
    first, last = cuts
    if first != last and length < side:
        low = high = 0 if first else side - length
    at = rng.uniform(low, high)
    if rng.random() < CUT_PROB:
        beyond = rng.uniform(0, CUT_MOST) * min(length, side)
        before = first if first != last else rng.random() < 0.5
        at += -beyond if before else beyond
    return round(at)


def add_person(room: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, own_alpha: np.ndarray, *,
               scale: tuple[float, float], rng: np.random.Generator) -> None:
    """Lay a person over `room` (S, S, 3) and `alpha` (S, S), float32, in place: its longer side is a number from `scale`
    times S, its place chance. `foreground` (h, w, 3) and `own_alpha` (h, w) are the whole picture, uint8."""
    rows, columns = visible_person(own_alpha, rng)
    # Where `visible_person` left rows out, the person goes on as at an edge of the picture.
    goes_on = rows.stop == len(own_alpha) or bool((own_alpha[rows.stop] > DUST).any())
    # Somebody cut above and below stands on the lower edge rather than hangs in the air.
    cuts = (rows.start == 0 and not goes_on, goes_on), (columns.start == 0, columns.stop == own_alpha.shape[1])
    sides = rows.stop - rows.start, columns.stop - columns.start
    length = rng.uniform(*scale) * len(room) / max(sides)
    height, width = (max(1, round(length * n)) for n in sides)
    layer = make_layer(foreground[rows, columns], own_alpha[rows, columns], height, width)
    top, left = (offset(n, len(room), cut, rng) for n, cut in zip((height, width), cuts, strict=True))
    lay(room, alpha, layer, top, left)


def blob(side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a round shape with a wavy, soft outline, (side, side) uint8."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = 0.38 + sum(rng.uniform(0, 0.1 / n) * np.cos(n * angles + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 5))
    squeeze = rng.uniform(0.6, 1, 2)
    points = np.stack([np.cos(angles) * radius * squeeze[0], np.sin(angles) * radius * squeeze[1]], 1)
    shape = cv2.fillPoly(np.zeros((side, side), np.uint8), [np.rint((points + 0.5) * side).astype(np.int32)], 255)
    return cv2.GaussianBlur(shape, (0, 0), rng.uniform(0.5, 1 + side / 40))


def add_thing(room: np.ndarray, backgrounds: Backgrounds, rng: np.random.Generator) -> None:
    """Lay a part of a picture of things over `room` (S, S, 3) float32, in place: all of it, or a blob of it."""
    side = max(2, round(rng.uniform(0.15, 0.6) * len(room)))
    thing = backgrounds.draw(side, rng, things=True)
    shape = np.full((side, side), 255, np.uint8) if rng.random() < 0.3 else blob(side, rng)
    top, left = (round(rng.uniform(-0.3 * side, len(room) - 0.7 * side)) for _ in range(2))
    lay(room, None, make_layer(thing, shape, side, side), top, left)


def compose(people: Sequence[tuple[np.ndarray, np.ndarray]], window: tuple[slice, slice], backgrounds: Backgrounds,
            staging: Staging, *, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Compose a room with `people` in it, the last in front, as (size, size, 3) and (size, size) uint8.

    Each of them is a foreground (h, w, 3) and alpha (h, w), uint8. Where their size is not a matter of chance, the last
    one's `window` fills the room.
    """
    room, alpha = backgrounds.draw(size, rng).astype(np.float32), np.zeros((size, size), np.float32)
    if rng.random() < staging.distractor_prob:
        for _ in range(int(rng.integers(1, 3))):
            add_thing(room, backgrounds, rng)
    fills = staging.person_scale == AS_IT_IS
    for number, (foreground, own_alpha) in enumerate(people, 1):
        foreground = jitter_colours(foreground, rng)
        if fills and number == len(people):
            lay(room, alpha, make_layer(foreground[window], own_alpha[window], size, size), 0, 0)
        else:
            add_person(room, alpha, foreground, own_alpha, scale=SECOND_SCALE if fills else staging.person_scale, rng=rng)
    return np.rint(room).clip(0, 255).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8)
