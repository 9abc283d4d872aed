"""Train a network over all epochs: run, validate, save and log each one."""
from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from src.checkpoint import save_model
from src.console import note
from src.data.batches import Batches, ended_with
from src.data.samples import CACHE_DIR
from src.data.shards import ShardDataset
from src.data.sources import Shards, Source, Sources, as_sources, mark_of, pairs_by_set, with_split
from src.media.preprocess import REF_SIZE
from src.models.modnet import MODNet
from src.results import RUN_CHECKPOINT, files_like, source_of
from src.script import NetworkError
from src.training.distributed import check_alike, rank
from src.training.loading import load_training, make_batches, make_dataset
from src.training.log import open_tensorboard, write_log, write_scalars
from src.training.modes import apply_mode
from src.training.recipe import Recipe
from src.training.state import TrainState, restore, save_train_state, start_state
from src.training.step import train_epoch
from src.training.validate import validate

# What the best checkpoint is chosen by; the second where only semantics are trained.
SCORES = ("val_mse", "val_semantic")


def train(model: MODNet, info: dict, data_dir: Sources | Shards, recipe: Recipe, *, stem: Path, workers: int = 0,
          save_step: int = 1, resume: bool = False, cache_dir: Path = CACHE_DIR, val_dir: Sources | None = None,
          val_half: str | None = None, val_every: int = 1, val_limit: int | None = None, val_ref_size: int = REF_SIZE,
          tensorboard: bool = False) -> Path:
    """Train `model` in place (but see `recipe.mode`) on `data_dir`; files are named after `stem`, folder and name without
    suffix, and written by the first process alone. The network is judged at `val_ref_size` (`network_size`).

    Returns the checkpoint to use: the best on `val` of `val_dir`, or of those data sets that have one, by one half of it if
    asked; without any the last.
    """
    model, recipe = apply_mode(model, recipe)
    judged = with_split(data_dir) if val_dir is None else as_sources(val_dir)
    choosing = described(judged, half=val_half, limit=val_limit, ref_size=val_ref_size)
    dataset = make_dataset(data_dir, recipe, cache_dir, judged)
    batches = make_batches(dataset, recipe)
    state = start_state(model.to(memory_format=torch.channels_last), recipe, batches.steps)
    folders = list(data_dir.patterns) if isinstance(data_dir, Shards) else [
        f"{source.path}={source.weight:g}" for source in as_sources(data_dir)]
    state_path = Path(f"{stem}_resume.pt")
    marks = {"sources": source_of(info.get("origin")), "data": dataset.described(), "judged": choosing}
    log = go_on(state_path, state, recipe, marks) if resume else []
    check_alike(f"the number of epochs in {state_path}", len(log), "--save-dir must be a folder that every machine sees")
    if recipe.mode == "scratch-b" and rank() == 0:
        print(f"scratch-b: {recipe.epochs} epochs")
    if recipe.semantic_training and rank() == 0:
        print("detail and matte do not count: only the encoder and the low-resolution branch run")
    best = Path(f"{stem}_best.ckpt" if judged else f"{stem}_epoch{recipe.epochs - 1}.ckpt")
    if log and rank() == 0:
        # The state is the truth: what a kill kept from being written after it is written now.
        due = is_saved(len(log), recipe, save_step) and not Path(f"{stem}_epoch{len(log) - 1}.ckpt").is_file()
        if due or judged and not best.is_file():
            save_epoch(state.result, info, recipe, log, data_dir=folders, stem=stem, save=due)
        write_log(log, stem)
        if judged and not best.is_file() and any(score in row for row in log for score in SCORES):
            raise FileNotFoundError(f"{best} is gone, and {state_path} holds the last epoch alone: train without --resume")
    loader = load_training(dataset, batches, workers=workers, pin=state.device.type == "cuda")
    writer = open_tensorboard(stem, len(log)) if tensorboard and rank() == 0 else None
    with begun(state_path, state, recipe, log, marks), ended_with(loader, always=True):
        for epoch in range(len(log), recipe.epochs):
            row, last = run_epoch(state, loader, batches, recipe, epoch), epoch + 1 == recipe.epochs
            log.append(row)
            if rank() > 0:
                continue
            if judged and (last or (epoch + 1) % val_every == 0):
                try:
                    row |= validate(state.result, judged, semantic_training=recipe.semantic_training, limit=val_limit,
                                    half=val_half, ref_size=val_ref_size)
                except NetworkError as error:
                    raise ValueError(f"after epoch {epoch} {error}; the last good checkpoint is untouched; try a smaller "
                                     "learning rate") from None
            save_epoch(state.result, info, recipe, log, data_dir=folders, stem=stem,
                       save=is_saved(epoch + 1, recipe, save_step))
            if epoch == 0:
                remove_older(stem, row, saved=is_saved(1, recipe, save_step))
            save_train_state(state_path, state, recipe, log, **marks)
            write_log(log, stem)
            if writer is not None:
                write_scalars(writer, row)
            print("  ".join(f"{key} {value:.5g}" for key, value in row.items()), flush=True)
    return best


def is_saved(epochs: int, recipe: Recipe, save_step: int) -> bool:
    """Return whether a checkpoint of its own is written after this many epochs."""
    return epochs == recipe.epochs or epochs % save_step == 0


def remove_older(stem: Path, row: dict, *, saved: bool) -> None:
    """Remove the checkpoints of a run that was there before and is replaced: all but those that the first epoch wrote, whose
    `row` says whether it was judged, and `saved` whether it has one of its own."""
    written = ["_best"] * any(score in row for score in SCORES) + ["_epoch0"] * saved
    for path in files_like(stem, RUN_CHECKPOINT):
        if path.stem.removeprefix(stem.name) not in written:
            path.unlink()


def described(judged: Sequence[Source], *, half: str | None, limit: int | None, ref_size: int) -> str:
    """Say how many pictures choose the best epoch, with a mark of their names, and at which size the network sees them.

    Raises `ValueError` for a half or number of them where there are none.
    """
    for name, value in (("val-half", half), ("val-limit", limit)):
        if value is not None and not judged:
            raise ValueError(f"{name} is {value}, but no data set has a val of its own: give --val-dir")
    paths = [pair.image for pairs in pairs_by_set(judged, half=half, limit=limit).values() for pair in pairs]
    return f"{len(paths)} pictures ({mark_of(path.name for path in paths)}) at {ref_size} px"


@contextlib.contextmanager
def begun(state_path: Path, state: TrainState, recipe: Recipe, log: Sequence[dict],
          marks: Mapping[str, object]) -> Iterator[None]:
    """Write the state of a run that begins, so that one that is killed in its first epoch is gone on with, and not another
    that was there; what is wrong with the input or the options takes it away, since the next try will be by others."""
    if not log and rank() == 0:
        save_train_state(state_path, state, recipe, [], **marks)
    try:
        yield
    except ValueError:
        if not state.saved and rank() == 0:
            state_path.unlink(missing_ok=True)
        raise


def go_on(state_path: Path, state: TrainState, recipe: Recipe, marks: Mapping[str, object]) -> list[dict]:
    """Put back the state of an interrupted run; its log so far. Where there is none, says so: the run starts afresh."""
    if os.path.lexists(state_path):
        return restore(state_path, state, recipe, **marks)
    if rank() == 0:
        note(f"nothing to resume: no {state_path}; the training starts afresh")
    return []


def run_epoch(state: TrainState, loader: DataLoader, batches: Batches, recipe: Recipe, epoch: int) -> dict[str, float]:
    """Train one epoch; return its row for the log: losses, steps so far, learning rate and speed."""
    if isinstance(loader.dataset, ShardDataset):
        loader.dataset.epoch = epoch
    batches.epoch, start, title = epoch, time.perf_counter(), f"epoch {epoch}/{recipe.epochs - 1}"
    try:
        losses = train_epoch(state, loader, batches, recipe, title=title)
    except KeyboardInterrupt:
        print(f"stopped in {title}; the same command goes on there, that of src/trainer.py or main_prune.py with --resume",
              file=sys.stderr)
        raise
    seconds, images = time.perf_counter() - start, sum(len(group) for group in batches.groups())
    return {"epoch": epoch, **losses, "step": state.step, "lr": state.scheduler.get_last_lr()[1], "seconds": seconds,
            "images_per_second": images / seconds}


def save_epoch(model: MODNet, info: dict, recipe: Recipe, log: list[dict], *, data_dir: list[str], stem: Path,
               save: bool) -> None:
    """Write `_epochN` if `save`, and `_best` if the last row of `log` has the lowest of `SCORES`."""
    row = log[-1]
    info = info | {"training": {"data_dir": data_dir, **row, **asdict(recipe)}}
    if save:
        save_model(model, f"{stem}_epoch{row['epoch']}.ckpt", info)
    for score in SCORES:
        if score in row and row[score] <= min(other[score] for other in log if score in other):
            save_model(model, f"{stem}_best.ckpt", info)
