"""Steps that the tables of `reproduce.py` share."""
from __future__ import annotations

from pathlib import Path

import main_prune
from src.checkpoint import load_model
from src.complexity import complexity
from src.data.sources import Sources, as_sources, with_split
from src.evaluation.evaluate import evaluate
from src.evaluation.report import write_report
from src.media.preprocess import REF_SIZE
from src.paper.resumable import Steps
from src.paper.trainings import Training, do_all
from src.pruning.choice import Choice
from src.records import Real, Whole
from src.script import load_script
from src.training.recipe import Recipe

# What a step says of a network.
ERRORS = {"mse": Real(0), "mad": Real(0), "n": Whole(1), "params": Whole(1), "macs_train": Whole(1), "macs_deploy": Whole(1),
          "bytes_fp32": Whole(1)}


def prune_step(steps: Steps, name: str, ckpt_path: Path, path: Path, how: Choice) -> Path:
    """Prune a checkpoint into `path`, to the widths that `how` chooses."""
    def work() -> None:
        main_prune.save_pruned(main_prune.prune(ckpt_path, how), path, overwrite=True)

    steps.run(name, work, inputs=[ckpt_path, how.name, how], outputs=[path, path.with_suffix(".json")])
    return path


def retrain_step(steps: Steps, name: str, pruned: Path, data_dir: Sources, recipe: Recipe, *, stem: Path,
                 val_every: int = 1, val_limit: int | None = None, val_dir: Sources | None = None,
                 ref_size: int = REF_SIZE) -> Path:
    """Train a pruned checkpoint, judged at `ref_size`, and return the best one; an interrupted training goes on where it
    was."""
    data = tuple(as_sources(data_dir))
    judged = tuple(with_split(data_dir) if val_dir is None else as_sources(val_dir))
    return next(do_all(steps, [Training(name, pruned, stem, recipe, data, judged, val_every, val_limit, ref_size)])).best


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


def evaluate_step(steps: Steps, name: str, ckpt_path: Path, data_dir: Path, limit: int | None) -> dict:
    """Evaluate one checkpoint; return its errors and counts."""
    def work() -> dict:
        model = load_model(ckpt_path)
        result = evaluate(model, data_dir, "val", limit=limit)
        write_report(result, steps.folder / f"{name}_eval.json")
        return {"mse": result["mse"], "mad": result["mad"], "n": result["n"], **complexity(model)._asdict()}

    return steps.run(f"evaluate {name}", work, inputs=[ckpt_path, data_dir, limit],
                     outputs=[steps.folder / f"{name}_eval.json"], shape=ERRORS)
