"""Every width of a MODNet by name, checked, and read from and written to the pruning JSON. No torch here."""
from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NUM_BLOCKS = 17
RGB = 3
# MobileNetV2 (Sandler et al. 2018, table 2) without its classifier: output width and stride of each block.
_DENSE_OUT = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
PUBLISHED_KEYS = ("ratio", "threshold", "new_cfg", "new_expansion_cfg", "new_lr_channels", "new_hr_channels",
                  "new_f_channels")
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
        """Width that block `number` (1 to 17) reads."""
        return self.stem if number == 1 else self.blocks[number - 2].out

    def groups(self) -> list[str]:
        """Names of all widths in forward order: `stem`, `block1.hidden`, `block1`, ..., `f.1x`."""
        names = ["stem"]
        for number in range(1, NUM_BLOCKS + 1):
            names += [f"block{number}.hidden", f"block{number}"]
        return names + BRANCH_GROUPS

    def width(self, group: str) -> int:
        """Channels of a group; `rgb` has 3 and `alpha` has 1."""
        if group in ("rgb", "alpha"):
            return RGB if group == "rgb" else 1
        if group.startswith("block"):
            number, _, part = group[len("block"):].partition(".")
            return getattr(self.blocks[int(number) - 1], part or "out")
        return getattr(self, group.replace(".", "_"))

    def with_widths(self, widths: Mapping[str, int], *, residual: list[bool] | None = None,
                    expand: list[bool] | None = None) -> MODNetConfig:
        """The same network with the widths of some groups, and the flags of all blocks, replaced."""
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
    """Whether the channels of `group` pass an IBNorm: first half batch norm, the rest instance norm."""
    return group in BRANCH_GROUPS and group not in ("enc32x", "se")


def paper_config(new_cfg: list[int], expansion: list[int], *, lr16x: int, lr8x: int, hr: int,
                 residual: list[bool] | None = None) -> MODNetConfig:
    """Network of the published pruning code.

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
    """HR width that the published code gives a pruning ratio."""
    return int(32 * (1 - ratio))


def to_prune_info(config: MODNetConfig, *, ratio: float = 0.0, threshold: float = 0.0, **extra: object) -> dict:
    """The pruning JSON: the published keys, then what they cannot say (`widths`, `residual`, `expand`), then `extra`."""
    outs = [block.out for block in config.blocks]
    return {
        "ratio": ratio,
        "threshold": threshold,
        "new_cfg": [config.stem, *outs, config.enc32x],
        "new_expansion_cfg": [max(1, block.hidden // config.block_input(number))
                              for number, block in enumerate(config.blocks, 1)],
        "new_lr_channels": [config.lr8x, config.lr16x],
        "new_hr_channels": [config.width("block1"), config.width("block3")],
        "new_f_channels": [config.lr8x],
        "hr_channels": config.hr_2x,
        "residual": [block.residual for block in config.blocks],
        "expand": [block.expand for block in config.blocks],
        "widths": {group: config.width(group) for group in config.groups()},
        **extra,
    }


def _whole_numbers(info: Mapping, key: str, length: int) -> list[int]:
    value = info[key]
    good = isinstance(value, list) and len(value) == length and all(
        isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= MAX_WIDTH for v in value)
    if not good:
        raise ValueError(f"{key} is {_short(value)}, expected {length} whole numbers from 1 to {MAX_WIDTH}")
    return value


def _flags(info: Mapping, key: str) -> list[bool] | None:
    value = info.get(key)
    if value is not None and not (isinstance(value, list) and len(value) == NUM_BLOCKS
                                  and all(isinstance(v, bool) for v in value)):
        raise ValueError(f"{key} is {_short(value)}, expected {NUM_BLOCKS} times true or false")
    return value


def _number(info: Mapping, key: str) -> float:
    value = info[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f"{key} is {_short(value)}, expected a number from 0 to 1")
    return float(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def from_prune_info(info: Mapping) -> MODNetConfig:
    """The network that a pruning JSON describes, published or ours.

    Raises `ValueError` with the key, its value and what is allowed.
    """
    if not isinstance(info, Mapping):
        raise ValueError(f"a pruning JSON is an object, got {_short(info)}")
    missing = [key for key in PUBLISHED_KEYS if key not in info]
    if missing:
        raise ValueError(f"key {missing[0]!r} is missing; a pruning JSON has {', '.join(PUBLISHED_KEYS)}")
    ratio, _ = _number(info, "ratio"), _number(info, "threshold")
    new_cfg = _whole_numbers(info, "new_cfg", NUM_BLOCKS + 2)
    expansion = _whole_numbers(info, "new_expansion_cfg", NUM_BLOCKS)
    lr8x, lr16x = _whole_numbers(info, "new_lr_channels", 2)
    enc2x, enc4x = _whole_numbers(info, "new_hr_channels", 2)
    f_lr8x, = _whole_numbers(info, "new_f_channels", 1)
    for name, value, other, expected in (("new_hr_channels", [enc2x, enc4x], "new_cfg", [new_cfg[1], new_cfg[3]]),
                                         ("new_f_channels", [f_lr8x], "new_lr_channels", [lr8x])):
        if value != expected:
            raise ValueError(f"{name} is {value}, but {other} says {expected}")
    if "widths" not in info:
        return paper_config(new_cfg, expansion, lr16x=lr16x, lr8x=lr8x, hr=hr_width(ratio),
                            residual=_flags(info, "residual"))
    return _from_widths(info)


def _from_widths(info: Mapping) -> MODNetConfig:
    dense, widths = MODNetConfig(), info["widths"]
    if not isinstance(widths, dict) or set(widths) != set(dense.groups()):
        odd = sorted(set(widths) ^ set(dense.groups())) if isinstance(widths, dict) else [_short(widths)]
        raise ValueError(f"widths must name each channel group once; missing or unknown: {', '.join(odd[:3])}")
    config = dense.with_widths(widths, residual=_flags(info, "residual"), expand=_flags(info, "expand"))
    said = to_prune_info(config)
    for key in PUBLISHED_KEYS[2:]:
        if said[key] != info[key]:
            raise ValueError(f"{key} is {_short(info[key])}, but widths say {_short(said[key])}")
    return config


def read_prune_info(path: Path) -> dict:
    """The JSON at `path`. Raises `FileNotFoundError`, or `ValueError` naming the file if it is not a pruning JSON."""
    if not path.is_file():
        raise FileNotFoundError(f"no pruning JSON at {path}")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        from_prune_info(info)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    return info
