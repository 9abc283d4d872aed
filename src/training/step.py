"""Train one step, and one epoch of steps."""
from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from src.console import progress_bar
from src.data.batches import Batches, ended_with
from src.models.modnet import MODNet
from src.training.consistency import consistency_loss
from src.training.distillation import Heads, feature_loss, head_loss, teach
from src.training.distributed import sum_over_processes
from src.training.fake_int8 import computing_as_int8
from src.training.losses import modnet_losses
from src.training.recipe import Recipe
from src.training.state import TrainState

Batch = dict[str, torch.Tensor]


def check_finite(name: str, value: float, names: list[str]) -> None:
    """Raise `ValueError` with the file `names` of the batch if its loss or gradient is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"the {name} is {value} in the batch of {', '.join(names)}; the last good checkpoint is "
                         "untouched; try a smaller learning rate")


def set_modes(model: MODNet, recipe: Recipe, step: int) -> None:
    """Set training mode, but keep the statistics of frozen batch norms: the encoder's as the recipe says, with SOC all of
    them, as in the official code."""
    model.train()
    frozen = recipe.freeze_bn_steps == -1 or step < recipe.freeze_bn_steps
    for module in (model if recipe.soc else model.backbone).modules():
        if isinstance(module, nn.BatchNorm2d) and (frozen or recipe.soc):
            module.eval()


def pick(heads: Heads, which: torch.Tensor) -> Heads:
    """Return the heads of some samples of a batch; `which` (N,) is bool."""
    return tuple(None if head is None else head[which] for head in heads)


def label_losses(heads: Heads, batch: Batch, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Compute MODNet's losses on the samples with a matte, each times the share of these samples in the batch."""
    known = batch["labeled"]
    if not known.any():
        return dict.fromkeys(("semantic", "detail", "matte"), torch.zeros((), device=known.device))
    image, alpha, trimap, rough = (batch[key][known] for key in ("image", "alpha", "trimap", "semantic_only"))
    losses = modnet_losses(pick(heads, known), image, alpha, trimap, semantic_scale=recipe.semantic_scale,
                           detail_scale=recipe.detail_scale, matte_scale=recipe.matte_scale, semantic_only=rough)
    return {name: value * known.float().mean() for name, value in losses._asdict().items()}


def batch_losses(state: TrainState, batch: Batch, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Compute what each objective adds to the loss of one micro-batch on the device, by name."""
    image, others = batch["image"].contiguous(memory_format=torch.channels_last), ~batch["labeled"]
    half = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    only = recipe.semantic_training
    rounded = computing_as_int8(state.model) if recipe.is_int8(state.step) else contextlib.nullcontext()
    with torch.autocast(state.device.type, half, enabled=recipe.precision != "fp32"):
        with rounded:
            output = state.run(image)
        taught = None if state.teacher is None else teach(state.teacher, image, semantic_training=only)
        soc = state.frozen is not None and bool(others.any())
        before = teach(state.frozen, image[others], semantic_training=only).heads[1] if soc else None
    losses = label_losses(output.heads, batch, recipe)
    if taught is not None:
        scales = recipe.semantic_scale, recipe.detail_scale, recipe.matte_scale
        losses["distill"] = recipe.distill_scale * head_loss(output.heads, taught.heads, scales=scales)
        losses["features"] = recipe.feature_scale * feature_loss(output.features, taught.features)
    if soc:
        consistency = consistency_loss(pick(output.heads, others), before)
        losses["soc"] = recipe.soc_scale * consistency * others.float().mean()
    return losses


def update(state: TrainState, recipe: Recipe, names: list[str]) -> None:
    """Update the weights by the gradients. Raises `ValueError` naming the files of the step if that is not finite."""
    state.scaler.unscale_(state.optimizer)
    parameters = [p for p in state.student.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    # In fp16 an overflow now and then is normal: the scaler leaves such a step out and lowers its scale.
    if recipe.precision != "fp16":
        check_finite("gradient", norm.item(), names)
    if recipe.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, recipe.clip_norm, norm)
    try:
        state.scaler.step(state.optimizer)
    except RuntimeError as error:  # a learning rate that is finite, but too large for float32 once it is corrected
        if "overflow" not in str(error):
            raise
        check_finite("step", math.inf, names)
    state.scaler.update()
    state.scheduler.step()
    state.step += 1
    if state.ema is not None:
        state.ema.update(state.model)


def resize_batch(batch: Batch, size: int) -> Batch:
    """Resize the pictures, alphas and trimaps of a batch to `size` x `size`, each pixel the mean of those it covers; a
    trimap is 0.5 wherever any of them is."""
    if batch["image"].shape[-1] == size:
        return batch
    image, alpha, trimap = (F.interpolate(batch[key], (size, size), mode="area") for key in ("image", "alpha", "trimap"))
    unknown = (trimap > 1e-4) & (trimap < 1 - 1e-4)
    return batch | {"image": image, "alpha": alpha, "trimap": torch.where(unknown, 0.5, trimap.round())}


def next_batch(batches: Iterator[Batch], device: torch.device) -> Batch:
    """Load the next micro-batch onto the device. What a loading process raised is raised here without its traceback."""
    try:
        batch = next(batches)
    except (ValueError, OSError) as error:
        kind = next(kind for kind in (FileNotFoundError, OSError, ValueError) if isinstance(error, kind))
        raise kind(str(error).rpartition(f"\n{type(error).__name__}: ")[2].strip()) from None
    return {key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()}


def train_step(state: TrainState, micro_batches: Iterator[Batch], count: int, recipe: Recipe, *, share: float,
               names_of: list[str]) -> dict[str, float]:
    """Train one step of the optimiser on `count` micro-batches; return the sum of each loss over the samples.

    `share` is the weight of one sample in the mean over the step; `names_of` names the samples by index.
    """
    if state.step == recipe.freeze_bn_steps:
        set_modes(state.model, recipe, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    sums, names = {"seen": 0.0}, []
    for number in range(1, count + 1):
        batch = resize_batch(next_batch(micro_batches, state.device), recipe.size_at(state.step))
        n = len(batch["image"])
        names += batch["name"] if "name" in batch else [names_of[index] for index in batch["index"].tolist()]
        with contextlib.nullcontext() if number == count else state.no_sync():
            losses = batch_losses(state, batch, recipe)
            losses["loss"] = torch.stack(list(losses.values())).sum()
            values = dict(zip(losses, torch.stack([value.detach() for value in losses.values()]).tolist(), strict=True))
            check_finite("loss", values["loss"], names)
            state.scaler.scale(losses["loss"] * (share * n)).backward()
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * n
        sums["seen"] += n
    update(state, recipe, names)
    return sums


def train_epoch(state: TrainState, loader: DataLoader, batches: Batches, recipe: Recipe, *,
                title: str) -> dict[str, float]:
    """Train one epoch of `batches`; return the mean over the samples of what each objective added to the loss.

    Raises `ValueError` naming the files of a batch gone wrong.
    """
    set_modes(state.model, recipe, state.step)
    names = loader.dataset.picture_names()
    sums: dict[str, float] = {}
    iterator, bar = iter(loader), progress_bar(batches.groups(), desc=title, leave=False, hidden=batches.rank > 0)
    with ended_with(iterator):
        for group in bar:
            done = train_step(state, iterator, len(batches.micro_batches(group)), recipe,
                              share=batches.world / len(group), names_of=names)
            for name, value in done.items():
                sums[name] = sums.get(name, 0.0) + value
            bar.set_postfix(loss=f"{sums['loss'] / sums['seen']:.3f}")
    sums = sum_over_processes(sums)
    return {name: value / sums["seen"] for name, value in sums.items() if name != "seen"}
