"""A Ray cluster of two workers on this machine, driven by a process of its own.

Ray's native code aborts its process where something goes wrong for it. In here that is one failed test with what was said,
and no dead worker of pytest-xdist; the process of the tests never imports Ray. Nothing here imports torch.
"""
from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

T = TypeVar("T")
WORKERS = 2
# Seconds that one piece of work may take on a machine with ten times as much to do as it has cores.
PATIENCE = 300
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="requirements-cluster.txt is not installed")


class Said(NamedTuple):
    """What a script did: its exit status, stdout and stderr."""

    status: int
    out: str
    err: str


def _begin(log: Path) -> None:
    """Start the cluster in the new process, whose own output goes to `log`."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    faulthandler.enable()
    # What the workers get too: one thread each, as the cluster has it by itself.
    os.environ["OMP_NUM_THREADS"] = "1"
    from src.runtime.connection import import_ray, start_here

    start_here(import_ray(), WORKERS)


def address() -> str:
    """Return where the cluster of this process is."""
    return sys.modules["ray"].get_runtime_context().gcs_address


def call_main(script: str, argv: list[str]) -> Said:
    """Call `main` of a script at the root as `run_script` does."""
    from src.script import run_script

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run_script(lambda: importlib.import_module(script).main(argv))
    return Said(status, out.getvalue(), err.getvalue())


class RayProcess:
    """The process that drives the cluster; what it is asked to do are functions of modules, with arguments to pickle."""

    def __init__(self, log: Path) -> None:
        """Start it. Raises `AssertionError` with its output if that fails."""
        self._log, self._pid = log, None
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (log,))
        self._pid = self.do(os.getpid)

    def do(self, work: Callable[..., T], *args: Any) -> T:
        """Return what `work` returns there. Raises what it raises, and `AssertionError` with the process's output if that
        died or took too long."""
        try:
            return self._pool.submit(work, *args).result(PATIENCE)
        except (BrokenProcessPool, TimeoutError) as error:
            said = self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""
            self.end()
            raise AssertionError(f"the process that drives Ray: {type(error).__name__}; it said: {said}") from None

    def main(self, script: str, *argv: object) -> Said:
        """Call `main` of a script there."""
        return self.do(call_main, script, [*map(str, argv)])

    def end(self) -> None:
        """Kill the process, and with it the cluster, whose processes do not outlive it."""
        with contextlib.suppress(TypeError, ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayProcess]:
    """A cluster of two workers, for the tests of one file."""
    folder = tmp_path_factory.mktemp("ray")
    try:
        process = RayProcess(folder / "first.txt")
    except AssertionError:
        # Ray's own start has aborted on a loaded machine; twice in a row is a fault to look at.
        process = RayProcess(folder / "second.txt")
    yield process
    process.end()
