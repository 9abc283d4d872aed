"""Train the late layers of a MODNet on a CPU ten times as quickly as the whole, from what is kept of its early ones:

    python bench/late_training.py keep --ckpt-path P.ckpt --teacher D.ckpt --data-dir people=2 --pictures 7000
    python bench/late_training.py late --ckpt-path P.ckpt --kept result/kept --steps 1300
    python bench/late_training.py branches --ckpt-path result/late.ckpt --data-dir people=2 --output-path result/P.ckpt

`keep` writes what the encoder's first ten blocks make of augmented pictures, their mattes, and what the teacher's
low-resolution branch says of them. `late` trains the rest of the encoder and the low-resolution branch on that: coarse
semantics, the matte at a quarter of the size by a head that is thrown away, and the teacher's features. A network that is
its own teacher learns by mattes alone, its features held to what they were. `branches` trains the other two branches after
it, all else fixed, on whole pictures. With `--int8-every 3` a third of the steps computes as
INT8 will, and `keep --calib-dir` keeps what early layers in INT8 make. An interrupted command goes on where it was. Folders
of `keep` at other sizes go together: each step is of one size, drawn as often as it has pictures.
"""
from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from src.average import HISTORY
from src.checkpoint import find_prune_info, load_model, load_state, save_model, save_state
from src.command_line import Parser
from src.console import progress_bar, say
from src.data.batches import make_loader
from src.deploy.graph import traced
from src.deploy.quantise import calibration_pictures, quantise_roughly
from src.files import check_output, check_writable, keep_inputs, write_json
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.records import Whole, read_json
from src.results import beside, check_result, origin
from src.runtime.network import shared_core
from src.script import provenance, run_script
from src.training.ema import Ema
from src.training.fake_int8 import computing_as_int8
from src.training.loading import make_batches, make_dataset
from src.training.losses import gradient_loss, modnet_losses, semantic_target
from src.training.options import add_recipe_options, make_recipe, parse_data
from src.training.recipe import Recipe, rate_factor
from src.training.step import resize_batch

if TYPE_CHECKING:
    from openvino import CompiledModel

# How many of the encoder's layers are early: the stem and ten blocks, up to 1/16 of the size.
EARLY = 11
SAVE_EVERY, SHOW_EVERY = 100, 20
# So long the head at a quarter of the size and the adapter to the teacher's features learn alone.
WARMING_STEPS = 60
FLIPPED = 0.2
SEMANTIC, TAUGHT_SEMANTIC, QUARTER, FEATURES, GRADIENT = 10.0, 8.0, 2.0, 1.0, 6.0
# The training head of the details takes half of a step's time: every so many steps it learns too.
DETAIL_EVERY = 4
KEPT = {"pictures": Whole(), "of": Whole(1), "early": str, "teacher": str, "options": str}
# Options that say nothing in the other parts.
GOES = {"data_dir": ("keep", "branches"), "pictures": ("keep",), "calib_dir": ("keep",), "output_dir": ("keep",),
        "kept": ("late",), "steps": ("late", "branches"), "output_path": ("late", "branches"),
        "overwrite": ("late", "branches")}
# Of the recipe's options, what is not its default here.
DEFAULTS = {"optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.02, "clip_norm": 5.0, "ema": 0.99, "lr": 1e-3,
            "batch_size": 8, "warmup_steps": 60, "precision": "bf16"}


class Kept(NamedTuple):
    """Kept of n pictures: features (n, h, w, C) of the early layers, mattes (n, 4h, 4w) uint8, and the teacher's features
    (n, 2h, 2w, D) and coarse semantics (n, h, w), float16."""

    features: np.ndarray
    alpha: np.ndarray
    taught: np.ndarray
    semantic: np.ndarray


class Late(nn.Module):
    """The layers of a network after its early ones, the low-resolution branch, and what only training needs."""

    def __init__(self, model: MODNet, teacher_width: int) -> None:
        super().__init__()
        self.encoder, self.branch, self.warming = model.backbone.model.features[EARLY:], model.lr_branch, True
        self.quarter = nn.Sequential(nn.Conv2d(model.config.lr8x, 32, 3, padding=1), nn.ReLU(),
                                     nn.Conv2d(32, 4, 3, padding=1), nn.PixelShuffle(2))
        self.adapter = nn.Conv2d(model.config.lr8x, teacher_width, 1)

    def hold(self, scale: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Let the features of the network's own be compared as they are; `scale` is their mean and deviation by channel."""
        mean, deviation = (value.flatten() for value in scale)
        with torch.no_grad():
            self.adapter.weight.copy_(torch.diag(1 / deviation)[:, :, None, None])
            self.adapter.bias.copy_(-mean / deviation)
        self.adapter.requires_grad_(False)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return coarse semantics, the matte at a quarter of the size, and features like the teacher's."""
        semantic, lr8x = self.branch(self.encoder(features), inference=False)
        lr8x = lr8x.detach() if self.warming else lr8x
        return semantic.float(), torch.sigmoid(self.quarter(lr8x).float()), self.adapter(lr8x).float()


def mark_of(model: MODNet, layers: slice = slice(None)) -> str:
    """Return a mark of the weights of some of the encoder's layers: kept features go with networks that have the same."""
    mark = hashlib.sha256()
    for value in model.backbone.model.features[layers].state_dict().values():
        mark.update(value.contiguous().numpy().tobytes())
    return mark.hexdigest()[:16]


class Taught(nn.Module):
    """A network up to what its low-resolution branch says."""

    def __init__(self, model: MODNet) -> None:
        super().__init__()
        self.backbone, self.branch = model.backbone, model.lr_branch

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return coarse semantics and features."""
        return self.branch(self.backbone(image)["enc32x"], inference=False)


def looker(model: MODNet, teacher: MODNet, shape: Sequence[int],
           calibration: Sequence[np.ndarray] = ()) -> Callable[[torch.Tensor, torch.Tensor], Kept]:
    """Return what computes `Kept` of images of `shape` (N, 3, H, W) and their mattes (N, 1, H, W); by OpenVINO, which is
    twice as quick at it as torch, the teacher in bf16 where the processor has it. With pictures for `calibration` the early
    layers are in INT8."""
    def compiled(module: nn.Module, precision: str, pictures: Sequence[np.ndarray] = ()) -> CompiledModel:
        network = traced(module.eval(), shape)
        if pictures:
            network.reshape([1, *shape[1:]])
            network = quantise_roughly(network, pictures)
        network.reshape(list(shape))
        return shared_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    early = compiled(model.backbone.model.features[:EARLY], "f32", calibration)
    taught = compiled(Taught(teacher), "bf16")

    def look(image: torch.Tensor, alpha: torch.Tensor) -> Kept:
        features, (semantic, like) = early(image.numpy())[0], taught(image.numpy()).values()
        quarter = (255 * F.interpolate(alpha, scale_factor=0.25, mode="area")).round().byte()
        return Kept(features.transpose(0, 2, 3, 1).astype(np.float16), quarter[:, 0].numpy(),
                    like.transpose(0, 2, 3, 1).astype(np.float16), semantic[:, 0].astype(np.float16))

    return look


def keep(model: MODNet, teacher: MODNet, batches: Callable[[int], Iterator[dict]], folder: Path, *, total: int,
         options: str, calibration: Sequence[np.ndarray] = ()) -> None:
    """Keep what `looker` makes of `total` pictures in `folder`; `batches` gives those after so many, as `options` say. What
    an earlier call kept stays. Raises `ValueError` if that is of other networks or options."""
    index = folder / "kept.json"
    made = {"of": total, "early": mark_of(model, slice(EARLY)), "teacher": mark_of(teacher), "options": options}
    known = read_json(index, KEPT) if index.is_file() else {"pictures": 0, **made}
    if {name: known[name] for name in made} != made:
        raise ValueError(f"{index} is of other networks, data or options, or of another number of pictures ({known['of']}): "
                         "give another --output-dir")
    paths, count, arrays = [folder / f"{name}.npy" for name in Kept._fields], known["pictures"], None
    bar, look = progress_bar(total=total, initial=count, unit="picture", desc="keep"), None
    for number, batch in enumerate(batches(count), 1):
        look = look or looker(model, teacher, batch["image"].shape, calibration)
        part = look(batch["image"], batch["alpha"])
        if arrays is None:
            arrays = [whole_array(path, total, "r+") for path in paths] if count else new_arrays(paths, part, total)
        size = min(len(part.alpha), total - count)
        for array, values in zip(arrays, part, strict=True):
            array[count:count + size] = values[:size]
        count += size
        bar.update(size)
        if count == total or number % SHOW_EVERY == 0:
            for array in arrays:
                array.flush()
            write_json(index, {"pictures": count, **made})
        if count == total:
            break
    bar.close()


def new_arrays(paths: Sequence[Path], part: Kept, total: int) -> list[np.memmap]:
    """Make the arrays of `total` pictures in files, their room taken at once: on a disk that fills up later the system ends
    a process that writes to mapped files (SIGBUS). Raises `OSError` naming the file, and leaves none."""
    arrays = []
    for path, values in zip(paths, part, strict=True):
        try:
            arrays.append(np.lib.format.open_memmap(path, "w+", values.dtype, (total, *values.shape[1:])))
            if hasattr(os, "posix_fallocate"):
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            for made in paths:
                made.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from None
    return arrays


def whole_array(path: Path, total: int, mode: str = "r") -> np.memmap:
    """Open an array of `new_arrays`. Raises `ValueError` naming a file that does not hold `total` pictures."""
    try:
        if len(np.load(path, mmap_mode="r")) == total:  # to write, NumPy would lengthen a file that was cut
            return np.load(path, mmap_mode=mode)
    except (ValueError, EOFError):
        pass
    raise ValueError(f"{path} is not whole: copy it again, or keep anew in another folder")


def is_own_teacher(folder: Path, model: MODNet) -> bool:
    """Return whether what was kept in a folder was taught by `model` itself."""
    return read_json(folder / "kept.json", KEPT)["teacher"] == mark_of(model)


def open_kept(folders: Sequence[Path], model: MODNet) -> list[Kept]:
    """Open kept features. Raises `FileNotFoundError` or `ValueError` for what is none, or of other early layers, and for
    folders of several teachers."""
    opened, teachers, early = [], [], mark_of(model, slice(EARLY))
    for folder in folders:
        known = read_json(folder / "kept.json", KEPT)
        if known["early"] != early:
            raise ValueError(f"{folder} was kept of a network with other early layers than the one of --ckpt-path")
        if not known["pictures"]:
            raise ValueError(f"{folder} has no pictures yet")
        opened.append(Kept(*(whole_array(folder / f"{name}.npy", known["of"])[:known["pictures"]] for name in Kept._fields)))
        teachers.append(known["teacher"])
        if teachers[-1] != teachers[0]:
            raise ValueError(f"{folder} is of another teacher than {folders[0]}")
    return opened


def drawn(kept: Sequence[Kept], size: int, seed: int, first: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Draw batches without end, from step `first` on: features, mattes, the teacher's features and semantics, all
    (N, C, H, W) float32; a fifth of the pictures is turned left to right. N is `size` at the size of `kept[0]`, at others
    in inverse proportion to their side."""
    first_side, sides = kept[0].alpha.shape[1], np.array([part.alpha.shape[1] for part in kept])
    counts = np.array([len(part.alpha) for part in kept])
    for step in range(first, sys.maxsize):
        rng, rows = np.random.default_rng([seed, step]), []
        side = sides[rng.choice(len(kept), p=counts / counts.sum())]
        parts = [part for part in kept if part.alpha.shape[1] == side]
        ends = np.cumsum(counts[sides == side])
        for index in np.sort(rng.integers(0, ends[-1], max(2, round(size * first_side / side)))):
            which = int(np.searchsorted(ends, index, side="right"))
            row = [array[index - ends[which]] for array in parts[which]]  # counted from the end of that part
            rows.append([array[:, ::-1] for array in row] if rng.random() < FLIPPED else row)
        features, alpha, taught, semantic = (torch.from_numpy(np.stack(part)).float() for part in zip(*rows, strict=True))
        yield (features.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), alpha[:, None] / 255,
               taught.permute(0, 3, 1, 2), semantic[:, None])


def late_losses(late: Late, batch: tuple[torch.Tensor, ...], scale: tuple[torch.Tensor, torch.Tensor],
                taught_weight: float = TAUGHT_SEMANTIC) -> torch.Tensor:
    """Compute the four losses (4,) of a batch; `scale` is mean and deviation of the teacher's features by channel."""
    features, alpha, taught, taught_semantic = batch
    with torch.autocast("cpu", torch.bfloat16):
        semantic, quarter, like = late(features)
    target = semantic_target(F.interpolate(alpha, scale_factor=4.0, mode="nearest"))
    return torch.stack((SEMANTIC * F.mse_loss(semantic, target), taught_weight * F.mse_loss(semantic, taught_semantic),
                        QUARTER * F.l1_loss(quarter, alpha), FEATURES * F.mse_loss(like, (taught - scale[0]) / scale[1])))


def branch_losses(model: MODNet, batch: dict, step: int) -> torch.Tensor:
    """Compute the losses (3,) of detail, matte and the matte's gradient, of which the first is 0 in most steps."""
    image, alpha = batch["image"].contiguous(memory_format=torch.channels_last), batch["alpha"]
    detailed = step % DETAIL_EVERY == 0
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            taps = model.backbone(image)
            semantic, lr8x = model.lr_branch(taps["enc32x"], inference=False)
        detail, hr2x = model.hr_branch(image, taps, lr8x, not detailed)
        matte = model.f_branch(image, lr8x, hr2x).float()
    losses = modnet_losses((semantic, detail if detailed else alpha, matte), image, alpha, batch["trimap"],
                           semantic_only=batch["semantic_only"])
    error = (matte - alpha) * ~batch["semantic_only"].view(-1, 1, 1, 1)
    return torch.stack((losses.detail, losses.matte, GRADIENT * gradient_loss(error)))


def fit(module: nn.Module, batches: Callable[[int], Iterator], loss_of: Callable[[int, Any], torch.Tensor], recipe: Recipe,
        path: Path, *, steps: int, made: str) -> nn.Module:
    """Train what of `module` asks for gradients and return the average of its weights; `batches` gives those from a step
    on, `loss_of` a step and its batch are the losses.

    The state is kept in `path`; where there is one, training goes on there. Raises `ValueError` if that is not of a run
    that was `made` as this one.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([{"params": [value for value in parameters if (value.ndim < 2) == bare],
                                    "weight_decay": 0.0 if bare else recipe.weight_decay} for bare in (False, True)],
                                  recipe.lr)
    ema, recipe = Ema(module, recipe.ema), dataclasses.replace(recipe, epochs=1)
    parts, first, sums = {"module": module, "optimizer": optimizer, "ema": ema}, 0, 0
    if path.is_file():
        state = load_state(path)
        if state.get("made") != made:
            raise ValueError(f"{path} is the state of a run of other files or options: remove it, or give another "
                             "--output-path")
        first = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    bar = progress_bar(range(first, steps), initial=first, total=steps, desc="train", unit="step")
    for step, batch in zip(bar, batches(first), strict=False):  # those of kept pictures have no end
        losses = loss_of(step, batch)
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate_factor(step, recipe, steps)
        optimizer.step()
        ema.update(module)
        sums = sums + losses.detach()
        if (step + 1) % SHOW_EVERY == 0:
            say(f"step {step + 1}  losses {' '.join(f'{value:.4f}' for value in (sums / SHOW_EVERY).tolist())}")
            sums = 0
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < steps:
            save_state({name: part.state_dict() for name, part in parts.items()} | {"step": step + 1, "made": made}, path)
    return ema.model


def train_late(model: MODNet, kept: Sequence[Kept], recipe: Recipe, path: Path, *, steps: int, made: str,
               own: bool = False) -> None:
    """Train the late layers of `model` in place; `own` says that it was its own teacher."""
    some = np.concatenate([part.taught[:150].reshape(-1, part.taught.shape[3]) for part in kept]).astype(np.float32)
    scale = tuple(torch.from_numpy(value).view(1, -1, 1, 1) for value in (some.mean(0), some.std(0).clip(0.05)))
    torch.manual_seed(recipe.seed)
    late = Late(model, some.shape[1]).to(memory_format=torch.channels_last).train()
    if own:
        late.hold(scale)

    def loss_of(step: int, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        late.warming = step < WARMING_STEPS
        with computing_as_int8(nn.ModuleList([late.encoder, late.branch])) if recipe.is_int8(step) else nullcontext():
            return late_losses(late, batch, scale, 0.0 if own else TAUGHT_SEMANTIC)

    average = fit(late, lambda first: drawn(kept, recipe.batch_size, recipe.seed, first), loss_of, recipe, path, steps=steps,
                  made=made)
    model.backbone.model.features[EARLY:].load_state_dict(average.encoder.state_dict())
    model.lr_branch.load_state_dict(average.branch.state_dict())


def train_branches(model: MODNet, load: Callable[[int, int], Iterator[dict]], recipe: Recipe, path: Path, *, steps: int,
                   made: str) -> None:
    """Train the high-resolution and the fusion branch of `model` in place; `load` gives the batches from a picture to
    another."""
    model.requires_grad_(False).eval()
    branches = nn.ModuleList([model.hr_branch, model.f_branch]).requires_grad_(True).train()

    def loss_of(step: int, batch: dict) -> torch.Tensor:
        with computing_as_int8(model) if recipe.is_int8(step) else nullcontext():
            return branch_losses(model, resize_batch(batch, recipe.size_at(step)), step)

    average = fit(branches, lambda first: load(first * recipe.batch_size, steps * recipe.batch_size), loss_of, recipe, path,
                  steps=steps, made=made)
    branches.load_state_dict(average.state_dict())


def loader_of(args: argparse.Namespace, recipe: Recipe) -> Callable[[int, int], Iterator[dict]]:
    """Return what loads augmented batches, from a picture to another."""
    dataset = make_dataset(parse_data(args.data_dir), recipe, val_dir=[])
    dataset.prepare()

    def load(first: int, last: int) -> Iterator[dict]:
        steps = -(-last // recipe.batch_size)
        batches = make_batches(dataset, dataclasses.replace(recipe, steps_per_epoch=steps))
        return iter(make_loader(dataset, list(batches)[first // recipe.batch_size:]))

    return load


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("part", choices=("keep", "late", "branches"))
    parser.add_argument("--ckpt-path", type=Path, required=True, help="network to train, its pruning JSON beside it")
    parser.add_argument("--data-dir", nargs="+", metavar="FOLDER[=WEIGHT]", help="data sets, for keep and branches")
    parser.add_argument("--pictures", type=int, default=7000, help="that keep looks at (default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("result/kept"), help="of keep (default: %(default)s)")
    parser.add_argument("--calib-dir", type=Path, metavar="PICTURES", help="keep what early layers in INT8 make, ranges of "
                        "these pictures")
    parser.add_argument("--kept", type=Path, nargs="+", help="what keep wrote, for late; one named twice is drawn twice as "
                        "often")
    parser.add_argument("--steps", type=int, default=1300, help="of late and branches (default: %(default)s)")
    parser.add_argument("--output-path", type=Path, default=Path("result/late.ckpt"), help="of late and branches (default: "
                        "%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a result that other files or options made")
    add_recipe_options(parser)
    parser.set_defaults(**DEFAULTS)
    args = parser.parse_args(argv)
    needed = {"keep": ("teacher", "data_dir"), "late": ("kept",), "branches": ("data_dir",)}[args.part]
    for name in needed:
        if getattr(args, name) is None:
            parser.error(f"{args.part} needs --{name.replace('_', '-')}")
    for name in ("pictures", "steps"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, allowed are whole numbers from 1")
    if args.weight_decay is None or args.clip_norm is None or args.ema is None:
        parser.error("weight-decay, clip-norm and ema are needed here")
    if args.output_path.suffix != ".ckpt":
        parser.error(f"--output-path is {args.output_path}, it must end in .ckpt")
    if args.part == "keep" and len(args.input_size) != 1:
        parser.error("keep takes one input-size: keep other sizes in other folders")
    for name, parts in GOES.items():
        if args.part not in parts:
            parser.check_unused(args, [name], " and ".join(parts))
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    recipe = make_recipe(args)
    if args.part == "keep":
        check_writable(args.output_dir, "--output-dir")
        model, teacher = load_model(args.ckpt_path), load_model(args.teacher)
        calibration = calibration_pictures(args.calib_dir, ref_size=recipe.sizes[0]) if args.calib_dir else ()
        load = loader_of(args, recipe)
        args.output_dir.mkdir(parents=True, exist_ok=True)
        how = {**dataclasses.asdict(recipe), "teacher": None, "data_dir": args.data_dir, "calib_dir": str(args.calib_dir)}
        text = json.dumps(how, sort_keys=True)
        keep(model, teacher, lambda first: load(first, args.pictures), args.output_dir, total=args.pictures,
             options=hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16], calibration=calibration)
        return 0
    check_output(args.output_path, "--output-path")
    keep_inputs(beside(args.output_path), beside(args.ckpt_path))
    made = origin([args.ckpt_path], {"part": args.part, "steps": args.steps, "data_dir": args.data_dir,
                                     "kept": [str(folder) for folder in args.kept or ()], **dataclasses.asdict(recipe)})
    made = json.loads(json.dumps(made))
    check_result(args.output_path, made, inputs=[args.ckpt_path], overwrite=args.overwrite, option="--output-path")
    model = load_model(args.ckpt_path).to(memory_format=torch.channels_last)
    info = find_prune_info(args.ckpt_path, None) or to_prune_info(model.config)
    state, run = args.output_path.with_name(f"{args.output_path.stem}_resume.pt"), json.dumps(made, sort_keys=True)
    if args.part == "late":
        train_late(model, open_kept(args.kept, model), recipe, state, steps=args.steps, made=run,
                   own=is_own_teacher(args.kept[0], model))
    else:
        train_branches(model, loader_of(args, recipe), recipe, state, steps=args.steps, made=run)
    rest = {key: value for key, value in info.items() if key not in HISTORY}
    save_model(model, args.output_path, {**rest, "training": {"script": "bench/late_training.py", **made["settings"],
                                                              **provenance()}, "origin": made})
    state.unlink(missing_ok=True)
    say(str(args.output_path))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
