"""Choose which samples make which training step, for any epoch, process and number of micro-batches."""
from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing.util
import os
from collections.abc import Iterator, Sequence

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from src.files import UNFINISHED


class Batches(Sampler[list[int]]):
    """Micro-batches of the epoch `self.epoch`, as lists of keys; a key is `pass * length + index` of a sample, where pass
    counts how often the sample was drawn before.

    A step takes `batch_size * accumulate * world` samples, its *group*, which every process divides in the same way, so
    that what is learned does not depend on how many processes share the work. An epoch is one shuffle of the data set,
    or `steps` steps that go on through one shuffle after another. The last, smaller group of a shuffle is used by a
    single process and left out by several.

    With `parts`, the numbers of samples that follow one another and their weights, a shuffle has each part `weight` times:
    of a fraction another share of the part each time, until all of it was there.
    """

    def __init__(self, length: int, batch_size: int, *, seed: int, accumulate: int = 1, steps: int | None = None,
                 rank: int = 0, world: int = 1, parts: Sequence[tuple[int, float]] | None = None) -> None:
        self.length, self.batch_size, self.seed, self.epoch = length, batch_size, seed, 0
        self.rank, self.world, self.group_size = rank, world, batch_size * accumulate * world
        self.parts = [(count, max(1, round(count * weight))) for count, weight in parts or [(length, 1.0)]]
        self.drawn = sum(draws for _, draws in self.parts)
        whole = self.drawn // self.group_size if world > 1 else math.ceil(self.drawn / self.group_size)
        self.steps = steps or whole
        self.endless = steps is not None
        if self.steps < 1:
            raise ValueError(f"{self.drawn} training pictures are too few for a step of {self.group_size}")

    def _permutation(self, length: int, *marks: int) -> torch.Tensor:
        seed = functools.reduce(lambda seed, mark: seed * 100_003 + mark, marks, self.seed) % 2 ** 63
        return torch.randperm(length, generator=torch.Generator().manual_seed(seed))

    def _draws(self, shuffle: int) -> torch.Tensor:
        """Return the next keys of an endless line of shuffled passes through a part of the samples."""
        keys, first_index = [], 0
        for part, (count, draws) in enumerate(self.parts):
            start = shuffle * draws
            for number in range(start // count, -(-(start + draws) // count)):
                piece = slice(max(0, start - number * count), min(count, start + draws - number * count))
                whole = piece == slice(0, count)
                order = torch.arange(count) if whole else self._permutation(count, number, part + 1)
                keys.append(order[piece] + first_index + number * self.length)
            first_index += count
        return torch.cat(keys)

    def _shuffle(self, number: int) -> torch.Tensor:
        return self._draws(number)[self._permutation(self.drawn, number)]

    def groups(self) -> list[list[int]]:
        """List the keys of each step of the epoch, of all processes together."""
        if not self.endless:
            keys = self._shuffle(self.epoch).tolist()
        else:
            first, last = self.epoch * self.steps * self.group_size, (self.epoch + 1) * self.steps * self.group_size
            start = first // self.drawn
            keys = torch.cat([self._shuffle(n) for n in range(start, -(-last // self.drawn))]).tolist()
            keys = keys[first - start * self.drawn:last - start * self.drawn]
        return [keys[i * self.group_size:(i + 1) * self.group_size] for i in range(self.steps)]

    def micro_batches(self, group: list[int]) -> list[list[int]]:
        """Return the part of a group that this process works on, in pieces of at most `batch_size`."""
        mine = group[self.rank::self.world]
        return [mine[i:i + self.batch_size] for i in range(0, len(mine), self.batch_size)]

    def __iter__(self) -> Iterator[list[int]]:
        for group in self.groups():
            yield from self.micro_batches(group)

    def __len__(self) -> int:
        return sum(len(self.micro_batches(group)) for group in self.groups())


def share_folder() -> None:
    """Make the temporary folder (`pymp-*`) in which loading processes leave their sockets, before they are started: then all
    use this process's, which goes with it. One of its own would stay if a signal ended such a process."""
    UNFINISHED.add(multiprocessing.util.get_temp_dir())


def start_loading(worker: int) -> None:
    """Keep OpenCV to the one core of a loading process: its own threads would fight over the others. Let the last one
    remove the shared folder if the process that made it was killed."""
    cv2.setNumThreads(0)
    parent = os.getppid()

    def remove() -> None:
        if os.getppid() != parent:
            with contextlib.suppress(OSError):
                os.rmdir(multiprocessing.util.get_temp_dir())

    # After the sockets, whose priority is 0.
    multiprocessing.util.Finalize(None, remove, exitpriority=-100)


def make_loader(dataset: Dataset, batches: Batches, *, workers: int = 0, pin: bool = False) -> DataLoader:
    """Build the loader of `dataset`, in the order of `batches`; its processes stay from epoch to epoch."""
    return loader_of(dataset, workers=workers, pin=pin, batch_sampler=batches, persistent_workers=workers > 0)


def loader_of(dataset: Dataset, *, workers: int, pin: bool, **order: object) -> DataLoader:
    """Build a `DataLoader` whose processes begin by `start_loading`; `order` are its other options."""
    if workers:
        share_folder()
    return DataLoader(dataset, num_workers=workers, pin_memory=pin, worker_init_fn=start_loading, **order)


@contextlib.contextmanager
def ended_with(loading: DataLoader | Iterator, *, always: bool = False) -> Iterator[None]:
    """End the processes of a `DataLoader`, or of an iterator of one, at once if the block raises, or `always`. Torch leaves
    that to the garbage collector, which comes when Python ends and kills them."""
    fine = False
    try:
        yield
        fine = True
    finally:
        if always or not fine:
            iterator = getattr(loading, "_iterator", loading)
            getattr(iterator, "_shutdown_workers", lambda: None)()

