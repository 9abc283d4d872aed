"""Two processes learn what one learns from the same samples."""
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from src.checkpoint import load_state, save_state
from src.models.modnet import MODNet
from src.training.distillation import Student
from src.training.distributed import join, rank, share, sum_over_processes, wait_for_all, world_size
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


def one_of_two(number: int, folder: str) -> None:
    """What each process of the next test does."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    for only in (False, True):
        student, image = student_and_images(only)
        loss, gradients = loss_and_gradients(share(student), image[number::2])
        means = sum_over_processes({"loss": loss / 2, f"only{number}": 1.0})
        save_state({"means": means, "tensors": [*gradients, *student.buffers()]}, Path(folder) / f"{number}_{only}.pt")
    dist.destroy_process_group()


def test_losses_gradients_and_statistics_of_two_processes_are_those_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    for only in (False, True):
        student, image = student_and_images(only)
        loss, gradients = loss_and_gradients(student, image)
        for number in range(2):
            theirs = load_state(tmp_path / f"{number}_{only}.pt")
            assert theirs["means"] == pytest.approx({"loss": loss, "only0": 1, "only1": 1}, rel=1e-10)
            for a, b in zip(theirs["tensors"], [*gradients, *student.buffers()], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def run_nodes(script: Path, *args: object) -> list[subprocess.CompletedProcess]:
    """Runs a script on two nodes of one process each, torchrun's agents on this machine that meet over the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d",
               "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "tests", "--local-addr", "127.0.0.1",
               "--max-restarts", 0, script, *args]
    agents = [subprocess.Popen(list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [agent.communicate(timeout=300) for agent in agents]
    return [subprocess.CompletedProcess(command, agent.returncode, *both) for agent, both in zip(agents, said, strict=True)]


def test_two_nodes_take_the_samples_of_one_process_and_write_once(tiny_ckpt, discs, tmp_path):
    # Steps too small to matter: the test above compares gradients, which float32 blurs by percents in this network.
    args = ["--model-path", tiny_ckpt, "--data-dir", discs, "--input-size", 64, "--epoch", 2, "--steps-per-epoch", 1,
            "--lr", 1e-8, "--detail-scale", 0, "--matte-scale", 0]
    alone = run("src/trainer.py", *args, "--batch-size", 4, "--save-dir", tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    nodes = run_nodes(ROOT / "src/trainer.py", *args, "--batch-size", 2, "--save-dir", tmp_path / "two")
    assert [node.returncode for node in nodes] == [0, 0], nodes[0].stderr[-2000:] + nodes[1].stderr[-2000:]
    assert sum(node.stdout.count("checkpoint to use") for node in nodes) == 1
    rows = [read_log(tmp_path / name / "tiny") for name in ("one", "two")]
    for one, two in zip(*rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=5e-3) and two["step"] == one["step"]
        assert two["val_semantic"] == pytest.approx(one["val_semantic"], rel=0.02)
    assert rows[0][1]["loss"] != pytest.approx(rows[0][0]["loss"], rel=0.02), "each epoch has samples of its own"
    assert {p.name for p in Path(tmp_path / "one").iterdir()} == {p.name for p in Path(tmp_path / "two").iterdir()}


def test_a_single_process_needs_no_group(tiny_model):
    assert (world_size(), rank(), join("cpu")) == (1, 0, "cpu") and share(Student(tiny_model)) is None
    wait_for_all()
    assert sum_over_processes({"a": 2.0}) == {"a": 2.0}
