"""One step of training, and one epoch of steps."""
from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from src.batches import Batches
from src.losses import Losses, modnet_losses
from src.models.modnet import MODNet
from src.recipe import Recipe
from src.train_state import TrainState

Batch = dict[str, torch.Tensor]


def check_finite(name: str, value: float, names: list[str]) -> None:
    """Raises `ValueError` with the file `names` of the batch if its loss or gradient is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"the {name} is {value} in the batch of {', '.join(names)}; the last good checkpoint is "
                         "untouched; try a smaller --lr")


def forward(model: MODNet, image: torch.Tensor, *, semantic_training: bool
            ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """What `model` returns; with `semantic_training` the coarse semantics alone, for a third of the work."""
    if not semantic_training:
        return model(image)
    semantic, _ = model.lr_branch(model.backbone(image)["enc32x"], False)
    return semantic, None, None


def set_modes(model: MODNet, recipe: Recipe, step: int) -> None:
    """Training mode, but the encoder's batch norms keep their statistics while they are frozen."""
    model.train()
    if recipe.freeze_bn_steps == -1 or step < recipe.freeze_bn_steps:
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def batch_losses(state: TrainState, batch: Batch, recipe: Recipe) -> Losses:
    """The losses of one micro-batch; its tensors are moved to the device."""
    device = state.device
    image, alpha, trimap, rough = (batch[key].to(device, non_blocking=True)
                                   for key in ("image", "alpha", "trimap", "semantic_only"))
    image = image.contiguous(memory_format=torch.channels_last)
    half = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    with torch.autocast(device.type, half, enabled=recipe.precision != "fp32"):
        pred = forward(state.model, image, semantic_training=recipe.semantic_training)
    return modnet_losses(pred, image, alpha, trimap, semantic_scale=recipe.semantic_scale,
                         detail_scale=recipe.detail_scale, matte_scale=recipe.matte_scale, semantic_only=rough)


def update(state: TrainState, recipe: Recipe, names: list[str]) -> None:
    """Gradients to new weights. Raises `ValueError` naming the files of the step if a gradient is not finite."""
    state.scaler.unscale_(state.optimizer)
    grads = [p.grad for p in state.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    # In fp16 an overflow now and then is normal: the scaler leaves such a step out and lowers its scale.
    if recipe.precision != "fp16":
        check_finite("gradient", norm.item(), names)
    if recipe.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(state.model.parameters(), recipe.clip_norm, norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.scheduler.step()
    state.step += 1
    if state.ema is not None:
        state.ema.update(state.model)


def train_step(state: TrainState, micro_batches: Iterator[Batch], count: int, recipe: Recipe, *, share: float,
               names_of: list[str]) -> dict[str, float]:
    """One step of the optimiser on `count` micro-batches; the sum of each loss over the samples.

    `share` is the weight of one sample in the mean over the step; `names_of` names the samples by index.
    """
    if state.step == recipe.freeze_bn_steps:
        set_modes(state.model, recipe, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    sums, names = {"seen": 0.0}, []
    for _ in range(count):
        batch = next(micro_batches)
        n = len(batch["image"])
        names += [names_of[index] for index in batch["index"].tolist()]
        losses = batch_losses(state, batch, recipe)
        values = {name: value.item() * n for name, value in {**losses._asdict(), "loss": losses.total}.items()}
        check_finite("loss", values["loss"], names)
        state.scaler.scale(losses.total * (share * n)).backward()
        for name, value in {**values, "seen": n}.items():
            sums[name] = sums.get(name, 0.0) + value
    update(state, recipe, names)
    return sums


def train_epoch(state: TrainState, loader: DataLoader, batches: Batches, recipe: Recipe, *,
                title: str) -> dict[str, float]:
    """One epoch of `batches`; the mean of each loss. Raises `ValueError` naming the files of a batch gone wrong."""
    set_modes(state.model, recipe, state.step)
    names = [pair.image.name for pair in loader.dataset.pairs]
    sums: dict[str, float] = {}
    iterator, bar = iter(loader), tqdm(batches.groups(), desc=title, leave=False)
    for group in bar:
        done = train_step(state, iterator, len(batches.micro_batches(group)), recipe,
                          share=batches.world / len(group), names_of=names)
        for name, value in done.items():
            sums[name] = sums.get(name, 0.0) + value
        bar.set_postfix(loss=f"{sums['loss'] / sums['seen']:.3f}")
    return {name: value / sums["seen"] for name, value in sums.items() if name != "seen"}
