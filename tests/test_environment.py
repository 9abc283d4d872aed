"""Containers: a missing library of the system, a home that cannot be written, little shared memory."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.script import run_script
from tests.conftest import ROOT, run

SCRIPTS = ("main_prune.py", "inference_openvino.py", "reproduce.py", "src/trainer.py", "src/eval.py", "src/infer.py",
           "src/generate_portraits.py", "onnx/export_onnx.py", "onnx/convert_openvino.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_to_install_where_libgl_lacks(tmp_path: Path, script: str) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file: No such file')")
    done = run(script, "--help", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: OpenCV finds no libGL here (libGL.so.1)")
    assert "opencv-python-headless" in line and "libgl1" in line


def test_where_the_home_cannot_be_written_caches_go_to_a_folder_of_ones_own(tmp_path: Path) -> None:
    code = "import os, src; print(os.environ.get('MPLCONFIGDIR')); print(os.environ.get('NUMBA_CACHE_DIR'))"
    bare = {key: value for key, value in os.environ.items() if not key.startswith(("XDG", "MPL", "NUMBA"))}
    home = tmp_path / "home"
    home.write_text("no folder")
    given = {**bare, "HOME": str(home), "TMPDIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    folder = Path(said.stdout.splitlines()[0])
    assert folder.is_relative_to(tmp_path) and folder.stat().st_mode & 0o077 == 0
    given["MPLCONFIGDIR"] = "mine"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[0] == "mine"


@pytest.mark.parametrize("said", [
    "DataLoader worker (pid 7) is killed by signal: Bus error. It may be out of shared memory.",
    "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)"])
def test_too_little_shared_memory_is_one_line_with_two_ways_out(capsys: pytest.CaptureFixture, said: str) -> None:
    def fail() -> int:
        raise RuntimeError(said)

    assert run_script(fail) == 2
    line, = capsys.readouterr().err.splitlines()
    assert "--workers 0" in line and "--shm-size" in line


@pytest.mark.parametrize(("error", "said"), [
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "a loading process was ended"),
    (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "a loading process was ended"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                  "800000000000 bytes."), "not enough memory"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory"),
    (MemoryError("Unable to allocate 9 TiB for an array"), "not enough memory")])
def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture, error: Exception, said: str) -> None:
    def fail() -> int:
        raise error

    assert run_script(fail) == 2
    line, = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    def fail() -> int:
        raise RuntimeError("Caught KeyError in DataLoader worker process 0.")

    with pytest.raises(RuntimeError, match="Caught KeyError"):
        run_script(fail)


def test_onnxruntime_reports_to_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bare = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", "import src, onnxruntime"], cwd=ROOT, env={**bare, "TMPDIR": str(tmp_path)},
                   check=True)
    assert list(tmp_path.iterdir()) == []
