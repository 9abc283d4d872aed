from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from src.console import complain, note, print_anything, printable, progress_bar, say
from src.script import one_line
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


def test_a_name_that_would_break_a_line_or_steer_a_terminal_is_shown_escaped(capsys: pytest.CaptureFixture) -> None:
    for tell in (say, complain, note):
        tell("two\nlines\r\x1b[31mred\x9b\u202e.jpg")
    streams = capsys.readouterr()
    shown = "two\\nlines\\r\\x1b[31mred\\x9b\\u202e.jpg\n"
    assert streams.out == shown and streams.err == f"{shown}note: {shown}"


def test_an_exception_is_one_line_and_the_name_of_a_file_stays_what_it_is() -> None:
    assert one_line(ValueError("no  picture\n  at all"), "x") == "no  picture at all"
    assert one_line(ValueError("a\n b.jpg is\nempty"), Path("a\n b.jpg")) == "a\\n b.jpg is empty"


def test_closed_streams_lead_nowhere_and_not_into_the_next_file(tmp_path: Path) -> None:
    code = ("import os, sys; sys.path[:0] = [sys.argv[1]]\nfrom src.console import *\nprint_anything()\n"
            "with open(sys.argv[2], 'w') as file:\n    os.write(2, b'of C'); complain('x'); say('y'); file.write('kept')\n"
            "with messages_held(): pass")
    done = subprocess.run(["sh", "-c", '"$@" 0<&- 1>&- 2>&-', "sh", sys.executable, "-c", code, str(ROOT),
                           str(tmp_path / "f")], capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert (tmp_path / "f").read_text() == "kept"


def test_a_stdout_that_takes_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tqdm, "write", full)
    with pytest.raises(OSError, match="No space left on device: 'stdout'"):
        say("x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_stderr_that_takes_nothing_stops_no_work() -> None:
    code = ("import sys; sys.path[:0] = [sys.argv[1]]\nfrom src.console import *\ncomplain('x'); note('y'); complain('z')\n"
            "print('done')")
    done = subprocess.run(["sh", "-c", '"$@" 2>/dev/full', "sh", sys.executable, "-c", code, str(ROOT)],
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n")
