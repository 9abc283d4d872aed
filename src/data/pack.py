"""Pack data sets into WebDataset shards, for training from a network or on many machines:

    python src/data/pack.py --data-dir people=2 portraits --shards 'shards/people-{000000..000099}.tar'

writes tar files with `key.jpg` (or .webp, .png), `key.alpha.png` and `key.json` of every pair, which `src/trainer.py
--data-dir 'shards/people-{000000..000099}.tar'` streams.
"""
from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path

# Not its own folder, whose files would be found before installed packages.
sys.path[:1] = [str(Path(__file__).resolve().parent.parent.parent)]

from src.command_line import Parser
from src.console import say
from src.data.layouts import Pair, check_pairs, find_pairs
from src.data.shards import shard_names, write_shards
from src.data.sources import Sources, as_sources, parse_source
from src.files import check_writable
from src.script import run_script


def drawn(data: Sources, split: str, rng: random.Random) -> list[Pair]:
    """Return the pairs of data sets, each as often as its weight says; of a fraction a random share."""
    pairs: list[Pair] = []
    for source in as_sources(data):
        found = find_pairs(source.path, split)
        whole = math.floor(source.weight)
        pairs += found * whole + rng.sample(found, round((source.weight - whole) * len(found)))
    return pairs


def pack(data: Sources, pattern: str, *, semantic_only: Sources = (), split: str = "train", seed: int = 0,
         overwrite: bool = False) -> list[Path]:
    """Write the pairs of `data`, and those of `semantic_only`, whose mattes are rough, in random order to shards.

    Raises `FileNotFoundError` or `ValueError` naming a folder or file, before anything is written, and for shards that are
    there already unless `overwrite`.
    """
    rng = random.Random(seed)
    fine, rough = (drawn(sources, split, rng) if sources else [] for sources in (data, semantic_only))
    check_pairs(dict.fromkeys(fine + rough))
    there = [name for name in shard_names(pattern) if Path(name).exists()]
    if there and not overwrite:
        raise ValueError(f"{there[0]} is there already: --overwrite replaces it")
    check_writable(Path(pattern).parent, "--shards")
    both = fine + rough
    rng.shuffle(both)
    return write_shards(both, pattern, rough=frozenset(rough))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data-dir", nargs="+", required=True, metavar="FOLDER[=WEIGHT]", help="data sets; the weight is "
                        "how many times a set is written, fractions too")
    parser.add_argument("--semantic-only-dir", nargs="+", default=[], metavar="FOLDER[=WEIGHT]",
                        help="data sets whose mattes are rough masks")
    parser.add_argument("--split", default="train", help="default: %(default)s")
    parser.add_argument("--shards", required=True, metavar="PATTERN", help="names of the shards, such as "
                        "'people-{000000..000099}.tar'")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the pairs (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace shards that are there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    data, rough = ([parse_source(text) for text in texts] for texts in (args.data_dir, args.semantic_only_dir))
    paths = pack(data, args.shards, semantic_only=rough, split=args.split, seed=args.seed, overwrite=args.overwrite)
    size = sum(path.stat().st_size for path in paths)
    say(f"{len(paths)} shards, {size / 1e6:.1f} MB: {args.shards}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
