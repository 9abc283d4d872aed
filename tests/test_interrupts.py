"""Signals: how a script ends, and what it leaves."""
from __future__ import annotations

import signal
import subprocess
import sys
import time
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
                                                        (signal.SIGTERM, 143, "terminated\n")])
def test_ctrl_c_and_sigterm_end_a_script_with_one_word_and_leave_nothing(
        tmp_path: Path, number: int, status: int, said: str) -> None:
    assert ended("polite", tmp_path / "a.txt", number) == (status, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["stubborn", "with_pool", "with_workers"])
def test_a_script_that_cannot_end_is_ended_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    assert ended(name, tmp_path / "a.txt", signal.SIGTERM)[0] == 143
    assert list(tmp_path.iterdir()) == []
