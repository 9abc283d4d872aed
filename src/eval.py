"""Evaluates checkpoints on pairs of picture and alpha:

    python src/eval.py --ckpt-path result/X_epoch0.ckpt --prune-info result/X.json
    python src/eval.py --ckpt-path A.ckpt B.ckpt C.xml --metrics mse mad sad grad --unknown-width 10 --sheet 8

prints the errors, means over the images at their original size (MODNet's protocol), and writes `result/X_epoch0_eval.json`
and `.csv` with every image; of several also `result/eval_table.md` and `.json`. OpenVINO runs a model that ends in .xml.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from src.checkpoint import torch_device
from src.data.samples import find_pairs
from src.evaluation.evaluate import DEFAULT_METRICS, UNKNOWN, errors_of
from src.evaluation.metrics import METRICS
from src.evaluation.predict import load_predictor
from src.evaluation.report import compare_table, error_names, format_error, labels, write_comparison, write_report
from src.evaluation.sheet import write_sheet
from src.script import run_script


def evaluate_files(ckpt_paths: list[Path], data_dir: Path, split: str = "val", *, prune_info: Path | None = None,
                   device: str = "cpu", limit: int | None = None, metrics: tuple[str, ...] = DEFAULT_METRICS,
                   unknown_width: int | None = None, sheet: int | None = None,
                   output_dir: Path = Path("result")) -> dict[str, dict]:
    """Evaluates models and writes their reports, of several a table too, and a sheet of the `sheet` worst images (by the
    first of `metrics`); the results by the models' labels.

    Raises `FileNotFoundError` or `ValueError` for what cannot be read; then nothing is written.
    """
    names = labels(ckpt_paths)
    predictors = {name: load_predictor(path, prune_info, device=device)
                  for name, path in zip(names, ckpt_paths, strict=True)}
    pairs = find_pairs(data_dir, split)[:limit]
    results = errors_of(predictors, pairs, metrics=metrics, unknown_width=unknown_width, title=f"eval {split}")
    setting = {"data_dir": str(data_dir), "split": split, "unknown_width": unknown_width}
    for name, path in zip(names, ckpt_paths, strict=True):
        write_report({"ckpt_path": str(path), **setting, **results[name]}, output_dir / f"{name}_eval.json")
    if len(names) > 1:
        write_comparison(results, setting, output_dir / "eval_table")
    if sheet is not None:
        path = output_dir / f"{names[0] if len(names) == 1 else 'eval'}_sheet.png"
        write_sheet(predictors, pairs, results, path, count=sheet, metric=metrics[0])
        print(f"worst images: {path}")
    return results


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt-path", type=Path, required=True, nargs="+", metavar="PATH",
                        help="checkpoints to evaluate, or OpenVINO models (.xml)")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON of the only checkpoint (default: the one beside each, "
                        "if any)")
    parser.add_argument("--data-dir", type=Path, default=Path("data/PPM-100"), help="data set (default: %(default)s)")
    parser.add_argument("--split", default="val", help="split of the data set (default: %(default)s)")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=DEFAULT_METRICS,
                        help=f"of {', '.join(METRICS)} (default: {' '.join(DEFAULT_METRICS)})")
    parser.add_argument("--unknown-width", type=int, metavar="N", help="measure also within N pixels of every pixel whose "
                        f"true alpha is not fully 0 or 1 (columns *{UNKNOWN})")
    parser.add_argument("--sheet", type=int, metavar="N", help="write a picture of the N worst images by the first metric")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--limit", type=int, help="evaluate only the first N images")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="where reports go (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("limit", "sheet", "unknown_width"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} is {value}, allowed are whole numbers from 1")
    if args.prune_info is not None and len(args.ckpt_path) > 1:
        parser.error("--prune-info goes with one --ckpt-path; of several the JSON beside each is taken")
    args.metrics = tuple(dict.fromkeys(args.metrics))
    return args


def main(argv: list[str] | None = None) -> int:
    args = vars(parse_args(argv))
    ckpt_paths, data_dir, split = (args.pop(name) for name in ("ckpt_path", "data_dir", "split"))
    args["device"] = torch_device(args["device"])
    results = evaluate_files(ckpt_paths, data_dir, split, **args)
    if len(results) > 1:
        print(f"{compare_table(results)}\n{args['output_dir'] / 'eval_table.md'}")
        return 0
    (name, result), = results.items()
    said = ", ".join(f"{error}: {format_error(error, result[error])}" for error in error_names(result))
    print(f"{said}, n: {result['n']}  ({args['output_dir'] / f'{name}_eval.json'})")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
