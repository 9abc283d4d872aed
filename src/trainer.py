"""Train a MODNet, pruned or dense, with MODNet's three losses:

    python src/trainer.py --model-path result/X.ckpt --batch-size 2 --epoch 4

writes, into the folder of the model, `X_epochN.ckpt` + `.json` every `--save-step` epochs, `X_best.ckpt` (lowest MSE on
`val`), `X_log.jsonl` (a line an epoch), `X_curves.png` and `X_resume.pt`, from which `--resume` goes on. A run that is there
is replaced with `--overwrite` alone. With several processes, each of which takes `--batch-size` images:

    torchrun --nproc-per-node 2 src/trainer.py --model-path result/X.ckpt --batch-size 2 --epoch 4
"""
from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch

from src.checkpoint import find_prune_info, load_backbone, load_model, torch_device
from src.console import say
from src.files import check_writable
from src.media.picture_decoder import limit_pixels
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.one_process import by_one_process
from src.results import check_run, origin
from src.script import run_script
from src.training.distributed import join, leave
from src.training.log import check_tensorboard
from src.training.loop import train
from src.training.options import make_recipe, parse_train_args


def start_model(model_path: Path | None, backbone: str | None) -> tuple[MODNet, dict]:
    """Load the network to train and its pruning JSON: a checkpoint, or a dense network with an ImageNet encoder."""
    if model_path is not None:
        model = load_model(model_path)
        return model, (find_prune_info(model_path, None) or to_prune_info(model.config)) | {"origin": origin([model_path])}
    model = MODNet()
    load_backbone(model, backbone)
    source = backbone if backbone == "imagenet" else Path(backbone)
    return model, to_prune_info(model.config, source=backbone, origin=origin([source]))


def first_of_several() -> bool:
    """Return whether this is the process that writes, of those that torchrun started, before they know one another."""
    return int(os.environ.get("RANK", "0")) == 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_train_args(__doc__, argv)
    recipe = make_recipe(args)
    folder = args.save_dir or (args.model_path.parent if args.model_path else Path("result"))
    check_writable(folder, "--save-dir")
    limit_pixels(args.max_pixels)
    if args.background_dir is not None or args.workers:
        check_writable(args.cache_dir, "--cache-dir")
    stem = folder / (args.name or (args.model_path.stem if args.model_path else "modnet"))
    if args.tensorboard:
        check_tensorboard(stem)
    inputs, first = [Path(given) for given in (args.model_path, args.backbone, args.teacher) if given], first_of_several()
    with by_one_process(stem) if first else contextlib.nullcontext():
        check_run(stem, inputs=inputs, resume=args.resume, overwrite=args.overwrite)
        torch.manual_seed(args.seed)
        model, info = start_model(args.model_path, args.backbone)
        device = join(torch_device(args.device))
        try:
            best = train(model.to(device), info, args.data_dir, recipe, stem=stem, workers=args.workers,
                         save_step=args.save_step, resume=args.resume, cache_dir=args.cache_dir, val_dir=args.val_dir,
                         val_half=args.val_half, val_every=args.val_every, val_limit=args.val_limit,
                         tensorboard=args.tensorboard)
        finally:
            leave()
    if first:
        say(f"checkpoint to use: {best}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
