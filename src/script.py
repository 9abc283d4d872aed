"""Run a script: one line for a user's mistake, and a record of where and with what it ran."""
from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from src.console import as_line, complain, print_anything
from src.interrupts import ended_by_signals, status_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless", "onnx", "onnxruntime", "openvino",
            "thop")


class NetworkError(RuntimeError):
    """What a network gives cannot be used: the run ends, since the next picture fares no better."""


# What errors of native code say, and what that means for a user.
MEANT = {
    r"shared memory|bus error|no space left on device \(28\)": "the worker processes found too little shared memory "
    "(/dev/shm): take --workers 0, or more of it (docker run --shm-size=2g)",
    r"^dataloader worker \(pid": "a loading process was ended, by the system if there was too little memory: take fewer "
    "--workers, or 0",
    r"not enough memory|can't allocate memory|out of memory|bad_alloc": "not enough memory: take smaller pictures, or a "
    "smaller batch",
}


def run_script(main: Callable[[], int]) -> int:
    """Call `main`; a `ValueError`, `OSError`, `NetworkError` or want of memory becomes one line on stderr and exit status 2,
    Ctrl-C 130, SIGTERM 143, SIGHUP 129."""
    print_anything()
    try:
        with ended_by_signals():
            return main()
    except (ValueError, OSError, NetworkError) as error:
        complain(f"error: {one_line(error)}")
        return 2
    except (RuntimeError, MemoryError) as error:
        if "is killed by signal: Terminated" in str(error):  # a loading process got the SIGTERM first
            complain("terminated")
            return 143
        said = "out of memory" if isinstance(error, MemoryError) else str(error).lower()
        meant = next((meaning for pattern, meaning in MEANT.items() if re.search(pattern, said)), None)
        if meant is None:
            raise
        complain(f"error: {meant}")
        return 2
    except KeyboardInterrupt as error:
        status, word = status_of(error)
        complain(word)
        return status


def one_line(error: BaseException, *names: object) -> str:
    """Return what an exception says as one line, in which files, `names`, are called as `as_line` does."""
    text = functools.reduce(lambda text, name: text.replace(str(name), as_line(str(name))), names, str(error))
    return as_line(" ".join(line.strip() for line in text.splitlines()))


def provenance() -> dict:
    """Return the command line, package versions and machine, for every JSON that holds results."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"command": " ".join(sys.argv), "python": platform.python_version(), "versions": versions,
            "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()}}


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory(process: int | str = "self") -> float:
    """Return the peak of the resident memory of a running process, MiB; Linux.

    Not `ru_maxrss`: that begins with the peak of the process which started this one.
    """
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def children_seconds() -> float:
    """Return the processor seconds of all child processes that have ended; not on Windows."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load_script(name: str) -> ModuleType:
    """Load a script of the folder `onnx/`, which cannot be imported by name: there the installed package comes first."""
    path = ROOT / "onnx" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
