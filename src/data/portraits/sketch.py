"""A premultiplied RGBA picture, drawn larger than it will be, whose shapes are given in units of half a head."""
from __future__ import annotations

import colorsys

import cv2
import numpy as np

SUPERSAMPLING = 3
_SHIFT = 4

Colour = tuple[float, float, float]


def random_colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Choose an RGB colour in [0, 255] of any hue, with saturation and value within the ranges given in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return red * 255, green * 255, blue * 255


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """Mix `share` of the colour `second` into `first`; RGB in [0, 255]."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def darken(colour: Colour, factor: float) -> Colour:
    """Multiply `colour` by `factor`, which may be over 1; RGB in [0, 255]."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def smooth(points: list[tuple[float, float]] | np.ndarray, *, closed: bool = True, steps: int = 8) -> np.ndarray:
    """Draw a Catmull-Rom curve through `points` (N, 2), `steps` points a segment; (M, 2) float64."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = b + (c - a) / 2 * t + (2 * a - 5 * b + 4 * c - d) / 2 * t**2 + (3 * b - a - 3 * c + d) / 2 * t**3
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Return the outline (40, 2) of an ellipse from its centre and half axes."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + width * np.sin(angle), y - height * np.cos(angle)], 1)


class Sketch:
    """The drawing of one figure on nothing.

    Points are (x, y) in half heads from the middle of the head, x to the right, y down. OpenCV blends an anti-aliased
    shape into all four channels alike, which for an opaque colour is the premultiplied "over" of Porter and Duff.
    """

    def __init__(self, height: int, width: int, *, centre: tuple[float, float], scale: float) -> None:
        self.height, self.width = height, width
        self.centre, self.scale = np.array(centre), scale
        self.tilt = 0.0
        self.pixels = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 4), np.uint8)

    def _place(self, points: np.ndarray, zoom: float = SUPERSAMPLING) -> np.ndarray:
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        at = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]]) * self.scale + self.centre
        # OpenCV counts from the middle of the first pixel, we from its corner
        return np.rint((at * zoom - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: np.ndarray, colour: Colour) -> None:
        """Fill the outline `points` (N, 2); OpenCV draws its border too, which adds a fifth of a pixel all round."""
        cv2.fillPoly(self.pixels, [self._place(points)], (*colour, 255), cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, colour: Colour, width: float = 0.0) -> None:
        """Draw the open curve `points` (N, 2), `width` half heads thick but never under a third of a pixel."""
        thick = max(1, round(width * self.scale * SUPERSAMPLING))
        cv2.polylines(self.pixels, [self._place(points)], False, (*colour, 255), thick, cv2.LINE_AA, _SHIFT)

    def fill_texture(self, points: np.ndarray, texture: np.ndarray) -> None:
        """Fill the outline `points` (N, 2) from `texture`, (H, W, 3) uint8 RGB of the finished picture's size."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._place(points)], 255, cv2.LINE_AA, _SHIFT)
        weight = mask.astype(np.float32) / 255
        opaque = cv2.cvtColor(texture, cv2.COLOR_RGB2RGBA)
        opaque = cv2.resize(opaque, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        self.pixels = cv2.blendLinear(opaque, self.pixels, weight, 1 - weight)

    def tint(self, points: np.ndarray, colour: Colour, strength: float, blur: float) -> None:
        """Colour what is already drawn within `points` (N, 2), its edge `blur` half heads soft; alpha stays."""
        outline, sigma = self._place(points, 1), max(0.3, blur * self.scale)
        margin = int(3 * sigma) + 2
        low, high = outline.min(0) // (1 << _SHIFT) - margin, outline.max(0) // (1 << _SHIFT) + margin
        (left, top), (right, bottom) = np.clip([low, high], 0, [self.width, self.height]).tolist()
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [outline - (np.int32([left, top]) << _SHIFT)], 255, cv2.LINE_AA, _SHIFT)
        # without a mirror at the border: past the picture's edge the figure goes on
        mask = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        part = self.pixels[top * SUPERSAMPLING:bottom * SUPERSAMPLING, left * SUPERSAMPLING:right * SUPERSAMPLING]
        weight = cv2.resize(mask, part.shape[1::-1]).astype(np.float32) * np.float32(strength / 255)
        # the colour premultiplied by the alpha that is there, looked up for each of its 256 values
        table = np.rint(np.outer(np.arange(256) / 255, (*colour, 255))).astype(np.uint8)
        target = cv2.LUT(cv2.merge([part[..., 3]] * 4), table[None])
        part[:] = cv2.blendLinear(target, part, weight, 1 - weight)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the premultiplied colour (H, W, 3) in [0, 255] and alpha (H, W) in [0, 1], float32: means over each
        pixel."""
        size = (self.width, self.height)
        small = cv2.resize(self.pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return small[..., :3], small[..., 3] / 255
