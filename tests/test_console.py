from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.console import note, print_anything, printable, progress_bar
from tests.conftest import ROOT

BYTES = b"caf\xe9 \xe4\xba\xba.jpg"


def test_a_name_that_the_console_cannot_encode_is_escaped() -> None:
    code = ("import os, sys; sys.path[:0] = [sys.argv[1]]\nfrom src.console import *\nprint_anything()\n"
            "name = os.fsdecode(bytes.fromhex(sys.argv[2])); print(name); complain(name); say(name); print(printable(name))")
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), BYTES.hex()], capture_output=True, check=False,
                          env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "1"})
    assert done.returncode == 0
    assert done.stdout.decode("ascii").count("caf") == 3 and b"\\u4eba" in done.stdout and b"\\u4eba" in done.stderr


def test_bytes_that_are_no_text_become_text_that_every_encoder_takes() -> None:
    assert printable(Path(os.fsdecode(BYTES))) == "caf\\xe9 \u4eba.jpg"


def test_a_note_is_said_once(capsys: pytest.CaptureFixture) -> None:
    for _ in range(2):
        note("of this test alone")
    assert capsys.readouterr().err == "note: of this test alone\n"


def test_a_bar_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    assert list(progress_bar(range(3), desc="x")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_streams_that_cannot_be_reconfigured_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    print_anything()


def test_tqdm_is_used_in_one_place() -> None:
    files = [path for folder in ("src", "bench", "onnx") for path in (ROOT / folder).rglob("*.py")]
    users = [path for path in files if "import tqdm" in path.read_text(encoding="utf-8")]
    assert users == [ROOT / "src" / "console.py"]
