"""Pack data sets and backgrounds into two files that `bench/gpu_training.py` reads within a minute: small AVIF pictures,
mattes as their alpha.

    python bench/gpu_pack.py --data-dir SETS --background-dir BACKGROUNDS --output-dir result/pack

`SETS` is a folder of data sets. Of each, `train` is packed, and of `val` the pictures of the half *choose*. Writes
`pack.bin` and `pack.json`.
"""
from __future__ import annotations

import argparse
import functools
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import numpy as np
from gpu_pictures import BACKGROUND, PERSON, ROLES
from PIL import Image, features

from src.command_line import Parser
from src.console import printable, progress_bar
from src.data.layouts import Pair, find_images, find_pairs, has_split, read_pair
from src.data.sources import take_half
from src.files import check_writable, moved_into_place, write_json
from src.media.picture_reader import read_image
from src.script import provenance, run_script


class Job(NamedTuple):
    """A picture to pack: what for (`train`, `val`, `background`), of which set, and its files."""

    role: str
    set: str
    pair: Pair


def find_jobs(data_dir: Path, background_dir: Path | None, leave_out: Iterable[str] = ()) -> list[Job]:
    """List what is to be packed, without `leave_out` (`set/split/stem`).

    Raises `FileNotFoundError`, or `ValueError` for a folder without data sets or a picture to leave out that is not there.
    """
    if not data_dir.is_dir():
        raise FileNotFoundError(f"no folder of data sets at {data_dir}")
    jobs, left = [], set(leave_out)
    for folder in sorted(path for path in data_dir.iterdir() if path.is_dir()):
        for split in ("train", "val"):
            if has_split(folder, split):
                pairs = take_half(find_pairs(folder, split), "choose" if split == "val" else None)
                jobs += [Job(split, folder.name, pair) for pair in pairs]
    if not jobs:
        raise ValueError(f"no data sets in {data_dir}: expected folders with train/fg and train/alpha")
    names = [f"{job.set}/{job.role}/{job.pair.image.stem}" for job in jobs]
    unknown = sorted(left - set(names))
    if unknown:
        raise ValueError(f"--leave-out has {unknown[0]}, which is no set/split/name that would be packed")
    jobs = [job for job, name in zip(jobs, names, strict=True) if name not in left]
    backgrounds = [] if background_dir is None else find_images(background_dir)
    return jobs + [Job("background", background_dir.name, Pair(path, None)) for path in backgrounds]


def encode(job: Job, quality: tuple[int, int]) -> tuple[tuple[int, int], bytes]:
    """Shrink a picture to its canvas and return its size (width, height) and AVIF; `quality` is that of people and of
    backgrounds. Raises `ValueError` naming a file that cannot be used."""
    person = job.pair.alpha is not None
    pixels, alpha = read_pair(job.pair) if person else (read_image(job.pair.image), None)
    picture = Image.fromarray(pixels)
    share = (PERSON if person else BACKGROUND) / max(picture.size)
    if share < 1:
        picture = picture.resize(tuple(max(1, round(side * share)) for side in picture.size), Image.Resampling.LANCZOS)
    if person:
        matte = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
        picture.putalpha(matte.resize(picture.size, Image.Resampling.BILINEAR) if matte.size != picture.size else matte)
    data = io.BytesIO()
    picture.save(data, "AVIF", quality=quality[0 if person else 1], speed=7)
    return picture.size, data.getvalue()


def encoded(jobs: Sequence[Job], quality: tuple[int, int]) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield what `encode` makes of each job, in order, on all cores."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from progress_bar(pool.map(functools.partial(encode, quality=quality), jobs), total=len(jobs), desc="packing")
    finally:
        pool.shutdown(cancel_futures=True)


def write_pack(jobs: Sequence[Job], output_dir: Path, quality: tuple[int, int], *, overwrite: bool = False) -> int:
    """Write `pack.bin` and `pack.json` and return the number of bytes. Raises `ValueError` if one is there already, without
    `overwrite`, or for a picture that cannot be used; then nothing is written."""
    if not features.check("avif"):
        raise ValueError("this Pillow writes no AVIF: pip install 'pillow>=11.3'")
    data_path, index_path = output_dir / "pack.bin", output_dir / "pack.json"
    for path in (data_path, index_path):
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already: --overwrite replaces it")
    output_dir.mkdir(parents=True, exist_ok=True)
    rows, offset = [], 0
    with moved_into_place(data_path) as temporary:
        with temporary.open("wb") as file:
            for job, (size, data) in zip(jobs, encoded(jobs, quality), strict=True):
                file.write(data)
                names = {"set": printable(job.set), "name": printable(job.pair.image.stem)}
                rows.append({"role": job.role, **names, "size": size, "offset": offset, "length": len(data)})
                offset += len(data)
        index_path.unlink(missing_ok=True)
    write_json(index_path, {"entries": rows, "quality": quality, **provenance()})
    return offset


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="SETS", help="folder of data sets")
    parser.add_argument("--background-dir", type=Path, metavar="FOLDER", help="pictures without people")
    parser.add_argument("--output-dir", type=Path, required=True, help="where pack.bin and pack.json go")
    parser.add_argument("--quality", type=int, nargs=2, default=[54, 48], metavar=("PEOPLE", "BACKGROUNDS"),
                        help="of AVIF, 0 to 100 (default: 54 48)")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SET/SPLIT/NAME",
                        help="pictures, without suffix, that are not packed")
    parser.add_argument("--overwrite", action="store_true", help="replace a pack that is there")
    args = parser.parse_args(argv)
    for value in args.quality:
        if not 0 <= value <= 100:
            parser.error(f"--quality has {value}, allowed are whole numbers from 0 to 100")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    jobs = find_jobs(args.data_dir, args.background_dir, args.leave_out)
    size = write_pack(jobs, args.output_dir, tuple(args.quality), overwrite=args.overwrite)
    counts = [f"{sum(job.role == role for job in jobs)} {role}" for role in ROLES]
    print(f"{args.output_dir}: {', '.join(counts)}, {size / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
