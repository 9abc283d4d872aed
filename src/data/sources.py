"""Use several data sets as one: their folders, how often each is drawn, and their pictures for validation."""
from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from src.data.layouts import Pair, find_pairs, has_split
from src.files import short_names

HALVES = ("choose", "report")


class Source(NamedTuple):
    """The folder of a data set, and how many times its pictures are drawn in an epoch, on average."""

    path: Path
    weight: float = 1.0


# What a script or function is given: one folder, or several with weights.
Sources = Path | Sequence[Source]


class Shards(NamedTuple):
    """A data set in WebDataset shards, see `src.data.shards`."""

    patterns: tuple[str, ...]
    strict: bool = False                # whether a sample that cannot be used ends the training


def parse_source(text: str) -> Source:
    """Parse `FOLDER` or `FOLDER=WEIGHT`. Raises `ValueError` for a weight that is no number over 0."""
    folder, equals, said = text.rpartition("=")
    if not equals or Path(text).is_dir():
        return Source(Path(text))
    try:
        weight = float(said) if said.isascii() and "_" not in said else math.nan
    except ValueError:
        weight = math.nan
    if not (folder and math.isfinite(weight) and weight > 0):
        raise ValueError(f"{text} has the weight {said!r}, allowed is FOLDER=WEIGHT with a number over 0")
    return Source(Path(folder), weight)


def as_sources(data: Sources) -> list[Source]:
    """Return the data sets of `data`. Raises `ValueError` for a folder that is given twice."""
    sources = [Source(data)] if isinstance(data, Path) else list(data)
    paths = [os.path.realpath(source.path) for source in sources]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise ValueError(f"{sources[number].path} is given twice: give it once, with a weight: "
                             f"{sources[number].path}=2")
    return sources


def half_of(stem: str) -> str:
    """Tell which of `HALVES` a picture belongs to, by the first bit of the SHA-256 of its name without suffix: for ever the
    same, whatever else is in the set."""
    return HALVES[hashlib.sha256(os.fsencode(stem)).digest()[0] >> 7]


def take_half(pairs: Sequence[Pair], half: str | None) -> list[Pair]:
    """Return the pairs of one of `HALVES`, or all for `None`."""
    return [pair for pair in pairs if half is None or half_of(pair.image.stem) == half]


def pairs_by_set(data: Sources, split: str = "val", *, half: str | None = None,
                 limit: int | None = None) -> dict[str, list[Pair]]:
    """Return the pairs of a split of every data set by its name, of one half if asked, of each set the first `limit`.

    Raises what `find_pairs` raises, and `ValueError` for a half without pictures.
    """
    sources, found = as_sources(data), {}
    if not sources:
        return found
    for name, source in zip(short_names([source.path for source in sources]), sources, strict=True):
        found[name] = take_half(find_pairs(source.path, split), half)[:limit]
        if not found[name]:
            raise ValueError(f"{source.path} has no pictures in the half {half!r} of {split}")
    return found


def mark_of(names: Iterable[str]) -> str:
    """Return eight letters that change with the names of files."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def with_split(data: Sources | Shards, split: str = "val") -> list[Source]:
    """Return the data sets that have folders of their own for `split`; of shards none."""
    return [] if isinstance(data, Shards) else [source for source in as_sources(data) if has_split(source.path, split)]
