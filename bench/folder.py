"""Measure a folder of photographs to PNG files, one after the other and on every core, in turns:

    python bench/folder.py --image-dir PORTRAITS --pictures 30 --turns 3
    python bench/folder.py --before ../before --turns 3
    python bench/folder.py --png

Prints pictures a second by the clock and processor seconds of a picture; the start of the program and the loading of the
network are left out. `--before` is another checkout of this repository, whose command takes turns with the ways of this one.
`--png` prints what each level of `--png-compression` costs. The photographs are those of `--image-dir`, enlarged to 1 to 12
megapixels with a little grain, as JPEG. A turn that is in the .jsonl beside `--output` is not done again.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import cv2
import numpy as np

from src.command_line import Parser
from src.console import progress_bar
from src.files import check_output, write_json
from src.media.backdrop import parse_backdrop
from src.media.compositing import STILL_KINDS, render
from src.media.picture_formats import list_images
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.media.picture_writer import write_picture
from src.paper.resumable import fingerprint
from src.records import Real, Whole, read_lines
from src.runtime.inputs import Inputs
from src.runtime.matting import Matting
from src.runtime.pictures import Job, run_pictures
from src.runtime.pool import networks_at_once, usable_cores
from src.script import children_seconds, provenance, run_script

GRAIN = 2.0
LINE = {"setting": dict, "turn": Whole(0), "way": str, "seconds": Real(0), "cpu_seconds": Real(0)}
Measured = tuple[float, float]          # seconds by the clock and of processors


def enlarge(image_dir: Path, count: int, megapixels: tuple[float, float], folder: Path) -> list[Path]:
    """Write `count` photographs, evenly spread (by their logarithm) over sizes; those that are there stay.

    Raises `ValueError` for a folder without pictures.
    """
    sources, rng = list_images(image_dir), np.random.default_rng(0)
    if not sources:
        raise ValueError(f"no pictures in image-dir {image_dir}")
    sizes = rng.permutation(np.geomspace(*megapixels, count))
    paths = [folder / f"{number:04d}_{size:.2f}.jpg" for number, size in enumerate(sizes)]
    folder.mkdir(parents=True, exist_ok=True)
    for number, (path, size) in enumerate(progress_bar(zip(paths, sizes, strict=True), desc="photographs", total=count)):
        if path.is_file():
            continue
        picture = read_picture(sources[number * len(sources) // count % len(sources)]).over()
        scale = (size * 1e6 / picture[..., 0].size) ** 0.5
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        grain = cv2.randn(np.empty(picture.shape, np.int16), (0,) * 3, (GRAIN,) * 3)
        write_picture(path, np.clip(picture + grain, 0, 255).astype(np.uint8), quality=92)
    return paths


def ours(paths: list[Path], model_path: Path | None, *, together: bool) -> Measured:
    """Measure this checkout, one picture after the other or on every core."""
    many = {"at_once": networks_at_once(len(paths), None)} if together else {}
    matting, look = Matting(model_path, **many), PictureLook()

    def work(job: Job) -> str:
        picture = read_picture(job.picture)
        save_results(picture, matting.alpha(picture.over()), job.results, look)
        return ""

    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter(), time.process_time()
        run_pictures(Inputs(paths, alone=False), work, look, output_dir=Path(out), at_once=usable_cores() if together else 1)
        return time.perf_counter() - start[0], time.process_time() - start[1]


def command(script: Path, arguments: list[str]) -> Measured:
    """Measure a command. Raises `ValueError` with the end of what it said if it fails."""
    start = time.perf_counter(), children_seconds()
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{script} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - start[0], children_seconds() - start[1]


def other(paths: list[Path], model_path: Path | None, checkout: Path) -> Measured:
    """Measure the command of another checkout, less the same command when all is done."""
    with tempfile.TemporaryDirectory() as out:
        arguments = ["--image-path", *map(str, paths), "--output-dir", out, "--skip-existing"]
        arguments += ["--model-path", str(model_path.resolve())] if model_path else []
        whole, start = (command(checkout / "inference_openvino.py", arguments) for _ in range(2))
    return whole[0] - start[0], whole[1] - start[1]


def measure(ways: dict[str, Callable[[], Measured]], turns: int, setting: dict, path: Path) -> list[dict]:
    """Do each turn of each way that has no line in `path` (.jsonl) yet; all lines of this setting."""
    rows = read_lines(path, LINE) if path.is_file() else []
    rows = [row for row in rows if row["setting"] == setting]
    there = {(row["turn"], row["way"]) for row in rows}
    left = [(turn, way) for turn in range(turns) for way in ways if (turn, way) not in there]
    for turn, way in progress_bar(left, desc="turns"):
        seconds, cpu = ways[way]()
        rows.append({"setting": setting, "turn": turn, "way": way, "seconds": seconds, "cpu_seconds": cpu})
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    return [row for row in rows if row["way"] in ways]


def summary(rows: list[dict], count: int) -> list[dict]:
    """Return the medians of each way, and its speed over that of the first, turn by turn."""
    seconds = {(row["way"], row["turn"]): row["seconds"] for row in rows}
    ways = list(dict.fromkeys(row["way"] for row in rows))
    found = []
    for way in ways:
        own = [row for row in rows if row["way"] == way]
        ratios = [seconds[ways[0], row["turn"]] / row["seconds"] for row in own if (ways[0], row["turn"]) in seconds]
        found.append({"way": way, "turns": len(own), "a_second": count / statistics.median(row["seconds"] for row in own),
                      "cpu_seconds": statistics.median(row["cpu_seconds"] for row in own) / count,
                      "ratio": statistics.median(ratios), "ratios": ratios})
    return found


def png_levels(paths: list[Path], model_path: Path | None) -> list[dict]:
    """Measure processor milliseconds and kilobytes of a megapixel for each level and kind of picture."""
    matting, backdrop, found = Matting(model_path), parse_backdrop("255,255,255"), []
    pictures = []
    for path in progress_bar(paths, desc="mattes"):
        image = read_picture(path).image
        pictures.append(render(image, matting.alpha(image), STILL_KINDS, backdrop=backdrop))
    megapixels = sum(kinds["alpha"].size for kinds in pictures) / 1e6
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "a.png"
        for level in progress_bar(range(10), desc="levels"):
            row = {"level": level}
            for kind in STILL_KINDS:
                size, start = 0, time.thread_time()
                for kinds in pictures:
                    write_picture(file, kinds[kind], png_compression=level)
                    size += file.stat().st_size
                row[kind] = {"ms": 1000 * (time.thread_time() - start) / megapixels, "kb": size / 1000 / megapixels}
            found.append(row)
    return found


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--image-dir", type=Path, default=ROOT / "data/sample/train/fg",
                        help="default: data/sample/train/fg")
    parser.add_argument("--model-path", type=Path, help="IR (default: the one that is shipped)")
    parser.add_argument("--pictures", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--megapixels", type=float, nargs=2, default=[1.0, 12.0], help="from and to (default: 1 12)")
    parser.add_argument("--turns", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout, measured too, and compared with")
    parser.add_argument("--png", action="store_true", help="measure the levels of PNG instead")
    parser.add_argument("--output", type=Path, default=Path("result/bench_folder.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if not all(1 <= value < math.inf for value in (args.pictures, args.turns, *args.megapixels)):
        parser.error("--pictures, --turns and --megapixels are from 1")
    if args.model_path and not args.model_path.is_file():
        parser.error(f"--model-path {args.model_path} is not there")
    if args.before and not (args.before / "inference_openvino.py").is_file():
        parser.error(f"--before {args.before} is no checkout: it has no inference_openvino.py")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_output(args.output, "--output")
    setting = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()
               if name in ("image_dir", "model_path", "pictures", "megapixels")}
    kind = f"{args.pictures}_{args.megapixels}_{str(fingerprint(args.image_dir))[:12]}"
    folder = args.output.with_name(f"{args.output.stem}_pictures") / kind
    paths = enlarge(args.image_dir, args.pictures, tuple(args.megapixels), folder)
    if args.png:
        found = png_levels(paths, args.model_path)
        for row in found:
            print(f"{row['level']}: " + ", ".join(f"{kind} {row[kind]['ms']:.1f} ms {row[kind]['kb']:.0f} kB"
                                                  for kind in STILL_KINDS))
    else:
        # By its name, or the lines of another checkout would count for this one.
        ways = {f"before, {args.before}": lambda: other(paths, args.model_path, args.before)} if args.before else {}
        ways |= {"one after the other": lambda: ours(paths, args.model_path, together=False),
                 "every core": lambda: ours(paths, args.model_path, together=True)}
        found = summary(measure(ways, args.turns, setting, args.output.with_suffix(".jsonl")), args.pictures)
        for row in found:
            print(f"{row['way']}: {row['a_second']:.2f} pictures a second, {row['cpu_seconds']:.2f} s of processors each, "
                  f"x {row['ratio']:.2f} of {found[0]['way']} ({row['turns']} turns)")
    write_json(args.output, {"setting": setting, "cores": usable_cores(), "measured": found, **provenance()})
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
