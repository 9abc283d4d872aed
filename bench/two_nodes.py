"""Draw the loss of a training by torchrun on two nodes beside that of one process with the same images a step:

    python bench/two_nodes.py --model-path pretrained/pruned_modnet.ckpt --data-dir data/sample

Both agents run on this machine and meet over the loopback. Writes `result/two_nodes.png` and `.json`.
"""
from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from src.command_line import Parser
from src.files import check_writable, write_atomically, write_json
from src.records import Real, Table, read_lines
from src.script import provenance, run_script

TRAINER = str(ROOT / "src" / "trainer.py")


def run(commands: list[list[str]], threads: int) -> None:
    """Run commands at the same time. Raises `ValueError` with the end of what one said if it fails."""
    settings = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    processes = [subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                 for command in commands]
    said = [process.communicate()[1] for process in processes]
    for process, text in zip(processes, said, strict=True):
        if process.returncode:
            raise ValueError(f"{' '.join(process.args)} ended with {process.returncode}: {text[-500:]}")


def train_both(options: list[str], batch_size: int, folder: Path) -> dict[str, list[dict]]:
    """Train by one process, and by two nodes with half of the images each; return the rows of both logs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend",
            "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "curves", "--local-addr", "127.0.0.1", TRAINER,
            *options, "--batch-size", str(batch_size // 2), "--save-dir", str(folder / "two")]
    run([[sys.executable, TRAINER, *options, "--batch-size", str(batch_size), "--save-dir", str(folder / "one")]], 2)
    run([node, node], 1)
    return {name: read_lines(folder / name / "net_log.jsonl", Table(Real())) for name in ("one", "two")}


def draw(rows: dict[str, list[dict]], path: Path) -> None:
    """Write a PNG: the training loss and the error on `val` of both, by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    titles = {"one": "one process", "two": "two nodes"}
    for axis, key, label in zip(figure.subplots(1, 2), ("loss", "val_mse"), ("training loss", "MSE on val"), strict=True):
        for (name, title), style in zip(titles.items(), ("C0-", "C1--"), strict=True):
            axis.plot([row["epoch"] + 1 for row in rows[name]], [row[key] for row in rows[name]], style, label=title)
        axis.set(xlabel="epoch", ylabel=label, ylim=(0, None))
        axis.legend()
    write_atomically(path, lambda to: figure.savefig(to, dpi=100))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--model-path", type=Path, required=True, help="the network to train")
    parser.add_argument("--data-dir", type=Path, required=True, help="data set with train and val")
    parser.add_argument("--epoch", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=8, help="images a step of all processes (default: %(default)s)")
    parser.add_argument("--input-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=1e-4, help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.batch_size < 2 or args.batch_size % 2:
        parser.error(f"--batch-size is {args.batch_size}, allowed are even numbers from 2")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    options = {"model-path": args.model_path, "name": "net", "data-dir": args.data_dir, "epoch": args.epoch, "lr": args.lr,
               "input-size": args.input_size, "optimizer": "adamw", "schedule": "onecycle", "clip-norm": 5}
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        rows = train_both(given, args.batch_size, Path(folder))
    draw(rows, args.output_dir / "two_nodes.png")
    write_json(args.output_dir / "two_nodes.json", {**rows, **provenance()})
    for one, two in zip(rows["one"], rows["two"], strict=True):
        print(f"epoch {one['epoch']}  loss {one['loss']:.5f} {two['loss']:.5f}  MSE on val {one['val_mse']:.5f} "
              f"{two['val_mse']:.5f}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
