"""Hold the training pictures of a pack (`gpu_pack.py`) on a GPU, and cut, compose, recolour and damage whole batches there.

One image of 512x512 takes a fraction of a millisecond this way, where the loading processes of `src/data` would take all
cores of the machine. What is drawn is alike, not equal: windows, turns and squeezes; people at other sizes before other
pictures, two at times, with things beside them; colours, blur, noise, JPEG.
"""
from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from src.console import note, progress_bar
from src.data.composition import THINGS
from src.records import Whole, read_json

# Sides of the square canvases, and so the longest sides of pictures of people and of backgrounds in a pack.
PERSON, BACKGROUND = 704, 640
ROLES = ("train", "val", "background")
PACK = {"entries": [{"role": str, "set": str, "name": str, "size": [Whole(1)], "offset": Whole(0), "length": Whole(1)}]}
# How many canvases are worked on at once while pictures are loaded.
SOME = 64
# What AVIF leaves of a black matte: levels up to this are 0, and as far from 255 are 255.
DARKEST = 6
Two = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Mixture:
    """How often pictures are drawn: `weights` by set (others 1), shared by its pictures; `rare` is a factor for names that
    begin so. Mattes of the sets `rough` count for semantics alone, and pictures of `squared` were squeezed to squares.
    The defaults are those of the shipped networks."""

    weights: Mapping[str, float] = field(default_factory=lambda: {"people": 2.0, "portraits": 2.0, "fullbody_rough": 0.15})
    rare: Mapping[str, float] = field(default_factory=lambda: {"webca_": 0.15, "gestu_": 0.4})
    rough: Sequence[str] = ("people_small", "fullbody_rough")
    squared: Sequence[str] = ("people_small",)

    def shares(self, sets: Sequence[str], names: Sequence[str]) -> list[float]:
        """Return how often each picture is drawn, by its set and name; the sum is not 1."""
        shares = [self.weights.get(name, 1.0) / sets.count(name) for name in sets]
        for start, factor in self.rare.items():
            shares = [share * factor if name.startswith(start) else share for share, name in zip(shares, names, strict=True)]
        return shares


class Batch(NamedTuple):
    """Images (N, 3, H, W) in [-1, 1], alphas in [0, 1] and trimaps of 0, 0.5, 1 (N, 1, H, W), and of which images the matte
    is a rough one (N,) bool."""

    image: torch.Tensor
    alpha: torch.Tensor
    trimap: torch.Tensor
    semantic_only: torch.Tensor


class Entry(NamedTuple):
    """A picture of a pack: what for, of which set, its name, and its pixels (H, W, 3 or 4) uint8 RGB or RGBA."""

    role: str
    set: str
    name: str
    pixels: np.ndarray


def read_pack(folder: Path) -> list[Entry]:
    """Decode the pictures of a pack. Raises `FileNotFoundError`, or `ValueError` naming the file if it is none."""
    index_path, data_path = folder / "pack.json", folder / "pack.bin"
    for path in (index_path, data_path):
        if not path.is_file():
            raise FileNotFoundError(f"no pack at {folder}: {path.name} is missing, bench/gpu_pack.py makes it")
    rows, length = read_json(index_path, PACK)["entries"], data_path.stat().st_size
    needed = max((row["offset"] + row["length"] for row in rows), default=0)
    if needed > length:
        raise ValueError(f"{data_path} has {length} bytes, but {index_path} needs {needed}: it was cut off")

    def decode(row: dict) -> Entry:
        with data_path.open("rb") as file:
            file.seek(row["offset"])
            data = file.read(row["length"])
        mode = "RGB" if row["role"] == "background" else "RGBA"
        try:
            pixels = np.array(Image.open(io.BytesIO(data)).convert(mode))
        except OSError as error:
            raise ValueError(f"{data_path}: {row['name']} cannot be decoded ({error}); is Pillow older than 11.3?") from None
        return Entry(row["role"], row["set"], row["name"], pixels)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(progress_bar(pool.map(decode, rows), total=len(rows), desc="decoding", leave=False))


def per_map(values: torch.Tensor) -> torch.Tensor:
    """Turn one value an image (N,) into (N, 1, 1)."""
    return values[:, None, None]


def per_image(values: torch.Tensor) -> torch.Tensor:
    """Turn one value an image (N,) into (N, 1, 1, 1)."""
    return values[:, None, None, None]


def box(x: torch.Tensor, radius: int) -> torch.Tensor:
    """Average (N, C, H, W) over squares of 2 `radius` + 1 pixels."""
    k = 2 * radius + 1
    x = F.avg_pool2d(x, (k, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, k), 1, (0, radius), count_include_pad=False)


def wide_box(x: torch.Tensor, radius: int) -> torch.Tensor:
    """Average as `box` over a large radius, at a quarter of the size."""
    small = box(F.avg_pool2d(x, 4), max(1, radius // 4))
    return F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)


def foreground_colours(image: torch.Tensor, alpha: torch.Tensor, radii: tuple[int, int] = (30, 4)) -> torch.Tensor:
    """Estimate the colours (N, 3, H, W) of what `alpha` (N, 1, H, W) covers, all in [0, 1], by blur fusion (Forte 2021,
    *Approximate Fast Foreground Colour Estimation*)."""
    fg = bg = image
    for radius in radii:
        blur = wide_box if radius > 10 else box
        f, a, b, rest = blur(torch.cat((fg * alpha, alpha, bg * (1 - alpha), 1 - alpha), 1), radius).split((3, 1, 3, 1), 1)
        f, b = f / (a + 1e-5), b / (rest + 1e-5)
        fg, bg = (f + alpha * (image - alpha * f - (1 - alpha) * b)).clamp(0, 1), b
    return torch.where(alpha > 0.995, image, fg)


def mirror(u: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Mirror pixel coordinates (N, H, W) outside of pictures of `size` (N,) back into them."""
    size = per_map(size)
    u = (u + 0.5).remainder(2 * size)
    return torch.where(u > size, 2 * size - u, u).clamp(min=0.5).minimum(size - 0.5) - 0.5


class Bank:
    """Pictures (n, C, side, side) uint8 on a canvas each, the last row and column repeated, and the same at half the size;
    `size` (n, 2) is their width and height."""

    def __init__(self, arrays: Sequence[np.ndarray], channels: int, side: int, device: torch.device) -> None:
        n = len(arrays)
        self.side = side
        self.full = torch.zeros(n, channels, side, side, dtype=torch.uint8, device=device)
        self.size = torch.tensor([[a.shape[1], a.shape[0]] for a in arrays], dtype=torch.float32, device=device)
        for canvas, pixels in zip(self.full, arrays, strict=True):
            h, w = pixels.shape[:2]
            if max(h, w) > side:
                raise ValueError(f"a picture of the pack is {w}x{h}, allowed are sides up to {side}")
            canvas[:, :h, :w] = torch.from_numpy(pixels).to(device).permute(2, 0, 1)
            canvas[:, :h, w:] = canvas[:, :h, w - 1:w]
            canvas[:, h:] = canvas[:, h - 1:h]
        self.half = torch.empty(n, channels, side // 2, side // 2, dtype=torch.uint8, device=device)
        for start in range(0, n, SOME):
            some = slice(start, start + SOME)
            self.half[some] = F.avg_pool2d(self.full[some].float(), 2).round().byte()

    def sample(self, index: torch.Tensor, u: torch.Tensor, v: torch.Tensor,
               tensors: Two | None = None) -> torch.Tensor:
        """Sample the pictures `index` (N,) at pixel coordinates `u`, `v` (N, H, W): (N, C, H, W) in [0, 1].

        Where that shrinks them, the half-size copy is mixed in. `tensors` are other full and half-size canvases.
        """
        full, half = tensors or (self.full, self.half)
        grid = torch.stack(((u + 0.5) * 2 / self.side - 1, (v + 0.5) * 2 / self.side - 1), -1)
        big = F.grid_sample(full[index].float(), grid, padding_mode="border", align_corners=False)
        step = (u[:, 0, -1] - u[:, 0, 0]).abs() / (u.shape[2] - 1)
        step = torch.maximum(step, (v[:, -1, 0] - v[:, 0, 0]).abs() / (v.shape[1] - 1))
        small = F.grid_sample(half[index].float(), grid, padding_mode="border", align_corners=False)
        return (big + per_image(((step - 1.2) / 0.8).clamp(0, 1)) * (small - big)) / 255


class Chance:
    """Random numbers on a device, from one generator."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device, self.generator = device, torch.Generator(device=device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Draw numbers between `low` and `high`."""
        return low + (high - low) * torch.rand(*shape, generator=self.generator, device=self.device)

    def log_uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        """Draw (n,) factors whose logarithms are uniform."""
        return torch.exp(self.uniform(n, low=math.log(low), high=math.log(high)))

    def flips(self, n: int, prob: float) -> torch.Tensor:
        """Draw (n,) bool, true with probability `prob`."""
        return self.uniform(n) < prob

    def angles(self, n: int, prob: float, degrees: float) -> torch.Tensor:
        """Draw (n,) angles in radians of up to `degrees`, with probability `prob`, else 0."""
        return self.flips(n, prob) * self.uniform(n, low=-1, high=1) * math.radians(degrees)

    def below(self, most: int, n: int) -> torch.Tensor:
        """Draw (n,) whole numbers under `most`."""
        return torch.randint(most, (n,), generator=self.generator, device=self.device)

    def weighted(self, weights: torch.Tensor, n: int) -> torch.Tensor:
        """Draw (n,) positions of `weights`, each as often as its weight says."""
        return torch.multinomial(weights, n, True, generator=self.generator)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw Gaussian noise of the shape of `like`."""
        return torch.randn(like.shape, generator=self.generator, device=self.device)


class Damage:
    """Change the look of images (N, 3, H, W) in [0, 1], each in its own way."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        k = torch.arange(8, device=chance.device, dtype=torch.float32)
        self.cosines = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
        self.cosines[0] /= math.sqrt(2)
        # Coarser for higher frequencies, as in JPEG's own tables.
        self.quantisation = 10 + 5 * (k[:, None] + k[None]) ** 1.1

    def colours(self, x: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
        """Change white balance, gamma, contrast, brightness and saturation; one in twenty becomes grey."""
        n, uniform = len(x), self.chance.uniform

        def factor(low: float, high: float, channels: int = 1) -> torch.Tensor:
            return 1 + strength * (uniform(n, channels, 1, 1, low=low, high=high) - 1)

        balance = factor(0.85, 1.15, 3)
        x = x.clamp(1e-4, 1) ** torch.exp(strength * uniform(n, 1, 1, 1, low=math.log(0.65), high=math.log(1.5)))
        x = x * balance * factor(0.75, 1.22) + strength * uniform(n, 1, 1, 1, low=-0.08, high=0.08)
        saturation = factor(0.5, 1.35) * (uniform(n, 1, 1, 1) > 0.05 * strength)
        grey = (x * x.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)
        return (grey + saturation * (x - grey)).clamp(0, 1)

    def defocus(self, x: torch.Tensor, prob: float) -> torch.Tensor:
        """Blur with probability `prob`, by up to three halvings of the size."""
        n, _, height, width = x.shape
        amount = self.chance.uniform(n) * self.chance.flips(n, prob) * 3
        out, small = x, x
        for level in range(3):
            small = F.avg_pool2d(small, 2)
            wide = F.interpolate(small, (height, width), mode="bicubic" if level == 0 else "bilinear", align_corners=False)
            out = out + per_image((amount - level).clamp(0, 1)) * (wide - out)
        return out.clamp(0, 1)

    def degrade(self, x: torch.Tensor) -> torch.Tensor:
        """Lower the resolution of some, add noise to some, and then JPEG's faults to some."""
        n, _, height, width = x.shape
        lowered = per_image(self.chance.flips(n, 0.2))
        low = F.interpolate(F.interpolate(x, scale_factor=0.5, mode="area"), (height, width), mode="bicubic",
                            align_corners=False)
        x = x + lowered * self.chance.uniform(n, 1, 1, 1) * (low - x)
        noisy = per_image(self.chance.flips(n, 0.25)) * self.chance.uniform(n, 1, 1, 1, low=0.004, high=0.04)
        return self.jpeg((x + noisy * self.chance.normal(x)).clamp(0, 1), 0.3)

    def jpeg(self, x: torch.Tensor, prob: float) -> torch.Tensor:
        """Quantise cosine coefficients of 8x8 pixels with probability `prob`, as JPEG does, in RGB and at full size; H and W
        are multiples of 8."""
        n, _, height, width = x.shape
        quality = self.chance.uniform(n, low=0.25, high=2.2)[:, None, None, None, None, None]
        blocks = (x * 255 - 128).view(n, 3, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
        step = self.quantisation * quality
        coefficients = ((self.cosines @ blocks @ self.cosines.T) / step).round() * step
        y = (self.cosines.T @ coefficients @ self.cosines).permute(0, 1, 2, 4, 3, 5).reshape(n, 3, height, width)
        return torch.where(per_image(self.chance.flips(n, prob)), ((y + 128) / 255).clamp(0, 1), x)


class Pictures:
    """The pictures of a pack on `device`, and batches of them (`batch`). `val` are the (set, name, RGBA) to validate on."""

    def __init__(self, entries: Sequence[Entry], device: torch.device, *, mixture: Mixture | None = None,
                 seed: int = 0) -> None:
        mixture = mixture or Mixture()
        train, backgrounds, val = ([entry for entry in entries if entry.role == role]
                                   for role in (ROLES[0], ROLES[2], ROLES[1]))
        if not train:
            raise ValueError("the pack has no pictures to train on")
        self.device, self.chance = device, Chance(device, seed)
        self.damage = Damage(self.chance)
        self.val = [(entry.set, entry.name, entry.pixels) for entry in val]
        sets = [entry.set for entry in train]
        self.people = Bank([entry.pixels for entry in train], 4, PERSON, device)
        for canvases in (self.people.full, self.people.half):
            for start in range(0, len(canvases), SOME):
                alpha = canvases[start:start + SOME, 3].float()
                stretched = (alpha - DARKEST) * 255 / (255 - 2 * DARKEST)
                canvases[start:start + SOME, 3] = stretched.clamp(0, 255).round().byte()
        self.backgrounds = Bank([entry.pixels for entry in backgrounds], 3, BACKGROUND, device)
        things = [number for number, entry in enumerate(backgrounds) if entry.name.startswith(THINGS)]
        if backgrounds and not things:
            note("the pack has no backgrounds of things (coco_, flic_): pieces of any background stand for them")
        self.things = torch.tensor(things or list(range(len(backgrounds))), dtype=torch.long, device=device)
        self.weights = torch.tensor(mixture.shares(sets, [entry.name for entry in train]), device=device)
        self.rough, self.squared = (torch.tensor([name in some for name in sets], device=device)
                                    for some in (mixture.rough, mixture.squared))
        # Only people with a real matte are put before other backgrounds.
        self.movable = (~self.rough).nonzero()[:, 0]
        self.movable_weights = self.weights[self.movable]
        self._find_colours()
        self._find_boxes()

    def _find_colours(self) -> None:
        """Estimate the colours of the people that can be moved, (n, 3, side, side) uint8, and at half the size."""
        self.colours = torch.zeros_like(self.people.full[:, :3])
        for index in self.movable.split(SOME // 2):
            x = self.people.full[index].float() / 255
            self.colours[index] = (foreground_colours(x[:, :3], x[:, 3:]) * 255).round().byte()
        self.half_colours = torch.zeros_like(self.people.half[:, :3])
        for start in range(0, len(self.colours), SOME):
            some = slice(start, start + SOME)
            alpha = self.people.full[some, 3:].float() / 255 + 1e-3
            mean = F.avg_pool2d(self.colours[some].float() * alpha, 2) / F.avg_pool2d(alpha, 2)
            self.half_colours[some] = mean.clamp(0, 255).round().byte()

    def _find_boxes(self) -> None:
        """Find the box of each person, and at which sides (left, top, right, bottom) the picture cuts them."""
        boxes, cuts = [], []
        for canvas, size in zip(self.people.full, self.people.size, strict=True):
            w, h = (int(side) for side in size)
            body = canvas[3, :h, :w] > 40
            rows, columns = body.any(1).nonzero(), body.any(0).nonzero()
            if len(rows) == 0:
                boxes.append((0, 0, w, h))
                cuts.append((True,) * 4)
                continue
            left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
            boxes.append((left, top, right, bottom))
            cuts.append((left <= 2, top <= 2, right >= w - 2, bottom >= h - 2))
        self.boxes = torch.tensor(boxes, dtype=torch.float32, device=self.device)
        self.cuts = torch.tensor(cuts, device=self.device)

    def places(self, size: tuple[int, int], zoom: Two, shift: Two, flip: torch.Tensor, angle: torch.Tensor) -> Two:
        """Return the pixel coordinates (N, H, W), x and y, in the source of each pixel of a frame of `size` (H, W):
        frame = zoom * source + shift, then turned about the middle by `angle`, then flipped. Pairs are of x and y."""
        height, width = size
        y, x = torch.meshgrid(*(torch.arange(side, device=self.device, dtype=torch.float32) + 0.5 for side in size),
                              indexing="ij")
        x = torch.where(per_map(flip), width - x, x.expand(len(flip), height, width))
        cos, sin = per_map(torch.cos(angle)), per_map(torch.sin(angle))
        dx, dy = x - width / 2, y - height / 2
        x, y = cos * dx - sin * dy + width / 2, sin * dx + cos * dy + height / 2
        return (x - per_map(shift[0])) / per_map(zoom[0]) - 0.5, (y - per_map(shift[1])) / per_map(zoom[1]) - 0.5

    def window(self, bank: Bank, index: torch.Tensor, size: tuple[int, int], zoom: torch.Tensor, squeeze: torch.Tensor,
               angle: torch.Tensor) -> Two:
        """Choose a part of each picture that fills the frame, enlarged by `zoom` over what just covers it, its width by
        `squeeze` besides; what a turn brings in is mirrored. Returns coordinates as `places`."""
        n, (height, width), (w, h) = len(index), size, bank.size[index].unbind(1)
        zoom_y = torch.maximum(width / (w * squeeze), height / h) * zoom
        zoom_x = zoom_y * squeeze
        shift = (width - w * zoom_x) * self.chance.uniform(n), (height - h * zoom_y) * self.chance.uniform(n)
        u, v = self.places(size, (zoom_x, zoom_y), shift, self.chance.flips(n, 0.5), angle)
        return mirror(u, w), mirror(v, h)

    def plain(self, index: torch.Tensor, size: tuple[int, int]) -> Two:
        """Cut windows out of the pictures as they are: images (N, 3, H, W) and alphas (N, 1, H, W) in [0, 1]."""
        n, chance = len(index), self.chance
        whole = chance.flips(n, 0.55)
        zoom = torch.where(whole, chance.uniform(n, low=1, high=1.08), chance.log_uniform(n, 1.05, 2.1))
        squeeze = chance.log_uniform(n, 0.87, 1.15)
        kind = chance.uniform(n)
        unsqueezed = torch.where(kind < 0.45, 1.33, torch.where(kind < 0.6, 0.75, 1.0)) * chance.log_uniform(n, 0.9, 1.1)
        squeeze = torch.where(self.squared[index], unsqueezed, squeeze)
        u, v = self.window(self.people, index, size, zoom, squeeze, chance.angles(n, 0.3, 8))
        x = self.people.sample(index, u, v)
        return x[:, :3], x[:, 3:]

    def person(self, index: torch.Tensor, size: tuple[int, int], low: float = 0.35,
               high: float = 1.3) -> Two:
        """Move and resize people to `low` ... `high` of the frame's height: colours (N, 3, H, W) and alphas (N, 1, H, W) in
        [0, 1]. A side at which their own picture cut them stays out of the frame."""
        n, chance, (height, width) = len(index), self.chance, size
        left, top, right, bottom = self.boxes[index].unbind(1)
        cut_left, cut_top, cut_right, cut_bottom = self.cuts[index].unbind(1)
        w, h = self.people.size[index].unbind(1)
        tall = (bottom - top).maximum((right - left) * 0.8)
        z = chance.log_uniform(n, low, high) * height / tall
        z = torch.where(cut_left & cut_right, z.maximum(width / w), z)
        z = torch.where(cut_top & cut_bottom, z.maximum(height / h), z).clamp(max=4)
        free_x = chance.uniform(n, low=0.12, high=0.88) * width - z * (left + right) / 2
        over = chance.uniform(n) * chance.flips(n, 0.3) * 0.3
        over_x, over_y = over * z * (right - left), over * z * (bottom - top)
        # Both ends are drawn each time, so that the numbers that follow do not depend on the people.
        x = torch.where(cut_left & cut_right, (width - w * z) * chance.uniform(n),
                        torch.where(cut_left, -over_x, torch.where(cut_right, width - z * w + over_x, free_x)))
        free_y = chance.uniform(n, low=0.55, high=1.25) * height - z * bottom
        free_y = torch.where(chance.flips(n, 0.8), free_y.maximum(0.02 * height - z * top), free_y)
        free_y = free_y.maximum(-z * top - 0.4 * z * (bottom - top))
        y = torch.where(cut_top & cut_bottom, (height - h * z) * chance.uniform(n),
                        torch.where(cut_bottom, height - z * h + over_y, torch.where(cut_top, -over_y, free_y)))
        angle = chance.angles(n, 0.3, 10) * ~(cut_left | cut_right | cut_top)
        u, v = self.places(size, (z * chance.log_uniform(n, 0.93, 1.07), z), (x, y), chance.flips(n, 0.5), angle)
        alpha = self.people.sample(index, u, v, (self.people.full[:, 3:], self.people.half[:, 3:]))
        # Below a picture that cut the person, the last row goes on.
        inside = (u > -0.5) & (u < per_map(w) - 0.5) & (v > -0.5) & (~(v > per_map(h) - 0.5) | per_map(cut_bottom))
        return self.people.sample(index, u, v, (self.colours, self.half_colours)), alpha * inside[:, None]

    def room(self, index: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Make backgrounds (N, 3, H, W) in [0, 1] of the pictures `index` (N,)."""
        n, chance = len(index), self.chance
        u, v = self.window(self.backgrounds, index, size, chance.log_uniform(n, 1, 2.2), chance.log_uniform(n, 0.85, 1.18),
                           chance.angles(n, 0.2, 5))
        return self.damage.defocus(self.damage.colours(self.backgrounds.sample(index, u, v), 0.7), 0.35)

    def shapes(self, n: int, size: tuple[int, int]) -> torch.Tensor:
        """Draw round, wavy or square shapes (n, 1, H, W) with soft edges, in [0, 1], somewhere in the frame."""
        chance = self.chance
        y, x = torch.meshgrid(*(torch.linspace(0, 1, side, device=self.device) for side in size), indexing="ij")
        middle_x, middle_y = chance.uniform(n), chance.uniform(n)
        radius_x, radius_y = chance.log_uniform(n, 0.06, 0.28), chance.log_uniform(n, 0.06, 0.28)
        dx, dy = (x - per_map(middle_x)) / per_map(radius_x), (y - per_map(middle_y)) / per_map(radius_y)
        wave = 1 + sum(height * torch.sin(count * torch.atan2(dy, dx) + per_map(chance.uniform(n)) * 6.28)
                       for height, count in ((0.15, 3), (0.1, 5)))
        round_one = torch.sqrt(dx * dx + dy * dy) * wave
        square = torch.maximum(dx.abs(), dy.abs())
        distance = torch.where(per_map(chance.flips(n, 0.3)), square, round_one)
        return ((1 - distance) * 30).clamp(0, 1)[:, None]

    def composed(self, n: int, size: tuple[int, int]) -> Two:
        """Put people before other backgrounds, some with a thing or a second person behind: images (n, 3, H, W) and alphas
        (n, 1, H, W) in [0, 1]."""
        chance = self.chance
        who = self.movable[chance.weighted(self.movable_weights, n)]
        image = self.room(chance.below(len(self.backgrounds.full), n), size)
        thing = self.things[chance.below(len(self.things), n)]
        mask = self.shapes(n, size) * per_image(chance.flips(n, 0.25))
        image = image + mask * (self.room(thing, size) - image)
        other = self.movable[chance.weighted(self.movable_weights, n)]
        behind, behind_alpha = self.person(other, size, 0.3, 0.9)
        behind_alpha = behind_alpha * per_image(chance.flips(n, 0.12))
        front, front_alpha = self.person(who, size)
        image = image + behind_alpha * (self.damage.colours(behind, 0.5) - image)
        image = image + front_alpha * (self.damage.colours(front, 0.5) - image)
        return image, front_alpha + behind_alpha * (1 - front_alpha)

    @torch.no_grad()
    def batch(self, n: int, size: tuple[int, int], composition_prob: float = 0.4) -> Batch:
        """Make a batch of `n` images of `size` (H, W), multiples of 8; the share `composition_prob` of it is composed.

        Raises `ValueError` if there is nobody, or no background, to compose with.
        """
        count = round(n * composition_prob)
        if count and not (len(self.movable) and len(self.backgrounds.full)):
            raise ValueError(f"composition-prob is {composition_prob}, but the pack has {len(self.movable)} people with a "
                             f"matte and {len(self.backgrounds.full)} backgrounds")
        index = self.chance.weighted(self.weights, n - count) if n > count else self.movable[:0]
        parts = [self.plain(index, size)] if n > count else []
        parts += [self.composed(count, size)] if count else []
        image, alpha = map(torch.cat, zip(*parts, strict=True))
        rough = torch.cat((self.rough[index], self.rough.new_zeros(count)))
        image = self.damage.degrade(self.damage.colours(image))
        return Batch(image * 2 - 1, alpha.clamp(0, 1), self.trimap(alpha), rough)

    def trimap(self, alpha: torch.Tensor) -> torch.Tensor:
        """Make trimaps (N, 1, H, W) of 0, 0.5, 1: 0.5 within a distance, drawn for the batch, of what is neither 0 nor 1."""
        radius = int(self.chance.uniform(1, low=0.006, high=0.028).item() * alpha.shape[2])
        soft = ((alpha > 0.02) & (alpha < 0.98)).float()
        k = 2 * radius + 1
        near = F.max_pool2d(F.max_pool2d(soft, (k, 1), 1, (radius, 0)), (1, k), 1, (0, radius))
        return torch.where(near > 0, 0.5, alpha.round())
