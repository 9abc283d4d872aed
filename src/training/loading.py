"""Load the batches of training from folders, as a recipe says."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import DataLoader

from src.console import note, printable
from src.data.batches import Batches, loader_of, make_loader
from src.data.crops import Crops, open_backgrounds
from src.data.layouts import Pair, check_pairs, repeats
from src.data.samples import CACHE_DIR, MattingDataset
from src.data.shards import ShardDataset
from src.data.sources import Shards, Sources, pairs_by_set, parse_source, with_split
from src.training.distributed import rank, wait_for_all, world_size
from src.training.recipe import Recipe

MOST_NAMED = 3


def folders_of(recipe: Recipe) -> dict:
    """Return the folders of a recipe, which holds them as text."""
    paths = {name: None if getattr(recipe, name) is None else Path(getattr(recipe, name))
             for name in ("unlabeled_dir", "background_dir")}
    rough = (recipe.semantic_only_dir,) if isinstance(recipe.semantic_only_dir, str) else recipe.semantic_only_dir
    return paths | {"semantic_only_dir": None if rough is None else [parse_source(text) for text in rough]}


def make_dataset(data_dir: Sources | Shards, recipe: Recipe, cache_dir: Path = CACHE_DIR,
                 val_dir: Sources | None = None) -> MattingDataset | ShardDataset:
    """Build the training samples that `recipe` asks for, after a look at every pair, those for validation too: of `val_dir`,
    or of the sets of `data_dir` that have some.

    Raises `FileNotFoundError` or `ValueError` naming a folder or file.
    """
    if isinstance(data_dir, Shards):
        return stream_shards(data_dir, recipe, val_dir)
    dataset = MattingDataset(data_dir, size=recipe.sizes[1], seed=recipe.seed, scale=recipe.scale, stretch=recipe.stretch,
                             aspect=recipe.aspect, composition_prob=recipe.composition_prob,
                             staging=recipe.staging, cache_dir=cache_dir, **folders_of(recipe))
    judged = with_split(data_dir) if val_dir is None else val_dir
    val = [pair for pairs in pairs_by_set(judged).values() for pair in pairs]
    backgrounds = [] if dataset.backgrounds is None else dataset.backgrounds.paths
    check_pairs(dataset.pairs, val + [Pair(path, None) for path in backgrounds])
    if rank() == 0:
        name_repeats(dataset.pairs[:dataset.labeled], val)
    return dataset


def stream_shards(shards: Shards, recipe: Recipe, val_dir: Sources | None) -> ShardDataset:
    """Build the training samples that `recipe` asks for, of WebDataset shards, after a look at every pair for validation.

    Raises `FileNotFoundError` or `ValueError` naming a file, a pattern, or an option that goes with folders.
    """
    if recipe.steps_per_epoch is None:
        raise ValueError("shards are a stream without end: say with --steps-per-epoch how long an epoch is")
    folders = folders_of(recipe)
    for name in ("semantic_only_dir", "unlabeled_dir"):
        if folders[name] is not None:
            raise ValueError(f"--{name.replace('_', '-')} goes with folders: src/data/pack.py puts rough masks into shards")
    check_pairs([], [pair for pairs in pairs_by_set(val_dir or []).values() for pair in pairs])
    size = recipe.sizes[1]
    backgrounds = open_backgrounds(folders["background_dir"], size, recipe.staging)
    crops = Crops(size, recipe.scale, recipe.stretch, recipe.aspect, recipe.composition_prob, recipe.staging, backgrounds)
    return ShardDataset(shards.patterns, crops, seed=recipe.seed, strict=shards.strict, rank=rank(), world=world_size())


def name_repeats(pairs: Sequence[Pair], val: Sequence[Pair]) -> None:
    """Name the pictures of `val` that are also among `pairs`, which are trained on."""
    found = repeats([pair.image for pair in pairs], [pair.image for pair in val])
    if found:
        named = ", ".join(f"{printable(other)} is {printable(path)}" for path, other in found[:MOST_NAMED])
        more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        note(f"{len(found)} of {len(val)} pictures of val are trained on too, so that the error on val says too little: "
             f"{named}{more}")


def make_batches(dataset: MattingDataset | ShardDataset, recipe: Recipe) -> Batches:
    """Choose which samples make which step, for the share of this process; of shards only how many."""
    if isinstance(dataset, ShardDataset):
        return Batches(recipe.batch_size, recipe.batch_size, seed=recipe.seed, accumulate=recipe.accumulate,
                       steps=recipe.steps_per_epoch, rank=rank(), world=world_size())
    return Batches(len(dataset), recipe.batch_size, seed=recipe.seed, accumulate=recipe.accumulate,
                   steps=recipe.steps_per_epoch, rank=rank(), world=world_size(), parts=dataset.parts)


def load_training(dataset: MattingDataset | ShardDataset, batches: Batches, *, workers: int = 0,
                  pin: bool = False) -> DataLoader:
    """Build the loader of `dataset`; by one process, once for all, foreground colours are estimated and, with `workers`,
    pictures packed into one file."""
    if isinstance(dataset, ShardDataset):
        return loader_of(dataset, workers=workers, pin=pin, batch_size=batches.batch_size)
    if rank() == 0:
        dataset.prepare(pack=workers > 0)
    wait_for_all()
    if rank() > 0 and workers > 0:
        dataset.prepare(pack=True)
    return make_loader(dataset, batches, workers=workers, pin=pin)
