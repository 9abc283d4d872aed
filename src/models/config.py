"""The config of a MODNet: every width by name, checked. No torch here."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

NUM_BLOCKS = 17
RGB = 3
# MobileNetV2 (Sandler et al. 2018, table 2) without its classifier: output width and stride of each block.
_DENSE_OUT = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
# The stem halves the picture too: heights and widths are multiples of this.
STRIDE = 2 * math.prod(STRIDES)
# A width above this is a mistake or an attack: the dense network's widest layer has 1280 channels.
MAX_WIDTH = 4096


@dataclass(frozen=True)
class BlockConfig:
    """One inverted residual block. `expand=False` has no expansion convolution: hidden width = input width."""

    hidden: int
    out: int
    stride: int
    expand: bool
    residual: bool


def _dense_blocks() -> tuple[BlockConfig, ...]:
    blocks, width = [], 32
    for index, (out, stride) in enumerate(zip(_DENSE_OUT, STRIDES, strict=True)):
        expansion = 1 if index == 0 else 6
        blocks.append(BlockConfig(width * expansion, out, stride, expansion > 1, stride == 1 and width == out))
        width = out
    return tuple(blocks)


@dataclass(frozen=True)
class MODNetConfig:
    """Widths of one MODNet; the defaults are the dense network (Ke et al. 2022). Field `a_b` is channel group `a.b`."""

    stem: int = 32
    blocks: tuple[BlockConfig, ...] = field(default_factory=_dense_blocks)
    enc32x: int = 1280
    se: int = 320
    lr16x: int = 96
    lr8x: int = 32
    hr_enc2x: int = 32
    hr_4x_down: int = 32
    hr_enc4x: int = 32
    hr_4x: int = 64
    hr_4x_a: int = 64
    hr_4x_b: int = 64
    hr_4x_c: int = 32
    hr_2x_a: int = 64
    hr_2x_b: int = 32
    hr_2x_c: int = 32
    hr_2x: int = 32
    hr_1x: int = 32
    f_4x: int = 32
    f_2x: int = 32
    f_1x: int = 16

    def __post_init__(self) -> None:
        if len(self.blocks) != NUM_BLOCKS:
            raise ValueError(f"{len(self.blocks)} blocks, expected {NUM_BLOCKS}")
        for group in self.groups():
            width, least = self.width(group), 2 if is_ibn(group) else 1
            if not isinstance(width, int) or isinstance(width, bool) or not least <= width <= MAX_WIDTH:
                raise ValueError(f"width of {group} is {width!r}, allowed are whole numbers from {least} to {MAX_WIDTH}")
        for number, block in enumerate(self.blocks, 1):
            width_in = self.block_input(number)
            if block.stride not in (1, 2):
                raise ValueError(f"stride of block{number} is {block.stride!r}, allowed are 1 and 2")
            if not block.expand and block.hidden != width_in:
                raise ValueError(f"block{number} has no expansion, so its hidden width {block.hidden} must be its "
                                 f"input width {width_in}")
            if block.residual and (block.stride != 1 or block.out != width_in):
                raise ValueError(f"the residual of block{number} joins widths {width_in} and {block.out} at stride "
                                 f"{block.stride}: allowed are equal widths and stride 1")

    def block_input(self, number: int) -> int:
        """Return the width that block `number` (1 to 17) reads."""
        return self.stem if number == 1 else self.blocks[number - 2].out

    def groups(self) -> list[str]:
        """List the names of all channel groups in forward order: `stem`, `block1.hidden`, `block1`, ..., `f.1x`."""
        names = ["stem"]
        for number in range(1, NUM_BLOCKS + 1):
            names += [f"block{number}.hidden", f"block{number}"]
        return names + BRANCH_GROUPS

    def width(self, group: str) -> int:
        """Return the number of channels of a group; `rgb` has 3 and `alpha` has 1."""
        if group in ("rgb", "alpha"):
            return RGB if group == "rgb" else 1
        if group.startswith("block"):
            number, _, part = group[len("block"):].partition(".")
            return getattr(self.blocks[int(number) - 1], part or "out")
        return getattr(self, group.replace(".", "_"))

    def with_widths(self, widths: Mapping[str, int], *, residual: list[bool] | None = None,
                    expand: list[bool] | None = None) -> MODNetConfig:
        """Return the same network with the widths of some groups, and the flags of all blocks, replaced."""
        unknown = sorted(set(widths) - set(self.groups()))
        if unknown:
            raise ValueError(f"unknown channel group {unknown[0]!r}")
        blocks = tuple(
            dataclasses.replace(
                block,
                hidden=widths.get(f"block{number}.hidden", block.hidden),
                out=widths.get(f"block{number}", block.out),
                expand=block.expand if expand is None else expand[number - 1],
                residual=block.residual if residual is None else residual[number - 1])
            for number, block in enumerate(self.blocks, 1))
        rest = {group.replace(".", "_"): width for group, width in widths.items() if not group.startswith("block")}
        return dataclasses.replace(self, blocks=blocks, **rest)


BRANCH_GROUPS = [f.name.replace("_", ".") for f in dataclasses.fields(MODNetConfig) if f.name not in ("stem", "blocks")]


def is_ibn(group: str) -> bool:
    """Tell whether the channels of `group` pass an IBNorm: first half batch norm, the rest instance norm."""
    return group in BRANCH_GROUPS and group not in ("enc32x", "se")


def paper_config(new_cfg: list[int], expansion: list[int], *, lr16x: int, lr8x: int, hr: int,
                 residual: list[bool] | None = None) -> MODNetConfig:
    """Build the config of a network that the published pruning code made.

    `new_cfg` holds 19 widths (stem, 17 block outputs, last), `expansion` 17 whole numbers; hidden width = expansion x
    input width, 1 = no expansion convolution; SE = last // 4; inner HR layers 2 x `hr`, the last fusion layer half.
    Without `residual` (the published format has no such field) a block is residual if its stride is 1 and its widths
    are equal.
    """
    blocks = []
    for index, (width_in, out) in enumerate(zip(new_cfg[:NUM_BLOCKS], new_cfg[1:], strict=False)):
        joins = STRIDES[index] == 1 and width_in == out
        blocks.append(BlockConfig(expansion[index] * width_in, out, STRIDES[index], expansion[index] != 1,
                                  joins and (residual is None or residual[index])))
    inner = {name: 2 * hr for name in ("hr_4x", "hr_4x_a", "hr_4x_b", "hr_2x_a")}
    plain = {name: hr for name in ("hr_enc2x", "hr_4x_down", "hr_enc4x", "hr_4x_c", "hr_2x_b", "hr_2x_c", "hr_2x",
                                   "hr_1x", "f_4x", "f_2x")}
    return MODNetConfig(stem=new_cfg[0], blocks=tuple(blocks), enc32x=new_cfg[-1], se=max(1, new_cfg[-1] // 4),
                        lr16x=lr16x, lr8x=lr8x, f_1x=hr // 2, **inner, **plain)


def hr_width(ratio: float) -> int:
    """Return the HR width that the published code gives a pruning ratio."""
    return int(32 * (1 - ratio))
