"""Measure flicker with and without the one-frame delay of the MODNet paper:

    OMP_NUM_THREADS=1 taskset -c 1 python bench/temporal.py --model-path X.xml --video thoughtful.mp4 --frames 60

On a generated video, a drawn portrait that sways over a still background under new camera noise in each frame, the matte is
known: dtSSD and MSE. On `--video` it is not: `flicker`, how far a frame leaves the line between its neighbours.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import cv2
import numpy as np

from src.command_line import Parser
from src.data.portraits.generate import compose, portrait_layers
from src.evaluation.metrics import dtssd, mse
from src.files import check_output, write_json
from src.media.video_item import Frame
from src.media.video_reader import VideoReader
from src.runtime.matting import Matting
from src.runtime.temporal import flicker, one_frame_delay
from src.script import provenance, run_script


def swaying_portrait(seed: int, count: int, *, noise: float = 3.0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw `count` pictures (384, 320, 3) uint8 RGB of a person and their alphas (384, 320) float32, exact.

    The person moves 20 pixels to either side and nods by 2 degrees in 48 frames; `noise` is the standard deviation of the
    camera's, in levels.
    """
    layers, rng = portrait_layers(seed), np.random.default_rng(seed)
    height, width = layers.alpha.shape
    for index in range(count):
        phase = 2 * np.pi * index / 48
        move = cv2.getRotationMatrix2D((width / 2, height), 2 * np.sin(phase), 1)
        move[0, 2] += 20 * np.sin(phase)
        foreground, alpha = (cv2.warpAffine(layer, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
                             for layer in (layers.foreground, layers.alpha))
        image = compose(foreground, alpha, layers.background) + rng.normal(0, noise, (height, width, 3))
        yield np.uint8(np.clip(np.rint(image), 0, 255)), alpha.astype(np.float32) / 255


def calmed(alphas: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mattes (T, H, W) after the one-frame delay."""
    return np.stack([alpha for _, alpha in one_frame_delay(enumerate(alphas))])


def on_generated(matting: Matting, seeds: list[int], count: int) -> dict[str, dict[str, float]]:
    """Measure dtSSD, MSE and flicker of `none` and `ofd`, means over the portraits of `seeds`."""
    rows: dict[str, list[tuple[float, float, float]]] = {"none": [], "ofd": []}
    for seed in seeds:
        pairs = list(swaying_portrait(seed, count))
        true = np.stack([alpha for _, alpha in pairs])
        pred = np.stack([matting.alpha(image) for image, _ in pairs])
        for name, found in (("none", pred), ("ofd", calmed(pred))):
            rows[name].append((dtssd(found, true), mse(found.reshape(-1, 1), true.reshape(-1, 1)), flicker(found)))
    return {name: dict(zip(("dtssd", "mse", "flicker"), np.mean(values, 0).tolist(), strict=True))
            for name, values in rows.items()}


def on_video(matting: Matting, path: Path, count: int) -> dict[str, dict[str, float]]:
    """Measure flicker of the first `count` frames, and the share of pixels that the delay changes. Raises `ValueError` for a
    video that has fewer."""
    images = []
    for item in VideoReader(path, sound=False):
        if isinstance(item, Frame):
            images.append(item.image)
        if len(images) == count:
            break
    if len(images) < count:
        raise ValueError(f"{path} has {len(images)} frames, --frames is {count}")
    pred = np.stack([matting.alpha(image) for image in images])
    calm = calmed(pred)
    changed = float((np.abs(calm - pred) > 0).mean())
    return {"none": {"flicker": flicker(pred)}, "ofd": {"flicker": flicker(calm), "changed": changed}}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--model-path", type=Path, help="IR (default: the one that is shipped)")
    parser.add_argument("--video", type=Path, help="a video without ground truth (default: none)")
    parser.add_argument("--frames", type=int, default=48, help="of each video (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="portraits to draw (default: 0 1)")
    parser.add_argument("--output", type=Path, default=Path("result/bench_temporal.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.video and not args.video.is_file():
        parser.error(f"--video {args.video} is not there")
    if args.frames < 3 or min(args.seeds) < 0:
        parser.error("--frames are from 3, --seeds from 0")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_output(args.output, "--output")
    matting = Matting(args.model_path)
    given = {args.video.name: on_video(matting, args.video, args.frames)} if args.video else {}
    found = {"generated": on_generated(matting, args.seeds, args.frames), **given}
    for name, rows in found.items():
        for temporal, row in rows.items():
            print(f"{name}, {args.frames} frames, --temporal {temporal}: "
                  + ", ".join(f"{metric} {value:.5f}" for metric, value in row.items()))
    write_json(args.output, {**found, "frames": args.frames, "seeds": args.seeds, "model": str(matting.path),
                             **provenance()})
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
