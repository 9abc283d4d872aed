"""Two processes learn what one learns from the same samples."""
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from src.checkpoint import load_state, save_state
from src.models.modnet import MODNet
from src.training.distillation import Student
from src.training.distributed import (
    check_alike,
    join,
    rank,
    share,
    sum_over_processes,
    wait_for_all,
    warn_of_restarts,
    world_size,
)
from src.training.recipe import Recipe
from src.training.state import start_state
from src.training.step import set_modes, train_step
from tests.conftest import ROOT, randomise, run, tiny_config
from tests.test_trainer import read_log


def loss_and_gradients(network: torch.nn.Module, image: torch.Tensor) -> tuple[float, list[torch.Tensor]]:
    loss = sum(head.square().mean() for head in network(image).heads if head is not None)
    loss.backward()
    return loss.item(), [p.grad for p in network.parameters() if p.grad is not None]


def student_and_images(semantic_training: bool) -> tuple[Student, torch.Tensor]:
    """float64, since batch norms over few positions are ill-conditioned."""
    image = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Student(randomise(MODNet(tiny_config())).double().train(), semantic_training=semantic_training), image


STEPS = {"accumulated": {"accumulate": 2}, "frozen": {"freeze_bn_steps": -1, "accumulate": 2},
         "bf16": {"precision": "bf16", "accumulate": 2}}


def step_of(images: list[torch.Tensor], **options: object) -> dict:
    """One step on micro-batches of images, their mattes made of them; the loss, and what it changed.

    float64 but for mixed precision, since batch norms over few positions are ill-conditioned.
    """
    recipe = Recipe(batch_size=len(images[0]), lr=1e-2, input_size=64, **options)
    exact = torch.float32 if recipe.precision == "bf16" else torch.float64
    state = start_state(randomise(MODNet(tiny_config())).to(exact), recipe, steps_per_epoch=1)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    set_modes(state.model, recipe, 0)
    known = torch.ones(len(images[0]), dtype=torch.bool)
    micro = ({"image": x.to(exact), "alpha": x[:, :1].clamp(0, 1).to(exact), "trimap": (x[:, :1] > 0).to(exact),
              "labeled": known, "semantic_only": ~known, "name": [""] * len(x)} for x in images)
    sums = train_step(state, micro, len(images), recipe, share=1 / sum(map(len, images)), names_of=[])
    means = sum_over_processes(sums)
    return {"loss": means["loss"] / means["seen"],
            "moved": {name: value - before[name] for name, value in state.model.state_dict().items()}}


def micro_batches() -> list[torch.Tensor]:
    return list(torch.rand(2, 4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1)


def one_of_two(number: int, folder: str) -> None:
    """What each process of the next two tests does."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    check_alike("the number", 3, "never said")
    with pytest.raises(ValueError, match="^the number is 0, 1 for the processes 0 to 1: give one$"):
        check_alike("the number", number, "give one")
    for only in (False, True):
        student, image = student_and_images(only)
        loss, gradients = loss_and_gradients(share(student), image[number::2])
        means = sum_over_processes({"loss": loss / 2, f"only{number}": 1.0})
        save_state({"means": means, "tensors": [*gradients, *student.buffers()]}, Path(folder) / f"{number}_{only}.pt")
    for name, options in STEPS.items():
        save_state(step_of([images[number::2] for images in micro_batches()], **options),
                   Path(folder) / f"{number}_{name}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote in `one_of_two`."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return folder


def test_losses_gradients_and_statistics_of_two_processes_are_those_of_one(two_processes):
    for only in (False, True):
        student, image = student_and_images(only)
        loss, gradients = loss_and_gradients(student, image)
        for number in range(2):
            theirs = load_state(two_processes / f"{number}_{only}.pt")
            assert theirs["means"] == pytest.approx({"loss": loss, "only0": 1, "only1": 1}, rel=1e-10)
            for a, b in zip(theirs["tensors"], [*gradients, *student.buffers()], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_two_processes_is_that_of_one_with_micro_batches_frozen_norms_and_bf16(two_processes, name):
    one = step_of(micro_batches(), **STEPS[name])
    two = load_state(two_processes / f"0_{name}.pt")
    half = STEPS[name].get("precision") == "bf16"
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-2 if half else 1e-9)
    a, b = (torch.cat([value.double().flatten() for value in way["moved"].values()]) for way in (one, two))
    assert torch.cosine_similarity(a, b, dim=0) > (0.9 if half else 1 - 1e-9)
    assert (b.norm() / a.norm()).item() == pytest.approx(1, rel=0.1 if half else 1e-6)
    # Both processes are left with the same network, and frozen statistics are what they were.
    other = load_state(two_processes / f"1_{name}.pt")["moved"]
    assert all(torch.equal(value, other[key]) for key, value in two["moved"].items())
    encoder = [value for key, value in two["moved"].items() if key.startswith("backbone") and key.endswith("running_mean")]
    assert len(encoder) > 10 and all(bool(value.any()) == (name != "frozen") for value in encoder)


def run_nodes(script: Path, *args: object) -> list[subprocess.CompletedProcess]:
    """Runs a script on two nodes of one process each, torchrun's agents on this machine that meet over the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d",
               "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "tests", "--local-addr", "127.0.0.1",
               "--max-restarts", 3, script, *args]
    settings = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": str(ROOT)}
    agents = [subprocess.Popen(list(map(str, command)), env=os.environ | settings, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [agent.communicate(timeout=300) for agent in agents]
    return [subprocess.CompletedProcess(command, agent.returncode, *both) for agent, both in zip(agents, said, strict=True)]


# The trainer, one process of which is killed in the middle of its second epoch, the first time.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from src import trainer
from src.training import loop

mark, state, real = Path(sys.argv[1]), Path(sys.argv[2]), loop.train_epoch

def dies(*args, title, **kwargs):
    if title.startswith("epoch 1/") and os.environ["RANK"] == "1" and not mark.exists():
        while not state.exists():
            time.sleep(0.01)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, title=title, **kwargs)

loop.train_epoch = dies
sys.exit(trainer.main(sys.argv[3:]))
"""


def test_two_nodes_one_of_them_killed_take_the_samples_of_one_process_and_write_once(tiny_ckpt, discs, tmp_path):
    # Steps too small to matter: the test above compares gradients, which float32 blurs by percents in this network.
    args = ["--model-path", tiny_ckpt, "--data-dir", discs, "--input-size", 64, "--epoch", 3, "--steps-per-epoch", 1,
            "--lr", 1e-8, "--detail-scale", 0, "--matte-scale", 0]
    alone = run("src/trainer.py", *args, "--batch-size", 4, "--save-dir", tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "killed.py").write_text(KILLED)
    nodes = run_nodes(tmp_path / "killed.py", tmp_path / "mark", tmp_path / "two/tiny_resume.pt", *args, "--batch-size", 2,
                      "--save-dir", tmp_path / "two", "--resume")
    assert [node.returncode for node in nodes] == [0, 0], nodes[0].stderr + nodes[1].stderr
    assert (tmp_path / "mark").exists() and sum(node.stdout.count("checkpoint to use") for node in nodes) == 1
    # Nothing is repeated but the epoch in which it died.
    assert sum(node.stdout.count("epoch 0  ") for node in nodes) <= 1
    rows = [read_log(tmp_path / name / "tiny") for name in ("one", "two")]
    assert [row["epoch"] for row in rows[1]] == [0, 1, 2]
    for one, two in zip(*rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=5e-3) and two["step"] == one["step"]
        assert two["val_semantic"] == pytest.approx(one["val_semantic"], rel=0.02)
    assert rows[0][1]["loss"] != pytest.approx(rows[0][0]["loss"], rel=0.02), "each epoch has samples of its own"
    assert {p.name for p in Path(tmp_path / "one").iterdir()} == {p.name for p in Path(tmp_path / "two").iterdir()}


def test_a_restart_that_would_not_find_its_peers_is_foretold(monkeypatch, capsys):
    for shared, restarts, said in (("True", "3", True), ("True", "0", False), ("False", "3", False)):
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", shared)
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
        warn_of_restarts()
        assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in capsys.readouterr().err) == said


def test_processes_wait_for_the_first_one_as_long_as_it_prepares_and_validates(monkeypatch):
    begun = {}
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **options: begun.update(options))
    assert join("cpu") == "cpu" and begun["timeout"] >= timedelta(days=1)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="--nproc-per-node is over 2, the GPUs of this machine"):
        join("cuda")


def test_a_single_process_needs_no_group(tiny_model):
    assert (world_size(), rank(), join("cpu")) == (1, 0, "cpu") and share(Student(tiny_model)) is None
    wait_for_all()
    assert sum_over_processes({"a": 2.0}) == {"a": 2.0}
