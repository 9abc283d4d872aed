"""Evaluates a checkpoint on pairs of picture and alpha:

    python src/eval.py --ckpt-path result/X_epoch0.ckpt --prune-info result/X.json

prints MSE and MAD, means over the images at their original size (MODNet's protocol), and writes
`result/X_epoch0_eval.json` and `.csv` with every image.
"""
from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from tqdm import tqdm

from src.checkpoint import load_model
from src.files import write_atomically, write_json
from src.matting_dataset import find_pairs, read_pair
from src.metrics import mad, mse
from src.models.modnet import MODNet
from src.predict import predict_alpha
from src.script import provenance, run_script, torch_device


def evaluate(model: MODNet, data_dir: Path, split: str = "val", *, limit: int | None = None,
             progress: bool = True) -> dict:
    """MSE and MAD of a model in eval mode: `{"mse", "mad", "n", "images": [{"name", "mse", "mad"}, ...]}`.

    Raises `ValueError` naming a pair that cannot be read or does not fit.
    """
    rows = []
    for pair in tqdm(find_pairs(data_dir, split)[:limit], desc=f"eval {split}", leave=False, disable=not progress):
        image, true_alpha = read_pair(pair)
        pred_alpha = predict_alpha(model, image)
        rows.append({"name": pair.image.name, "mse": mse(pred_alpha, true_alpha), "mad": mad(pred_alpha, true_alpha)})
    return {"mse": statistics.fmean(row["mse"] for row in rows), "mad": statistics.fmean(row["mad"] for row in rows),
            "n": len(rows), "images": rows}


def write_report(result: dict, path: Path) -> None:
    """Writes `path` (.json, with command and versions) and the images as .csv beside it."""
    write_json(path, {**result, **provenance()})

    def write_csv(to: Path) -> None:
        with to.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["name", "mse", "mad"])
            writer.writeheader()
            writer.writerows(result["images"])

    write_atomically(path.with_suffix(".csv"), write_csv)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt-path", type=Path, required=True, help="checkpoint to evaluate")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON (default: the one beside the checkpoint, if any)")
    parser.add_argument("--data-dir", type=Path, default=Path("data/PPM-100"), help="data set (default: %(default)s)")
    parser.add_argument("--split", default="val", help="split of the data set (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--limit", type=int, help="evaluate only the first N images")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="where reports go (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1:
        parser.error(f"--limit is {args.limit}, allowed are whole numbers from 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    model = load_model(args.ckpt_path, args.prune_info, torch_device(args.device))
    result = evaluate(model, args.data_dir, args.split, limit=args.limit)
    report = args.output_dir / f"{args.ckpt_path.stem}_eval.json"
    write_report({"ckpt_path": str(args.ckpt_path), "data_dir": str(args.data_dir), "split": args.split, **result}, report)
    print(f"mse: {result['mse']:.6f}, mad: {result['mad']:.6f}, n: {result['n']}  ({report})")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
