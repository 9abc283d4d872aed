"""Train one network in several processes: `torchrun --nproc-per-node 2 src/trainer.py ...`."""
from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from src.console import note
from src.training.distillation import Student

# The others wait while the first process decodes pictures, estimates colours and validates, which can take hours; torch
# gives up after 10 or 30 minutes. That a process has died is noticed by torchrun.
LONGEST_WAIT = timedelta(days=1)


def join(device: str) -> str:
    """Join the processes that torchrun started, if it did (gloo on a CPU, NCCL on GPUs); return the device of this one.

    Raises `ValueError` for more processes on this machine than it has GPUs.
    """
    if "LOCAL_RANK" not in os.environ or not dist.is_available():
        return device
    on_gpu = device.startswith("cuda")
    if on_gpu:
        if int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
            raise ValueError(f"torchrun --nproc-per-node is over {torch.cuda.device_count()}, the GPUs of this machine: "
                             "each process takes one")
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        warn_of_restarts()
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)
    return device


def warn_of_restarts() -> None:
    """Say so where torchrun may restart the processes but hands them the store of before, in which they find the addresses
    of those that died."""
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and os.environ.get("RANK", "0") == "0":
        note("after a restart by torchrun the processes may not find each other: start torchrun with "
             "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before it")


def leave() -> None:
    """End what `join` began."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes, 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process; process 0 alone writes files."""
    return dist.get_rank() if world_size() > 1 else 0


def wait_for_all() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def sum_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Sum each value over the processes that have it."""
    if world_size() == 1:
        return values
    gathered: list[dict[str, float]] = [{}] * world_size()
    dist.all_gather_object(gathered, values)
    return {name: sum(other.get(name, 0.0) for other in gathered) for part in gathered for name in part}


def check_alike(name: str, value: int, hint: str) -> None:
    """Raise `ValueError` in every process, with the `name` of a number and a `hint`, if it is not the same in all."""
    if world_size() == 1:
        return
    values: list[int] = [0] * world_size()
    dist.all_gather_object(values, value)
    if len(set(values)) > 1:
        raise ValueError(f"{name} is {', '.join(map(str, values))} for the processes 0 to {len(values) - 1}: {hint}")


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes, through which gradients flow to all of them."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        """Sum the tensor."""
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> torch.Tensor:
        """Sum the gradients."""
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the batches of all processes, of one size each; on a CPU too, where
    torch's `SyncBatchNorm` does not run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise features (N, C, H, W)."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        # Means and variances of each process, then both of all: squares less a squared mean would lose digits.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        parts = wide.new_zeros(world_size(), 2, x.shape[1])
        parts[rank()] = torch.stack(torch.var_mean(wide, (0, 2, 3), correction=0))
        variances, means = _Sum.apply(parts).unbind(1)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        with torch.no_grad():
            count = world_size() * x.numel() / x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / max(1, count - 1), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        out = (wide - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)


def share(student: Student) -> nn.parallel.DistributedDataParallel | None:
    """Make the student one that the processes train together, with common batch norms; `None` for a single process."""
    if world_size() == 1:
        return None
    if student.semantic_training:
        # What never gets a gradient would be waited for.
        for branch in (student.model.hr_branch, student.model.f_branch):
            branch.requires_grad_(False)
    for module in student.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
    device = next(student.parameters()).device
    return nn.parallel.DistributedDataParallel(student, [device.index] if device.type == "cuda" else None,
                                               forward_sync_buffers=False)
