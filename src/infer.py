"""Mattes of a picture, or of every picture in a folder, by a checkpoint:

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
from src.evaluation.predict import predict_alpha
from src.media.backdrop import Backdrop, parse_backdrop
from src.media.compositing import STILL_KINDS, save_results
from src.media.preprocess import read_image
from src.models.modnet import MODNet
from src.runtime.pictures import add_output_options, run_pictures, written
from src.script import run_script


def infer(model: MODNet, input_path: Path, *, output_dir: Path, backdrop: Backdrop, save: Sequence[str] = STILL_KINDS,
          foreground: str = "fast") -> int:
    """Writes the results of a picture, or of those in a folder, and says so; the exit status, 1 if any failed.

    Raises `FileNotFoundError` or `ValueError` if there is nothing to do, or if the only picture cannot be read.
    """
    def work(path: Path) -> str:
        image = read_image(path)
        alpha = predict_alpha(model, image)
        paths = save_results(image, alpha, path.stem, output_dir, save=save, backdrop=backdrop, foreground=foreground)
        return f"{path} -> {written(paths)}"

    return run_pictures(input_path, work, output_dir=output_dir, save=save)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt-path", type=Path, required=True, help="checkpoint of the network")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON (default: the one beside the checkpoint, if any)")
    parser.add_argument("--input", type=Path, default=Path("data/img.jpg"),
                        help="picture, folder or quoted pattern of pictures (default: %(default)s)")
    add_output_options(parser)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    backdrop = parse_backdrop(args.background)
    model = load_model(args.ckpt_path, args.prune_info, torch_device(args.device))
    return infer(model, args.input, output_dir=args.output_dir, backdrop=backdrop, save=args.save,
                 foreground=args.foreground)


if __name__ == "__main__":
    sys.exit(run_script(main))
