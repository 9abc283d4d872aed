"""Measure quality against milliseconds of several networks at several sizes:

    python bench/sizes.py --model quality=A.xml fast=B.xml --base dense.xml --data-dir people portraits --split-half report

The errors are those of `src/eval.py` with `--ref-size`, over all pictures of `val`, with 95 % intervals. Then the networks
take turns on one square image of each size, the model alone, and with them at the last size `--base`, a network that all are
compared with. Writes `result/sizes.json`, `.md` and `.png`. A run that is interrupted goes on with what is in the JSON.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from src.command_line import Parser
from src.data.composition import file_key
from src.data.sources import HALVES, Source, pairs_by_set
from src.deploy.instruction_set import available
from src.deploy.latency import measure_latency
from src.evaluation.evaluate import errors_of, summarise_sets, with_uncertainty
from src.evaluation.predict import load_predictor
from src.files import check_writable, write_atomically, write_json, write_text
from src.paper.resumable import fingerprint
from src.records import read_json
from src.runtime.options import REF_SIZES
from src.script import provenance, run_script

SIZES = (320, 416, 512)
FONT = 9


def version_of(path: Path) -> str:
    """Return what tells one version of an IR from another."""
    return file_key(part for part in (path, path.with_suffix(".bin")) if part.is_file())


def errors_at(path: Path, size: int, args: argparse.Namespace) -> dict:
    """Compute the mean MSE of an IR at a size, and its interval: `{"mse", "interval", "n"}`."""
    predictors = {"model": load_predictor(path, ref_size=size)}
    pairs = pairs_by_set([Source(folder) for folder in args.data_dir], half=args.split_half, limit=args.limit)
    found = {name: errors_of(predictors, own, metrics=("mse",), title=f"{path.stem} at {size}, {name}")["model"]["images"]
             for name, own in pairs.items()}
    result = with_uncertainty({"model": summarise_sets(found)}, count=1000)["model"]
    return {"mse": result["mse"], "interval": result["intervals"]["mse"], "n": result["n"]}


def measure(args: argparse.Namespace, output: Path) -> dict:
    """Measure what `output` does not hold yet, write it after each step, and return everything."""
    told = {"data_dir": [str(folder) for folder in args.data_dir], "split_half": args.split_half, "limit": args.limit,
            "pictures": fingerprint(args.data_dir)}
    known = read_json(output, dict) if output.is_file() else {}
    errors = known.get("errors", {}) if known.get("told") == told else {}
    for name, path in args.model.items():
        for size in args.sizes:
            key = f"{name} {size} {version_of(path)}"
            if key not in errors:
                errors[key] = errors_at(path, size, args)
                write_json(output, {"told": told, "errors": errors})
    points = {name: {size: errors[f"{name} {size} {version_of(path)}"] for size in args.sizes}
              for name, path in args.model.items()}
    models = {f"{name} {size}": (path, size) for name, path in args.model.items() for size in args.sizes}
    models |= {"base": (args.base, args.sizes[-1])} if args.base else {}
    times = measure_latency({key: path for key, (path, _) in models.items()}, threads=args.threads, repeats=args.repeats,
                            sizes={key: (size, size) for key, (_, size) in models.items()})
    for name, own in points.items():
        for size, point in own.items():
            own[size] = {**point, "ms": times[f"{name} {size}"]}
    result = {"told": told, "errors": errors, "points": points, "base": times.get("base"), "threads": args.threads,
              "repeats": args.repeats, "instruction_sets": available(), **provenance()}
    write_json(output, result)
    return result


def clock(threads: int) -> str:
    """Return which time counts: on one thread the processor time, which other processes do not lengthen."""
    return "cpu" if threads == 1 else "median"


def markdown(result: Mapping) -> str:
    """Return the table: milliseconds, how many times as fast as the base, and the error with its interval."""
    key, base = clock(result["threads"]), result["base"]
    lines = ["| network, short side | ms | base / this | MSE (95 %) |", "|---|---:|---:|---:|"]
    for name, own in result["points"].items():
        for size, point in own.items():
            ms, (low, high) = point["ms"][key], point["interval"]
            times = f"{base[key] / ms:.1f}" if base else ""
            lines.append(f"| {name}, {size} | {ms:.1f} | {times} | {point['mse']:.4f} ({low:.4f}-{high:.4f}) |")
    first = next(iter(next(iter(result["points"].values())).values()))
    lines.append(f"\nN = {first['n']} pictures; {result['threads']} threads, {result['repeats']} turns, "
                 f"{'processor time' if key == 'cpu' else 'median by the clock'}, the model alone on a square image; "
                 f"{result['machine']['processor']} ({', '.join(result['instruction_sets'])}), openvino "
                 f"{result['versions']['openvino']}: `{result['command']}`")
    return "\n".join(lines) + "\n"


def draw(result: Mapping, path: Path) -> None:
    """Draw the error over milliseconds, a line for each network and a point for each size."""
    from matplotlib.figure import Figure

    key = clock(result["threads"])
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    for number, (name, own) in enumerate(result["points"].items()):
        ms, mse = zip(*((point["ms"][key], point["mse"]) for point in own.values()), strict=True)
        spread = [[point["mse"] - point["interval"][0] for point in own.values()],
                  [point["interval"][1] - point["mse"] for point in own.values()]]
        axis.errorbar(ms, mse, yerr=spread, marker="o", capsize=3, label=name)
        for size, x, y in zip(own, ms, mse, strict=True):
            axis.annotate(str(size), (x, y), textcoords="offset points", xytext=(6, (5, -13)[number % 2]),
                          color=f"C{number}", fontsize=FONT)
    axis.margins(x=0.12)
    axis.set(xlabel=f"milliseconds a picture, {result['threads']} thread{'s' * (result['threads'] > 1)}",
             ylabel="MSE, 95 % over pictures")
    axis.set(xlim=(0, None), ylim=(0, None))
    axis.grid(alpha=0.3)
    figure.legend(title="short side of the picture at each point", fontsize=FONT, title_fontsize=FONT,
                  loc="outside upper center", ncols=len(result["points"]))
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))


def named_model(text: str) -> tuple[str, Path]:
    """Parse `NAME=FILE`."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, Path(path)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--model", type=named_model, nargs="+", required=True, metavar="NAME=FILE", help="IRs to compare")
    parser.add_argument("--base", type=Path, help="an IR whose time all are compared with, at the last of --sizes")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="short sides, in order (default: "
                        f"{' '.join(map(str, SIZES))})")
    parser.add_argument("--data-dir", type=Path, nargs="+", required=True, metavar="FOLDER", help="data sets with a val")
    parser.add_argument("--split-half", choices=HALVES, help="take only this half of the pictures")
    parser.add_argument("--limit", type=int, help="only the first N pictures of each set")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each network (default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for size in args.sizes:
        if size not in REF_SIZES:
            parser.error(f"--sizes has {size}, allowed are multiples of {REF_SIZES.step} from {REF_SIZES[0]} to "
                         f"{REF_SIZES[-1]}")
    if args.threads < 1 or args.repeats < 2 or (args.limit is not None and args.limit < 1):
        parser.error("--threads and --limit are from 1, --repeats from 2")
    names = [name for name, _ in args.model]
    for name in names:
        if names.count(name) > 1:
            parser.error(f"--model has the name {name} twice")
    args.model, args.sizes = dict(args.model), sorted(set(args.sizes))
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    for path in (*args.model.values(), *filter(None, [args.base])):
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}")
    result = measure(args, args.output_dir / "sizes.json")
    write_text(args.output_dir / "sizes.md", markdown(result))
    draw(result, args.output_dir / "sizes.png")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
