"""Measure how the cost of a matte grows with streams, pixels and frames, and work out what a server would do:

    python bench/scale.py --video talk.mp4 --cores 64

Measures the network alone with 1 ... N streams of one thread (N: the cores of this machine) and with one stream of all, at
each size from 256 to 2048; pictures from file to files at each size; and the tool on the first 30, 60 and 120 frames of
`--video`. Writes `--output` (.json), and beside it a plot (.png). The arithmetic for `--cores` is printed with its
assumptions.
"""
from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(BENCH)]

import cv2
import numpy as np
from video import end_to_end

from src.command_line import Parser
from src.console import progress_bar
from src.files import check_output, write_atomically, write_json
from src.media.backdrop import parse_backdrop
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, result_paths, save_results
from src.media.video_results import Look
from src.runtime.matting import Matting
from src.runtime.network import input_kind, read_network, shared_core, shipped_model
from src.runtime.pool import usable_cores
from src.script import peak_memory, provenance, run_script

SIZES = (256, 512, 1024, 2048)
REF_SIZES = range(64, 2049)
FRAMES = (30, 60, 120)
LAYERS = ("Convolution", "GroupConvolution", "MVN", "Interpolate", "Concat")


def network_rate(model_path: Path | None, side: int, streams: int, threads: int, seconds: float) -> float:
    """Measure mattes a second of square pictures, `streams` at once by `threads` each."""
    matting = Matting(model_path, ref_size=side, at_once=streams, threads=threads)
    batch = matting.compiled.prepare(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))[0]
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(matting.compiled.requests.infer, [batch] * 2 * streams))
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            list(pool.map(matting.compiled.requests.infer, [batch] * 2 * streams))
            count += 2 * streams
        return count / (time.perf_counter() - start)


def traffic_mb(model_path: Path | None) -> float:
    """Return the megabytes that the layers of a network write and read again for a matte of 512x512: the outputs of
    those that are not fused into others, a byte a number where the file is INT8, else four."""
    path = model_path or shipped_model()
    network = read_network(shared_core(), path)
    takes_bytes = input_kind(network, path).takes_bytes
    network.reshape([1, 512, 512, 3] if takes_bytes else [1, 3, 512, 512])
    operators = network.get_ops()
    width = 1 if any(op.get_type_name() == "FakeQuantize" for op in operators) else 4
    return 2 * width * sum(math.prod(op.output(0).shape) for op in operators if op.get_type_name() in LAYERS) / 1e6


def file_stages(model_path: Path | None, side: int, image: np.ndarray) -> dict[str, float]:
    """Measure milliseconds of one thread for a picture of `side` x `side`: `read`, `network` at its 512, and `rest` up to
    the PNG files of matte, cut-out and composite; medians of five."""
    matting, look, rows = Matting(model_path, threads=1), PictureLook(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        cv2.imwrite(str(path), cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)[..., ::-1])
        for _ in range(6):
            times = [time.perf_counter()]
            picture = read_picture(path)
            times.append(time.perf_counter())
            alpha = matting.alpha(picture.over())
            save_results(picture, alpha, result_paths("a", Path(folder), look), look)
            times.append(time.perf_counter())
            infer = matting.milliseconds["infer"]
            rows.append((1000 * (times[1] - times[0]), infer, 1000 * (times[2] - times[1]) - infer))
    return dict(zip(("read", "network", "rest"), map(statistics.median, zip(*rows[1:], strict=True)), strict=True))


def measure(args: argparse.Namespace) -> dict:
    """Measure everything."""
    cores, image = usable_cores(), read_picture(args.image).image
    ways = [(count, 1) for count in range(1, cores + 1)] + ([(1, cores)] if cores > 1 else [])
    rates, frames = [], []
    if args.video:  # before all else, since it may be too short
        look = Look(["composite"], parse_backdrop("0,177,64"))
        matting = Matting(args.model_path, hint="throughput")
        for count in (FRAMES[0], *FRAMES):  # the first time is for warming up
            frames.append({"frames": count, "seconds": end_to_end(matting, args.video, look, count)[0]})
    for side in progress_bar(args.sizes, desc="sizes"):
        seconds = args.seconds * max(1, side / 1024)
        rates += [{"side": side, "streams": streams, "threads": threads,
                   "a_second": network_rate(args.model_path, side, streams, threads, seconds)} for streams, threads in ways]
    cv2.setNumThreads(1)
    files = [{"side": side, **file_stages(args.model_path, side, image)} for side in args.sizes]
    cv2.setNumThreads(-1)
    return {"cores": cores, "rates": rates, "files": files, "frames": frames[1:],
            "traffic_mb": traffic_mb(args.model_path), "peak_mib": peak_memory(), **provenance()}


def server(found: dict, cores: int, *, bandwidth: float) -> list[str]:
    """Work out what `cores` like these would do; a line for each step."""
    def rate(streams: int) -> float:
        return next(row["a_second"] for row in found["rates"]
                    if row["side"] == 512 and row["streams"] == streams and row["threads"] == 1)

    own, one = found["cores"], rate(1)
    kept = min(1.0, rate(own) / (own * one))
    serial = (1 / kept - 1) / (own - 1) if own > 1 else 0.0
    lines = [f"one stream of one thread: {one:.1f} mattes of 512x512 a second; {own} streams: {rate(own):.1f}, which is "
             f"{kept:.3f} of {own} times one"]
    by_cores, by_law = cores * one * kept, cores * one / (1 + serial * (cores - 1))
    traffic = found["traffic_mb"]
    by_memory = bandwidth * 1000 / traffic
    lines += [f"{cores} cores that lose no more than {own} do: {by_cores:.0f} a second",
              f"each further core losing as much as the second (1 / (1 + {serial:.4f} (n - 1))): {by_law:.0f} a second",
              f"memory of {bandwidth:g} GB/s, {traffic:.0f} MB a matte if no cache holds it: {by_memory:.0f} a second"]
    files = next((row for row in found["files"] if row["side"] == 2048), found["files"][-1])
    whole = files["read"] + files["network"] + files["rest"]
    lines.append(f"files of {files['side']}x{files['side']}, three PNGs each: {whole:.0f} ms of one core, of which the "
                 f"network has {100 * files['network'] / whole:.0f} %: at most {1000 * cores / whole:.0f} a second")
    return lines


def draw(found: dict, path: Path) -> None:
    """Write a PNG of three plots: the network and files against pixels, frames against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    network, files, video = figure.subplots(1, 3)
    for streams, threads in dict.fromkeys((row["streams"], row["threads"]) for row in found["rates"]):
        rows = [row for row in found["rates"] if (row["streams"], row["threads"]) == (streams, threads)]
        network.plot([row["side"] ** 2 / 1e6 for row in rows], [1000 / row["a_second"] for row in rows], "o-",
                     label=f"{streams} stream{'s' * (streams > 1)} of {threads} thread{'s' * (threads > 1)}")
    network.set(title="Network alone", xlabel="megapixels that the network sees", ylabel="ms a matte", xscale="log",
                yscale="log")
    network.legend()
    sides, below = [row["side"] ** 2 / 1e6 for row in found["files"]], np.zeros(len(found["files"]))
    for name, label in (("network", "network, at 512"), ("read", "reading JPEG"), ("rest", "colours, composite, 3 PNGs")):
        values = np.array([row[name] for row in found["files"]])
        files.fill_between(sides, below, below + values, label=label, alpha=0.7)
        below = below + values
    files.set(title="From file to files, one thread", xlabel="megapixels of the picture", ylabel="ms", ylim=0)
    files.legend(loc="upper left")
    video.plot([row["frames"] for row in found["frames"]], [row["seconds"] for row in found["frames"]], "o-")
    video.set(title="Video, end to end", xlabel="frames", ylabel="s", ylim=0, xlim=0)
    for axis in (network, files, video):
        axis.grid(alpha=0.3)
    write_atomically(path, lambda to: figure.savefig(to, dpi=100))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--model-path", type=Path, help="IR (default: the one that is shipped)")
    parser.add_argument("--image", type=Path, default=ROOT / "data/img.jpg", help="photograph (default: data/img.jpg)")
    parser.add_argument("--video", type=Path, help="video (default: none is measured)")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="sides in pixels (default: 256 to 2048)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=64, help="of the server (default: %(default)s)")
    parser.add_argument("--bandwidth", type=float, default=300.0, metavar="GB/S",
                        help="of its memory (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("result/bench_scale.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if not all(0 < value < math.inf for value in (args.cores, args.seconds, args.bandwidth)):
        parser.error("--cores, --seconds and --bandwidth are above 0")
    if any(side not in REF_SIZES or side % 32 for side in args.sizes) or 512 not in args.sizes:
        parser.error(f"--sizes are multiples of 32 from {REF_SIZES[0]} to {REF_SIZES[-1]}, 512 among them")
    if args.video and not args.video.is_file():
        parser.error(f"--video {args.video} is not there")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_output(args.output, "--output")
    found = measure(args)
    found["server"] = server(found, args.cores, bandwidth=args.bandwidth)
    for row in found["rates"]:
        print(f"{row['side']}x{row['side']}, {row['streams']} x {row['threads']} threads: {row['a_second']:.2f} a second")
    for row in found["files"]:
        print(f"{row['side']}x{row['side']} from file to files: " + ", ".join(f"{name} {row[name]:.0f} ms"
                                                                              for name in ("read", "network", "rest")))
    for row in found["frames"]:
        print(f"{row['frames']} frames: {row['seconds']:.2f} s")
    print(*found["server"], sep="\n")
    write_json(args.output, found)
    draw(found, args.output.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
