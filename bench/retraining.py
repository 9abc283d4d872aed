"""Compare ways to win accuracy back: same start, same steps, same seeds.

    python bench/retraining.py --model-path result/X.ckpt --teacher pretrained/our_modnet.ckpt --data-dir PORTRAITS \
        --background-dir BACKGROUNDS --unlabeled-dir PICTURES --semantic-only-dir MASKS

trains the pruned network X once for each way and seed, and writes `result/retraining_bench.md`, `.json`, `.png` anew after
each run; a run that is done is not done again, one that was interrupted goes on. Ways whose folder or teacher is not given
are left out. With several data sets the table has the error on each. MODNet's self-supervised consistency (SOC) goes on from
a trained network: it takes that of `plain`, and so does `plain again`, with which it is to be compared. Errors are those
after the last step, by the published protocol.
"""
from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from src.command_line import Parser
from src.data.sources import Sources, as_sources, parse_source
from src.files import check_writable, write_atomically, write_json, write_text
from src.media.preprocess import REF_SIZE
from src.models.prune_info import read_prune_info
from src.paper.resumable import Steps
from src.paper.stages import retrain_step
from src.paper.trainings import ONLY_LAST
from src.runtime.options import JUDGED_HELP, JUDGED_SIZES, wrong_ref_size
from src.script import provenance, run_script
from src.training.recipe import Recipe

PLAIN, AGAIN = "plain", "plain again"
# What a way adds to the recipe of `plain`: fields of `Recipe`; those in SOURCES are given on the command line.
WAYS: dict[str, dict] = {
    PLAIN: {},
    "backgrounds composed": {"background_dir": ..., "composition_prob": 0.5},
    "people at other sizes and places": {"background_dir": ..., "person_scale": (0.25, 1.2)},
    "two people by chance": {"background_dir": ..., "two_people_prob": 0.3},
    "things beside people": {"background_dir": ..., "distractor_prob": 0.5},
    "places, two people, things": {"background_dir": ..., "person_scale": (0.25, 1.2), "two_people_prob": 0.3,
                                   "distractor_prob": 0.5},
    "another size each step": {"input_size": ...},
    "crops of other aspects": {"aspect": (0.75, 1.34)},
    "crops up to whole portraits": {"stretch": 2.0},
    "rough masks too": {"semantic_only_dir": ...},
    "teacher's heads": {"teacher": ..., "feature_scale": 0.0},
    "teacher's heads and features": {"teacher": ...},
    "teacher's heads, unlabeled too": {"teacher": ..., "feature_scale": 0.0, "unlabeled_dir": ...},
    "weight average": {"ema": 0.95},
    AGAIN: {},
    "plain, then SOC": {"soc": True, "unlabeled_dir": ...}}
FROM_PLAIN = (AGAIN, "plain, then SOC")
SOURCES = ("background_dir", "semantic_only_dir", "teacher", "unlabeled_dir", "size_range")
# A field of `Recipe` that is given under another name than its own.
GIVEN_AS = {"input_size": "size_range"}


def chosen(given: Mapping[str, object], names: Sequence[str] | None) -> dict[str, dict]:
    """Return the ways that the given folders allow, or those of `names`. Raises `ValueError` for an unknown name, for one
    without its folder, and for one that goes on from `plain` without it."""
    for name in names or ():
        if name not in WAYS:
            raise ValueError(f"--ways has {name!r}, allowed are {'; '.join(WAYS)}")
    ways = {}
    for name in WAYS:
        if names and name not in names:
            continue
        asked = {key: GIVEN_AS.get(key, key) for key, value in WAYS[name].items() if value is ...}
        lacks = [f"--{source.replace('_', '-')}" for source in asked.values() if not given.get(source)]
        if lacks and names:
            raise ValueError(f"--ways has {name!r}, which needs {' and '.join(lacks)}")
        if not lacks:
            ways[name] = WAYS[name] | {key: given[source] for key, source in asked.items()}
    if set(ways) & set(FROM_PLAIN) and PLAIN not in ways:
        raise ValueError(f"--ways needs {PLAIN!r} too, from which the others go on")
    return ways


def train_all(steps: Steps, start: Path, data_dir: Sources, recipe: Recipe, ways: Mapping[str, dict], *,
              seeds: Sequence[int], limit: int | None, val_dir: Sources | None = None, ref_size: int = REF_SIZE
              ) -> Iterator[dict]:
    """Train each way with each seed, one seed after the other, and yield its row."""
    for seed in seeds:
        trained: dict[str, Path] = {}
        for way, changes in ways.items():
            stem = steps.folder / f"{''.join(c if c.isalpha() else '_' for c in way)}_seed{seed}"
            trained[way] = retrain_step(steps, f"{way}, seed {seed}", trained[PLAIN] if way in FROM_PLAIN else start,
                                        data_dir, dataclasses.replace(recipe, seed=seed, **changes), stem=stem,
                                        val_every=ONLY_LAST, val_limit=limit, val_dir=val_dir, ref_size=ref_size)
            Path(f"{stem}_resume.pt").unlink(missing_ok=True)
            done = read_prune_info(trained[way].with_suffix(".json"))["training"]
            sets = {name.removeprefix("val_mse_"): value for name, value in done.items() if name.startswith("val_mse_")}
            yield {"way": way, "seed": seed, "sets": sets, "mse": done["val_mse"], "mad": done["val_mad"],
                   "n": done["val_n"], "steps": done["step"], "seconds": steps.seconds()[f"{way}, seed {seed}"]}


def summary(rows: Sequence[Mapping]) -> list[dict]:
    """Compute for each way the mean and standard deviation over seeds, and what it brought against `plain` (or `plain
    again`) seed by seed: mean of its MSE over that of `plain`."""
    lines, mses = [], {(row["way"], row["seed"]): row["mse"] for row in rows}
    for way in dict.fromkeys(row["way"] for row in rows):
        runs = [row for row in rows if row["way"] == way]
        base = AGAIN if way in FROM_PLAIN else PLAIN
        ratios = [row["mse"] / mses[base, row["seed"]] for row in runs if (base, row["seed"]) in mses]
        sets = {name: statistics.fmean(run["sets"][name] for run in runs) for name in runs[0]["sets"]}
        spread = {name: statistics.stdev(run[name] for run in runs) if len(runs) > 1 else 0.0 for name in ("mse", "mad")}
        lines.append({"way": way, "seeds": len(runs), "mse": statistics.fmean(run["mse"] for run in runs),
                      "mse_std": spread["mse"], "mad": statistics.fmean(run["mad"] for run in runs),
                      "mad_std": spread["mad"], "sets": sets,
                      "ratio": statistics.fmean(ratios) if ratios else None,
                      "ratio_std": statistics.stdev(ratios) if len(ratios) > 1 else 0.0,
                      "seconds": statistics.median(run["seconds"] for run in runs), "n": runs[0]["n"]})
    return lines


def table(lines: Sequence[Mapping]) -> str:
    """Format a Markdown table."""
    sets = list(lines[0]["sets"])
    head = "".join(f" {name} |" for name in sets)
    text = [f"| way | seeds | MSE (std) | MAD (std) | MSE over plain's (std) |{head} seconds |",
            f"|---|---:|---:|---:|---:|{'---:|' * len(sets)}---:|"]
    for line in lines:
        ratio = "-" if line["ratio"] is None else f"{line['ratio']:.3f} ({line['ratio_std']:.3f})"
        text.append(f"| {line['way']} | {line['seeds']} | {line['mse']:.4f} ({line['mse_std']:.4f}) | "
                    f"{line['mad']:.4f} ({line['mad_std']:.4f}) | {ratio} |"
                    + "".join(f" {line['sets'][name]:.4f} |" for name in sets) + f" {line['seconds']:.0f} |")
    return "\n".join(text) + "\n"


def draw(lines: Sequence[Mapping], path: Path) -> None:
    """Write a PNG: a bar of MSE for each way, with its standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(lines) + 1.2), layout="constrained")
    axis = figure.subplots()
    axis.barh([line["way"] for line in lines], [line["mse"] for line in lines], xerr=[line["mse_std"] for line in lines],
              capsize=3, color=["C1" if line["way"] in FROM_PLAIN else "C0" for line in lines])
    axis.invert_yaxis()
    orange = "; orange: twice as many steps" if any(line["way"] in FROM_PLAIN for line in lines) else ""
    axis.set(xlabel=f"MSE on val, N = {lines[0]['n']}{orange}")
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--model-path", type=Path, required=True, help="the pruned network, its pruning JSON beside it")
    parser.add_argument("--data-dir", nargs="+", default=["data/generated"], metavar="FOLDER[=WEIGHT]",
                        help="as the trainer's (default: data/generated)")
    parser.add_argument("--val-dir", nargs="+", metavar="FOLDER", help="as the trainer's")
    parser.add_argument("--size-range", type=int, nargs=2, metavar=("LOW", "HIGH"), help="of crops, for the way that draws "
                        "one each step")
    for name, what in zip(SOURCES[:4], ("pictures without people", "data set whose mattes are rough masks",
                                    "checkpoint of the dense network", "pictures without alpha"), strict=True):
        parser.add_argument(f"--{name.replace('_', '-')}", help=what)
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="names of the table's first column (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=60, help="of each run (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=1e-3, help="default: %(default)s")
    parser.add_argument("--input-size", type=int, default=256, help="of training crops (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="validate on the first N pictures only")
    parser.add_argument("--ref-size", type=int, default=REF_SIZE, metavar="N", help=f"{JUDGED_HELP} (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("steps", "batch_size", "limit"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are whole numbers from 1")
    if args.ref_size not in JUDGED_SIZES:
        parser.error(wrong_ref_size(args.ref_size, JUDGED_SIZES))
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    data_dir, val_dir = (folders and as_sources([parse_source(text) for text in folders])
                         for folders in (args.data_dir, args.val_dir))
    ways = chosen(vars(args) | {"size_range": args.size_range and tuple(args.size_range)}, args.ways)
    recipe = Recipe(epochs=1, steps_per_epoch=args.steps, batch_size=args.batch_size, lr=args.lr, optimizer="adamw",
                    schedule="cosine", warmup_steps=min(5, args.steps - 1), clip_norm=5.0, input_size=args.input_size,
                    precision=args.precision)
    stem, rows = args.output_dir / "retraining_bench", []
    stem.mkdir(parents=True, exist_ok=True)
    for row in train_all(Steps(stem), args.model_path, data_dir, recipe, ways, seeds=args.seeds, limit=args.limit,
                         val_dir=val_dir, ref_size=args.ref_size):
        rows.append(row)
        lines = summary(rows)
        write_json(stem.with_suffix(".json"), {"model_path": str(args.model_path), "ref_size": args.ref_size,
                                               "recipe": dataclasses.asdict(recipe), "ways": ways, "summary": lines,
                                               "runs": rows, **provenance()})
        write_text(stem.with_suffix(".md"), table(lines))
        draw(lines, stem.with_suffix(".png"))
    print(table(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
