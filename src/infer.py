"""Cut people out of a picture, or of every picture in a folder, by a checkpoint:

    python src/infer.py --ckpt-path result/X.ckpt --prune-info result/X.json --input data/img.jpg

writes `result/img_alpha.png` (8 bit, one channel), `result/img_cutout.png` (RGBA) and `result/img_composite.png`, as
large as the picture. In a folder a picture that cannot be read is named, the rest is done, and the exit status is 1.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from src.checkpoint import load_model, torch_device
from src.command_line import Parser
from src.evaluation.predict import predict_alpha
from src.files import check_writable
from src.media.backdrop import parse_backdrop
from src.media.picture_decoder import limit_pixels
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.models.modnet import MODNet
from src.runtime.inputs import find_inputs
from src.runtime.pictures import (
    Job,
    add_output_options,
    check_png_compression,
    check_quality,
    named_files,
    run_pictures,
    written,
)
from src.script import run_script


def infer(model: MODNet, paths: Sequence[Path], look: PictureLook, *, output_dir: Path, skip_existing: bool = False,
          name: object = "the network", kept: Sequence[Path] = ()) -> int:
    """Write the results of pictures, or of those in folders or patterns, and say so; the exit status, 1 if any failed. No
    file of `kept` is written over.

    Raises `FileNotFoundError` or `ValueError` if there is nothing to do, or if the only picture cannot be read, and
    `NetworkError` with the `name` of the model where it gives no matte.
    """
    def work(job: Job) -> str:
        picture = read_picture(job.picture)
        paths = save_results(picture, predict_alpha(model, picture.over(), name=name), job.results, look)
        return f"{job.picture} -> {written(paths)}"

    return run_pictures(find_inputs(paths), work, look, output_dir=output_dir, skip_existing=skip_existing, kept=kept)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, required=True, help="checkpoint of the network")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON (default: the one beside the checkpoint, if any)")
    parser.add_argument("--input", type=Path, nargs="+", default=[Path("data/img.jpg")], metavar="PATH",
                        help="pictures, folders, quoted patterns of pictures (default: data/img.jpg)")
    add_output_options(parser)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    limit_pixels(args.max_pixels)
    check_writable(args.output_dir, "--output-dir")
    look = PictureLook(args.save, parse_backdrop(args.background), args.foreground, args.format,
                       check_quality(args.format, args.quality), check_png_compression(args.png_compression))
    model = load_model(args.ckpt_path, args.prune_info, torch_device(args.device))
    return infer(model, args.input, look, output_dir=args.output_dir, skip_existing=args.skip_existing,
                 name=args.ckpt_path, kept=named_files(args.background, args.ckpt_path, args.prune_info))


if __name__ == "__main__":
    sys.exit(run_script(main))
