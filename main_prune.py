"""Prunes a MODNet:

    python main_prune.py --ckpt_path ./pretrained/our_modnet.ckpt --ratio 0.5 --threshold 0.5

writes `result/modnet_p_ratio_0.5_thresh_0.5.ckpt` with its pruning JSON, a report (.md) and a picture of the widths (.png)
beside it. The threshold cuts the encoder and `lr16x`, the ratio the high-resolution and fusion branches.
"""
from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Subset

from src.checkpoint import load_model, save_model
from src.complexity import complexity
from src.data.samples import MattingDataset
from src.files import write_text
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.pruning.budget import Budget, fit_budget, search_budget
from src.pruning.criteria import CRITERIA, Scores, filter_scores, taylor_scores
from src.pruning.latency_cost import PRECISIONS, LatencyTarget, fit_machine
from src.pruning.report import draw_widths, pruned_stem, pruning_table
from src.pruning.rules import RULES, SCOPES, limit_scope, widths_of
from src.pruning.slicing import check_weights, inherit
from src.pruning.stepwise import add_step_options, prune_stepwise, step_recipe
from src.script import run_script


class Pruned(NamedTuple):
    """A pruned network with all that is said about it."""

    model: MODNet
    info: dict
    report: str
    dense: MODNetConfig


def prune(ckpt_path: Path, *, ratio: float, threshold: float, rule: str = "paper", scope: str = "whole",
          round_to: int = 8, round_branches_to: int | None = None, budget: Budget | None = None, search: bool = False,
          latency: LatencyTarget | None = None, criterion: str = "l1", data_dir: Path | None = None,
          weight_replace: bool = True, prune_info: Path | None = None, seed: int = 0) -> Pruned:
    """The pruned network, its pruning JSON and a Markdown report.

    A `budget` finds the ratio and the threshold itself, or with `search` the width of each group, by rule `tied`; a
    `latency` always searches. Both go with the scope `whole`. With `weight_replace` the kept channels bring their
    weights, else the network is initialised afresh from `seed`. Raises `ValueError` for a checkpoint or number that
    does not do.
    """
    dense = load_model(ckpt_path, prune_info)
    state = dense.state_dict()
    check_weights(state)
    filters = score(dense, criterion, data_dir=data_dir, seed=seed)
    # The published widths are defined by L1; the criterion then says which channels stay.
    sizes = filter_scores(state, dense.config) if rule == "paper" else filters
    measured = None
    if latency is not None:
        config, measured = fit_machine(dense.config, latency, round_to=round_to)
    elif search:
        config = search_budget(dense.config, budget, round_to=round_to, round_branches_to=round_branches_to)
    if search or latency:
        # What the published keys can say of it: the HR width by the ratio, and that there was no threshold.
        ratio, threshold = 1 - config.hr_2x / dense.config.hr_2x, 0.0
    elif budget is not None:
        config, ratio, threshold = fit_budget(sizes, dense.config, budget, rule=rule, round_to=round_to)
    else:
        config = widths_of(sizes, dense.config, ratio, threshold, rule=rule, round_to=round_to)
        config = limit_scope(dense.config, config, scope)
    torch.manual_seed(seed)
    pruned = MODNet(config).eval()
    if weight_replace:
        pruned.load_state_dict(inherit(state, dense.config, config, filters=filters))
    before, after = complexity(dense), complexity(pruned)
    # By `ratio` the published code knows the HR width, which is the dense one where only the encoder is cut.
    info = to_prune_info(config, ratio=0.0 if scope == "backbone" else ratio, threshold=threshold, rule=rule,
                         scope=scope, criterion=criterion, budget=budget and budget._asdict(), search=search,
                         latency=latency and {**latency._asdict(), "measured": measured}, source=str(ckpt_path),
                         weight_replace=weight_replace,
                         counts={"before": before._asdict(), "after": after._asdict()})
    return Pruned(pruned, info, pruning_table(dense.config, config, before, after), dense.config)


def score(model: MODNet, criterion: str, *, data_dir: Path | None = None, seed: int = 0) -> Scores:
    """Scores of the filters of a network by one of `CRITERIA`. Raises `ValueError` for taylor without a data set."""
    if criterion == "taylor":
        return taylor_scores(model, taylor_batches(data_dir, seed))
    return filter_scores(model.state_dict(), model.config, criterion, seed=seed)


def save_pruned(pruned: Pruned, path: Path) -> None:
    """Writes the checkpoint `path`, and beside it the pruning JSON, the report (.md) and the widths (.png)."""
    save_model(pruned.model, path, pruned.info)
    write_text(path.with_suffix(".md"), pruned.report)
    draw_widths(pruned.dense, pruned.model.config, path.with_suffix(".png"))


def taylor_batches(data_dir: Path | None, seed: int) -> Iterable[dict[str, torch.Tensor]]:
    """Training images of a data set, at most 16, one at a time. Raises `ValueError` without a data set."""
    if data_dir is None:
        raise ValueError("criterion taylor needs pictures: give --data-dir")
    dataset = MattingDataset(data_dir, size=256, seed=seed)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:16].tolist()
    return DataLoader(Subset(dataset, order))


def parse_bool(text: str) -> bool:
    """`True` or `False` as the published command line spells them. Raises `argparse.ArgumentTypeError`."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r}, allowed are True and False")
    return text.lower() == "true"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt-path", "--ckpt_path", type=Path, required=True, help="checkpoint to prune")
    parser.add_argument("--prune-info", "--prune_info", type=Path,
                        help="pruning JSON of the checkpoint (default: the one beside it, if any)")
    parser.add_argument("--ratio", type=float, default=0.5,
                        help="share of the HR and fusion channels to cut, from 0 to 0.875 (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.5,
                        help="threshold on the normalised L1 norms of the encoder, between 0 and 1 (default: %(default)s)")
    parser.add_argument("--rule", choices=RULES, default=None, help="paper: the published widths; tied: keeps every "
                        "residual and expansion (default: paper; tied with --search)")
    parser.add_argument("--scope", choices=SCOPES, default="whole", help="what is cut; branches leaves the encoder as it "
                        "is, backbone cuts it alone (default: %(default)s)")
    parser.add_argument("--criterion", choices=CRITERIA, default="l1",
                        help="what scores a channel; taylor needs --data-dir (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="data set that criterion taylor looks at, and that --steps trains on")
    parser.add_argument("--target-params", type=float, metavar="N", help="find ratio and threshold for at most this many "
                        "parameters, and at most 2 %% fewer")
    parser.add_argument("--target-macs", type=float, metavar="N",
                        help="the same for multiply-accumulates of one 512x512 image, as deployed")
    parser.add_argument("--target-latency", type=float, metavar="MS", help="search for a network that OpenVINO runs in at "
                        "most this many milliseconds on this CPU (one 512x512 image), and at most 5 %% less; rule tied")
    parser.add_argument("--threads", type=int, default=2, help="for --target-latency (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="of the computation, for --target-latency (default: %(default)s)")
    parser.add_argument("--search", action="store_true", help="meet the target by a width of its own for each channel "
                        "group, where least is lost for what is saved; rule tied")
    add_step_options(parser)
    parser.add_argument("--round-to", type=int, default=8, help="rule tied: widths are multiples of this (default: "
                        "%(default)s)")
    parser.add_argument("--round-branches-to", type=int, metavar="N", help="--search: the same for the branches alone; 16 "
                        "fills the vectors of a CPU with AVX-512, where 8 channels take as long (default: --round-to)")
    parser.add_argument("--save-dir", "--save_dir", type=Path, default=Path("result"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of a fresh initialisation (default: %(default)s)")
    parser.add_argument("--weight-replace", action=argparse.BooleanOptionalAction, default=True,
                        help="inherit the weights of the kept channels (default), or initialise afresh")
    parser.add_argument("--weight_replace", type=parse_bool, dest="weight_replace", default=argparse.SUPPRESS,
                        metavar="True|False", help="the published spelling of the same")
    args = parser.parse_args(argv)
    for name in ("target_params", "target_macs", "target_latency", "threads"):
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            parser.error(f"--{name.replace('_', '-')} is {value}, allowed are numbers over 0")
    if args.target_latency and (args.target_params or args.target_macs):
        parser.error("--target-latency goes without --target-params and --target-macs")
    if (args.target_params or args.target_macs or args.target_latency) and args.scope != "whole":
        parser.error("a target is met over the whole network: leave --scope out")
    searched = args.search or args.target_latency is not None
    if args.search and not (args.target_latency or args.target_params or args.target_macs):
        parser.error("--search needs --target-params or --target-macs")
    if args.round_branches_to and not (args.search and not args.target_latency):
        parser.error("--round-branches-to goes with --search")
    if searched and args.rule == "paper":
        parser.error("a search goes with --rule tied: rule paper ties widths by formulas")
    args.rule = args.rule or ("tied" if searched else "paper")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    recipe = step_recipe(args)
    budget = Budget(args.target_params, args.target_macs) if args.target_params or args.target_macs else None
    latency = None
    if args.target_latency:
        latency = LatencyTarget(args.target_latency, args.threads, args.precision)
    if args.steps and args.data_dir is None:
        raise ValueError("--steps needs pictures to retrain on: give --data-dir")
    name = pruned_stem(args.ratio, args.threshold, rule=args.rule, scope=args.scope, criterion=args.criterion, budget=budget,
                search=args.search, latency=latency, steps=args.steps)
    path = args.save_dir / f"{name}.ckpt"
    pruned = prune(args.ckpt_path, ratio=args.ratio, threshold=args.threshold, rule=args.rule, scope=args.scope,
                   round_to=args.round_to, round_branches_to=args.round_branches_to, budget=budget, search=args.search,
                   latency=latency, criterion=args.criterion, data_dir=args.data_dir, weight_replace=args.weight_replace,
                   prune_info=args.prune_info, seed=args.seed)
    if args.steps:
        model = prune_stepwise(load_model(args.ckpt_path, args.prune_info), pruned.model.config, args.data_dir,
                               steps=args.steps, recipe=recipe, stem=path.with_suffix(""), info=pruned.info,
                               scores=functools.partial(score, criterion=args.criterion, data_dir=args.data_dir,
                                                        seed=args.seed), resume=args.resume)
        pruned = pruned._replace(model=model, info={**pruned.info, "steps": args.steps, "training": asdict(recipe)})
    save_pruned(pruned, path)
    print(f"{pruned.report}\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
