"""The wiring table: which channel groups each layer reads, in concat order, and which one it writes.

A channel group is a set of channels that is kept or cut together. Residual partners write the same group, a concat reads
several, a skip is two readers of one group; `rgb` and `alpha` are never cut.
"""
from __future__ import annotations

from dataclasses import dataclass

from src.models.config import MODNetConfig

DEPTHWISE, CONV_BN, CONV_IBN, CONV, LINEAR = "depthwise+BN", "conv+BN", "conv+IBN", "conv", "linear"


@dataclass(frozen=True)
class Wire:
    """One layer. `norm` names its norm layer; a depthwise layer's own filters are the rows of the group it writes."""

    layer: str
    reads: tuple[str, ...]
    writes: str
    kind: str
    norm: str | None = None


def _conv_bn(conv: str, norm: str, reads: str, writes: str) -> Wire:
    return Wire(conv, (reads,), writes, CONV_BN, norm)


def _conv_ibn(module: str, reads: tuple[str, ...], writes: str) -> Wire:
    return Wire(f"{module}.layers.0", reads, writes, CONV_IBN, f"{module}.layers.1")


def _head(module: str, reads: str) -> Wire:
    return Wire(f"{module}.layers.0", (reads,), "alpha", CONV)


# hr_branch, f_branch and the rest of lr_branch do not depend on the config.
_BRANCHES = [
    Wire("lr_branch.se_block.fc.0", ("enc32x",), "se", LINEAR),
    Wire("lr_branch.se_block.fc.2", ("se",), "enc32x", LINEAR),
    _conv_ibn("lr_branch.conv_lr16x", ("enc32x",), "lr16x"),
    _conv_ibn("lr_branch.conv_lr8x", ("lr16x",), "lr8x"),
    _head("lr_branch.conv_lr", "lr8x"),
    _conv_ibn("hr_branch.tohr_enc2x", ("block1",), "hr.enc2x"),
    _conv_ibn("hr_branch.conv_enc2x", ("rgb", "hr.enc2x"), "hr.4x.down"),
    _conv_ibn("hr_branch.tohr_enc4x", ("block3",), "hr.enc4x"),
    _conv_ibn("hr_branch.conv_enc4x", ("hr.4x.down", "hr.enc4x"), "hr.4x"),
    _conv_ibn("hr_branch.conv_hr4x.0", ("hr.4x", "lr8x", "rgb"), "hr.4x.a"),
    _conv_ibn("hr_branch.conv_hr4x.1", ("hr.4x.a",), "hr.4x.b"),
    _conv_ibn("hr_branch.conv_hr4x.2", ("hr.4x.b",), "hr.4x.c"),
    _conv_ibn("hr_branch.conv_hr2x.0", ("hr.4x.c", "hr.enc2x"), "hr.2x.a"),
    _conv_ibn("hr_branch.conv_hr2x.1", ("hr.2x.a",), "hr.2x.b"),
    _conv_ibn("hr_branch.conv_hr2x.2", ("hr.2x.b",), "hr.2x.c"),
    _conv_ibn("hr_branch.conv_hr2x.3", ("hr.2x.c",), "hr.2x"),
    _conv_ibn("hr_branch.conv_hr.0", ("hr.2x", "rgb"), "hr.1x"),
    _head("hr_branch.conv_hr.1", "hr.1x"),
    _conv_ibn("f_branch.conv_lr4x", ("lr8x",), "f.4x"),
    _conv_ibn("f_branch.conv_f2x", ("f.4x", "hr.2x"), "f.2x"),
    _conv_ibn("f_branch.conv_f.0", ("f.2x", "rgb"), "f.1x"),
    _head("f_branch.conv_f.1", "f.1x"),
]


def tied_group(config: MODNetConfig, group: str) -> str:
    """Return the name of the group that `group` is kept with: the first of the blocks that residuals join, else itself.

    A block without expansion filters its input, so its hidden channels are the group that it reads.
    """
    if group.endswith(".hidden") and not has_expansion(config, group):
        group = block_input(block_number(group))
    while is_block_output(group) and config.blocks[block_number(group) - 1].residual:
        group = block_input(block_number(group))
    return group


def is_block_output(group: str) -> bool:
    """Tell whether `group` is what a block writes."""
    return group.startswith("block") and not group.endswith(".hidden")


def block_number(group: str) -> int:
    """Return the number of a block from the name of one of its groups: 4 for `block4` and `block4.hidden`."""
    return int(group.removeprefix("block").removesuffix(".hidden"))


def has_expansion(config: MODNetConfig, group: str) -> bool:
    """Tell whether the block that `group` belongs to has an expansion convolution."""
    return config.blocks[block_number(group) - 1].expand


def block_input(number: int) -> str:
    """Return the group that block `number` (1 to 17) reads."""
    return "stem" if number == 1 else f"block{number - 1}"


def _block_wires(config: MODNetConfig, number: int) -> list[Wire]:
    conv = f"backbone.model.features.{number}.conv"
    source, hidden, at = block_input(number), f"block{number}.hidden", 0
    wires = []
    if config.blocks[number - 1].expand:
        wires, at = [_conv_bn(f"{conv}.0", f"{conv}.1", source, hidden)], 3
    wires.append(Wire(f"{conv}.{at}", (hidden,), hidden, DEPTHWISE, f"{conv}.{at + 1}"))
    return [*wires, _conv_bn(f"{conv}.{at + 3}", f"{conv}.{at + 4}", hidden, f"block{number}")]


def wires(config: MODNetConfig) -> list[Wire]:
    """Return the wiring of a network in forward order, groups by their own names; `tied_group` says which of them are
    one."""
    features = "backbone.model.features"
    table = [_conv_bn(f"{features}.0.0", f"{features}.0.1", "rgb", "stem")]
    for number in range(1, len(config.blocks) + 1):
        table += _block_wires(config, number)
    table.append(_conv_bn(f"{features}.18.0", f"{features}.18.1", f"block{len(config.blocks)}", "enc32x"))
    return table + _BRANCHES
