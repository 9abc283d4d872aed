"""Prune a MODNet:

    python main_prune.py --ckpt_path ./pretrained/our_modnet.ckpt --ratio 0.5 --threshold 0.5

writes `result/modnet_p_ratio_0.5_thresh_0.5.ckpt` with its pruning JSON, a report (.md) and a picture of the widths (.png)
beside it. The threshold cuts the encoder and `lr16x`, the ratio the high-resolution and fusion branches.
"""
from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from src.checkpoint import load_model, save_model
from src.command_line import Parser
from src.complexity import complexity
from src.console import say
from src.files import check_writable, write_text
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.one_process import by_one_process
from src.pruning.choice import Choice, pruned_stem
from src.pruning.criteria import CRITERIA, filter_scores, score_model
from src.pruning.options import add_choice_options, make_choice
from src.pruning.report import draw_widths, pruning_table
from src.pruning.slicing import check_weights, inherit
from src.pruning.stepwise import STEP_OPTIONS, add_step_options, prune_stepwise, step_recipe
from src.results import STEP_FILE, check_result, files_like, origin
from src.script import run_script


class Pruned(NamedTuple):
    """A pruned network with all that is said about it."""

    model: MODNet
    info: dict
    report: str
    dense: MODNetConfig


def made_from(ckpt_path: Path, how: Choice, **settings: object) -> dict:
    """Describe where a pruned network comes from: its checkpoint, how its widths are chosen, and the other settings."""
    return origin([ckpt_path], {"choice": type(how).__name__, **asdict(how), **settings})


def prune(ckpt_path: Path, how: Choice, *, criterion: str = "l1", data_dir: Path | None = None,
          weight_replace: bool = True, prune_info: Path | None = None, seed: int = 0) -> Pruned:
    """Prune the network of a checkpoint to the widths that `how` chooses.

    `criterion` says which channels stay; taylor looks at pictures of `data_dir`. With `weight_replace` the kept channels
    bring their weights, else the network is initialised afresh from `seed`. Raises `ValueError` for a checkpoint or number
    that does not do.
    """
    dense = load_model(ckpt_path, prune_info)
    state = dense.state_dict()
    check_weights(state)
    scores = score_model(dense, criterion, data_dir=data_dir, seed=seed)
    # The published widths are defined by L1; the criterion then says which channels stay.
    chosen = how.choose(filter_scores(state, dense.config) if how.rule == "paper" else scores, dense.config)
    torch.manual_seed(seed)
    pruned = MODNet(chosen.config).eval()
    if weight_replace:
        pruned.load_state_dict(inherit(state, dense.config, chosen.config, filters=scores))
    before, after = complexity(dense), complexity(pruned)
    info = to_prune_info(chosen.config, ratio=chosen.ratio, threshold=chosen.threshold, **chosen.keys, criterion=criterion,
                         source=str(ckpt_path), weight_replace=weight_replace,
                         counts={"before": before._asdict(), "after": after._asdict()},
                         origin=made_from(ckpt_path, how, criterion=criterion, data_dir=data_dir, seed=seed,
                                          weight_replace=weight_replace))
    report = "\n".join(filter(None, (pruning_table(dense.config, chosen.config, before, after), chosen.note)))
    return Pruned(pruned, info, report, dense.config)


def save_pruned(pruned: Pruned, path: Path, *, overwrite: bool = False) -> None:
    """Write the checkpoint `path`, and beside it the pruning JSON, the report (.md) and the widths (.png).

    Raises `ValueError` if that would overwrite the source, or without `overwrite` another result (`src/results.py`).
    """
    made = pruned.info["origin"]
    check_result(path, made, inputs=[Path(source["path"]) for source in made["sources"]], overwrite=overwrite)
    save_model(pruned.model, path, pruned.info)
    write_text(path.with_suffix(".md"), pruned.report)
    draw_widths(pruned.dense, pruned.model.config, path.with_suffix(".png"))


def parse_bool(text: str) -> bool:
    """Read `True` or `False` as the published command line spells them. Raises `argparse.ArgumentTypeError`."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}, allowed are True and False")
    return text.lower() == "true"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", "--ckpt_path", type=Path, required=True, help="checkpoint to prune")
    parser.add_argument("--prune-info", "--prune_info", type=Path,
                        help="pruning JSON of the checkpoint (default: the one beside it, if any)")
    add_choice_options(parser)
    parser.add_argument("--criterion", choices=CRITERIA, default="l1",
                        help="what scores a channel; taylor needs --data-dir (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="data set that criterion taylor looks at, and that --steps trains on")
    add_step_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a result of that name which another source or "
                        "other options made; the input is never overwritten")
    parser.add_argument("--save-dir", "--save_dir", type=Path, default=Path("result"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of a fresh initialisation (default: %(default)s)")
    parser.add_argument("--weight-replace", action=argparse.BooleanOptionalAction, default=True,
                        help="inherit the weights of the kept channels (default), or initialise afresh")
    parser.add_argument("--weight_replace", type=parse_bool, dest="weight_replace", default=argparse.SUPPRESS,
                        metavar="True|False", help="the published spelling of the same")
    args = parser.parse_args(argv)
    if args.resume and args.overwrite:
        parser.error("--resume goes on with what is there, --overwrite replaces it: give one of them")
    if args.steps and not args.weight_replace:
        parser.error("--no-weight-replace begins with new weights, --steps retrains those that are kept: give one of them")
    if not args.steps:
        parser.check_unused(args, ("resume", *STEP_OPTIONS), "--steps")
    if args.data_dir is not None and not args.steps and args.criterion != "taylor":
        parser.error(f"--data-dir {args.data_dir} goes with --steps and --criterion taylor")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    how, recipe = make_choice(args), step_recipe(args)
    if args.steps and args.data_dir is None:
        raise ValueError("--steps needs pictures to retrain on: give --data-dir")
    check_writable(args.save_dir, "--save-dir")
    path = args.save_dir / f"{pruned_stem(how, criterion=args.criterion, steps=args.steps)}.ckpt"
    stem, scoring = path.with_suffix(""), {"criterion": args.criterion, "data_dir": args.data_dir, "seed": args.seed}
    by_steps = {"steps": args.steps, "training": asdict(recipe)} if args.steps else {}
    made = made_from(args.ckpt_path, how, weight_replace=args.weight_replace, **scoring, **by_steps)
    inputs = [given for given in (args.ckpt_path, args.prune_info) if given]
    for result in [path, *files_like(stem, STEP_FILE)]:
        check_result(result, made, inputs=inputs, overwrite=args.overwrite)
    pruned = prune(args.ckpt_path, how, weight_replace=args.weight_replace, prune_info=args.prune_info, **scoring)
    if args.steps:
        info = {**pruned.info, "origin": made}
        with by_one_process(stem):
            model = prune_stepwise(load_model(args.ckpt_path, args.prune_info), pruned.model.config, args.data_dir,
                                   steps=args.steps, recipe=recipe, stem=stem, info=info,
                                   scores=functools.partial(score_model, **scoring), resume=args.resume)
        pruned = pruned._replace(model=model, info=info | by_steps)
    save_pruned(pruned, path, overwrite=args.overwrite)
    print(pruned.report)
    say(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
