"""Run the whole pipeline of the paper with one command, and write its tables:

    python reproduce.py

prunes `pretrained/our_modnet.ckpt`, retrains it on a small generated data set, evaluates, exports to ONNX, converts for
OpenVINO, measures milliseconds and cuts people out; `result/reproduce/report.md` shows what came out. For a real run
give `--data-dir`, `--ckpt-path`, `--ratio`, `--threshold` and `--epoch`. Steps already done with the same input are
skipped. The paper's third table, fine-tuned against trained from scratch, is

    python reproduce.py --table retraining

which trains 15 networks for each of `--seeds`, `--epoch` epochs long, and writes `result/reproduce/retraining.md`.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from src.checkpoint import torch_device
from src.data.portraits.generate import generate_data_set
from src.deploy.latency import available_devices, measure_latency
from src.files import check_writable, keep_inputs, write_json
from src.paper.report import draw_comparison, write_markdown
from src.paper.resumable import Steps
from src.paper.retraining import retraining_table
from src.paper.stages import evaluate_step, prune_step, retrain_step
from src.pruning.choice import ByRatio, pruned_stem
from src.results import beside
from src.script import load_script, provenance, run_script
from src.training.recipe import Recipe

ROOT = Path(__file__).resolve().parent
WRITTEN = ("report.json", "report.md", "compare.png")
EPOCHS = {"pipeline": 12, "retraining": 1}
GENERATED = {"train": 48, "val": 8, "seed": 0, "height": 384, "width": 320}


def deploy_step(steps: Steps, name: str, ckpt_path: Path) -> Path:
    """Convert one checkpoint to OpenVINO IR (.xml), FP32, by way of ONNX."""
    onnx_path, xml_path = steps.folder / f"{name}.onnx", steps.folder / f"{name}.xml"

    def work() -> dict:
        return {"onnx_difference": load_script("export_onnx").export_onnx(ckpt_path, output_path=onnx_path),
                "openvino_difference": load_script("convert_openvino").convert_openvino(
                    onnx_path, xml_path, precision="fp32").difference}

    steps.run(f"export {name}", work, inputs=[ckpt_path],
              outputs=[onnx_path, xml_path, xml_path.with_suffix(".bin")])
    return xml_path


def latency_step(steps: Steps, models: dict[str, Path], threads: int) -> dict:
    """Measure the networks on each device that OpenVINO finds, 512x512, in milliseconds."""
    devices = available_devices()
    return steps.run("latency", lambda: {device: measure_latency(models, device=device, threads=threads)
                                         for device in devices},
                     inputs=[*models.values(), devices, threads], outputs=[])


def reproduce(ckpt_path: Path, data_dir: Path, *, output_dir: Path, ratio: float, threshold: float,
              recipe: Recipe, generated: bool, workers: int = 0, device: str = "cpu", limit: int | None = None,
              threads: int = 2) -> Path:
    """Run the steps that are not done yet; return the path of the report.

    Raises `ValueError` or `FileNotFoundError` as the steps do.
    """
    keep_inputs([output_dir / name for name in (*WRITTEN, Steps.FILE)], beside(ckpt_path))
    steps, how = Steps(output_dir), ByRatio(ratio, threshold)
    pruned = prune_step(steps, "prune", ckpt_path, output_dir / f"{pruned_stem(how)}.ckpt", how)
    retrained = retrain_step(steps, "retrain", pruned, data_dir, recipe, stem=output_dir / f"{pruned.stem}_retrained",
                             workers=workers, device=device)
    checkpoints = {"dense": ckpt_path, "pruned": pruned, "retrained": retrained}
    results = {name: evaluate_step(steps, name, path, data_dir, limit) for name, path in checkpoints.items()}
    models = {name: deploy_step(steps, name, checkpoints[name]) for name in ("dense", "retrained")}
    latency = latency_step(steps, models, threads)
    steps.run("compare", lambda: draw_comparison(ckpt_path, retrained, data_dir, output_dir / "compare.png"),
              inputs=[ckpt_path, retrained, data_dir], outputs=[output_dir / "compare.png"])
    report = {"ckpt_path": str(ckpt_path), "data_dir": str(data_dir), "generated": generated, "ratio": ratio,
              "threshold": threshold, "recipe": vars(recipe), "results": results, "latency_ms": latency,
              "threads": threads, "seconds": steps.seconds(), **provenance()}
    write_json(output_dir / "report.json", report)
    write_markdown(report, output_dir / "report.md")
    return output_dir / "report.md"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=tuple(EPOCHS), default="pipeline", help="the whole pipeline with the paper's "
                        "first two tables, or its third (default: %(default)s)")
    parser.add_argument("--ckpt-path", type=Path, default=ROOT / "pretrained" / "our_modnet.ckpt",
                        help="dense checkpoint (default: pretrained/our_modnet.ckpt)")
    parser.add_argument("--data-dir", type=Path, help="data set with train and val (default: a small generated one)")
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
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the timing (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="of training: cpu, cuda, ... (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="of --table pipeline (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of --table retraining (default: %(default)s)")
    args = parser.parse_args(argv)
    args.seeds = list(dict.fromkeys(args.seeds))
    args.epoch = EPOCHS[args.table] if args.epoch is None else args.epoch
    for name in ("limit", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, allowed are whole numbers from 1")
    if min(args.seeds) < 0:
        parser.error(f"--seeds has {min(args.seeds)}, allowed are whole numbers from 0")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    recipe = Recipe(epochs=args.epoch, batch_size=args.batch_size, lr=args.lr, optimizer="adamw", schedule="onecycle",
                    steps_per_epoch=args.steps_per_epoch, input_size=args.input_size, precision=args.precision,
                    seed=args.seed)
    generated, data_dir = args.data_dir is None, args.data_dir or args.output_dir / "generated"
    if generated:
        generate_data_set(data_dir, **GENERATED)
    common = {"output_dir": args.output_dir, "ratio": args.ratio, "threshold": args.threshold, "recipe": recipe,
              "generated": generated, "workers": args.workers, "device": torch_device(args.device), "limit": args.limit}
    if args.table == "retraining":
        report = retraining_table(args.ckpt_path, data_dir, seeds=args.seeds, **common)
    else:
        report = reproduce(args.ckpt_path, data_dir, threads=args.threads, **common)
    print(f"{report.read_text(encoding='utf-8')}\n{report}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
