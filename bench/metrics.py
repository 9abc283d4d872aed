"""Compare our metrics with others written from their definitions with NumPy and SciPy, on mattes of a network:

    python bench/metrics.py --ckpt-path pretrained/our_modnet.ckpt --data-dir PORTRAITS --limit 5

writes `result/metrics_check.md` and `.json`: the mean of each, and the largest relative difference of an image.
"""
from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import numpy as np
from scipy import ndimage

from src.command_line import Parser
from src.data.layouts import find_pairs, read_pair
from src.data.samples import make_trimap
from src.evaluation.metrics import METRICS
from src.evaluation.predict import load_predictor
from src.files import check_writable, write_json, write_text
from src.script import provenance, run_script

SIGMA, HALF = 1.4, 4


def gradient(alpha: np.ndarray) -> np.ndarray:
    """Compute the magnitude of the derivative by a Gaussian of sigma 1.4: one 9x9 filter of L2 norm 1 a direction, borders
    repeated."""
    y, x = np.mgrid[-HALF:HALF + 1, -HALF:HALF + 1]
    across = -x * np.exp(-(x ** 2 + y ** 2) / (2 * SIGMA ** 2))
    across /= np.sqrt((across ** 2).sum())
    return np.hypot(*(ndimage.convolve(alpha, kernel, mode="nearest") for kernel in (across, across.T)))


def connectivity(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Compute |phi(pred) - phi(true)| of Rhemann et al. 2009: a pixel's level is the last step before it first falls out of
    the largest 4-connected region in which both mattes reach the step."""
    level = np.full(true.shape, -1.0)
    for step in range(1, 11):
        both = (pred >= np.float32(step / 10)) & (true >= np.float32(step / 10))
        regions, count = ndimage.label(both)
        largest = regions == 1 + np.argmax(ndimage.sum_labels(both, regions, range(1, count + 1))) if count else both
        level[(level == -1) & ~largest] = (step - 1) / 10
    level[level == -1] = 1
    away = [alpha.astype(np.float64) - level for alpha in (pred, true)]
    # As in float32, where 0.15 lies elsewhere: a pixel on the step would else be counted by one and not by the other.
    phis = [1 - distance * (distance.astype(np.float32) >= np.float32(0.15)) for distance in away]
    return np.abs(phis[0] - phis[1])


def independent(pred: np.ndarray, true: np.ndarray, region: np.ndarray) -> dict[str, float]:
    """Return the five errors of two mattes (H, W) in [0, 1] over `region` (H, W) bool, in float64."""
    difference = pred.astype(np.float64) - true
    slopes = (gradient(pred.astype(np.float64)) - gradient(true.astype(np.float64))) ** 2
    return {"mse": (difference ** 2)[region].mean(), "mad": np.abs(difference)[region].mean(),
            "sad": np.abs(difference)[region].sum() / 1000, "grad": slopes[region].sum() / 1000,
            "conn": connectivity(pred, true)[region].sum() / 1000}


def compare(ckpt_path: Path, data_dir: Path, *, limit: int, unknown_width: int = 10) -> list[dict]:
    """Compare each metric, over the whole pictures and in the unknown region: both means and the largest difference."""
    predict, found = load_predictor(ckpt_path), {}
    for pair in find_pairs(data_dir, "val")[:limit]:
        image, true = read_pair(pair)
        pred = predict(image)
        for where, region in (("whole", np.ones(true.shape, bool)), ("unknown", make_trimap(true, unknown_width) == 0.5)):
            for name, value in independent(pred, true, region).items():
                found.setdefault((name, where), []).append((METRICS[name](pred, true, region=region), value))
    return [{"metric": name, "region": where, "ours": statistics.fmean(ours for ours, _ in values),
             "independent": statistics.fmean(theirs for _, theirs in values), "n": len(values),
             "difference": max(abs(ours / theirs - 1) for ours, theirs in values)}
            for (name, where), values in found.items()]


def table(rows: list[dict]) -> str:
    """Format a Markdown table."""
    lines = ["| metric | region | N | ours | independent | largest relative difference |", "|---|---|---:|---:|---:|---:|"]
    return "\n".join(lines + [f"| {row['metric']} | {row['region']} | {row['n']} | {row['ours']:.8g} | "
                              f"{row['independent']:.8g} | {row['difference']:.1e} |" for row in rows]) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, default=Path("pretrained/our_modnet.ckpt"), help="default: %(default)s")
    parser.add_argument("--data-dir", type=Path, default=Path("data/generated"), help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=5, help="images of val (default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.limit < 1:
        parser.error(f"--limit is {args.limit}, allowed are whole numbers from 1")
    check_writable(args.output_dir, "--output-dir")
    rows = compare(args.ckpt_path, args.data_dir, limit=args.limit)
    write_json(args.output_dir / "metrics_check.json", {"rows": rows, **provenance()})
    write_text(args.output_dir / "metrics_check.md", table(rows))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
