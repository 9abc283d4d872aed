"""The steps of the default `reproduce.py`: the published rule and the search, side by side with what ships."""
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from src.data.layouts import find_pairs, has_split
from src.data.sources import as_sources, with_split
from src.deploy.latency import available_devices, measure_latency
from src.files import keep_inputs, write_json
from src.models.costs import macs
from src.models.prune_info import from_prune_info, read_prune_info
from src.paper.comparison import draw_comparison
from src.paper.report import write_markdown
from src.paper.resumable import Steps
from src.paper.stages import deploy_step, evaluate_step, prune_step
from src.paper.trainings import Cluster, Training, do_all
from src.pruning.budget import Budget
from src.pruning.choice import ByRatio, BySearch, Choice, pruned_stem
from src.records import Real, Table
from src.results import beside
from src.runtime.network import shipped_model
from src.script import ROOT, provenance
from src.training.recipe import Recipe

SHIPPED = ROOT / "pretrained" / "pruned_modnet.ckpt"
# The two networks that are pruned here, and what the report calls them.
PRUNED = {"published": "published rule", "ours": "search"}
# Seconds on two cores of an AMD EPYC: of a training step for each pixel, of looking at one picture, and of the rest.
TRAIN_PIXEL, LOOK, PRUNE, SEARCH, EXPORT, TIME, DRAW = 1.5e-6, 0.3, 4, 8, 8, 25, 8
VALIDATIONS = 3
WRITTEN = ("report.json", "report.md", "compare.png")


def plan(recipe: Recipe, data_dir: Path, limit: int | None) -> dict[str, float]:
    """List the steps in order, each with about how many seconds it takes on two cores.

    Raises `FileNotFoundError` or `ValueError` if there is no such data set.
    """
    pictures = len(find_pairs(data_dir, "train"))
    looked_at = len(find_pairs(data_dir, "val")[:limit])
    steps = recipe.epochs * (recipe.steps_per_epoch or math.ceil(pictures / recipe.batch_size))
    validated = len(find_pairs(data_dir, "val")) * VALIDATIONS if has_split(data_dir, "val") else 0
    retrain = steps * recipe.batch_size * recipe.sizes[1] ** 2 * TRAIN_PIXEL + validated * LOOK
    names = {"prune, published rule": PRUNE, "prune, search": SEARCH}
    names |= {f"retrain, {title}": retrain for title in PRUNED.values()}
    names |= {f"evaluate {name}": looked_at * LOOK for name in
              ("dense", *(f"{key}_pruned" for key in PRUNED), *PRUNED, "shipped")}
    return names | {f"export {name}": EXPORT for name in ("dense", *PRUNED, "shipped")} | {"latency": TIME, "compare": DRAW}


def prune_both(steps: Steps, ckpt_path: Path, *, ratio: float, threshold: float) -> dict[str, Path]:
    """Make checkpoints pruned by the published rule, and by the search to the same multiply-accumulates."""
    published = prune_by(steps, "published", ckpt_path, ByRatio(ratio, threshold))
    budget = Budget(macs=macs(from_prune_info(read_prune_info(published.with_suffix(".json")))))
    return {"published": published, "ours": prune_by(steps, "ours", ckpt_path, BySearch(budget))}


def prune_by(steps: Steps, key: str, ckpt_path: Path, how: Choice) -> Path:
    """Prune into the folder of the steps, under the published name."""
    return prune_step(steps, f"prune, {PRUNED[key]}", ckpt_path, steps.folder / f"{pruned_stem(how)}.ckpt", how)


def latency_step(steps: Steps, models: Mapping[str, Path], threads: int) -> dict:
    """Measure the milliseconds of the networks on each device that OpenVINO finds, 512x512."""
    devices = available_devices()
    return steps.run("latency", lambda: {device: measure_latency(models, device=device, threads=threads)
                                         for device in devices},
                     inputs=[*models.values(), devices, threads], outputs=[],
                     shape=Table(Table({"q1": Real(0), "median": Real(0), "q3": Real(0), "cpu": Real(0)})))


def reproduce(ckpt_path: Path, data_dir: Path, *, output_dir: Path, ratio: float, threshold: float,
              recipe: Recipe, generated: bool, workers: int = 0, device: str = "cpu", limit: int | None = None,
              threads: int = 2, cluster: Cluster | None = None) -> Path:
    """Run the steps that are not done yet, the two trainings side by side on a cluster; return the path of the report.

    Raises `ValueError` or `FileNotFoundError` as the steps do.
    """
    keep_inputs([output_dir / name for name in (*WRITTEN, Steps.FILE)], beside(ckpt_path))
    steps = Steps(output_dir, plan(recipe, data_dir, limit))
    steps.own([output_dir / name for name in WRITTEN])
    steps.announce()
    pruned = prune_both(steps, ckpt_path, ratio=ratio, threshold=threshold)
    data, judged = tuple(as_sources(data_dir)), tuple(with_split(data_dir))
    trainings = {key: Training(f"retrain, {PRUNED[key]}", path, output_dir / f"{path.stem}_retrained", recipe, data, judged,
                               val_every=max(1, recipe.epochs // VALIDATIONS), workers=workers, device=device)
                 for key, path in pruned.items()}
    for _ in do_all(steps, list(trainings.values()), cluster):
        pass
    retrained = {key: training.best for key, training in trainings.items()}
    networks = {"dense": ckpt_path, **retrained, "shipped": SHIPPED}
    evaluated = {"dense": ckpt_path, **{f"{key}_pruned": path for key, path in pruned.items()}, **retrained,
                 "shipped": SHIPPED}
    results = {name: evaluate_step(steps, name, path, data_dir, limit) for name, path in evaluated.items()}
    models = {name: deploy_step(steps, name, path) for name, path in networks.items()}
    latency = latency_step(steps, models | {"shipped_int8": shipped_model()}, threads)
    picture = output_dir / "compare.png"
    steps.run("compare", lambda: draw_comparison(networks, data_dir, picture), inputs=[*networks.values(), data_dir],
              outputs=[picture])
    report = {"ckpt_path": str(ckpt_path), "data_dir": str(data_dir), "generated": generated, "ratio": ratio,
              "threshold": threshold, "recipe": vars(recipe), "results": results, "latency_ms": latency,
              "threads": threads, "seconds": steps.seconds(), **provenance()}
    write_json(output_dir / "report.json", report)
    write_markdown(report, output_dir / "report.md")
    return output_dir / "report.md"
