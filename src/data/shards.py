"""Training pairs in WebDataset shards: tar files of `key.jpg` (or .webp, .png), `key.alpha.png` and perhaps `key.json`.

A data set of any size is streamed from them, also over a network: the shards are split by process of the training and by
process of the loading, and their samples shuffled in a buffer. The format and the splitting are those of the package
webdataset (Aizman et al., *High Performance I/O For Large Scale Deep Learning*, 2019).
"""
from __future__ import annotations

import functools
import io
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from src.console import no_file, note, shown
from src.data.composition import foreground_colours
from src.data.crops import Crops
from src.data.decoded import Sample
from src.data.layouts import Pair, read_pair
from src.data.sources import mark_of
from src.files import moved_into_place
from src.records import parse_json

PICTURES = ("jpg", "jpeg", "png", "webp")
ALPHA = "alpha.png"
# Samples in a process's buffer, out of which one is drawn at a time.
SHUFFLE = 128
# Samples in a row that may be left out before the data set is given up.
MOST_MISSES = 1000


def is_shards(text: str) -> bool:
    """Return whether a `--data-dir` means shards: a name that ends in .tar, by `{000..099}` perhaps many, or `pipe:`."""
    return text.startswith("pipe:") or text.endswith(".tar")


def shard_names(pattern: str) -> list[str]:
    """Return the shards of a pattern such as `people-{000000..000099}.tar`, in order. Raises `ValueError` if it is none."""
    from braceexpand import UnbalancedBracesError, braceexpand

    try:
        return list(braceexpand(pattern))
    except UnbalancedBracesError:
        raise ValueError(f"{pattern} is no pattern of shards, expected such as people-{{000000..000099}}.tar") from None


def write_shards(pairs: Sequence[Pair], pattern: str, *, rough: frozenset[Pair] = frozenset()) -> list[Path]:
    """Write `pairs`, one after the other to each of the shards of `pattern`, and return these; each appears whole or not.

    The keys are numbers and names of the pictures, the bytes those of the files. Of the pairs in `rough` the key's JSON says
    that the matte is a rough mask. Raises `ValueError` for a pattern with more shards than pairs.
    """
    import webdataset

    names = shard_names(pattern)
    if len(names) > len(pairs):
        raise ValueError(f"--shards {pattern} is {len(names)} shards, but there are only {len(pairs)} pairs")
    for number, name in enumerate(names):
        with moved_into_place(Path(name)) as temporary, webdataset.TarWriter(str(temporary)) as tar:
            for index in range(number, len(pairs), len(names)):
                tar.write(_packed(index, pairs[index], rough=pairs[index] in rough))
    return [Path(name) for name in names]


def _packed(index: int, pair: Pair, *, rough: bool) -> dict[str, bytes | str]:
    """Return the files of a pair under the names that they have in a shard."""
    suffix = pair.image.suffix.lower().lstrip(".")
    if suffix in PICTURES and pair.alpha.suffix.lower() == ".png":
        picture, alpha = pair.image.read_bytes(), pair.alpha.read_bytes()
    else:  # both anew: one alone would lose how the other's EXIF turns it
        suffix, (image, matte) = "png", read_pair(pair)
        picture, alpha = _as_png(image), _as_png(np.rint(matte * 65535).astype(np.uint16))
    # A dot in a key would begin the suffix.
    key = f"{index:07d}-{re.sub(r'[^A-Za-z0-9_-]', '_', pair.image.stem)}"
    return {"__key__": key, suffix: picture, ALPHA: alpha, "json": json.dumps({"semantic_only": rough}).encode()}


def _as_png(pixels: np.ndarray) -> bytes:
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, "PNG")
    return to.getvalue()


class Streamed(NamedTuple):
    """A pair as it comes from a shard."""

    name: str
    sample: Sample
    rough: bool


class ShardDataset(IterableDataset):
    """Training samples from shards, as `src.data.samples.MattingDataset` gives them, an endless stream for each epoch.

    `epoch` decides, with `seed`, the order of the shards and every choice of chance, and nothing else does: a run resumed at
    an epoch sees what an unbroken one would, as long as as many processes load. A sample or shard that cannot be used is
    named and left out, or refused if `strict`.
    """

    def __init__(self, patterns: Sequence[str], crops: Crops, *, seed: int = 0, strict: bool = False, rank: int = 0,
                 world: int = 1) -> None:
        """Raise `ValueError` for fewer shards than training processes, and `FileNotFoundError` naming one that is not
        there."""
        self.names = [name for pattern in patterns for name in shard_names(pattern)]
        self.crops, self.seed, self.strict, self.rank, self.world, self.epoch = crops, seed, strict, rank, world, 0
        for name in self.names:
            if "://" not in name and not name.startswith("pipe:") and not Path(name).is_file():
                raise no_file("shard", name)
        if len(self.names) < world:
            raise ValueError(f"{len(self.names)} shards are too few for {world} training processes: each needs one")

    def described(self) -> str:
        """Return how many shards there are, and a mark that changes with their names, wherever their folders are."""
        mark = mark_of(name.rpartition("/")[2] for name in self.names)
        return f"{len(self.names)} shards ({mark})"

    def picture_names(self) -> list[str]:
        """Return nothing: a sample has its `name` with it."""
        return []

    def _own_shards(self, keys: set[str]) -> Iterator[dict[str, str]]:
        """Return the shards of this process, over and over in new orders; with each, `keys`, of its samples, is emptied.

        Raises `ValueError` if no shard had any.
        """
        worker = torch.utils.data.get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        for lap in itertools.count():
            order = random.Random(f"{self.seed} {self.epoch} {lap}").sample(self.names, len(self.names))
            mine = order[self.rank::self.world]
            # With fewer shards than loading processes, some of them read the same ones.
            found, own = False, mine[part % len(mine)::min(parts, len(mine))]
            for name in own:
                keys.clear()
                yield {"url": name}
                found = found or bool(keys)
            if not found:
                raise ValueError(f"no samples in {', '.join(map(shown, own[:3]))}{', ...' if len(own) > 3 else ''}")

    def _pairs(self) -> Iterator[Streamed]:
        """Return the pairs of the shards, decoded; one that cannot be used is named and left out."""
        import webdataset

        keys: set[str] = set()
        skip, misses = _Skipped(self.strict), 0
        own = functools.partial(self._own_shards, keys)
        for raw in webdataset.DataPipeline(own, webdataset.tarfile_to_samples(handler=skip)):
            try:
                if raw["__key__"] in keys:
                    raise ValueError(f"{raw['__key__']} is twice in {raw['__url__']}")
                keys.add(raw["__key__"])
                yield self._decode(raw)
                misses = 0
            except ValueError as error:
                skip(error)
                misses += 1
                if misses >= MOST_MISSES:
                    raise ValueError(f"{misses} samples in a row cannot be used, the last: {error}") from None

    def _decode(self, raw: dict) -> Streamed:
        where = f"{raw['__key__']} in {raw['__url__']}"
        suffix = next((suffix for suffix in PICTURES if suffix in raw), None)
        if suffix is None or ALPHA not in raw:
            raise ValueError(f"{where} has no {'picture' if suffix is None else ALPHA}")
        try:
            # As from folders: profile, EXIF, depth and alpha channel count.
            names = Pair(Path(f"{raw['__key__']}.{suffix}"), Path(f"{raw['__key__']}.{ALPHA}"))
            image, alpha = read_pair(names, (raw[suffix], raw[ALPHA]))
            rough = parse_json(raw.get("json", b"{}"), {"semantic_only?": bool}).get("semantic_only", False)
        except ValueError as error:
            raise ValueError(f"{where} cannot be read: {error}") from None
        if not alpha.any():
            raise ValueError(f"{where} has a black matte")
        image, alpha = self.crops.shrink(image, alpha)
        wanted = self.crops.backgrounds is not None and not rough
        return Streamed(raw["__key__"], Sample(image, alpha, foreground_colours(image, alpha) if wanted else None), rough)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor | int | bool]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.epoch, self.rank, worker.id if worker else 0])
        buffer: list[Streamed] = []
        for pair in self._pairs():
            if len(buffer) < SHUFFLE:
                buffer.append(pair)
                continue
            number = int(rng.integers(len(buffer)))
            own, buffer[number] = buffer[number], pair
            whole = [other.sample for other in buffer if other.sample.colours is not None]
            draw = (lambda rng, whole=whole: whole[int(rng.integers(len(whole)))]) if whole else None
            yield self.crops.sample(own.sample, draw, rng, rough=own.rough, labeled=True) | {"name": own.name}


class _Skipped:
    """Webdataset's handler of what cannot be used: it is named and left out, or with `strict` the end."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    def __call__(self, error: Exception) -> bool:
        # What Python says of the file that is open becomes its name.
        words = [re.sub(r"(.*) @ <\S+ name='(.*)'>", r"\2: \1", part) for part in error.args if isinstance(part, str)]
        said = words[0] if words else type(error).__name__
        where = next((part for part in reversed(words) if ".tar" in part), "")
        line = said if where in said else f"{where}: {said}"
        if self._strict:
            raise ValueError(f"{line} (--strict)") from None
        note(f"left out: {line}")
        return True
