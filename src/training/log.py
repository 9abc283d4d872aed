"""Write the log of a training run: a JSON line an epoch, and the same as a picture."""
from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from src.console import printable
from src.files import utf8, write_atomically, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def write_log(log: list[dict], stem: Path) -> None:
    """Write `<stem>_log.jsonl` and `<stem>_curves.png`."""
    write_text(Path(f"{stem}_log.jsonl"), "".join(json.dumps(row, allow_nan=False) + "\n" for row in log))
    plot_log(log, Path(f"{stem}_curves.png"))


def check_tensorboard(stem: Path) -> None:
    """Raise `ValueError` before any work if there is no TensorBoard, or it cannot write a folder of this name."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs the package: pip install tensorboard")
    if not utf8(stem):
        raise ValueError(f"--tensorboard writes to folders with names in UTF-8 alone, not to {printable(stem)}_tensorboard")


def open_tensorboard(stem: Path, epoch: int) -> SummaryWriter:
    """Open a writer to the folder `<stem>_tensorboard`; what is there from `epoch` on is dropped."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(f"{stem}_tensorboard", purge_step=epoch)


def write_scalars(writer: SummaryWriter, row: dict) -> None:
    """Add each number of an epoch."""
    for name, value in row.items():
        writer.add_scalar(name, value, row["epoch"])
    writer.flush()


def plot_log(log: list[dict], path: Path) -> None:
    """Draw losses and validation errors over the epochs as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in log]
    for name in ("semantic", "detail", "matte"):
        left.plot(epochs, [row.get(name, math.nan) for row in log], marker=".", label=name)
    left.set(xlabel="epoch", ylabel="training loss (scaled)", yscale="log")
    left.legend()
    for name in ("val_mse", "val_mad", "val_semantic"):
        rows = [row for row in log if name in row]
        if rows:
            right.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=".", label=name)
    right.set(xlabel="epoch", ylabel="error on val")
    if right.lines:
        right.legend()
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))
