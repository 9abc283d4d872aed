"""Compare ways to prune: same checkpoint, same multiply-accumulates, same data, same short retraining.

    python bench/pruning.py --ckpt-path pretrained/our_modnet.ckpt --data-dir PORTRAITS

writes `result/pruning_bench.jsonl` (a line for each run, as it ends; a run that has its line is not done again), `.json`,
`.md` and `.png`. MSE and MAD are means over validation pictures squeezed to `--eval-size` squares.
"""
from __future__ import annotations

import argparse
import copy
import functools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import cv2
import torch
from rivals import published_state, torch_pruned
from torch.utils.data import default_collate

from src.checkpoint import load_model
from src.command_line import Parser
from src.complexity import count_macs, count_params
from src.console import progress_bar
from src.data.samples import MattingDataset, find_pairs, read_pair
from src.evaluation.metrics import mad, mse
from src.files import check_writable, write_atomically, write_json, write_text
from src.media.preprocess import normalise
from src.models.config import MODNetConfig
from src.models.costs import macs
from src.models.modnet import MODNet
from src.paper.resumable import fingerprint
from src.pruning.budget import Budget, fit_budget, search_budget
from src.pruning.criteria import CRITERIA, Scores, filter_scores, taylor_batches, taylor_scores
from src.pruning.latency_cost import profile_cost, search_path
from src.pruning.rules import paper_widths
from src.pruning.slicing import inherit
from src.records import Real, Whole, read_lines
from src.script import provenance, run_script
from src.training.losses import modnet_losses
from src.training.recipe import Recipe, make_optimizer, make_schedule

Batch = dict[str, torch.Tensor]
ERRORS = {"mse": Real(0), "mad": Real(0)}
ROW = {"way": str, "target": Real(0), "seed": Whole(), "before": ERRORS, "after": ERRORS, "macs": Real(0), "params": Whole(),
       "n": Whole(1), "setting": dict}
PUBLISHED, RANDOM_INIT = "published code (by position)", "search, random init"


def paper_fit(filters: Scores, dense: MODNetConfig, target: float) -> MODNetConfig:
    """Return the network of rule `paper` whose multiply-accumulates come nearest to `target`, over all its HR widths."""
    grid = (paper_widths(filters, dense, 1 - width / 32, step / 50) for width in range(4, 33) for step in range(1, 50))
    return min(grid, key=lambda config: abs(macs(config) - target))


def contestants(dense: MODNet, data_dir: Path) -> dict[str, Callable[[float, int], MODNet]]:
    """Name of each way to prune, and what makes its network for a number of multiply-accumulates and a seed."""
    state, config, l1 = dense.state_dict(), dense.config, filter_scores(dense.state_dict(), dense.config)

    def build(pruned: MODNetConfig, weights: dict | None, seed: int = 0) -> MODNet:
        torch.manual_seed(seed)
        model = MODNet(pruned)
        if weights is not None:
            model.load_state_dict(weights)
        return model

    @functools.cache
    def scores(criterion: str) -> Scores:
        if criterion == "taylor":
            return taylor_scores(copy.deepcopy(dense), taylor_batches(data_dir, 0))
        return filter_scores(state, config, criterion)

    def by_search(filters: Scores, target: float) -> MODNet:
        pruned = search_budget(config, Budget(macs=target))
        return build(pruned, inherit(state, config, pruned, filters=filters))

    def by_rule(pruned: MODNetConfig) -> MODNet:
        return build(pruned, inherit(state, config, pruned, filters=l1))

    def published(target: float, _: int) -> MODNet:
        pruned = paper_fit(l1, config, target)
        return build(pruned, published_state(state, config, pruned))

    ways = {PUBLISHED: published,
            "paper": lambda target, _: by_rule(paper_fit(l1, config, target)),
            "tied": lambda target, _: by_rule(fit_budget(l1, config, Budget(macs=target), rule="tied")[0]),
            "Torch-Pruning, global": lambda target, _: torch_pruned(dense, target, global_pruning=True),
            "Torch-Pruning, local": lambda target, _: torch_pruned(dense, target, global_pruning=False),
            RANDOM_INIT: lambda target, seed: build(search_budget(config, Budget(macs=target)), None, seed)}
    ways["tied, search by latency"] = lambda target, _: by_rule(next(
        step for step in search_path(config, profile_cost(config, threads=1)) if macs(step) <= target))
    for criterion in CRITERIA:
        ways[f"tied, search, {criterion}"] = lambda target, _, name=criterion: by_search(scores(name), target)
    return ways


def chosen(ways: dict[str, Callable], names: list[str] | None) -> dict[str, Callable]:
    """Return the ways of `names`, all by default. Raises `ValueError` for an unknown name."""
    for name in names or ():
        if name not in ways:
            raise ValueError(f"--ways has {name!r}, allowed are {'; '.join(ways)}")
    return {name: ways[name] for name in names or ways}


def val_pictures(data_dir: Path, size: int, limit: int | None) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Load validation pictures (1, 3, size, size) and their alphas (size, size)."""
    pictures = []
    for pair in find_pairs(data_dir, "val")[:limit]:
        image, alpha = (cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in read_pair(pair))
        pictures.append((torch.from_numpy(normalise(image))[None], torch.from_numpy(alpha)))
    return pictures


@torch.inference_mode()
def errors(model: MODNet, pictures: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """Compute mean MSE and MAD of a model in eval mode."""
    pairs = [(model.eval()(image, inference=True)[2][0, 0].numpy(), alpha.numpy()) for image, alpha in pictures]
    return {"mse": statistics.fmean(mse(*pair) for pair in pairs), "mad": statistics.fmean(mad(*pair) for pair in pairs)}


def retrain(model: MODNet, batches: list[Batch], recipe: Recipe) -> None:
    """Train one pass over `batches`, in place, with the trainer's losses, optimiser and schedule."""
    model.train().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    scheduler = make_schedule(optimizer, recipe, len(batches))
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
            pred = model(batch["image"].contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad(set_to_none=True)
        modnet_losses(pred, batch["image"], batch["alpha"], batch["trimap"]).total.backward()
        optimizer.step()
        scheduler.step()


def training_batches(data_dir: Path, recipe: Recipe, steps: int) -> list[Batch]:
    """Return the same augmented batches for every contestant, chosen by the seed."""
    dataset = MattingDataset(data_dir, size=recipe.input_size, seed=recipe.seed)
    order = torch.randint(len(dataset), (steps, recipe.batch_size), generator=torch.Generator().manual_seed(recipe.seed))
    return [default_collate([dataset[index] for index in row]) for row in order.tolist()]


def read_rows(path: Path, setting: dict) -> list[dict]:
    """Read the finished runs. Raises `ValueError` if they were made with another setting, or naming a field that is none."""
    rows = read_lines(path, ROW)
    for row in rows:
        for key, value in setting.items():
            if row["setting"].get(key) != value:
                raise ValueError(f"{path} was made with {key} {row['setting'].get(key)}, now it is {value}: move it away")
    return rows


def bench(ckpt_path: Path, data_dir: Path, *, sizes: list[float], seeds: list[int], setting: dict, path: Path,
          names: list[str] | None = None) -> list[dict]:
    """Run what is not in `path` (.jsonl) yet, one seed after the other; all rows."""
    rows = read_rows(path, setting)
    done = {(row["way"], row["target"], row["seed"]) for row in rows}
    dense, pictures = load_model(ckpt_path), val_pictures(data_dir, setting["eval_size"], setting["limit"])
    ways, made = chosen(contestants(dense, data_dir), names), {}
    path.parent.mkdir(parents=True, exist_ok=True)
    bar = progress_bar(total=len(seeds) * len(sizes) * len(ways), initial=len(done))
    for seed in seeds:
        recipe = Recipe(epochs=1, batch_size=setting["batch_size"], lr=setting["lr"], optimizer="adamw", schedule="onecycle",
                        input_size=setting["input_size"], precision=setting["precision"], seed=seed)
        batches = training_batches(data_dir, recipe, setting["steps"])
        for target, (way, make) in ((target, item) for target in sizes for item in ways.items()):
            if (way, target, seed) in done:
                continue
            bar.set_description(f"{target / 1e9:g} GMACs, seed {seed}, {way}")
            key = (way, target, seed if way == RANDOM_INIT else None)
            if key not in made:
                made[key] = make(target, seed)
            model = copy.deepcopy(made[key])
            before = errors(model, pictures)
            retrain(model, batches, recipe)
            row = {"way": way, "target": target, "seed": seed, "before": before, "after": errors(model, pictures),
                   "macs": count_macs(model, inference=True), "params": count_params(model), "n": len(pictures),
                   "setting": setting}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
            bar.update()
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """Compute for each way the mean over the seeds, and the standard deviation of the MSE after retraining."""
    out = []
    for way, target in dict.fromkeys((row["way"], row["target"]) for row in rows):
        runs = [row for row in rows if (row["way"], row["target"]) == (way, target)]
        after = [row["after"]["mse"] for row in runs]
        out.append({"way": way, "target": target, "seeds": len(runs), "macs": runs[0]["macs"], "params": runs[0]["params"],
                    "mse_before": statistics.fmean(row["before"]["mse"] for row in runs),
                    "mse_after": statistics.fmean(after), "std_after": statistics.stdev(after) if len(after) > 1 else 0.0,
                    "mad_before": statistics.fmean(row["before"]["mad"] for row in runs),
                    "mad_after": statistics.fmean(row["after"]["mad"] for row in runs)})
    return out


def table(lines: list[dict]) -> str:
    """Format a Markdown table, a block for each size, the lowest MSE after retraining first."""
    head = ("| way | GMACs | M parameters | MSE before | MSE retrained (std) | MAD before | MAD retrained |",
            "|---|---:|---:|---:|---:|---:|---:|")
    text = []
    for target in sorted({line["target"] for line in lines}):
        text += ["", f"**{target / 1e9:g} GMACs as deployed**", "", *head]
        for line in sorted((line for line in lines if line["target"] == target), key=lambda line: line["mse_after"]):
            text.append(f"| {line['way']} | {line['macs'] / 1e9:.2f} | {line['params'] / 1e6:.2f} | "
                        f"{line['mse_before']:.4f} | {line['mse_after']:.4f} ({line['std_after']:.4f}) | "
                        f"{line['mad_before']:.4f} | {line['mad_after']:.4f} |")
    return "\n".join(text[1:]) + "\n"


def draw(lines: list[dict], path: Path) -> None:
    """Write a PNG: MSE after retraining against multiply-accumulates, a line for each way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axis = figure.subplots()
    for number, way in enumerate(dict.fromkeys(line["way"] for line in lines)):
        points = sorted((line["macs"] / 1e9, line["mse_after"], line["std_after"]) for line in lines if line["way"] == way)
        x, y, std = zip(*points, strict=True)
        axis.errorbar(x, y, std, label=way, color=f"C{number % 10}", linestyle="-" if "tied" in way else "--",
                      marker="osD^v"[number // 10], capsize=3)
    axis.set(xlabel="GMACs as deployed, 512x512", ylabel="MSE after retraining", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.grid(alpha=0.3, which="both")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, default=Path("pretrained/our_modnet.ckpt"), help="default: %(default)s")
    parser.add_argument("--data-dir", type=Path, default=Path("data/generated"), help="default: %(default)s")
    parser.add_argument("--sizes", type=float, nargs="+", default=[3.66e9, 8e9, 5.5e9, 2.5e9], metavar="MACS",
                        help="multiply-accumulates as deployed (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="names of the table's first column (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the batches; the .jsonl of runs "
                        "with other seeds can be joined (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=60, help="of retraining (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=1e-3, help="default: %(default)s")
    parser.add_argument("--input-size", type=int, default=256, help="of training crops (default: %(default)s)")
    parser.add_argument("--eval-size", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="validate on the first N pictures only")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("steps", "limit"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, allowed are whole numbers from 1")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    setting = {name: getattr(args, name) for name in ("steps", "batch_size", "lr", "input_size", "eval_size", "limit",
                                                      "precision")}
    # By their bytes: the runs of other machines, whose paths differ, can be joined.
    setting |= {"checkpoint": str(fingerprint(args.ckpt_path))[:16], "pictures": str(fingerprint(args.data_dir))[:16]}
    stem = args.output_dir / "pruning_bench"
    rows = bench(args.ckpt_path, args.data_dir, sizes=args.sizes, seeds=args.seeds, setting=setting,
                 path=stem.with_suffix(".jsonl"), names=args.ways)
    lines = summary(rows)
    write_json(stem.with_suffix(".json"), {"setting": setting, "summary": lines, "runs": rows, **provenance()})
    write_text(stem.with_suffix(".md"), table(lines))
    draw(lines, stem.with_suffix(".png"))
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
