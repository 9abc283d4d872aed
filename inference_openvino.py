"""Mattes of a picture, a folder, a video or a webcam by OpenVINO:

    python inference_openvino.py --model-path result/X.xml --image-path data/img.jpg --device CPU

writes `result/img_alpha.png`, `_cutout.png` and `_composite.png` at the size of the picture and prints the milliseconds
of preprocess, infer and postprocess (files not counted; the first picture of a size also pays for OpenVINO's set-up).
With `--mode video` it writes `<stem>_alpha.mp4` and `_composite.mp4`, without sound; `--image-path 0` is the first
webcam, until Ctrl-C. A model of fixed size sees the whole picture, aspect ratio kept, mid-grey round it. From Python:

    from inference_openvino import Matting
    alpha = Matting("result/X.xml").alpha(image)
"""
from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.batch import add_output_options, run_pictures, written
from src.compositing import KINDS, parse_colour, render, save_results
from src.openvino_matting import Matting
from src.preprocess import read_image
from src.script import run_script
from src.video import KINDS as VIDEO_KINDS
from src.video import matte_video
from src.window import check_window, show

WHITE = (255, 255, 255)


def say(milliseconds: dict[str, float]) -> str:
    """`preprocess 1.2 ms, infer 3.4 ms, ...`."""
    return ", ".join(f"{name} {value:.1f} ms" for name, value in milliseconds.items())


def infer_pictures(matting: Matting, path: Path, *, output_dir: Path, save: Sequence[str] = KINDS,
                   background: tuple[int, int, int] = WHITE, window: bool = False) -> int:
    """Writes the results of a picture, or of those in a folder, and says so; the exit status, 1 if any failed.

    Raises `FileNotFoundError` or `ValueError` if there is nothing to do, or if the only picture cannot be read.
    """
    def work(picture: Path) -> str:
        image = read_image(picture)
        alpha = matting.alpha(image)
        paths = save_results(image, alpha, picture.stem, output_dir, save=save, background=background)
        if window:
            show(render(image, alpha, "composite", background=background), 0)
        return f"{picture}: {say(matting.milliseconds)} -> {written(paths)}"

    return run_pictures(path, work, output_dir=output_dir, save=save)


def infer_video(matting: Matting, source: str, *, output_dir: Path, save: Sequence[str] = VIDEO_KINDS,
                background: tuple[int, int, int] = WHITE, window: bool = False) -> dict[str, float]:
    """Writes the videos and says so; the median milliseconds of each stage.

    Raises `FileNotFoundError` or `ValueError` if the video cannot be read, or nothing of `save` fits into an mp4.
    """
    kinds = [kind for kind in save if kind in VIDEO_KINDS]
    if not kinds:
        raise ValueError("an mp4 has no alpha channel for a cutout; --save takes alpha and composite with --mode video")
    if len(kinds) < len(save):
        print("cutout left out: an mp4 has no alpha channel")
    rows = []

    def alpha_of(frame: np.ndarray) -> np.ndarray:
        alpha = matting.alpha(frame)
        rows.append(matting.milliseconds)
        return alpha

    paths = matte_video(source, alpha_of, output_dir=output_dir, save=kinds, background=background,
                        show=(lambda picture: show(picture, 1)) if window else None)
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    fps = 1000 / sum(median.values())
    print(f"{source}: {len(rows)} frames, median {say(median)}, {fps:.1f} fps -> {written(paths)}")
    return median


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path, required=True, help="IR that convert_openvino.py wrote (.xml)")
    parser.add_argument("--image-path", default="data/img.jpg",
                        help="picture or folder, or with --mode video a video or webcam number (default: %(default)s)")
    parser.add_argument("--device", default="CPU", help="CPU, GPU, AUTO, ... (default: %(default)s)")
    parser.add_argument("--mode", choices=("image", "video"), default="image",
                        help="what --image-path is (default: %(default)s)")
    add_output_options(parser)
    parser.add_argument("--fast", action="store_true",
                        help="let the device compute in bf16 or fp16, quicker and less exact (default: float32)")
    parser.add_argument("--show", action="store_true", help="also show each composite in a window; q or Esc ends")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    options = {"output_dir": args.output_dir, "save": args.save, "background": parse_colour(args.background),
               "window": args.show}
    if args.show:
        check_window()
    matting = Matting(args.model_path, args.device, exact=not args.fast)
    if args.mode == "image":
        return infer_pictures(matting, Path(args.image_path), **options)
    infer_video(matting, args.image_path, **options)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
