"""Run the whole pipeline of the paper with one command, and write its tables:

    python reproduce.py

prunes `pretrained/our_modnet.ckpt` by the published rule and by the search we recommend, to the same multiply-accumulates,
retrains both alike on the portraits of `data/sample`, evaluates them beside the dense network and the shipped one, exports
to ONNX, converts for OpenVINO, measures milliseconds and draws the mattes; `result/reproduce/report.md` shows what came out.
For a real run give `--data-dir`, `--ckpt-path`, `--ratio`, `--threshold` and `--epoch`. Steps already done with the same
input are skipped. The paper's third table, fine-tuned against trained from scratch, is

    python reproduce.py --table retraining

which trains 18 networks for each of `--seeds`, `--epoch` epochs long, and writes `result/reproduce/retraining.md`. With
`--ray` the trainings of either run side by side, on the cores of this machine or of a Ray cluster.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from src.checkpoint import torch_device
from src.command_line import Parser, told_by_flags
from src.console import say
from src.data.portraits.generate import generate_data_set
from src.files import check_writable
from src.media.preprocess import REF_SIZE
from src.one_process import by_one_process
from src.paper.pipeline import reproduce
from src.paper.resumable import Steps
from src.paper.retraining import RULES, retraining_table
from src.paper.trainings import Cluster
from src.runtime.options import JUDGED_HELP, JUDGED_SIZES, wrong_ref_size
from src.script import ROOT, run_script
from src.training.recipe import Recipe

SAMPLE = ROOT / "data" / "sample"
EPOCHS = {"pipeline": 12, "retraining": 1}
# Options that say nothing in the other table.
ONLY = {"pipeline": ("seed", "threads"), "retraining": ("seeds", "rules", "ref_size")}
GENERATED = {"train": 48, "val": 8, "seed": 0, "height": 384, "width": 320}


def data_set(text: str, output_dir: Path) -> tuple[Path, bool]:
    """Return the folder of `--data-dir`, and whether it holds generated drawings, which are made if they are not there."""
    if text != "generated":
        return Path(text), False
    generate_data_set(output_dir / "generated", **GENERATED)
    return output_dir / "generated", True


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--table", choices=tuple(EPOCHS), default="pipeline", help="the whole pipeline with the paper's "
                        "first two tables, or its third (default: %(default)s)")
    parser.add_argument("--ckpt-path", type=Path, default=ROOT / "pretrained" / "our_modnet.ckpt",
                        help="dense checkpoint (default: pretrained/our_modnet.ckpt)")
    parser.add_argument("--data-dir", default=str(SAMPLE), help="data set with train and val, or the word generated: "
                        "portraits drawn by code (default: data/sample)")
    parser.add_argument("--output-dir", type=Path, default=Path("result/reproduce"), help="default: %(default)s")
    parser.add_argument("--ratio", type=float, default=0.5, help="as main_prune.py's (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.5, help="as main_prune.py's (default: %(default)s)")
    parser.add_argument("--epoch", type=int, help="epochs of retraining (default: "
                        f"{', '.join(f'{epochs} for {table}' for table, epochs in EPOCHS.items())})")
    parser.add_argument("--steps-per-epoch", type=int, help="an epoch is this many steps (default: once through the data)")
    parser.add_argument("--batch-size", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate (default: %(default)s)")
    parser.add_argument("--input-size", type=int, default=256, help="side of the training crops (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                        help="of training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="evaluate only the first N images")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the timing, of --table pipeline (default: "
                        "%(default)s)")
    parser.add_argument("--device", default="auto", help="of training: cpu, cuda, ... (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="of --table pipeline (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of --table retraining (default: %(default)s)")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES, help="of --table retraining: the ways to prune "
                        "that it compares (default: all)")
    parser.add_argument("--ref-size", type=int, metavar="N",
                        help=f"of --table retraining: {JUDGED_HELP} (default: {REF_SIZE})")
    parser.add_argument("--ray", nargs="?", const="", metavar="ADDRESS", help="trainings side by side on the Ray cluster at "
                        "HOST:PORT, or auto; without an address on the cores of this machine (requirements-cluster.txt)")
    parser.add_argument("--ray-cores", type=int, metavar="N", help="cores of one training (default: as many as there are "
                        "for each of them)")
    args = parser.parse_args(argv)
    args.seeds, args.rules = list(dict.fromkeys(args.seeds)), tuple(args.rules)
    args.epoch = EPOCHS[args.table] if args.epoch is None else args.epoch
    for name in ("limit", "threads", "ray_cores"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are whole numbers from 1")
    if args.ref_size is not None and args.ref_size not in JUDGED_SIZES:
        parser.error(wrong_ref_size(args.ref_size, JUDGED_SIZES))
    for table, names in ONLY.items():
        if table != args.table:
            parser.check_unused(args, names, f"--table {table}")
    if args.ray_cores is not None and args.ray is None:
        parser.error("--ray-cores goes with --ray")
    if min(args.seeds) < 0:
        parser.error(f"--seeds has {min(args.seeds)}, allowed are whole numbers from 0")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    with told_by_flags({"epochs": "--epoch", "batch-size": "--batch-size", "lr": "--lr"}):
        recipe = Recipe(epochs=args.epoch, batch_size=args.batch_size, lr=args.lr, optimizer="adamw", schedule="onecycle",
                        steps_per_epoch=args.steps_per_epoch, input_size=args.input_size, precision=args.precision,
                        seed=args.seed)
    with by_one_process(args.output_dir / Steps.FILE):
        report = make_report(args, recipe)
    print(report.read_text(encoding="utf-8"))
    say(str(report))
    return 0


def make_report(args: argparse.Namespace, recipe: Recipe) -> Path:
    """Do what the command line asks for, and return the path of the report."""
    data_dir, generated = data_set(args.data_dir, args.output_dir)
    common = {"output_dir": args.output_dir, "ratio": args.ratio, "threshold": args.threshold, "recipe": recipe,
              "generated": generated, "workers": args.workers, "device": torch_device(args.device), "limit": args.limit,
              "cluster": None if args.ray is None else Cluster(args.ray, args.ray_cores)}
    if args.table == "retraining":
        return retraining_table(args.ckpt_path, data_dir, seeds=args.seeds, rules=args.rules,
                                ref_size=args.ref_size or REF_SIZE, **common)
    return reproduce(args.ckpt_path, data_dir, threads=args.threads, **common)


if __name__ == "__main__":
    sys.exit(run_script(main))
