"""The last stage of a MODNet at half of the picture's size: the same matte in fewer passes over large maps.

The network enlarges a map by two (bilinear), joins the picture and convolves 3x3. Each of the four pixels that a place of
the small map becomes is a 3x3 convolution of that map: four times the channels at a quarter of the places, nothing enlarged.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from src.models.modnet import upsample2x

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
# Rows 2i-1 to 2i+2 of the enlarged map as sums of rows i-1 to i+1 of the small one.
BILINEAR = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]])


def enlarged_weights(weight: torch.Tensor) -> torch.Tensor:
    """Return weights (4 C, D, 3, 3) for the small map that do what `weight` (C, D, 3, 3) does for the enlarged one; output
    channel 4c + 2y + x is pixel (y, x) of channel c."""
    rows = BILINEAR.to(weight)
    phases = [torch.einsum("oduv,uk,vl->odkl", weight, rows[y:y + 3], rows[x:x + 3]) for y, x in PHASES]
    return torch.stack(phases, 1).flatten(0, 1)


def unshuffled_weights(weight: torch.Tensor) -> torch.Tensor:
    """Return weights (4 C, 4 D, 3, 3) for `pixel_unshuffle` of a picture that do what `weight` (C, D, 3, 3) does for itself;
    output channels as those of `enlarged_weights`."""
    width_out, width_in = weight.shape[:2]
    made = weight.new_zeros(width_out, 4, width_in, 4, 3, 3)
    for number, (y, x) in enumerate(PHASES):
        for u in range(3):
            for v in range(3):
                row, column = y + u + 1, x + v + 1  # of the pixel, from the first of the place above and left
                made[:, number, :, 2 * (row % 2) + column % 2, row // 2, column // 2] = weight[:, :, u, v]
    return made.reshape(4 * width_out, 4 * width_in, 3, 3)


def _ends(x: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """Return the first and the last `count` rows (dim 2) or columns (dim 3), side by side."""
    size = x.shape[dim]
    return torch.cat((x.narrow(dim, 0, count), x.narrow(dim, size - count, count)), dim)


def _rim(rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Top, bottom (N, C, 2, W) and left, right (N, C, H - 4, 2) of a map, of its (N, C, 8, W) and (N, C, H, 8)."""
    return rows[:, :, :2], rows[:, :, 6:], columns[:, :, 2:-2, :2], columns[:, :, 2:-2, 6:]


def fixed_conv(weight: torch.Tensor, bias: torch.Tensor | None = None, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without padding with this weight (C, D, K, K) and bias (C,)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, bias=bias is not None).to(weight)
    conv.weight.data.copy_(weight)
    if bias is not None:
        conv.bias.data.copy_(bias)
    return conv


def unshuffle() -> nn.Conv2d:
    """Return `pixel_unshuffle` of a picture (N, 3, H, W) to (N, 12, H/2, W/2): channel 4c + 2y + x is pixel (y, x) of colour
    c. As a convolution, since it then reads and writes what its neighbours do, bytes with channels last."""
    return fixed_conv(torch.eye(12).reshape(12, 3, 2, 2), stride=2)


def quarter_picture() -> nn.Conv2d:
    """Return the picture at a quarter of its size, (N, 3, H/4, W/4), as `interpolate` makes it, of what `unshuffle` gives:
    the mean of the four pixels in the middle of each 4x4."""
    weight = torch.zeros(3, 3, 2, 2, 2, 2)  # colour out, colour in, (y, x) in a place, place
    for colour in range(3):
        for y in range(2):
            for x in range(2):
                weight[colour, colour, 1 - y, 1 - x, y, x] = 0.25
    return fixed_conv(weight.reshape(3, 12, 2, 2), stride=2)


def of_unshuffled(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of (half-size picture, other channels), made to read (`unshuffle` of the picture, the others)."""
    colours, others = conv.weight.data[:, :3], conv.weight.data[:, 3:]
    made = nn.Conv2d(conv.in_channels + 9, conv.out_channels, conv.kernel_size, conv.stride, conv.padding).to(conv.weight)
    made.weight.data.copy_(torch.cat((colours.repeat_interleave(4, 1) / 4, others), 1))
    made.bias.data.copy_(conv.bias.data)
    return made


class HalfSizeOutput(nn.Module):
    """The enlargement by two, the convolution with its IBNorm and the head: (N, C, H/2, W/2), the picture (N, 3, H, W) and
    its `unshuffle` to the logits (N, 1, H, W).

    `conv` is the 3x3 convolution with the batch norm folded into its first `half` channels, `head` the 1x1 one. The two
    outermost pixels all around, where the network pads the enlarged map with zeros, are computed as it does. All maps
    but the logits keep to the small size.
    """

    def __init__(self, conv: nn.Conv2d, head: nn.Conv2d, half: int, eps: float) -> None:
        super().__init__()
        self.half, self.eps, self.rest = half, eps, conv.out_channels - half
        small = conv.in_channels - 3
        weight = conv.weight.data
        weight = torch.cat((enlarged_weights(weight[:, :small]), unshuffled_weights(weight[:, small:])), 1)
        bias = conv.bias.data.repeat_interleave(4)
        self.plain, self.normed = fixed_conv(weight[:4 * half], bias[:4 * half]), fixed_conv(weight[4 * half:])
        lone = torch.einsum("oc,pq->opcq", head.weight.data[:, :, 0, 0], torch.eye(4).to(weight)).flatten(0, 1).flatten(1)
        lone = lone[:, :, None, None]
        self.plain_head = fixed_conv(lone[:, :4 * half], head.bias.data.repeat(4))
        self.normed_head = fixed_conv(lone[:, 4 * half:])
        self.rim, self.rim_head = conv, head

    def forward(self, x: torch.Tensor, image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the matte (N, 1, H, W) of features at half size, the image and its `places`."""
        small = torch.cat((x, places), 1)
        plain, normed = self.plain(small), self.normed(small)
        rows, columns = (self._outermost(x, image, dim) for dim in (2, 3))
        scale, shift = self._statistics(normed, _rim(rows[:, self.half:], columns[:, self.half:]))
        logits = self.plain_head(F.relu(plain)) + self.normed_head(_normalise(normed, _four(scale), _four(shift)))
        top, bottom, left, right = _rim(self._logits(rows, scale, shift), self._logits(columns, scale, shift))
        inner = torch.cat((left, F.pixel_shuffle(logits, 2), right), 3)
        return torch.cat((top, inner, bottom), 2)

    def _outermost(self, x: torch.Tensor, image: torch.Tensor, dim: int) -> torch.Tensor:
        """Return the convolution of the first and last four rows or columns, as the network does it: the outer two are
        right."""
        return self.rim(torch.cat((upsample2x(_ends(x, 2, dim)), _ends(image, 4, dim)), 1))

    def _logits(self, strip: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return self.rim_head(torch.cat((F.relu(strip[:, :self.half]), _normalise(strip[:, self.half:], scale, shift)), 1))

    def _statistics(self, inner: torch.Tensor, rim: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift (N, C) of the instance norm over the four phases (N, 4 C, H/2 - 2, W/2 - 2) and the rim."""
        edge = torch.cat([part.flatten(2) for part in rim], 2)
        places = inner.shape[2] * inner.shape[3] * 4
        count = places + edge.shape[2]
        norm = torch.linalg.vector_norm(inner, dim=(2, 3)).reshape(-1, self.rest, 4)
        mean = (inner.mean((2, 3)).reshape(-1, self.rest, 4).mean(2) * places + edge.sum(2)) / count
        square = ((norm * norm).sum(2) + (edge * edge).sum(2)) / count
        scale = ((square - mean * mean).clamp_min(0) + self.eps).rsqrt()
        return scale, -mean * scale


def _normalise(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return F.relu(x * scale[:, :, None, None] + shift[:, :, None, None])


def _four(values: torch.Tensor) -> torch.Tensor:
    """Return (N, C) as (N, 4 C), each four times."""
    return values[:, :, None].expand(-1, -1, 4).flatten(1)
