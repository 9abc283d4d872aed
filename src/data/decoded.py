"""Decoded training pictures in one file that all loading processes map into memory and share."""
from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.console import no_file
from src.files import moved_into_place, write_json
from src.records import Whole, read_json

# Where a sample begins, its height and width, and how many colours follow, -1 for none; `written` is the time of the pack.
INDEX = {"bytes": Whole(), "written": Whole(0, 2 ** 63), "samples": [[Whole(-1)]]}


class Sample(NamedTuple):
    """What is kept of a pair: (H, W, 3) RGB, (H, W), and `foreground_colours` (n, 3) where wanted; uint8."""

    image: np.ndarray
    alpha: np.ndarray
    colours: np.ndarray | None


def write_pack(path: Path, samples: Iterable[Sample]) -> None:
    """Write `samples` one after another to `path`, and where each lies to the .json beside it, in one move each."""
    index, offset = [], 0
    with moved_into_place(path) as temporary, temporary.open("wb") as file:
        for sample in samples:
            colours = -1 if sample.colours is None else len(sample.colours)
            index.append([offset, *sample.alpha.shape, colours])
            for part in sample:
                if part is not None:
                    offset += file.write(np.ascontiguousarray(part).data)
    write_json(path.with_suffix(".json"), {"bytes": offset, "written": path.stat().st_mtime_ns, "samples": index})


class Pack:
    """Samples of a file of `write_pack` by their number. Raises `OSError` or `ValueError` if it is not whole."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise no_file("pack", path)
        said, end = read_json(path.with_suffix(".json"), INDEX), 0
        for row in said["samples"]:
            if len(row) != 4 or row[0] != end or min(row[1:3]) < 1:
                raise ValueError(f"{path} does not fit its index")
            end += 4 * row[1] * row[2] + 3 * max(0, row[3])
        if not path.stat().st_size == said["bytes"] == end or path.stat().st_mtime_ns != said["written"]:
            raise ValueError(f"{path} is not whole, or has changed")
        self.path, self.index = path, said["samples"]
        self._data: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict:
        # A process that is handed a copy maps the file by itself.
        return self.__dict__ | {"_data": None}

    def __getitem__(self, number: int) -> Sample:
        if self._data is None:
            with self.path.open("rb") as file:
                self._data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        start, height, width, colours = self.index[number]
        ends = np.cumsum([start, 3 * height * width, height * width, 3 * max(0, colours)])
        image, alpha, soft = (self._data[a:b] for a, b in zip(ends, ends[1:], strict=False))
        return Sample(image.reshape(height, width, 3), alpha.reshape(height, width),
                      None if colours < 0 else soft.reshape(-1, 3))
