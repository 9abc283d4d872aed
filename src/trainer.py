"""Trains a MODNet, pruned or dense, with MODNet's three losses:

    python src/trainer.py --model-path result/X.ckpt --batch-size 2 --epoch 4

writes, into the folder of the model, `X_epochN.ckpt` + `.json` every `--save-step` epochs, `X_best.ckpt` (lowest MSE on
`val`), `X_log.jsonl` (a line an epoch), `X_curves.png` and `X_resume.pt`, from which `--resume` goes on.
"""
from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch

from src.batches import Batches, make_loader
from src.checkpoint import find_prune_info, load_backbone, load_model, save_model
from src.matting_dataset import FOREGROUND_CACHE, MattingDataset, has_split
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.modes import apply_mode
from src.recipe import Recipe
from src.script import run_script, torch_device
from src.train_log import write_log
from src.train_options import make_recipe, parse_train_args
from src.train_state import restore, save_train_state, start_state
from src.train_step import train_epoch
from src.validate import validate

# What the best checkpoint is chosen by; the second where only semantics are trained.
SCORES = ("val_mse", "val_semantic")


def make_dataset(data_dir: Path, recipe: Recipe, cache_dir: Path = FOREGROUND_CACHE) -> MattingDataset:
    """The training samples that `recipe` asks for."""
    folders = {name: None if getattr(recipe, name) is None else Path(getattr(recipe, name))
               for name in ("semantic_only_dir", "unlabeled_dir", "background_dir")}
    return MattingDataset(data_dir, size=recipe.input_size, seed=recipe.seed, scale=recipe.scale,
                          composition_prob=recipe.composition_prob, cache_dir=cache_dir, **folders)


def train(model: MODNet, info: dict, data_dir: Path, recipe: Recipe, *, stem: Path, workers: int = 0,
          save_step: int = 1, resume: bool = False, cache_dir: Path = FOREGROUND_CACHE, val_every: int = 1,
          val_limit: int | None = None) -> Path:
    """Trains `model` in place on `data_dir`; files are named after `stem` (folder and name without suffix).

    Returns the checkpoint to use: the best on `val` where the data set has one, else the last.
    """
    model, recipe = apply_mode(model, recipe)
    dataset = make_dataset(data_dir, recipe, cache_dir)
    batches = Batches(len(dataset), recipe.batch_size, seed=recipe.seed, accumulate=recipe.accumulate,
                      steps=recipe.steps_per_epoch)
    state = start_state(model.to(memory_format=torch.channels_last), recipe, batches.steps)
    state_path = Path(f"{stem}_resume.pt")
    log = restore(state_path, state, recipe) if resume else []
    if recipe.semantic_training:
        print("detail and matte do not count: only the encoder and the low-resolution branch run")
    dataset.prepare()
    loader = make_loader(dataset, batches, workers=workers, pin=state.device.type == "cuda")
    validates = has_split(data_dir, "val")
    for epoch in range(len(log), recipe.epochs):
        batches.epoch, start, title = epoch, time.perf_counter(), f"epoch {epoch}/{recipe.epochs - 1}"
        try:
            row = {"epoch": epoch, **train_epoch(state, loader, batches, recipe, title=title)}
        except KeyboardInterrupt:
            print(f"stopped in {title}; the same command with --resume goes on there", file=sys.stderr)
            raise
        seconds = time.perf_counter() - start
        images = sum(len(group) for group in batches.groups())
        row |= {"step": state.step, "lr": state.scheduler.get_last_lr()[-1], "seconds": seconds,
                "images_per_second": images / seconds}
        last = epoch + 1 == recipe.epochs
        if validates and (last or (epoch + 1) % val_every == 0):
            row |= validate(state.result, data_dir, semantic_training=recipe.semantic_training, limit=val_limit)
        log.append(row)
        save_epoch(state.result, info, recipe, log, stem=stem, save=last or (epoch + 1) % save_step == 0)
        save_train_state(state_path, state, recipe, log)
        write_log(log, stem)
        print("  ".join(f"{key} {value:.5g}" for key, value in row.items()), flush=True)
    return Path(f"{stem}_best.ckpt" if validates else f"{stem}_epoch{recipe.epochs - 1}.ckpt")


def save_epoch(model: MODNet, info: dict, recipe: Recipe, log: list[dict], *, stem: Path, save: bool) -> None:
    """Writes `_epochN` if `save`, and `_best` if the last row of `log` has the lowest of `SCORES`."""
    row = log[-1]
    info = info | {"training": {**asdict(recipe), **row}}
    if save:
        save_model(model, f"{stem}_epoch{row['epoch']}.ckpt", info)
    for score in SCORES:
        if score in row and row[score] <= min(other[score] for other in log if score in other):
            save_model(model, f"{stem}_best.ckpt", info)


def start_model(model_path: Path | None, backbone: str | None) -> tuple[MODNet, dict]:
    """The network to train and its pruning JSON: a checkpoint, or a dense network with an ImageNet encoder."""
    if model_path is not None:
        model = load_model(model_path)
        return model, find_prune_info(model_path, None) or to_prune_info(model.config)
    model = MODNet()
    load_backbone(model, backbone)
    return model, to_prune_info(model.config, source=backbone)


def main(argv: list[str] | None = None) -> int:
    args = parse_train_args(__doc__, argv)
    recipe = make_recipe(args)
    torch.manual_seed(args.seed)
    model, info = start_model(args.model_path, args.backbone)
    folder = args.save_dir or (args.model_path.parent if args.model_path else Path("result"))
    stem = folder / (args.name or (args.model_path.stem if args.model_path else "modnet"))
    best = train(model.to(torch_device(args.device)), info, args.data_dir, recipe, stem=stem, workers=args.workers,
                 save_step=args.save_step, resume=args.resume, cache_dir=args.cache_dir, val_every=args.val_every,
                 val_limit=args.val_limit)
    print(f"checkpoint to use: {best}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
