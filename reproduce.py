"""The whole pipeline of the paper with one command, and its tables:

    python reproduce.py

prunes `pretrained/our_modnet.ckpt`, retrains it on a small generated data set, evaluates, exports to ONNX, converts for
OpenVINO, measures milliseconds and cuts people out; `result/reproduce/report.md` shows what came out. For a real run
give `--data-dir`, `--ckpt-path`, `--ratio`, `--threshold` and `--epoch`. Steps already done with the same input are
skipped.
"""
from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

import main_prune
from src.checkpoint import find_prune_info, load_model
from src.complexity import complexity
from src.eval import evaluate, write_report
from src.files import write_json
from src.generate_portraits import generate_data_set
from src.latency import available_devices, measure_latency
from src.matting_dataset import has_split
from src.models.prune_info import to_prune_info
from src.recipe import Recipe
from src.report import draw_comparison, write_markdown
from src.script import provenance, run_script
from src.steps import Steps
from src.trainer import train

ROOT = Path(__file__).resolve().parent
GENERATED = {"train": 48, "val": 8, "seed": 0, "height": 384, "width": 320}


def load_script(name: str) -> ModuleType:
    """A script of the folder `onnx/`, which cannot be imported by name: there the installed package comes first."""
    path = ROOT / "onnx" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prune_step(steps: Steps, ckpt_path: Path, ratio: float, threshold: float) -> Path:
    """Checkpoint of the pruned network."""
    path = steps.folder / f"{main_prune.stem(ratio, threshold)}.ckpt"

    def work() -> None:
        main_prune.save_pruned(main_prune.prune(ckpt_path, ratio=ratio, threshold=threshold), path)

    steps.run("prune", work, inputs=[ckpt_path, ratio, threshold], outputs=[path, path.with_suffix(".json")])
    return path


def retrain_step(steps: Steps, pruned: Path, data_dir: Path, recipe: Recipe, workers: int) -> Path:
    """The best retrained checkpoint; an interrupted training goes on where it was."""
    stem = steps.folder / f"{pruned.stem}_retrained"
    path = Path(f"{stem}_best.ckpt" if has_split(data_dir, "val") else f"{stem}_epoch{recipe.epochs - 1}.ckpt")

    def work() -> None:
        torch.manual_seed(recipe.seed)
        model = load_model(pruned)
        info = find_prune_info(pruned, None) or to_prune_info(model.config)
        going_on = steps.was_started("retrain") and Path(f"{stem}_resume.pt").is_file()
        train(model, info, data_dir, recipe, stem=stem, workers=workers, save_step=recipe.epochs, resume=going_on)

    steps.run("retrain", work, inputs=[pruned, data_dir, recipe], outputs=[path])
    return path


def evaluate_step(steps: Steps, name: str, ckpt_path: Path, data_dir: Path, limit: int | None) -> dict:
    """Errors and counts of one checkpoint."""
    def work() -> dict:
        model = load_model(ckpt_path)
        result = evaluate(model, data_dir, "val", limit=limit)
        write_report(result, steps.folder / f"{name}_eval.json")
        return {"mse": result["mse"], "mad": result["mad"], "n": result["n"], **complexity(model)._asdict()}

    return steps.run(f"evaluate {name}", work, inputs=[ckpt_path, data_dir, limit],
                     outputs=[steps.folder / f"{name}_eval.json"])


def deploy_step(steps: Steps, name: str, ckpt_path: Path) -> Path:
    """OpenVINO IR (.xml) of one checkpoint, FP32, by way of ONNX."""
    onnx_path, xml_path = steps.folder / f"{name}.onnx", steps.folder / f"{name}.xml"

    def work() -> dict:
        return {"onnx_difference": load_script("export_onnx").export_onnx(ckpt_path, output_path=onnx_path),
                "openvino_difference": load_script("convert_openvino").convert_openvino(
                    onnx_path, xml_path, precision="fp32").difference}

    steps.run(f"export {name}", work, inputs=[ckpt_path],
              outputs=[onnx_path, xml_path, xml_path.with_suffix(".bin")])
    return xml_path


def latency_step(steps: Steps, models: dict[str, Path], threads: int) -> dict:
    """Milliseconds of the networks on each device that OpenVINO finds, 512x512."""
    devices = available_devices()
    return steps.run("latency", lambda: {device: measure_latency(models, device=device, threads=threads)
                                         for device in devices},
                     inputs=[*models.values(), devices, threads], outputs=[])


def reproduce(ckpt_path: Path, data_dir: Path | None, *, output_dir: Path, ratio: float, threshold: float,
              recipe: Recipe, workers: int = 0, limit: int | None = None, threads: int = 2) -> Path:
    """Runs the steps that are not done yet; the path of the report. `data_dir=None` generates a small data set.

    Raises `ValueError` or `FileNotFoundError` as the steps do.
    """
    generated = data_dir is None
    if generated:
        data_dir = output_dir / "generated"
        generate_data_set(data_dir, **GENERATED)
    steps = Steps(output_dir)
    pruned = prune_step(steps, ckpt_path, ratio, threshold)
    retrained = retrain_step(steps, pruned, data_dir, recipe, workers)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt-path", type=Path, default=ROOT / "pretrained" / "our_modnet.ckpt",
                        help="dense checkpoint (default: pretrained/our_modnet.ckpt)")
    parser.add_argument("--data-dir", type=Path, help="data set with train and val (default: a small generated one)")
    parser.add_argument("--output-dir", type=Path, default=Path("result/reproduce"), help="default: %(default)s")
    parser.add_argument("--ratio", type=float, default=0.5, help="as main_prune.py's (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.5, help="as main_prune.py's (default: %(default)s)")
    parser.add_argument("--epoch", type=int, default=12, help="epochs of retraining (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images a step (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate (default: %(default)s)")
    parser.add_argument("--input-size", type=int, default=256, help="side of the training crops (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                        help="of training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="evaluate only the first N images")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the timing (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("limit", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, allowed are whole numbers from 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    recipe = Recipe(epochs=args.epoch, batch_size=args.batch_size, lr=args.lr, optimizer="adamw", schedule="onecycle",
                    input_size=args.input_size, precision=args.precision, seed=args.seed)
    report = reproduce(args.ckpt_path, args.data_dir, output_dir=args.output_dir, ratio=args.ratio,
                       threshold=args.threshold, recipe=recipe, workers=args.workers, limit=args.limit,
                       threads=args.threads)
    print(f"{report.read_text(encoding='utf-8')}\n{report}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
