"""JSON that is read back: one reader, which names the file and the field that is wrong. No torch here.

What a file must hold is said by its shape: `bool`, `str`, `dict`, `list`, `None`, `Whole(...)`, `Real(...)`; `[shape]` for a
list, `{"name": shape}` for an object that has at least these fields (`"name?"`: if it is there), `Table(shape)` for
an object of any names, and a tuple of shapes for a choice.
"""
from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.console import no_file, shown

# Longer whole numbers count nothing, and floats of that size cannot be told apart.
MOST_WHOLE = 2 ** 53
_MOST_DIGITS = 20


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int = 0
    most: int = MOST_WHOLE


@dataclass(frozen=True)
class Real:
    """A finite number from `least` to `most`, whole or not."""

    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Table:
    """An object of any names, whose values have the shape `of`."""

    of: Any


_NAMES = {bool: "true or false", str: "text", dict: "an object", list: "a list", None: "null"}


def _expected(shape: Any) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_expected, shape))
    if isinstance(shape, Whole | Real):
        kind = "a whole number" if isinstance(shape, Whole) else "a number"
        low = "" if shape.least == -math.inf else f" from {shape.least:g}"
        return kind + low + ("" if shape.most in (math.inf, MOST_WHOLE) else f" to {shape.most:g}")
    if isinstance(shape, list | dict):
        return _NAMES[type(shape)]
    return _NAMES[dict] if isinstance(shape, Table) else _NAMES[shape]


def _fits(value: Any, shape: Any) -> bool:
    """Return whether `value` is of the kind of `shape`; what is inside is looked at later."""
    if isinstance(shape, Whole | Real):
        kinds = int if isinstance(shape, Whole) else (int, float)
        return (isinstance(value, kinds) and not isinstance(value, bool) and abs(value) <= 10 ** 300
                and shape.least <= value <= shape.most)
    if shape is None:
        return value is None
    return isinstance(value, shape if isinstance(shape, type) else list if isinstance(shape, list) else dict)


def check_shape(value: Any, shape: Any, name: str = "") -> Any:
    """Return `value` if it has the shape. Raises `ValueError` with the first field that has not, and what it should be."""
    for one in shape if isinstance(shape, tuple) else (shape,):
        if _fits(value, one):
            break
    else:
        raise ValueError(f"{name or 'it'} is {shown(value)}, expected {_expected(shape)}")
    if isinstance(one, list):
        for number, part in enumerate(value):
            check_shape(part, one[0], f"{name}[{number}]")
    elif isinstance(one, Table):
        for key, part in value.items():
            check_shape(part, one.of, f"{name}.{shown(key)}".lstrip("."))
    elif isinstance(one, dict):
        for key, part in one.items():
            field, inside = key.rstrip("?"), f"{name}.{key.rstrip('?')}".lstrip(".")
            if field in value:
                check_shape(value[field], part, inside)
            elif not key.endswith("?"):
                raise ValueError(f"{inside} is missing")
    return value


def checked(path: Path, value: Any, shape: Any, name: str) -> Any:
    """Return `value`, the field `name` of the file `path`, if it has the shape. Raises `ValueError` naming both, else."""
    try:
        return check_shape(value, shape, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"the number {shown(text, most=24)} is out of range")
    return int(text)


def _real(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {shown(text, most=24)} is out of range")
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no finite number")


def parse_json(text: str | bytes, shape: Any = object) -> Any:
    """Return the value of a JSON text of the shape. Raises `ValueError` for what is none, and for numbers out of range."""
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value if shape is object else check_shape(value, shape)


def read_lines(path: Path, shape: Any = object) -> list:
    """Return what each line of the JSON Lines file `path` holds; nothing if there is none. Raises `ValueError` naming the
    file, the line and the field."""
    if not os.path.lexists(path):
        return []
    if not path.is_file():
        raise ValueError(f"{path} is no plain file, expected lines of JSON")
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows.append(parse_json(line, shape))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return rows


def read_json(path: Path, shape: Any = object) -> Any:
    """Return what the JSON file `path` holds. Raises `FileNotFoundError`, or `ValueError` naming the file and the field."""
    if not path.is_file():
        raise no_file("JSON", path)
    try:
        return parse_json(path.read_bytes(), shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
