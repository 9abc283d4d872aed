"""Evaluate checkpoints on pairs of picture and alpha:

    python src/eval.py --ckpt-path result/X_epoch0.ckpt --prune-info result/X.json
    python src/eval.py --ckpt-path A.ckpt B.ckpt C.xml --metrics mse mad sad grad --unknown-width 10 --sheet 8
    python src/eval.py --ckpt-path A.ckpt B.ckpt --data-dir people portraits --split-half report --bootstrap 1000

prints the errors, means over the images at their original size (MODNet's protocol), and writes `result/X_epoch0_eval.json`
and `.csv` with every image; of several models or data sets, or with intervals, also `result/eval_table.md`, `.json` and
`.csv`. OpenVINO runs a model that ends in .xml or .onnx.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from src.checkpoint import torch_device
from src.command_line import Parser
from src.console import say
from src.data.sources import HALVES, Source, Sources, pairs_by_set
from src.evaluation.evaluate import DEFAULT_METRICS, UNKNOWN, errors_of, summarise_sets, with_uncertainty
from src.evaluation.metrics import METRICS
from src.evaluation.predict import load_predictor
from src.evaluation.report import compare_table, error_names, format_error, labels, write_comparison, write_report
from src.evaluation.sheet import write_sheet
from src.files import check_writable, keep_inputs
from src.media.picture_decoder import add_max_pixels, limit_pixels
from src.media.preprocess import REF_SIZE, STRIDE
from src.results import beside
from src.runtime.options import REF_SIZES, wrong_ref_size
from src.script import run_script


def evaluate_files(ckpt_paths: Sequence[Path], data_dir: Sources, split: str = "val", *, prune_info: Path | None = None,
                   device: str = "cpu", limit: int | None = None, metrics: tuple[str, ...] = DEFAULT_METRICS,
                   unknown_width: int | None = None, sheet: int | None = None, half: str | None = None,
                   bootstrap: int | None = None, ref_size: int | None = None,
                   output_dir: Path = Path("result")) -> dict[str, dict]:
    """Evaluate models and write their reports, of several models or data sets or with intervals a table too, and a sheet of
    the `sheet` worst images (by the first of `metrics`); the results by the models' labels.

    `limit` is of each data set; `half` takes one of `HALVES` of the pictures; `bootstrap` samples make intervals; `ref_size`
    is the size that the networks see. Raises `FileNotFoundError` or `ValueError` for what cannot be read; then nothing is
    written.
    """
    names = labels(ckpt_paths)
    predictors = {name: load_predictor(path, prune_info, device=device, ref_size=ref_size)
                  for name, path in zip(names, ckpt_paths, strict=True)}
    pairs = pairs_by_set(data_dir, split, half=half, limit=limit)
    reports = [output_dir / f"{name}_eval.json" for name in names] + [output_dir / "eval_table.json"]
    sheet_path = output_dir / f"{names[0] if len(names) == 1 else 'eval'}_sheet.png"
    keep_inputs([sheet_path, *(path.with_suffix(suffix) for path in reports for suffix in (".json", ".csv", ".md"))],
                [*(file for path in (*ckpt_paths, *filter(None, [prune_info])) for file in beside(path)),
                 *(file for own in pairs.values() for pair in own for file in pair if file)])
    by_set = {name: errors_of(predictors, own, metrics=metrics, unknown_width=unknown_width, title=f"eval {split} of {name}")
              for name, own in pairs.items()}
    results = {label: summarise_sets({name: found[label]["images"] for name, found in by_set.items()}) for label in names}
    if bootstrap is not None:
        results = with_uncertainty(results, count=bootstrap)
    folders = [str(data_dir)] if isinstance(data_dir, Path) else [str(source.path) for source in data_dir]
    setting = {"data_dir": folders[0] if len(folders) == 1 else folders, "split": split, "split_half": half,
               "bootstrap": bootstrap, "ref_size": ref_size, "unknown_width": unknown_width}
    for name, path in zip(names, ckpt_paths, strict=True):
        write_report({"ckpt_path": str(path), **setting, **results[name]}, output_dir / f"{name}_eval.json")
    if is_table(results):
        write_comparison(results, setting, output_dir / "eval_table")
    if sheet is not None:
        every = [pair for own in pairs.values() for pair in own]
        write_sheet(predictors, every, results, sheet_path, count=sheet, metric=metrics[0])
        say(f"worst images: {sheet_path}")
    return results


def is_table(results: dict[str, dict]) -> bool:
    """Tell whether there is more to say than the errors of one model on one data set."""
    first = next(iter(results.values()))
    return len(results) > 1 or "sets" in first or "intervals" in first


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, required=True, nargs="+", metavar="PATH",
                        help="checkpoints to evaluate, or OpenVINO and ONNX models (.xml, .onnx)")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON of the only checkpoint (default: the one beside each, "
                        "if any)")
    parser.add_argument("--data-dir", type=Path, nargs="+", default=[Path("data/PPM-100")], metavar="FOLDER",
                        help="data sets (default: data/PPM-100)")
    parser.add_argument("--split", default="val", help="split of the data set (default: %(default)s)")
    parser.add_argument("--split-half", choices=HALVES, dest="half", help="take only this half of the pictures, by a hash "
                        "of their names: one to choose networks by, the other to report of them")
    parser.add_argument("--bootstrap", type=int, metavar="N", help="95 %% intervals over pictures from N samples, for "
                        "instance 1000; of several models also of the ratio to the first")
    parser.add_argument("--ref-size", type=int, metavar="PIXELS", help="what the short side of a picture becomes for the "
                        f"network, a multiple of {STRIDE} from {REF_SIZES[0]} to {REF_SIZES[-1]} (default: {REF_SIZE}, or "
                        "what an .xml says)")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=DEFAULT_METRICS,
                        help=f"of {', '.join(METRICS)} (default: {' '.join(DEFAULT_METRICS)})")
    parser.add_argument("--unknown-width", type=int, metavar="N", help="measure also within N pixels of every pixel whose "
                        f"true alpha is not fully 0 or 1 (columns *{UNKNOWN})")
    parser.add_argument("--sheet", type=int, metavar="N", help="write a picture of the N worst images by the first metric")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--limit", type=int, help="evaluate only the first N images of each data set")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="where reports go (default: %(default)s)")
    add_max_pixels(parser)
    args = parser.parse_args(argv)
    for name, least in (("limit", 1), ("sheet", 1), ("unknown_width", 1), ("bootstrap", 100)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')} is {value}, allowed are whole numbers from {least}")
    if args.ref_size is not None and args.ref_size not in REF_SIZES:
        parser.error(wrong_ref_size(args.ref_size))
    if args.prune_info is not None and len(args.ckpt_path) > 1:
        parser.error("--prune-info goes with one --ckpt-path; of several the JSON beside each is taken")
    args.metrics = tuple(dict.fromkeys(args.metrics))
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = vars(parse_args(argv))
    ckpt_paths, folders, split = (args.pop(name) for name in ("ckpt_path", "data_dir", "split"))
    check_writable(args["output_dir"], "--output-dir")
    limit_pixels(args.pop("max_pixels"))
    args["device"] = torch_device(args["device"])
    results = evaluate_files(ckpt_paths, [Source(folder) for folder in folders], split, **args)
    if is_table(results):
        print(compare_table(results))
        say(str(args["output_dir"] / "eval_table.md"))
        return 0
    (name, result), = results.items()
    said = ", ".join(f"{error}: {format_error(error, result[error])}" for error in error_names(result))
    say(f"{said}, n: {result['n']}  ({args['output_dir'] / f'{name}_eval.json'})")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
