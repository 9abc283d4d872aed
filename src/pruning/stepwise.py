"""Prune in steps, with a little retraining after each."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from src.checkpoint import load_model, save_model
from src.command_line import told_by_flags
from src.models.config import MODNetConfig, is_ibn
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.pruning.criteria import Scores
from src.pruning.slicing import inherit
from src.training.loop import train
from src.training.recipe import Recipe

STEP_OPTIONS = ("step_epochs", "step_batch_size", "step_lr", "step_input_size")


def step_config(dense: MODNetConfig, final: MODNetConfig, share: float) -> MODNetConfig:
    """Return the widths `share` (0 to 1) of the way from `dense` to `final`, two networks of one topology."""
    widths = {}
    for group in dense.groups():
        old, new = dense.width(group), final.width(group)
        widths[group] = max(2 if is_ibn(group) else 1, old - round((old - new) * share))
    return dense.with_widths(widths)


def prune_stepwise(model: MODNet, final: MODNetConfig, data_dir: Path, *, steps: int, recipe: Recipe, stem: Path,
                   info: Mapping[str, object], scores: Callable[[MODNet], Scores], resume: bool = False) -> MODNet:
    """Prune `model` to the widths `final` in `steps` equal steps; before each, the channels of the network as retrained so
    far are scored anew, after each it is trained by `recipe`.

    Step N writes `<stem>_stepN.ckpt`; with `resume` a step whose file is there is not done again, and one that was
    interrupted goes on. Raises `ValueError` where residuals or expansions of the two differ, as rule `paper` makes them.
    """
    if [(b.residual, b.expand) for b in model.config.blocks] != [(b.residual, b.expand) for b in final.blocks]:
        raise ValueError("steps go with rule tied: rule paper takes residuals and expansions away, which cannot be done "
                         "by parts")
    dense = model.config
    for step in range(1, steps + 1):
        path = Path(f"{stem}_step{step}.ckpt")
        if resume and path.is_file():
            model = load_model(path)
            continue
        config = step_config(dense, final, step / steps)
        pruned = MODNet(config)
        pruned.load_state_dict(inherit(model.state_dict(), model.config, config, filters=scores(model)))
        training = Path(f"{stem}_step{step}_training")
        said = {**info, **to_prune_info(config, ratio=info["ratio"], threshold=info["threshold"])}
        torch.manual_seed(recipe.seed)
        best = train(pruned, said, data_dir, recipe, stem=training,
                     resume=resume and Path(f"{training}_resume.pt").is_file())
        model = load_model(best)
        save_model(model, path, said)
    return model


def add_step_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `step_recipe`, and `--steps` and `--resume`."""
    parser.add_argument("--steps", type=int, default=0, help="prune and retrain a little on --data-dir, this many times; "
                        "rule tied (default: prune once, do not retrain)")
    parser.add_argument("--step-epochs", type=int, default=1, help="of each retraining (default: %(default)s)")
    parser.add_argument("--step-batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--step-lr", type=float, default=1e-3, help="highest rate of AdamW (default: %(default)s)")
    parser.add_argument("--step-input-size", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="with --steps: go on where the same command was interrupted")


def step_recipe(args: argparse.Namespace) -> Recipe:
    """Make the recipe by which each step is retrained. Raises `ValueError` for a number out of range."""
    if args.steps < 0:
        raise ValueError(f"steps is {args.steps}, allowed are whole numbers from 0")
    with told_by_flags({"epochs": "--step-epochs", "batch-size": "--step-batch-size", "lr": "--step-lr",
                        "input-size": "--step-input-size", "seed": "--seed"}):
        return Recipe(epochs=args.step_epochs, batch_size=args.step_batch_size, lr=args.step_lr, optimizer="adamw",
                      schedule="onecycle", input_size=args.step_input_size, seed=args.seed)
