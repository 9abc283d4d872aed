"""The state of a training run and its file, from which training goes on exactly."""
from __future__ import annotations

import contextlib
import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from src.checkpoint import load_model, load_state, save_state
from src.console import shown
from src.models.modnet import MODNet
from src.records import Real, Table, Whole, check_shape
from src.state_file import check_structure
from src.training.distillation import Output, Student
from src.training.distributed import share, world_size
from src.training.ema import Ema
from src.training.recipe import Recipe, make_optimizer, make_schedule


@dataclass
class TrainState:
    """All that changes while a network is trained; `step` counts steps of the optimiser.

    `shared` is the student as several processes train it; `teacher` and `frozen`, a copy of the network at its start, are
    in eval mode and do not change.
    """

    student: Student
    shared: DistributedDataParallel | None
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    ema: Ema | None
    teacher: MODNet | None = None
    frozen: MODNet | None = None
    step: int = 0
    saved: int = 0                      # epochs that its file holds

    @property
    def model(self) -> MODNet:
        """The network in training."""
        return self.student.model

    def run(self, image: torch.Tensor) -> Output:
        """Return the student's output for a batch (N, 3, H, W) in [-1, 1]."""
        return self.student(image) if self.shared is None else self.shared(image)

    def no_sync(self) -> contextlib.AbstractContextManager:
        """Return a context in which gradients are added up by this process alone."""
        return contextlib.nullcontext() if self.shared is None else self.shared.no_sync()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @property
    def result(self) -> MODNet:
        """The network to evaluate and save: the average where there is one."""
        return self.model if self.ema is None else self.ema.model

    def parts(self) -> dict:
        """Return, by name, the parts that have a state of their own."""
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "scaler": self.scaler}
        parts |= {"adapters": self.student.adapters} if self.student.adapters else {}
        return parts if self.ema is None else parts | {"ema": self.ema}


def load_teacher(path: Path, device: torch.device) -> MODNet:
    """Load a network to learn from. Raises `FileNotFoundError`, or `ValueError` naming the file if it is no MODNet."""
    try:
        return load_model(path, device=device).requires_grad_(False).to(memory_format=torch.channels_last)
    except ValueError as error:
        raise ValueError(f"the teacher does not fit: {error}") from None


def start_state(model: MODNet, recipe: Recipe, steps_per_epoch: int) -> TrainState:
    """Make the state before the first step. Raises `ValueError` for fp16 without a GPU."""
    device = next(model.parameters()).device
    if recipe.precision == "fp16" and device.type != "cuda":
        raise ValueError("precision fp16 needs a CUDA device; on a CPU use bf16 or fp32")
    teacher = load_teacher(Path(recipe.teacher), device) if recipe.teacher is not None else None
    student = Student(model, teacher and teacher.config, semantic_training=recipe.semantic_training).to(device)
    optimizer = make_optimizer(model, recipe, extra=student.adapters.parameters())
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    frozen = copy.deepcopy(model).eval().requires_grad_(False) if recipe.soc else None
    return TrainState(student, share(student), optimizer, make_schedule(optimizer, recipe, steps_per_epoch), scaler,
                      None if recipe.ema is None else Ema(model, recipe.ema), teacher, frozen)


def save_train_state(path: Path, state: TrainState, recipe: Recipe, log: list[dict], *,
                     sources: list[str] | None = None, data: str | None = None, judged: str | None = None) -> None:
    """Write what `restore` reads, in one move; `sources` tell apart what the network started from (`source_of`), `data` the
    samples it is trained on, and `judged` the pictures that choose its best epoch."""
    parts, state.saved = {name: part.state_dict() for name, part in state.parts().items()}, len(log)
    save_state({**parts, "step": state.step, "recipe": asdict(recipe), "log": log, "sources": sources, "data": data,
                "judged": judged, "processes": world_size()}, path)


LOG = [{"epoch": Whole()}]


def restore(path: Path, state: TrainState, recipe: Recipe, *, sources: list[str] | None = None,
            data: str | None = None, judged: str | None = None) -> list[dict]:
    """Put back the state of an interrupted run; its log so far. Nothing is changed until all of it is seen to be sound.

    Raises `FileNotFoundError`, or `ValueError` naming the file if it was another run (of another recipe, started from
    another checkpoint, on or judged by other samples, or by another number of processes) or the file has been changed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"nothing to resume: no {path}")
    saved = load_state(path)
    try:
        check_recipe(saved, recipe)
        check_shape(saved, {"sources?": (None, [str]), "data?": (None, str), "judged?": (None, str), "processes?": Whole(1)})
        if sources is not None and saved.get("sources") not in (None, sources):
            raise ValueError("it started from another checkpoint")
        if data is not None and saved.get("data") not in (None, data):
            raise ValueError(f"it was trained on {shown(saved['data'], most=400)}, now there are {data}")
        if judged is not None and saved.get("judged") not in (None, judged):
            raise ValueError(f"it was judged by {shown(saved['judged'], most=400)}, now by {judged}")
        if saved.get("processes", world_size()) != world_size():
            # An epoch has another number of steps then, by which the learning rate goes.
            raise ValueError(f"it was trained by {saved['processes']} processes, now there are {world_size()}")
    except ValueError as error:
        raise ValueError(f"{path} is of another run: {error}") from None
    try:
        check_saved(saved, state, recipe)
        for name, part in state.parts().items():
            part.load_state_dict(saved[name])
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or of another run: {str(error).splitlines()[0]}") from None
    state.step, state.saved = saved["step"], len(saved["log"])
    return saved["log"]


def _same(value: object, expected: object) -> bool:
    """Return whether two fields of a recipe are the same, one from a file, which may hold anything."""
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(_same, value, expected))
    # Tensors do not compare to one truth, and `True` compares to 1.
    kinds = isinstance(value, bool) == isinstance(expected, bool) and not isinstance(value, torch.Tensor)
    return kinds and value == expected


def check_recipe(saved: dict, recipe: Recipe) -> None:
    """Raise `ValueError` with the first number of `recipe` that was another when the state was saved."""
    was = check_shape(saved, {"recipe": dict})["recipe"]
    for key, value in asdict(recipe).items():
        # A field that an older state does not know had the effect of its default.
        before = was.get(key, Recipe.__dataclass_fields__[key].default)
        if not _same(before, value):
            raise ValueError(f"{key.replace('_', '-')} was {shown(before)}, now it is {value}")


def check_saved(saved: dict, state: TrainState, recipe: Recipe) -> None:
    """Raise `ValueError` with the first part of a saved state that is not of the kind of the same part of `state`."""
    check_shape(saved, {"step": Whole(), "log": LOG})
    for number, row in enumerate(saved["log"]):
        check_shape(row, Table(Real()), f"log[{number}]")
        if row["epoch"] != number or number >= recipe.epochs:
            raise ValueError(f"log[{number}] is of epoch {row['epoch']} of {recipe.epochs}")
    steps = saved["log"][-1].get("step", saved["step"]) if saved["log"] else 0
    if steps != saved["step"]:
        raise ValueError(f"log ends at step {shown(steps)}, the state is of step {saved['step']}")
    for name, part in state.parts().items():
        if name not in saved:
            raise ValueError(f"{name} is missing")
        if name != "optimizer":
            check_structure(saved[name], part.state_dict(), name)
    check_moments(saved["optimizer"], state.optimizer)


# What a schedule changes in the groups of an optimiser; the rest is the recipe's.
SCHEDULED = {"lr", "momentum", "betas"}
# What each optimiser keeps of a parameter.
MOMENTS = {torch.optim.SGD: {"momentum_buffer"}, torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}}


def check_moments(saved: object, optimizer: torch.optim.Optimizer) -> None:
    """Raise `ValueError` with the first part of an optimiser's saved state that does not fit its parameters."""
    check_shape(saved, {"state": dict, "param_groups": list}, "optimizer")
    groups = optimizer.state_dict()["param_groups"]
    check_structure(saved["param_groups"], groups, "optimizer.param_groups")
    for number, (group, expected) in enumerate(zip(saved["param_groups"], groups, strict=True)):
        for key in expected.keys() - SCHEDULED:
            if group[key] != expected[key]:
                raise ValueError(f"optimizer.param_groups[{number}].{key} is {shown(group[key])}, expected "
                                 f"{shown(expected[key])}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in saved["state"].items():
        name = f"optimizer.state.{shown(index)}"
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(parameters):
            raise ValueError(f"{name} is of no parameter")
        if not isinstance(moments, dict) or set(moments) != MOMENTS[type(optimizer)]:
            raise ValueError(f"{name} is {shown(moments)}, expected {', '.join(sorted(MOMENTS[type(optimizer)]))}")
        for key, value in moments.items():
            check_structure(value, torch.zeros(()) if key == "step" else parameters[index].detach(), f"{name}.{key}")
