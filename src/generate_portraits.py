"""Draw a data set of portrait-like pictures with exact soft alpha, for trying out the pipeline:

    python src/generate_portraits.py --output-dir data/generated --train 48 --val 8 --seed 0

writes `train|val/fg/NNNNN.png`, `train|val/alpha/NNNNN.png` and `generated.json` with the settings. The pictures are
drawn by code, they show nobody. A complete set with the same settings is left as it is.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from src.command_line import Parser
from src.console import say
from src.data.portraits.generate import generate_data_set
from src.files import check_writable
from src.script import run_script


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("data/generated"), help="default: %(default)s")
    parser.add_argument("--train", type=int, default=48, help="portraits to train on (default: %(default)s)")
    parser.add_argument("--val", type=int, default=8, help="portraits to evaluate on (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the portraits (default: %(default)s)")
    parser.add_argument("--height", type=int, default=384, help="of each picture (default: %(default)s)")
    parser.add_argument("--width", type=int, default=320, help="of each picture (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a set with other settings")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = vars(parse_args(argv))
    out_dir = options.pop("output_dir")
    check_writable(out_dir, "--output-dir")
    generate_data_set(out_dir, **options)
    say(f"{options['train']} portraits to train on and {options['val']} to evaluate on, generated: {out_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
