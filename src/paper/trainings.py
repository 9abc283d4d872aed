"""The trainings of a table: one after the other, or side by side on the machines of a Ray cluster."""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from src.checkpoint import find_prune_info, load_model
from src.data.sources import Source
from src.media.preprocess import REF_SIZE
from src.models.prune_info import to_prune_info
from src.paper.resumable import Steps
from src.results import RUN_FILE, files_like, origin
from src.runtime.connection import connected
from src.script import one_line
from src.training.loop import train
from src.training.recipe import Recipe

# More epochs than a run has: only its last is saved.
ONLY_LAST = 10 ** 9


class Training(NamedTuple):
    """A step that trains a pruned checkpoint into files named after `stem`."""

    name: str
    pruned: Path
    stem: Path
    recipe: Recipe
    data: tuple[Source, ...]
    judged: tuple[Source, ...]          # the data sets whose `val` chooses the best epoch
    val_every: int = 1
    val_limit: int | None = None
    val_ref_size: int = REF_SIZE
    workers: int = 0
    device: str = "cpu"

    @property
    def best(self) -> Path:
        """The checkpoint that comes of it: the best, or the last where nothing chooses."""
        return Path(f"{self.stem}_best.ckpt" if self.judged else f"{self.stem}_epoch{self.recipe.epochs - 1}.ckpt")

    @property
    def state(self) -> Path:
        """Where the training is kept to go on from."""
        return Path(f"{self.stem}_resume.pt")

    def absolute(self) -> Training:
        """Return the same with paths that hold in any folder."""
        def here(sources: tuple[Source, ...]) -> tuple[Source, ...]:
            return tuple(source._replace(path=source.path.absolute()) for source in sources)

        return self._replace(pruned=self.pruned.absolute(), stem=self.stem.absolute(), data=here(self.data),
                             judged=here(self.judged))


class Cluster(NamedTuple):
    """Where trainings run side by side: a Ray cluster, see `src.runtime.connection.connected`."""

    address: str
    cores: int | None = None            # that each training takes; default: as many as there are for each of them


def due(steps: Steps, training: Training) -> bool:
    """Return whether a training is still to be done, and make its folder ready for it. Raises `ValueError` for files there
    that are not of this pipeline."""
    if not steps.begin(training.name, inputs=[training.pruned, training.data, training.recipe, training.val_limit,
                                              training.val_ref_size, training.judged],
                       outputs=[training.best], others=files_like(training.stem, RUN_FILE)):
        return False
    if not steps.was_started(training.name):
        training.state.unlink(missing_ok=True)
    return True


def do(training: Training, threads: int | None = None) -> float:
    """Train, and go on where an interrupted training was; return the seconds it took."""
    start = time.perf_counter()
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(training.recipe.seed)
    model = load_model(training.pruned, device=training.device)
    info = find_prune_info(training.pruned, None) or to_prune_info(model.config)
    train(model, info | {"origin": origin([training.pruned])}, list(training.data), training.recipe, stem=training.stem,
          workers=training.workers, save_step=ONLY_LAST, resume=training.state.is_file(), val_every=training.val_every,
          val_limit=training.val_limit, val_ref_size=training.val_ref_size, val_dir=list(training.judged))
    return time.perf_counter() - start


def do_all(steps: Steps, trainings: Sequence[Training], cluster: Cluster | None = None) -> Iterator[Training]:
    """Do the trainings that are not done yet, and yield each when it is there: in order, on a cluster as they end.

    Raises `ValueError` or `OSError` as `train` does, and `ValueError` without a cluster.
    """
    if cluster is not None:
        yield from _side_by_side(steps, trainings, cluster)
        return
    for training in trainings:
        if due(steps, training):
            steps.end(training.name, {}, do(training))
        yield training


def _side_by_side(steps: Steps, trainings: Sequence[Training], cluster: Cluster) -> Iterator[Training]:
    running = {}
    with connected(cluster.address) as ray:
        cores = cluster.cores or max(1, int(ray.cluster_resources().get("CPU", 1)) // max(1, len(trainings)))
        try:
            # A task whose machine is lost is done again by Ray, from the last epoch on.
            task = ray.remote(num_cpus=cores, num_gpus=int(trainings[0].device.startswith("cuda")))(do)
            for training in trainings:
                if due(steps, training):
                    running[task.remote(training.absolute(), cores)] = training
                else:
                    yield training
            while running:
                ready = ray.wait(list(running))[0][0]
                seconds = _result(ray, ready, running[ready])
                training = running.pop(ready)
                steps.end(training.name, {}, seconds)
                yield training
        finally:
            for ref in running:
                ray.cancel(ref, force=True)


def _result(ray: ModuleType, ref: object, training: Training) -> float:
    """Return what a task did. Raises what it raised, and `ValueError` for what happened to its process."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (ValueError, OSError)):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise ValueError(f"{training.name}: {one_line(error)[:300]}; the same command goes on from its last epoch") from None
