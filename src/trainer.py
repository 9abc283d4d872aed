"""Trains a MODNet, pruned or dense, with MODNet's three losses:

    python src/trainer.py --model-path result/X.ckpt --batch-size 2 --epoch 4

writes, into the folder of the model, `X_epochN.ckpt` + `.json` every `--save-step` epochs, `X_best.ckpt` (lowest MSE on
`val`), `X_log.jsonl` (a line an epoch), `X_curves.png` and `X_resume.pt`, from which `--resume` goes on.
"""
from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm

from src.checkpoint import find_prune_info, load_backbone, load_model, load_state, save_model, save_state
from src.eval import evaluate
from src.losses import modnet_losses
from src.matting_dataset import MattingDataset, has_split
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.recipe import Recipe, make_optimizer, make_schedule
from src.script import run_script, torch_device
from src.train_log import write_log


def check_finite(name: str, value: float, names: list[str]) -> None:
    """Raises `ValueError` with the file `names` of the batch if its loss or gradient is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"the {name} is {value} in the batch of {', '.join(names)}; the last good checkpoint is "
                         "untouched; try a smaller --lr")


def train_epoch(model: MODNet, loader: DataLoader, optimizer: torch.optim.Optimizer,
                scheduler: torch.optim.lr_scheduler.LRScheduler, recipe: Recipe, *, title: str) -> dict[str, float]:
    """One pass over `loader`; the mean of each loss. Raises `ValueError` naming the files of a batch gone wrong."""
    model.train()
    device, sums, seen = next(model.parameters()).device, {}, 0
    bar = tqdm(loader, desc=title, leave=False)
    for batch in bar:
        image, alpha, trimap = (batch[key].to(device, non_blocking=True) for key in ("image", "alpha", "trimap"))
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            pred = model(image)
        losses = modnet_losses(pred, image, alpha, trimap, semantic_scale=recipe.semantic_scale,
                               detail_scale=recipe.detail_scale, matte_scale=recipe.matte_scale)
        total = losses.total
        names = [loader.dataset.pairs[index].image.name for index in batch["index"].tolist()]
        check_finite("loss", total.item(), names)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        check_finite("gradient", torch.nn.utils.get_total_norm(p.grad for p in model.parameters()).item(), names)
        optimizer.step()
        scheduler.step()
        seen += len(image)
        for name, value in {**losses._asdict(), "loss": total}.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(image)
        bar.set_postfix(loss=f"{sums['loss'] / seen:.3f}")
    return {name: value / seen for name, value in sums.items()}


def make_loader(dataset: MattingDataset, recipe: Recipe, epoch: int, workers: int) -> DataLoader:
    """Batches of one epoch in an order that depends on seed and epoch alone."""
    dataset.set_epoch(epoch)
    order = RandomSampler(dataset, generator=torch.Generator().manual_seed(recipe.seed * 100_003 + epoch))
    return DataLoader(dataset, recipe.batch_size, sampler=order, num_workers=workers)


def train(model: MODNet, info: dict, data_dir: Path, recipe: Recipe, *, stem: Path, workers: int = 0,
          save_step: int = 1, resume: bool = False) -> Path:
    """Trains `model` in place on `data_dir`; files are named after `stem` (folder and name without suffix).

    Returns the checkpoint to use: the best on `val` where the data set has one, else the last.
    """
    dataset = MattingDataset(data_dir, size=recipe.input_size, seed=recipe.seed)
    validate = has_split(data_dir, "val")
    model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    steps = len(make_loader(dataset, recipe, 0, 0))
    scheduler = make_schedule(optimizer, recipe, steps)
    state_path = Path(f"{stem}_resume.pt")
    log = restore(state_path, model, optimizer, scheduler, recipe) if resume else []
    for epoch in range(len(log), recipe.epochs):
        start = time.perf_counter()
        loader = make_loader(dataset, recipe, epoch, workers)
        title = f"epoch {epoch}/{recipe.epochs - 1}"
        try:
            row = {"epoch": epoch, **train_epoch(model, loader, optimizer, scheduler, recipe, title=title)}
        except KeyboardInterrupt:
            print(f"stopped in {title}; the same command with --resume goes on there", file=sys.stderr)
            raise
        seconds = time.perf_counter() - start
        row |= {"lr": scheduler.get_last_lr()[-1], "seconds": seconds, "images_per_second": len(dataset) / seconds}
        if validate:
            result = evaluate(model.eval(), data_dir, "val")
            row |= {"val_mse": result["mse"], "val_mad": result["mad"], "val_n": result["n"]}
        log.append(row)
        save_epoch(model, info, recipe, log, stem=stem, save=(epoch + 1) % save_step == 0 or epoch + 1 == recipe.epochs)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
                 "recipe": asdict(recipe), "log": log}
        save_state(state, state_path)
        write_log(log, stem)
        print("  ".join(f"{key} {value:.5g}" for key, value in row.items()))
    return Path(f"{stem}_best.ckpt" if validate else f"{stem}_epoch{recipe.epochs - 1}.ckpt")


def save_epoch(model: MODNet, info: dict, recipe: Recipe, log: list[dict], *, stem: Path, save: bool) -> None:
    """Writes `_epochN` if `save`, and `_best` if the last row of `log` has the lowest `val_mse`."""
    row = log[-1]
    info = info | {"training": {**asdict(recipe), **row}}
    if save:
        save_model(model, f"{stem}_epoch{row['epoch']}.ckpt", info)
    if "val_mse" in row and row["val_mse"] <= min(other["val_mse"] for other in log):
        save_model(model, f"{stem}_best.ckpt", info)


def restore(path: Path, model: MODNet, optimizer: torch.optim.Optimizer,
            scheduler: torch.optim.lr_scheduler.LRScheduler, recipe: Recipe) -> list[dict]:
    """Puts back the state of an interrupted run; its log so far. Raises `ValueError` if it was another run."""
    if not path.is_file():
        raise FileNotFoundError(f"nothing to resume: no {path}")
    state = load_state(path)
    try:
        for key, value in asdict(recipe).items():
            if state["recipe"][key] != value:
                raise ValueError(f"{key.replace('_', '-')} was {state['recipe'][key]}, now it is {value}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        return state["log"]
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is of another run: {str(error).splitlines()[0]}") from None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    default = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path, help="checkpoint to start from, its pruning JSON beside it")
    parser.add_argument("--backbone", help="start a dense network from an ImageNet encoder instead: a file, or `imagenet` "
                        "to let torchvision fetch one")
    parser.add_argument("--save-dir", type=Path, help="where files go (default: the folder of the model, or result)")
    parser.add_argument("--name", help="stem of the files (default: that of the model, or modnet)")
    parser.add_argument("--data-dir", type=Path, default=Path("data/PPM-100"), help="data set (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=default.batch_size, help="images a step (default: %(default)s)")
    parser.add_argument("--epoch", type=int, default=default.epochs, help="number of epochs (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=default.lr, help="learning rate (default: %(default)s)")
    parser.add_argument("--backbone-lr", type=float, help="learning rate of the encoder (default: --lr)")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default=default.optimizer, help="default: %(default)s")
    parser.add_argument("--schedule", choices=("step", "onecycle"), default=default.schedule, help="default: %(default)s")
    for name in ("semantic-scale", "detail-scale", "matte-scale"):
        parser.add_argument(f"--{name}", type=float, default=getattr(default, name.replace("-", "_")),
                            help="weight of this loss (default: %(default)s)")
    parser.add_argument("--save-step", type=int, default=1, help="epochs between checkpoints (default: %(default)s)")
    parser.add_argument("--input-size", type=int, default=default.input_size, help="side of crops (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default=default.precision, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of every random choice (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on where the same command was interrupted")
    args = parser.parse_args(argv)
    if (args.model_path is None) == (args.backbone is None):
        parser.error("give one of --model-path and --backbone")
    if args.save_step < 1 or args.workers < 0:
        parser.error("--save-step must be at least 1, --workers at least 0")
    return args


def start_model(model_path: Path | None, backbone: str | None) -> tuple[MODNet, dict]:
    """The network to train and its pruning JSON: a checkpoint, or a dense network with an ImageNet encoder."""
    if model_path is not None:
        model = load_model(model_path)
        return model, find_prune_info(model_path, None) or to_prune_info(model.config)
    model = MODNet()
    load_backbone(model, backbone)
    return model, to_prune_info(model.config, source=backbone)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    recipe = Recipe(epochs=args.epoch, **{name: getattr(args, name) for name in Recipe.__dataclass_fields__
                                          if name != "epochs"})
    torch.manual_seed(args.seed)
    model, info = start_model(args.model_path, args.backbone)
    folder = args.save_dir or (args.model_path.parent if args.model_path else Path("result"))
    stem = folder / (args.name or (args.model_path.stem if args.model_path else "modnet"))
    best = train(model.to(torch_device(args.device)), info, args.data_dir, recipe, stem=stem, workers=args.workers,
                 save_step=args.save_step, resume=args.resume)
    print(f"checkpoint to use: {best}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
