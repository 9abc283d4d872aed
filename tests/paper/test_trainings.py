"""Trainings side by side on a Ray cluster of two workers on this machine."""
from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import src.paper.trainings as subject
from src.data.sources import Source
from src.paper import retraining
from src.paper.resumable import Steps
from src.paper.trainings import Cluster, Training, do_all
from src.runtime.cluster import ROOT, import_ray
from src.training.recipe import Recipe
from tests.paper.test_retraining import RECIPE, make, one_network  # noqa: F401 (a fixture)

ray = pytest.importorskip("ray", reason="requirements-cluster.txt is not installed")


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    import_ray().init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
                      runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}})
    yield
    ray.shutdown()


def test_the_table_is_the_one_of_trainings_in_turn(one_network, discs, tmp_path, monkeypatch, capsys):  # noqa: F811
    import torch

    monkeypatch.setattr(retraining, "MODES", ("finetune", "scratch-e"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        turn = json.loads(make(one_network, discs, tmp_path / "turn").with_suffix(".json").read_text())
    finally:
        torch.set_num_threads(threads)
    side = json.loads(make(one_network, discs, tmp_path / "side", cluster=Cluster("")).with_suffix(".json").read_text())
    assert len(side["runs"]) == 4 and side.keys() == turn.keys()
    assert side["runs"] == turn["runs"] and side["summary"] == turn["summary"] and side["planned"] == turn["planned"]
    assert side["seconds"].keys() == turn["seconds"].keys()
    capsys.readouterr()
    make(one_network, discs, tmp_path / "side", cluster=Cluster(""))
    assert capsys.readouterr().out.count("already done") == 4 and not list((tmp_path / "side").glob("*_resume.pt"))


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


def test_a_training_whose_process_is_killed_is_done_again(tiny_ckpt, discs, tmp_path, monkeypatch):
    training = training_of(tiny_ckpt, discs, tmp_path / "out")
    monkeypatch.setattr(subject, "do", dies_once)
    assert [done.best for done in do_all(Steps(training.stem.parent), [training], Cluster("", 1))] == [training.best]
    assert (tmp_path / "out/killed").exists() and training.best.is_file()


def test_what_a_training_refuses_is_what_it_refuses_alone(tmp_path, discs):
    training = training_of(tmp_path / "none.ckpt", discs, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="none.ckpt"):
        list(do_all(Steps(training.stem.parent), [training], Cluster("", 1)))
    assert not training.best.exists()


def test_no_cluster_is_one_line(tmp_path, discs, tiny_ckpt, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    training = training_of(tiny_ckpt, discs, tmp_path / "out")
    with pytest.raises(ValueError, match="is no address, expected HOST:PORT"):
        list(do_all(Steps(training.stem.parent), [training], Cluster("nonsense")))
