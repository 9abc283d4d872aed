"""Average the weights of checkpoints of one network, such as several runs that went on from the same one:

    python src/average.py --ckpt-path A.ckpt B.ckpt C.ckpt --output-path result/average.ckpt
    python src/average.py --ckpt-path A.ckpt B.ckpt --weights 1 3 --output-path result/average.ckpt --half

writes the average, running statistics included, and its pruning JSON, which names its members. It costs no more to run than
one of them (Wortsman et al., *Model soups*, ICML 2022). `--half` writes fp16, half the size.
"""
from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch

from src.checkpoint import find_prune_info, load_model, save_model
from src.command_line import Parser
from src.console import say
from src.files import check_output
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.results import check_result, origin
from src.script import run_script

HISTORY = ("training", "average", "origin")


def average(models: Sequence[MODNet], shares: Sequence[float]) -> MODNet:
    """Replace the floating-point parameters and buffers of the first of `models` by the weighted mean of all, summed in
    float64; other buffers (counters) stay. `shares` are over 0 and need not sum to 1. Changes `models[0]`."""
    total, states = sum(shares), [model.state_dict() for model in models]
    with torch.no_grad():
        for key, value in states[0].items():
            if value.is_floating_point():
                value.copy_(sum(share / total * state[key].double() for share, state in zip(shares, states, strict=True)))
    return models[0]


def average_files(ckpt_paths: Sequence[Path], shares: Sequence[float], output_path: Path, *, half: bool = False,
                  overwrite: bool = False) -> None:
    """Write the average of checkpoints and its JSON: that of the first, `average` instead of `training`.

    Raises `FileNotFoundError` or `ValueError` for what cannot be read or is another network than the first; then nothing
    is written. An output that is an input, or without `overwrite` another result, is refused (`src/results.py`).
    """
    made = origin(ckpt_paths, {"weights": list(shares), "half": half})
    check_result(output_path, made, inputs=ckpt_paths, overwrite=overwrite, option="--output-path")
    models = [load_model(path) for path in ckpt_paths]
    for path, model in zip(ckpt_paths, models, strict=True):
        if model.config != models[0].config:
            raise ValueError(f"{path} has other widths or residuals than {ckpt_paths[0]}: only copies of one network "
                             "can be averaged")
    infos = [find_prune_info(path, None) or to_prune_info(model.config, source=str(path))
             for path, model in zip(ckpt_paths, models, strict=True)]
    members = [{"ckpt_path": str(path), "weight": share, **{key: info[key] for key in HISTORY if key in info}}
               for path, share, info in zip(ckpt_paths, shares, infos, strict=True)]
    kept = {key: value for key, value in infos[0].items() if key not in HISTORY}
    save_model(average(models, shares), output_path, {**kept, "average": members, "origin": made}, half=half)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, required=True, nargs="+", metavar="PATH",
                        help="checkpoints of one network, the JSON of each beside it")
    parser.add_argument("--weights", type=float, nargs="+", metavar="W", help="of each in the mean (default: all the same)")
    parser.add_argument("--output-path", type=Path, required=True, help="where the average goes, its JSON beside it")
    parser.add_argument("--half", action="store_true", help="write fp16")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that other members or weights made")
    args = parser.parse_args(argv)
    args.weights = args.weights or [1.0] * len(args.ckpt_path)
    if len(args.weights) != len(args.ckpt_path):
        parser.error(f"--weights has {len(args.weights)} numbers, --ckpt-path {len(args.ckpt_path)} files")
    for weight in args.weights:
        if not (math.isfinite(weight) and weight > 0):
            parser.error(f"--weights has {weight}, allowed are numbers over 0")
    if args.output_path.suffix != ".ckpt":
        parser.error(f"--output-path is {args.output_path}, it must end in .ckpt")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_output(args.output_path, "--output-path")
    average_files(args.ckpt_path, args.weights, args.output_path, half=args.half, overwrite=args.overwrite)
    say(f"average of {len(args.ckpt_path)}: {args.output_path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
