"""Read pairs of picture and alpha on disk as training samples, decoded once."""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from src.console import progress_bar
from src.data.composition import CACHE_BYTES, cached_colours, file_key
from src.data.crops import Crops, make_trimap, open_backgrounds
from src.data.decoded import Pack, Sample, write_pack
from src.data.layouts import Pair, check_somebody, find_images, find_pairs, has_split, read_pair
from src.data.scene import PLAIN, Staging
from src.data.sources import Sources, as_sources, mark_of
from src.media.picture_reader import read_image

__all__ = ["MattingDataset", "Pair", "find_pairs", "has_split", "make_trimap", "read_pair"]

CACHE_DIR = Path("result/cache")


def unlabeled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture without alpha as `read_pair` reads one with: its alpha is 0."""
    image = read_image(path)
    return image, np.zeros(image.shape[:2], np.float32)


class MattingDataset(Dataset):
    """Training samples of one split, float32 on the CPU.

    A sample is `image` (3, S, S) in [-1, 1], `alpha` and `trimap` (1, S, S) in [0, 1], `semantic_only` (whether its matte
    is a rough mask that says nothing about the unknown region), `labeled` (whether it has a matte at all, else alpha and
    trimap are 0), and its `index`. Samples are asked for by a key,
    `shuffle * len + index`: their random choices depend on `seed` and the key alone, so that a resumed run sees what an
    unbroken one would. Pictures are kept in memory up to `CACHE_BYTES`, as large as the largest `scale` needs them.
    """

    def __init__(self, data_dir: Sources, split: str = "train", *, size: int = 512, seed: int = 0,
                 scale: tuple[float, float] = (1.0, 1.6), stretch: float = 1.0,
                 aspect: tuple[float, float] = (1.0, 1.0), semantic_only_dir: Sources | None = None,
                 unlabeled_dir: Path | None = None, background_dir: Path | None = None, composition_prob: float = 0.5,
                 staging: Staging = PLAIN, cache_dir: Path = CACHE_DIR) -> None:
        """Find the pictures. Raises `FileNotFoundError` or `ValueError` naming a folder that is not there or empty, or a
        lonely file."""
        self.pairs: list[Pair] = []
        # Number of samples and weight of each data set, in order.
        self.parts: list[tuple[int, float]] = []
        self._add_sets(data_dir, split)
        self.mattes = len(self.pairs)
        if semantic_only_dir is not None:
            self._add_sets(semantic_only_dir, split)
        self.labeled = len(self.pairs)
        if unlabeled_dir is not None:
            self.pairs += [Pair(path, None) for path in find_images(unlabeled_dir)]
            self.parts.append((len(self.pairs) - self.labeled, 1.0))
        self.backgrounds = open_backgrounds(background_dir, size, staging)
        self.crops = Crops(size, scale, stretch, aspect, composition_prob, staging, self.backgrounds)
        self.seed, self.cache_dir = seed, cache_dir
        self._cache: dict[int, Sample] = {}
        self._cached_bytes = 0
        self._pack: Pack | None = None

    def _add_sets(self, data: Sources, split: str) -> None:
        for source in as_sources(data):
            pairs = find_pairs(source.path, split)
            self.pairs += pairs
            self.parts.append((len(pairs), source.weight))

    def __len__(self) -> int:
        return len(self.pairs)

    def picture_names(self) -> list[str]:
        """Return the file names of the pictures by index."""
        return [pair.image.name for pair in self.pairs]

    def described(self) -> str:
        """Say how many pictures are in which sets, with a mark of their names; where their folders are does not count."""
        paths = [pair.image for pair in self.pairs] + (self.backgrounds.paths if self.backgrounds is not None else [])
        mark = mark_of(path.name for path in paths)
        sets = " + ".join(f"{count}" + ("" if weight == 1 else f" x {weight:g}") for count, weight in self.parts)
        return f"{sets} pictures ({mark})"

    def prepare(self, *, pack: bool = False) -> None:
        """Estimate the foreground colours that composition will need, once for all; with `pack` decode every picture into
        one file in the cache folder, from which all loading processes read, and every background before they are forked."""
        if pack and self._pack is None:
            self._pack = self._open_pack()
            if self.backgrounds is not None:
                self.backgrounds.load_all()
        elif not pack and self.backgrounds is not None:
            for index in progress_bar(range(self.mattes), desc="foreground colours", leave=False):
                self.load(index)

    def _open_pack(self) -> Pack:
        files = [path for pair in self.pairs for path in pair if path is not None]
        name = file_key(files, (self.crops.largest, self.mattes if self.backgrounds is not None else 0))
        path = self.cache_dir / f"{name}.pack"
        try:
            pack = Pack(path)
            if [row[3] < 0 for row in pack.index] != [not self._wants_colours(index) for index in range(len(self))]:
                raise ValueError(f"{path} is of other pictures")
            return pack
        except (OSError, ValueError):
            indices = progress_bar(range(len(self)), desc="decoding", leave=False)
            write_pack(path, (self._decode(index) for index in indices))
            return Pack(path)

    def load(self, index: int) -> Sample:
        """Read a picture, its alpha and foreground colours, uint8, shrunk to what training needs; decoded once."""
        if self._pack is not None:
            return self._pack[index]
        if index in self._cache:
            return self._cache[index]
        sample = self._decode(index)
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = sample
            self._cached_bytes += sample.image.nbytes + sample.alpha.nbytes
        return sample

    def _decode(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, alpha = read_pair(pair) if pair.alpha is not None else unlabeled(pair.image)
        if pair.alpha is not None:
            check_somebody(pair, alpha)
        image, alpha = self.crops.shrink(image, alpha)
        wanted = self._wants_colours(index)
        return Sample(image, alpha, cached_colours(pair, image, alpha, self.cache_dir) if wanted else None)

    def _wants_colours(self, index: int) -> bool:
        return self.backgrounds is not None and index < self.mattes

    def _other(self, index: int, rng: np.random.Generator) -> Sample:
        """Choose another pair with a matte, by chance."""
        return self.load((index + int(rng.integers(1, self.mattes))) % self.mattes)

    def __getitem__(self, key: int) -> dict[str, torch.Tensor | int | bool]:
        shuffle, index = divmod(key, len(self.pairs))
        rng = np.random.default_rng([self.seed, shuffle, index])
        other = functools.partial(self._other, index) if self.mattes > 1 else None
        sample = self.crops.sample(self.load(index), other, rng,
                                   rough=self.mattes <= index < self.labeled, labeled=index < self.labeled)
        return sample | {"index": index}
