"""Trainings side by side on a Ray cluster of two workers on this machine."""
from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import src.paper.trainings as subject
from src.data.sources import Source
from src.paper import retraining
from src.paper.resumable import Steps
from src.paper.trainings import Cluster, Training, do_all
from src.training.recipe import Recipe
from tests.paper.test_retraining import RECIPE, make, only_one_network
from tests.ray_process import needs_ray


def both_ways(ckpt_path: Path, data_dir: Path, folder: Path) -> tuple[dict, dict, str]:
    """The reports of a table whose trainings are done in turn and side by side on the cluster of this process, and what is
    said when the second is asked for again."""
    with pytest.MonkeyPatch.context() as patch:
        only_one_network(patch, ckpt_path)
        patch.setattr(retraining, "MODES", ("finetune", "scratch-e"))
        torch.set_num_threads(1)
        turn = make(ckpt_path, data_dir, folder / "turn")
        side = make(ckpt_path, data_dir, folder / "side", cluster=Cluster(""))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            make(ckpt_path, data_dir, folder / "side", cluster=Cluster(""))
    return *(json.loads(path.with_suffix(".json").read_text()) for path in (turn, side)), said.getvalue()


@needs_ray
def test_the_table_is_the_one_of_trainings_in_turn(two_workers, tiny_ckpt, discs, tmp_path):
    turn, side, again = two_workers.do(both_ways, tiny_ckpt, discs, tmp_path)
    assert len(side["runs"]) == 4 and side.keys() == turn.keys()
    assert side["runs"] == turn["runs"] and side["summary"] == turn["summary"] and side["planned"] == turn["planned"]
    assert side["seconds"].keys() == turn["seconds"].keys()
    assert again.count("already done") == 4 and not list((tmp_path / "side").glob("*_resume.pt"))


def dies_once(training: Training, threads: int | None) -> float:
    """The work of a task whose process is killed the first time."""
    mark = training.stem.with_name("killed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return subject.do(training, threads)


def training_of(pruned: Path, data_dir: Path, folder: Path, recipe: Recipe = RECIPE) -> Training:
    folder.mkdir()
    return Training("train", pruned, folder / "x", recipe, (Source(data_dir),), ())


def train_here(training: Training, work: Callable[[Training, int | None], float] = subject.do) -> list[Path]:
    """Do a training on the cluster of this process, by `work`; what comes of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "do", work)
        return [done.best for done in do_all(Steps(training.stem.parent), [training], Cluster("", 1))]


@needs_ray
def test_a_training_whose_process_is_killed_is_done_again(two_workers, tiny_ckpt, discs, tmp_path):
    training = training_of(tiny_ckpt, discs, tmp_path / "out")
    assert two_workers.do(train_here, training, dies_once) == [training.best]
    assert (tmp_path / "out/killed").exists() and training.best.is_file()


@needs_ray
def test_what_a_training_refuses_is_what_it_refuses_alone(two_workers, tmp_path, discs):
    training = training_of(tmp_path / "none.ckpt", discs, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="none.ckpt"):
        two_workers.do(train_here, training)
    assert not training.best.exists()


def test_no_cluster_is_one_line(tmp_path, discs, tiny_ckpt):
    training = training_of(tiny_ckpt, discs, tmp_path / "out")
    with pytest.raises(ValueError, match="is no address, expected HOST:PORT"):
        list(do_all(Steps(training.stem.parent), [training], Cluster("nonsense")))
