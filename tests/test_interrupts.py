"""Signals: how a script ends, and what it leaves."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")

SCRIPT = """
import sys, time
from pathlib import Path
from src.files import moved_into_place
from src import interrupts
from src.script import run_script
interrupts.GRACE = 0.5

def polite():
    time.sleep(100)

def stubborn():
    while True:
        try:
            time.sleep(100)
        except KeyboardInterrupt:
            pass

def with_pool():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 100).result()

def with_workers():
    from concurrent.futures import ProcessPoolExecutor
    import multiprocessing
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        pool.submit(time.sleep, 100).result()

def main():
    with moved_into_place(Path(sys.argv[2])) as part:
        part.write_text("half")
        print("going", flush=True)
        globals()[sys.argv[1]]()

sys.exit(run_script(main))
"""


def ended(name: str, path: Path, number: int) -> tuple[int, str]:
    """Exit status and stderr of a script that is sent a signal while it works."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, name, str(path)], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "going\n"
    time.sleep(0.3)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


@pytest.mark.parametrize(("number", "status", "said"), [(signal.SIGINT, 130, "interrupted\n"),
                                                        (signal.SIGTERM, 143, "terminated\n"),
                                                        (signal.SIGHUP, 129, "hung up\n")])
def test_ctrl_c_sigterm_and_a_closed_terminal_end_a_script_with_one_word_and_leave_nothing(
        tmp_path: Path, number: int, status: int, said: str) -> None:
    assert ended("polite", tmp_path / "a.txt", number) == (status, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["stubborn", "with_pool", "with_workers"])
def test_a_script_that_cannot_end_is_ended_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    assert ended(name, tmp_path / "a.txt", signal.SIGTERM)[0] == 143
    assert list(tmp_path.iterdir()) == []


LOADING = """
import sys, time
import torch
from src.data.batches import Batches, ended_with, make_loader
from src.script import run_script

class Slow(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return torch.zeros(100)

    def __len__(self):
        return 10 ** 6

def main():
    loader = make_loader(Slow(), Batches(10 ** 6, 1, seed=0, steps=10 ** 5), workers=2)
    with ended_with(loader):
        for number, _ in enumerate(loader):
            if number == 10:
                print("going", flush=True)

sys.exit(run_script(main))
"""


@pytest.mark.parametrize(("number", "send", "status"), [(signal.SIGTERM, os.killpg, 143), (signal.SIGKILL, os.kill, -9)])
def test_loading_processes_that_a_signal_ends_or_leaves_alone_leave_no_folders(
        tmp_path: Path, number: int, send: Callable[[int, int], None], status: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOADING], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, start_new_session=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert process.stdout.readline() == "going\n"
    assert list(tmp_path.glob("pymp-*")), "else there is nothing to see here"
    send(process.pid, number)
    assert process.wait(60) == status
    for _ in range(200):  # the workers of a process that was killed look for it every five seconds
        if not list(tmp_path.glob("pymp-*")):
            break
        time.sleep(0.1)
    assert not list(tmp_path.glob("pymp-*"))
