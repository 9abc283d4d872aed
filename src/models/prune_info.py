"""The pruning JSON, with the published keys and ours, made from a config and read back. No torch here."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from src.console import no_file, shown
from src.models.config import MAX_WIDTH, NUM_BLOCKS, MODNetConfig, hr_width, paper_config
from src.records import Real, Table, Whole, check_shape, read_json

PUBLISHED_KEYS = ("ratio", "threshold", "new_cfg", "new_expansion_cfg", "new_lr_channels", "new_hr_channels",
                  "new_f_channels")

# What ours say besides, and the scripts that read them back rely on.
OUR_KEYS = {"rule?": str, "scope?": str, "criterion?": str, "source?": (str, None), "weight_replace?": bool, "search?": bool,
            "budget?": (None, {"params?": (None, Real(0)), "macs?": (None, Real(0))}), "latency?": (None, dict),
            "counts?": {"before": Table(Whole()), "after": Table(Whole())}, "steps?": Whole(), "average?": [dict],
            "training?": dict, "hr_channels?": Whole(1, MAX_WIDTH)}


def to_prune_info(config: MODNetConfig, *, ratio: float = 0.0, threshold: float = 0.0, **extra: object) -> dict:
    """Build the pruning JSON: the published keys, then what they cannot say (`widths`, `residual`, `expand`), then
    `extra`."""
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
        raise ValueError(f"{key} is {shown(value)}, expected {length} whole numbers from 1 to {MAX_WIDTH}")
    return value


def _flags(info: Mapping, key: str) -> list[bool] | None:
    value = info.get(key)
    if key in info and not (isinstance(value, list) and len(value) == NUM_BLOCKS
                                  and all(isinstance(v, bool) for v in value)):
        raise ValueError(f"{key} is {shown(value)}, expected {NUM_BLOCKS} times true or false")
    return value


def _number(info: Mapping, key: str) -> float:
    value = info[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{key} is {shown(value)}, expected a number from 0 to 1")
    return float(value)


def from_prune_info(info: Mapping) -> MODNetConfig:
    """Return the network that a pruning JSON describes, published or ours.

    Raises `ValueError` with the key, its value and what is allowed.
    """
    if not isinstance(info, Mapping):
        raise ValueError(f"a pruning JSON is an object, got {shown(info)}")
    missing = [key for key in PUBLISHED_KEYS if key not in info]
    if missing:
        raise ValueError(f"key {missing[0]!r} is missing; a pruning JSON has {', '.join(PUBLISHED_KEYS)}")
    check_shape(dict(info), OUR_KEYS)
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
        odd = sorted(set(widths) ^ set(dense.groups())) if isinstance(widths, dict) else [shown(widths)]
        raise ValueError(f"widths must name each channel group once; missing or unknown: {', '.join(odd[:3])}")
    config = dense.with_widths(widths, residual=_flags(info, "residual"), expand=_flags(info, "expand"))
    said = to_prune_info(config)
    for key in (*PUBLISHED_KEYS[2:], "hr_channels"):
        if said[key] != info.get(key, said[key]):
            raise ValueError(f"{key} is {shown(info[key])}, but widths say {shown(said[key])}")
    return config


def read_prune_info(path: Path) -> dict:
    """Read the pruning JSON at `path`. Raises `FileNotFoundError`, or `ValueError` naming the file if it is none."""
    if not path.is_file():
        raise no_file("pruning JSON", path)
    info = read_json(path)
    try:
        from_prune_info(info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return info
