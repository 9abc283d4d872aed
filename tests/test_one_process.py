"""Two processes do not write the same files."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from src.one_process import by_one_process
from tests.conftest import ROOT

pytest.importorskip("fcntl")
HOLD = ("import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\nfrom src.one_process import by_one_process\n"
        "with by_one_process(Path(sys.argv[2])):\n    print('held', flush=True); sys.stdin.read()")


def test_another_process_is_told_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    stem = tmp_path / "new" / "x"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(ROOT), str(stem)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match="x is being written by another process"), by_one_process(stem):
        pytest.fail("two at once")
    with by_one_process(stem.with_name("y")):
        pass
    holder.kill()
    holder.communicate()
    with by_one_process(stem):
        pass
    assert list(stem.parent.iterdir()) == []


def test_an_error_inside_is_the_callers_and_gives_the_name_back(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="mine"), by_one_process(tmp_path / "x"):
            raise OSError("mine")
