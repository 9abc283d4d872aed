from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.files import (
    check_output,
    check_writable,
    moved_into_place,
    temporary_folder,
    temporary_prefix,
    write_atomically,
    write_text,
)
from tests.conftest import ROOT


def test_a_file_appears_at_the_end_of_the_block_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with moved_into_place(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.suffix == ".txt"
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_failing_write_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, write)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_file_system_takes_and_one_that_is_no_text_are_written(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".txt", "x" * 250 + ".text", os.fsdecode(b"\xff\xfe.txt")):
        write_text(tmp_path / name, name)
        assert (tmp_path / name).is_file()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"), moved_into_place(tmp_path / ("x" * 256)):
        pytest.fail("the work has begun")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_and_a_check_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--output-dir .*file/out cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "out", "--output-dir")
    with pytest.raises(ValueError, match="--output-dir .*file cannot be written: Not a directory"):
        check_writable(tmp_path / "file", "--output-dir")
    with pytest.raises(ValueError, match="--save-dir /proc/x cannot be written: "):
        check_writable(Path("/proc/x"), "--save-dir")
    with pytest.raises(ValueError, match="--save-dir s3://bucket/x is a URL, expected a folder of this machine"):
        check_writable(Path("s3://bucket/x"), "--save-dir")
    check_writable(tmp_path / "new" / "deep", "--output-dir")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--output-path .* is a folder, expected the name of a file"):
        check_output(tmp_path, "--output-path")
    check_output(tmp_path / "a" / "b.onnx", "--output-path")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from src.files import moved_into_place, temporary_folder
with moved_into_place(Path(sys.argv[1])) as part, temporary_folder(Path(sys.argv[1])) as folder:
    part.write_text("half")
    (folder / "more").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_what_a_killed_run_left_is_gone_after_the_next_run_of_the_same_command(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, timeout=60, check=False)
    left = [file.name for file in tmp_path.iterdir()]
    assert len(left) == 2 and all(name.startswith(temporary_prefix(path) + "part") for name in left)
    with temporary_folder(path) as folder:
        assert list(folder.iterdir()) == []
        write_text(path, "whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_two_that_write_the_same_file_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with moved_into_place(path) as one, moved_into_place(path) as other, temporary_folder(path) as here, \
            temporary_folder(path) as there:
        assert one != other and here != there
        one.write_text("one")
        other.write_text("other")
        (here / "x").touch()
        assert list(there.iterdir()) == []
    assert path.read_text() in ("one", "other") and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs of Unix")
def test_only_plain_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "null"):
        with pytest.raises(ValueError, match=f"{name} is no plain file"):
            check_output(tmp_path / name, "--output-path")
        with pytest.raises(ValueError, match=f"{name} is no plain file"):
            write_text(tmp_path / name, "x")
    write_text(tmp_path / "loop", "x")
    assert (tmp_path / "loop").read_text() == "x" and len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    for filename in (None, "temporary"):
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'a.txt'}'") as raised, \
                moved_into_place(tmp_path / "a.txt") as part:
            raise OSError(errno.ENOSPC, "No space left on device", *(filename and [str(part)] or []))
        assert raised.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="other"), moved_into_place(tmp_path / "a.txt"):
        (tmp_path / "other").read_bytes()
