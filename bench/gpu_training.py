"""Train several MODNets side by side on the same batches on one GPU, for a given time; one may teach the others.

    python bench/gpu_training.py --pack result/pack --teacher dense --network dense=A.ckpt:1.2e-3:5e-4:0 \\
        --network pruned=B.ckpt:1.8e-3:1e-3:0.5 --seconds 410 --output-dir result/gpu

`--pack` is what `bench/gpu_pack.py` wrote. Writes the average of the weights of each network (fp16) and its pruning JSON
every 80 seconds and at the end, `log.jsonl`: losses, and errors on the half *choose* of the packed `val`, and
`curves.png`.
"""
from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import numpy as np
import torch
import torch.nn.functional as F
from gpu_pictures import Batch, Mixture, Pictures, read_pack
from torch import nn

from src.average import HISTORY
from src.checkpoint import find_prune_info, load_model, save_model, torch_device
from src.command_line import Parser
from src.console import complain, progress_bar, say
from src.evaluation.metrics import mse
from src.evaluation.predict import predict_alpha
from src.files import check_writable, keep_inputs, write_atomically
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.results import beside, origin
from src.script import provenance, run_script
from src.training.ema import Ema
from src.training.losses import gradient_loss, modnet_losses

WEIGHT_DECAY, CLIP_NORM, EMA_DECAY, WARMUP_STEPS, GRADIENT_SCALE = 0.02, 5.0, 0.998, 60, 4.0
LOSSES = ("semantic", "detail", "matte", "gradient")
# Seconds between lines of losses, and between checkpoints with a validation on the first pictures of each set.
SHOW_EVERY, SAVE_EVERY, FEW = 20, 80, 14
# The batch size is that of images of so many pixels.
PIXELS = 512 * 512
Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Spec(NamedTuple):
    """A network to train: its name, checkpoint, learning rates (of the encoder the second), and how much it learns from the
    teacher's outputs."""

    name: str
    ckpt_path: Path
    lr: float
    backbone_lr: float
    distill: float


def parse_spec(text: str) -> Spec:
    """Parse `NAME=CKPT:LR:BACKBONE_LR:DISTILL`. Raises `ValueError` for anything else."""
    name, _, rest = text.partition("=")
    path, *numbers = rest.rsplit(":", 3)
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if not (re.fullmatch(r"\w[\w.-]*", name) and path and len(values) == 3
            and all(math.isfinite(value) and value >= 0 for value in values) and values[0] > 0):
        raise ValueError(f"--network is {text}, expected NAME=CKPT:LR:BACKBONE_LR:DISTILL, such as "
                         "pruned=X.ckpt:1.8e-3:1e-3:0.5, with finite numbers from 0 and LR over 0")
    return Spec(name, Path(path), *values)


def parse_size(text: str) -> tuple[int, int]:
    """Parse `HEIGHTxWIDTH`, multiples of 32 from 64. Raises `ValueError` for anything else."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    size = tuple(int(side) for side in found.groups()) if found else ()
    if not size or any(side % 32 or side < 64 for side in size):
        raise ValueError(f"--sizes has {text}, expected HEIGHTxWIDTH, multiples of 32 from 64, such as 640x512")
    return size


def check_specs(specs: Sequence[Spec], teacher: str | None) -> list[Spec]:
    """Return the networks, the teacher first. Raises `ValueError` for a name that is there twice, an unknown teacher, or one
    that learns without a teacher or from itself."""
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--network has the name {name} twice")
    if teacher is not None and teacher not in names:
        raise ValueError(f"--teacher is {teacher}, allowed are {', '.join(names)}")
    for spec in specs:
        if spec.distill and teacher in (None, spec.name):
            raise ValueError(f"--network {spec.name} has the DISTILL {spec.distill:g}, but "
                             + ("there is no --teacher" if teacher is None else "is the teacher: give it 0"))
    return sorted(specs, key=lambda spec: spec.name != teacher)


class Learner:
    """A network in training on a device, with its optimiser, its average and the sums of its losses since the last line."""

    def __init__(self, spec: Spec, model: MODNet, device: torch.device) -> None:
        self.spec = spec
        self.model = model.to(device).train().to(memory_format=torch.channels_last)
        self.ema = Ema(self.model, EMA_DECAY)
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            groups.setdefault((name.startswith("backbone."), parameter.ndim < 2), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "weight_decay": 0.0 if bare else WEIGHT_DECAY,
              "highest_lr": spec.backbone_lr if encoder else spec.lr} for (encoder, bare), parameters in groups.items()],
            lr=spec.lr, fused=device.type == "cuda")
        self.sums, self.count = torch.zeros(len(LOSSES), device=device), 0

    def step(self, batch: Batch, factor: float, taught: Heads | None) -> Heads:
        """Train one step at `factor` times the learning rates, by the teacher's heads `taught` too, and return the own."""
        with torch.autocast(batch.image.device.type, torch.bfloat16):
            heads = self.model(batch.image)
        heads = tuple(head.float() for head in heads)
        total, parts = losses(heads, batch)
        if taught is not None and self.spec.distill:
            total = total + self.spec.distill * distillation(heads, taught, batch.trimap)
        self.sums += parts.detach()
        self.count += 1
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["highest_lr"]
        self.optimizer.step()
        self.ema.update(self.model)
        return tuple(head.detach() for head in heads)

    def mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call."""
        means = dict(zip(LOSSES, (self.sums / max(1, self.count)).tolist(), strict=True))
        self.sums.zero_()
        self.count = 0
        return means

    def go_back(self) -> None:
        """Go on from the average, with a new state of the optimiser."""
        self.model.load_state_dict(self.ema.model.state_dict())
        self.optimizer.state.clear()


def losses(heads: Heads, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the loss, and its parts `LOSSES` (4,): those of the paper, and the mean absolute error of the matte's
    differences between neighbours, unscaled."""
    parts = modnet_losses(heads, batch.image, batch.alpha, batch.trimap, semantic_only=batch.semantic_only)
    known = ~(batch.semantic_only.view(-1, 1, 1, 1) & (batch.trimap == 0.5))
    error = (heads[2] - batch.alpha) * known
    gradient = gradient_loss(error)
    return parts.total + GRADIENT_SCALE * gradient, torch.stack((*parts, gradient))


def distillation(heads: Heads, taught: Heads, trimap: torch.Tensor) -> torch.Tensor:
    """Compute how far semantics (squared, ten times) and matte (absolute, the unknown region five times) are from the
    teacher's."""
    unknown = (trimap == 0.5).float()
    return 10 * F.mse_loss(heads[0], taught[0]) + ((heads[2] - taught[2]).abs() * (1 + 4 * unknown)).mean()


def validate(model: MODNet, pictures: Pictures, limit: int | None = None) -> dict[str, float]:
    """Compute the mean squared error of each set of the packed `val`, at the size of the pack, of the first `limit` of each,
    as `src/eval.py` does."""
    errors: dict[str, list[float]] = {}
    for name, _, pixels in pictures.val:
        found = errors.setdefault(name, [])
        if limit is not None and len(found) >= limit:
            continue
        found.append(mse(predict_alpha(model, pixels[..., :3]), pixels[..., 3] / np.float32(255)))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def images_of(size: tuple[int, int], batch_size: int) -> int:
    """Return how many images of `size` have as many pixels as `batch_size` of 512x512; from 2 to twice `batch_size`."""
    return min(max(2, round(batch_size * PIXELS / (size[0] * size[1]))), 2 * batch_size)


class Clock:
    """Tell when so many seconds have gone by since the last time."""

    def __init__(self, every: float) -> None:
        self.every, self.last = every, time.monotonic()

    def rings(self) -> bool:
        """Return whether it is time again."""
        now = time.monotonic()
        if now - self.last <= self.every:
            return False
        self.last = now
        return True


def train(learners: Sequence[Learner], pictures: Pictures, *, seconds: float, sizes: Sequence[tuple[int, int]],
          batch_size: int, composition_prob: float, teacher: str | None = None, seed: int = 0, max_steps: int | None = None,
          log: Callable[[dict], None] = lambda row: None, save: Callable[[dict], None] = lambda row: None) -> dict:
    """Train all `learners`, the teacher first, on the same batches for `seconds`; return the last row of the log.

    The learning rates rise over the first steps and fall with the time as a cosine to 0. Each step has one of `sizes`
    (H, W). `log` takes each row, `save` those with a validation.
    """
    rng, start, step, images = np.random.default_rng(seed), time.monotonic(), 0, 0
    show, checkpoint = Clock(SHOW_EVERY), Clock(SAVE_EVERY)
    bar = progress_bar(total=round(seconds), unit="s", desc="training")

    def state() -> dict:
        return {"seconds": round(time.monotonic() - start, 1), "step": step, "images": images}

    def checked(limit: int | None) -> dict:
        row = state() | {"val": {learner.spec.name: validate(learner.ema.model, pictures, limit) for learner in learners}}
        save(row)
        log(row)
        return row

    while (share := (time.monotonic() - start) / seconds) < 1 and step != max_steps:
        size = sizes[rng.integers(len(sizes))]
        factor = min(1, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * share))
        batch = pictures.batch(images_of(size, batch_size), size, composition_prob)
        batch = batch._replace(image=batch.image.contiguous(memory_format=torch.channels_last))
        taught = None
        for learner in learners:
            heads = learner.step(batch, factor, taught)
            taught = heads if learner.spec.name == teacher else taught
        step, images = step + 1, images + len(batch.image)
        bar.update(round(share * seconds) - bar.n)
        if show.rings():
            row = state() | {"lr": factor, "losses": {learner.spec.name: learner.mean_losses() for learner in learners}}
            for learner in learners:
                if not all(map(math.isfinite, row["losses"][learner.spec.name].values())):
                    complain(f"{learner.spec.name}: the loss is not finite, back to the average")
                    row["losses"][learner.spec.name] = None
                    learner.go_back()
            log(row)
        if checkpoint.rings():
            checked(FEW)
    bar.close()
    return checked(None)


def check_outputs(specs: Sequence[Spec], output_dir: Path, *, overwrite: bool) -> list[Path]:
    """Return where the checkpoints go. Raises `ValueError` if one is an input, or is there already without `overwrite`."""
    paths = [output_dir / f"{spec.name}.ckpt" for spec in specs]
    outputs = [*(path for ckpt in paths for path in (ckpt, ckpt.with_suffix(".json"))),
               output_dir / "log.jsonl", output_dir / "curves.png"]
    keep_inputs(outputs, [path for spec in specs for path in beside(spec.ckpt_path)])
    there = [path for path in outputs if path.exists()]
    if there and not overwrite:
        raise ValueError(f"{there[0]} is there already: --overwrite replaces it, another --output-dir keeps both")
    return paths


def train_files(specs: Sequence[Spec], pack: Path, output_dir: Path, *, settings: Mapping[str, object], device: str,
                overwrite: bool = False) -> dict:
    """Train the networks of `specs` on a pack and write them to `output_dir`; `settings` are those of `train`.

    Raises `FileNotFoundError` or `ValueError` for what cannot be read or would be written over.
    """
    paths, on = check_outputs(specs, output_dir, overwrite=overwrite), torch.device(device)
    infos, origins, learners = [], [], []
    for spec in specs:
        model = load_model(spec.ckpt_path)
        info = find_prune_info(spec.ckpt_path, None) or to_prune_info(model.config, source=str(spec.ckpt_path))
        infos.append({key: value for key, value in info.items() if key not in HISTORY})
        recipe = {**settings, "lr": spec.lr, "backbone_lr": spec.backbone_lr, "distill": spec.distill}
        origins.append({"origin": origin([spec.ckpt_path], recipe)})
        learners.append(Learner(spec, model, on))
    pictures = Pictures(read_pack(pack), on, mixture=Mixture(), seed=settings["seed"])
    if on.type == "cuda":
        # Not cudnn.benchmark: its search costs seconds for each layer's shape, and its ways were no quicker.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    name = torch.cuda.get_device_name(on) if on.type == "cuda" else on.type
    output_dir.mkdir(parents=True, exist_ok=True)
    say(f"{len(pictures.rough)} people, {len(pictures.backgrounds.full)} backgrounds, {len(pictures.val)} to validate on")

    def save(row: dict) -> None:
        for learner, path, info, made in zip(learners, paths, infos, origins, strict=True):
            done = {**row, "val": row["val"][learner.spec.name], "recipe": made["origin"]["settings"], "device": name,
                    **provenance()}
            save_model(learner.ema.model, path, {**info, "training": done, **made}, half=True)

    rows: list[dict] = []
    with (output_dir / "log.jsonl").open("w", encoding="utf-8") as file:
        def log(row: dict) -> None:
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            say(line_of(row))

        try:
            return train(learners, pictures, log=log, save=save, **settings)
        finally:
            write_atomically(output_dir / "curves.png", lambda path: draw(rows, path))


def draw(rows: Sequence[Mapping], path: Path) -> None:
    """Draw a log: losses of the matte, and the mean over the sets of the errors on `val`, over the images seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="tight")
    left, right = figure.subplots(1, 2)
    losses, errors = ([row for row in rows if row.get(kind)] for kind in ("losses", "val"))
    for name in dict.fromkeys(name for row in (*losses, *errors) for name in row.get("losses", row.get("val"))):
        seen = [(row["images"], row["losses"][name]["matte"]) for row in losses if row["losses"].get(name)]
        left.plot(*zip(*seen, strict=True), label=name) if seen else None
        seen = [(row["images"], np.mean(list(row["val"][name].values()))) for row in errors if name in row["val"]]
        right.plot(*zip(*seen, strict=True), marker=".", label=name) if seen else None
    left.set(xlabel="images seen", ylabel="loss of the matte", ylim=(0, None))
    right.set(xlabel="images seen", ylabel="MSE on val, half choose", ylim=(0, None))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110, format="png")


def line_of(row: Mapping) -> str:
    """Format a row of the log: errors where there are some, else losses."""
    kind = "val" if "val" in row else "losses"
    parts = [" ".join([name, *(f"{key} {value:.4f}" for key, value in (values or {"not finite": math.nan}).items())])
             for name, values in row[kind].items()]
    return f"{row['seconds']:.0f} s, step {row['step']}, {row['images']} images, {kind}: " + "; ".join(parts)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--pack", type=Path, required=True, metavar="FOLDER", help="what bench/gpu_pack.py wrote")
    parser.add_argument("--network", action="append", required=True, metavar="NAME=CKPT:LR:BACKBONE_LR:DISTILL",
                        help="to train, the pruning JSON beside the checkpoint; several times for several networks")
    parser.add_argument("--teacher", metavar="NAME", help="the network whose outputs in the same step teach the others")
    parser.add_argument("--seconds", type=float, default=410, help="of training and validations (default: %(default)s)")
    parser.add_argument("--max-steps", type=int, help="end after so many, before the time is over")
    parser.add_argument("--batch-size", type=int, default=40, help="of 512x512; other sizes have as many pixels "
                        "(default: %(default)s)")
    parser.add_argument("--sizes", nargs="+", default=["512x512", "640x512", "640x512", "512x640"], metavar="HEIGHTxWIDTH",
                        help="one is drawn each step; twice in the list is twice as often (default: 512x512 640x512 640x512 "
                        "512x640)")
    parser.add_argument("--composition-prob", type=float, default=0.4, help="share of people put before other backgrounds "
                        "(default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, required=True, help="where networks, log.jsonl and curves.png go")
    parser.add_argument("--device", default="auto", help="default: a GPU where there is one")
    parser.add_argument("--seed", type=int, default=7, help="of pictures and sizes (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace networks that are there")
    args = parser.parse_args(argv)
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        parser.error(f"--seconds is {args.seconds}, allowed are numbers over 0")
    if not 0 <= args.composition_prob <= 1:
        parser.error(f"--composition-prob is {args.composition_prob}, allowed are numbers from 0 to 1")
    for name, least in (("batch_size", 2), ("max_steps", 1), ("seed", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are whole numbers from {least}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    specs = check_specs([parse_spec(text) for text in args.network], args.teacher)
    settings = {"seconds": args.seconds, "sizes": [parse_size(text) for text in args.sizes], "batch_size": args.batch_size,
                "composition_prob": args.composition_prob, "teacher": args.teacher, "seed": args.seed,
                "max_steps": args.max_steps}
    train_files(specs, args.pack, args.output_dir, settings=settings, device=torch_device(args.device),
                overwrite=args.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
