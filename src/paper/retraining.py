"""The paper's third table: fine-tuned against trained from scratch, the whole network cut or its encoder left as it is."""
from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from src.data.layouts import has_split
from src.data.sources import as_sources
from src.files import keep_inputs, write_atomically, write_json, write_text
from src.media.preprocess import REF_SIZE
from src.models.costs import macs
from src.models.prune_info import from_prune_info, read_prune_info
from src.paper.report import PAPER
from src.paper.resumable import Steps
from src.paper.stages import prune_step
from src.paper.trainings import ONLY_LAST, Cluster, Training, do_all
from src.pruning.budget import Budget
from src.pruning.choice import ByBudget, ByRatio, BySearch, Choice
from src.results import beside
from src.script import provenance
from src.training.recipe import MODES, Recipe

FIRST, LEFT = "rule paper, whole network", "rule paper, encoder left"
# How each network is pruned: from ratio, threshold and, as a budget, the multiply-accumulates of rule `paper` where the same
# is cut.
NETWORKS: dict[str, Callable[[float, float, Budget], Choice]] = {
    FIRST: lambda ratio, threshold, budget: ByRatio(ratio, threshold),
    "rule tied, whole network": lambda ratio, threshold, budget: ByBudget(budget, "tied"),
    "search, whole network": lambda ratio, threshold, budget: BySearch(budget),
    LEFT: lambda ratio, threshold, budget: ByRatio(ratio, threshold, "paper", "branches"),
    "rule tied, encoder left": lambda ratio, threshold, budget: ByRatio(ratio, threshold, "tied", "branches"),
    "search, encoder left": lambda ratio, threshold, budget: BySearch(budget, scope="branches")}
RULES = ("paper", "tied", "search")
# MSE on PPM-100: fine-tuned, from scratch.
PAPER_ROWS = (("published, whole network", "0.018632", "0.016826"), ("published, encoder left", "0.018291", "0.015588"))
TITLES = {"finetune": "fine-tuned", "scratch-e": "scratch-E", "scratch-b": "scratch-B"}


def rule_of(name: str) -> str:
    """Return which of `RULES` one of the `NETWORKS` is pruned by."""
    return name.partition(",")[0].removeprefix("rule ")


def prune_networks(steps: Steps, ckpt_path: Path, *, ratio: float, threshold: float,
                   rules: Sequence[str] = RULES) -> dict[str, Path]:
    """Prune the `NETWORKS`, those of rule `paper` always; return the checkpoints of the asked rules by name."""
    paths, budget = {}, Budget()
    for name, choice in NETWORKS.items():
        if rule_of(name) not in {RULES[0], *rules}:
            continue
        path = steps.folder / f"{name.replace(', ', '_').replace(' ', '_')}.ckpt"
        paths[name] = prune_step(steps, f"prune: {name}", ckpt_path, path, choice(ratio, threshold, budget))
        if name in (FIRST, LEFT):
            budget = Budget(macs=macs(from_prune_info(read_prune_info(path.with_suffix(".json")))))
    return {name: path for name, path in paths.items() if rule_of(name) in rules}


def plan_trainings(folder: Path, networks: Mapping[str, Path], data_dir: Path, recipe: Recipe, *, seeds: Sequence[int],
                   workers: int, device: str, limit: int | None,
                   ref_size: int = REF_SIZE) -> dict[Training, tuple[str, str, int]]:
    """Return the trainings of each network in each mode, with these and their seed; a seed after the other, so that a run
    cut short has whole tables, and the long ones of scratch-B after all others."""
    data, plans = tuple(as_sources(data_dir)), {}
    for modes, seed in itertools.product((MODES[:2], MODES[2:]), seeds):
        for mode, (name, pruned) in itertools.product(modes, networks.items()):
            # Judged after the last epoch, not after the best: nothing is chosen by the pictures that judge.
            training = Training(f"train: {name}, {TITLES[mode]}, seed {seed}", pruned,
                                folder / f"{pruned.stem}_{mode}_seed{seed}",
                                dataclasses.replace(recipe, mode=mode, seed=seed), data, data, val_every=ONLY_LAST,
                                val_limit=limit, val_ref_size=ref_size, workers=workers, device=device)
            plans[training] = name, mode, seed
    return plans


def row_of(training: Training, network: str, mode: str, seed: int) -> dict:
    """Return the line of a training that is done, and remove what it could have gone on from."""
    training.state.unlink(missing_ok=True)
    info = read_prune_info(training.best.with_suffix(".json"))
    done, counts = info["training"], info["counts"]["after"]
    return {"network": network, "mode": mode, "seed": seed, "epochs": done["epochs"], "steps": done["step"],
            "mse": done["val_mse"], "mad": done["val_mad"], "n": done["val_n"], **counts}


def summary(rows: Sequence[Mapping]) -> list[dict]:
    """Compute for each network and mode the mean and standard deviation of MSE and MAD over the seeds."""
    lines = []
    for network, mode in dict.fromkeys((row["network"], row["mode"]) for row in rows):
        runs = [row for row in rows if (row["network"], row["mode"]) == (network, mode)]
        line = {key: value for key, value in runs[0].items() if key not in ("seed", "mse", "mad")} | {"seeds": len(runs)}
        for name in ("mse", "mad"):
            values = [run[name] for run in runs]
            line |= {name: statistics.fmean(values), f"{name}_std": statistics.stdev(values) if len(runs) > 1 else None}
        lines.append(line)
    return lines


def error_table(lines: Sequence[Mapping], name: str) -> list[str]:
    """Format a Markdown table of `mse` or `mad`: a line for each network, a column for each mode, the lowest of a line in
    bold; `-` for what was not trained yet."""
    def cell(line: Mapping | None, best: float) -> str:
        if line is None:
            return "-"
        text = f"{line[name]:.4f}" + ("" if line[f"{name}_std"] is None else f" ± {line[f'{name}_std']:.4f}")
        return f"**{text}**" if line[name] == best else text

    out = [f"| {name.upper()} | parameters (M) | GMACs, as deployed | {' | '.join(TITLES.values())} |",
           "|---|---:|---:|---:|---:|---:|"]
    for network in dict.fromkeys(line["network"] for line in lines):
        own = [line for line in lines if line["network"] == network]
        best = min(line[name] for line in own)
        cells = " | ".join(cell(next((line for line in own if line["mode"] == mode), None), best) for mode in TITLES)
        out.append(f"| {network} | {own[0]['params'] / 1e6:.2f} | {own[0]['macs_deploy'] / 1e9:.2f} | {cells} |")
    return out + [f"| {title} | | | {tuned} | {scratch} | |" for title, tuned, scratch in PAPER_ROWS if name == "mse"]


def draw_bars(lines: Sequence[Mapping], path: Path) -> None:
    """Write a PNG: MSE of each network, a bar for each mode, with the standard deviation where there are seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axis, names = figure.subplots(), list(dict.fromkeys(line["network"] for line in lines))
    shown = {mode: title for mode, title in TITLES.items() if any(line["mode"] == mode for line in lines)}
    for place, (mode, title) in enumerate(shown.items()):
        own = [line for line in lines if line["mode"] == mode]
        aside = 0.27 * (place - (len(shown) - 1) / 2)
        axis.bar([names.index(line["network"]) + aside for line in own], [line["mse"] for line in own], 0.25,
                 yerr=[math.nan if line["mse_std"] is None else line["mse_std"] for line in own], capsize=3, label=title)
    axis.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    axis.set(ylabel=f"MSE on val, N = {lines[0]['n']}")
    figure.legend(loc="outside upper center", ncols=len(shown))
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))


def table_text(report: Mapping) -> str:
    """Format the report as Markdown."""
    recipe, lines = report["recipe"], report["summary"]
    data = "**generated** portraits (drawn by code, they show nobody)" if report["generated"] else f"`{report['data_dir']}`"
    budget = f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] > 1)}"
    budget += f" of {recipe['steps_per_epoch']} steps" if recipe["steps_per_epoch"] else ""
    longer = ", ".join(f"{line['epochs']} ({line['network']})" for line in lines if line["mode"] == "scratch-b")
    longer = f"scratch-B as many epochs as cost what the dense network's would: {longer}" if longer else "scratch-B not yet"
    trained = "" if len(report["runs"]) == report["planned"] else f" **{len(report['runs'])} of {report['planned']} runs.**"
    spread = " ± standard deviation" if len(report["seeds"]) > 1 else ""
    return "\n".join([
        "# Fine-tuned or trained from scratch", "",
        f"Pruned from `{report['ckpt_path']}` with ratio {report['ratio']} and threshold {report['threshold']}; search, and "
        "rule tied over the whole network, to the multiply-accumulates of rule paper. "
        f"Trained {budget} at {recipe['input_size']} px, batch {recipe['batch_size']}, on {data}; scratch-E as long, "
        f"{longer}. Errors after the last epoch on "
        f"{lines[0]['n']} images of val, the network at {report['ref_size']} px, mean{spread} over seeds "
        f"{', '.join(map(str, report['seeds']))}.{trained}", "",
        *error_table(lines, "mse"), "", *error_table(lines, "mad"), "",
        f"The paper's ({PAPER}) are on PPM-100, and do not say how long from scratch is; compare within one table.", "",
        "![MSE of each network and mode](retraining.png)", "", f"Made with `{report['command']}`.", ""])


def retraining_table(ckpt_path: Path, data_dir: Path, *, output_dir: Path, ratio: float, threshold: float,
                     recipe: Recipe, seeds: Sequence[int], generated: bool, workers: int = 0, device: str = "cpu",
                     limit: int | None = None, cluster: Cluster | None = None, ref_size: int = REF_SIZE,
                     rules: Sequence[str] = RULES) -> Path:
    """Train what is not trained yet of the networks pruned by `rules`, on a cluster side by side, judge it at `ref_size`,
    and write `retraining.md`, `.json` and `.png`, anew after each run; return the path of the first.

    Raises `ValueError` for a data set without a `val` split of its own, or as the steps do.
    """
    if not has_split(data_dir, "val"):
        raise ValueError(f"{data_dir} has no val/fg: the table needs pictures that were not trained on")
    path, rows = output_dir / "retraining.md", {}
    keep_inputs([*beside(path), output_dir / Steps.FILE], beside(ckpt_path))
    steps = Steps(output_dir)
    steps.own(beside(path))
    networks = prune_networks(steps, ckpt_path, ratio=ratio, threshold=threshold, rules=rules)
    plans = plan_trainings(output_dir, networks, data_dir, recipe, seeds=seeds, workers=workers, device=device, limit=limit,
                           ref_size=ref_size)
    setting = {"ckpt_path": str(ckpt_path), "data_dir": str(data_dir), "generated": generated, "ratio": ratio,
               "threshold": threshold, "recipe": dataclasses.asdict(recipe), "seeds": list(seeds), "ref_size": ref_size,
               "planned": len(plans), **provenance()}
    for training in do_all(steps, list(plans), cluster):
        rows[training] = row_of(training, *plans[training])
        runs = [rows[planned] for planned in plans if planned in rows]
        # After each run, since a table of many hours is worth reading before it is whole.
        report = {**setting, "summary": summary(runs), "runs": runs, "seconds": steps.seconds()}
        write_json(path.with_suffix(".json"), report)
        draw_bars(report["summary"], path.with_suffix(".png"))
        write_text(path, table_text(report))
    return path
