"""Measure what a video costs beside its network, and whether memory grows with its length:

    OMP_NUM_THREADS=1 taskset -c 1 python bench/video.py --model-path X.xml --video thoughtful.mp4 --frames 120
    python bench/video.py --memory --lengths 1000 10000

The first runs the tool end to end (decode, matte, composite, encode, with files) and the same network alone on the same
pictures, prepared beforehand, in turns; it prints frames per second and processor seconds of both. The second runs the tool
on generated videos in processes of their own and prints the peak of each one's memory. Results go to `--output` as JSON.
"""
from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np

from src.command_line import Parser
from src.files import check_output, write_json
from src.media.backdrop import parse_backdrop
from src.media.compositing import KINDS
from src.media.foreground import METHODS
from src.media.video_item import Frame, Sound, VideoInfo
from src.media.video_reader import VideoReader
from src.media.video_results import Look
from src.media.video_writer import VideoWriter, opaque_encoding
from src.runtime.matting import Matting
from src.runtime.network import import_openvino
from src.runtime.video import matte_video
from src.script import peak_memory as process_peak
from src.script import provenance, run_script

HEIGHT, WIDTH = 96, 160


class FirstFrames(VideoReader):
    """The first `count` frames of a video."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path)
        self.left, self.info = count, self.info._replace(count=count)

    def __iter__(self) -> Iterator[Frame | Sound]:
        for item in super().__iter__():
            if isinstance(item, Frame):
                self.left -= 1
            yield item
            if not self.left:
                self.stop()


def clock(start: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Return the seconds by the wall and of this process's processors since `start`."""
    return time.perf_counter() - start[0], time.process_time() - start[1]


def model_alone(matting: Matting, images: list[np.ndarray], count: int) -> tuple[float, float]:
    """Measure wall and processor seconds of `count` inferences, pictures prepared beforehand, as many under way as the tool
    has."""
    network = matting.compiled.network
    batches = [matting.compiled.prepare(image)[0] for image in images]
    queue = import_openvino().AsyncInferQueue(network, network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1)
    start = clock()
    for index in range(count):
        queue.start_async([batches[index % len(batches)]])
    queue.wait_all()
    return clock(start)


def end_to_end(matting: Matting, video: Path, look: Look, count: int) -> tuple[float, float, dict[str, float]]:
    """Measure wall and processor seconds of the tool on the first `count` frames, and its milliseconds by stage.

    Raises `ValueError` for a video that has fewer.
    """
    with tempfile.TemporaryDirectory() as folder:
        reader = FirstFrames(video, count)
        start = clock()
        done = matte_video(reader, matting, look, output_dir=Path(folder))
        wall, cpu = clock(start)
        reader.close()
    if done.frames < count:
        raise ValueError(f"{video} has {done.frames} frames, needed are {count}")
    return wall, cpu, done.stage_ms


def compare(video: Path, *, model_path: Path | None, count: int, turns: int, look: Look, hint: str) -> dict:
    """Measure frames per second of the tool and of its network alone, medians over `turns`, taken by turns."""
    matting = Matting(model_path, hint=hint)
    images = [item.image for item in FirstFrames(video, 8) if isinstance(item, Frame)]
    matting.fix_size(*images[0].shape[:2])
    model_alone(matting, images, 8)
    rows = [(*model_alone(matting, images, count), *end_to_end(matting, video, look, count)) for _ in range(turns)]
    fps, tool = (statistics.median(count / row[column] for row in rows) for column in (0, 2))
    cpu, tool_cpu = (1000 * statistics.median(row[column] for row in rows) / count for column in (1, 3))
    return {"video": str(video), "model": str(matting.path), "frames": count, "turns": turns, "save": list(look.save),
            "foreground": look.foreground, "hint": hint, "model_fps": fps, "end_to_end_fps": tool, "ratio": tool / fps,
            "ratios": [row[0] / row[2] for row in rows], "model_cpu_ms": cpu, "end_to_end_cpu_ms": tool_cpu,
            "cpu_ratio": cpu / tool_cpu, "stage_ms": rows[-1][4], **provenance()}


def write_constant_model(path: Path) -> None:
    """Write a network of one size whose matte is the picture's brightness: nothing but the tool is left to measure."""
    openvino = import_openvino()
    from openvino import opset8

    image = opset8.parameter([1, 3, HEIGHT, WIDTH], np.float32)
    matte = opset8.clamp(opset8.add(opset8.reduce_mean(image, np.array([1]), True), np.float32(0.5)), 0.0, 1.0)
    openvino.save_model(openvino.Model([matte], [image]), str(path))


def write_clip(path: Path, count: int) -> None:
    """Write a generated video of `count` frames: a bright disc that goes round."""
    info = VideoInfo(WIDTH, HEIGHT, Fraction(1, 30), Fraction(30), count)
    writer, (y, x) = VideoWriter(path, opaque_encoding(), info, width=WIDTH, height=HEIGHT), np.mgrid[:HEIGHT, :WIDTH]
    for index in range(count):
        across, down = WIDTH / 2 + 40 * np.cos(index / 20), HEIGHT / 2 + 20 * np.sin(index / 20)
        disc = np.clip(20 - np.hypot(x - across, y - down), 0, 1)
        writer.write(np.uint8(40 + 180 * disc)[..., None].repeat(3, 2), index, 1)
    writer.close()


def peak_memory(length: int, folder: Path, save: list[str]) -> dict:
    """Measure the peak of the resident memory, MiB, of the tool on a video of `length` frames, in a process of its own."""
    clip = folder / f"{length}.mp4"
    write_clip(clip, length)
    command = [sys.executable, ROOT / "inference_openvino.py", "--model-path", folder / "m.xml", "--image-path", clip,
               "--temporal", "ofd", "--background", "blur", "--output-dir", folder / "out", "--save", *save]
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while child.poll() is None:
        with contextlib.suppress(OSError, StopIteration):  # it has just ended
            peak = process_peak(child.pid)
        time.sleep(0.05)
    if child.returncode:
        raise ValueError(f"the tool ended with status {child.returncode} on {length} frames")
    return {"frames": length, "peak_mib": peak, "fps": length / (time.perf_counter() - start)}


def memory(lengths: list[int], save: list[str]) -> dict:
    """Measure the `peak_memory` of each length."""
    with tempfile.TemporaryDirectory() as name:
        write_constant_model(Path(name) / "m.xml")
        return {"memory": [peak_memory(length, Path(name), save) for length in lengths], "save": save, **provenance()}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--model-path", type=Path, help="IR (default: the one that is shipped)")
    parser.add_argument("--video", type=Path, help="video to run")
    parser.add_argument("--frames", type=int, default=120, help="of the video, for one turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--save", nargs="+", choices=KINDS, default=["composite"], help="what is written (default: "
                        "composite)")
    parser.add_argument("--background", default="0,177,64", help="default: %(default)s")
    parser.add_argument("--foreground", choices=METHODS, default="fast", help="default: %(default)s")
    parser.add_argument("--hint", choices=("latency", "throughput"), default="throughput", help="default: %(default)s")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 10_000], help="frames (default: 1000 10000)")
    parser.add_argument("--output", type=Path, default=Path("result/bench_video.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if min(args.frames, args.turns, *args.lengths) < 1:
        parser.error("--frames, --turns and --lengths are from 1")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    if not args.memory and args.video is None:
        raise ValueError("--video is missing: the path of a video, or --memory")
    check_output(args.output, "--output")
    if args.memory:
        found = memory(args.lengths, args.save)
        for row in found["memory"]:
            print(f"{row['frames']} frames: peak {row['peak_mib']:.0f} MiB, {row['fps']:.0f} fps with start-up")
    else:
        look = Look(args.save, parse_backdrop(args.background), args.foreground)
        found = compare(args.video, model_path=args.model_path, count=args.frames, turns=args.turns, look=look,
                        hint=args.hint)
        print(f"network alone {found['model_fps']:.2f} fps, end to end {found['end_to_end_fps']:.2f} fps: "
              f"{found['ratio']:.3f}; processor time of a frame {found['model_cpu_ms']:.1f} and "
              f"{found['end_to_end_cpu_ms']:.1f} ms: {found['cpu_ratio']:.3f}")
        print("stages, ms of wall time:", {name: round(value, 2) for name, value in found["stage_ms"].items()})
    write_json(args.output, found)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
