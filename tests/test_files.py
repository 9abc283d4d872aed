from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.files import check_output, check_writable, moved_into_place, write_atomically, write_text


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


def test_a_folder_that_cannot_be_written_is_named_and_a_check_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--output-dir .*file/out cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "out", "--output-dir")
    with pytest.raises(ValueError, match="--output-dir .*file cannot be written: Not a directory"):
        check_writable(tmp_path / "file", "--output-dir")
    with pytest.raises(ValueError, match="--save-dir /proc/x cannot be written: "):
        check_writable(Path("/proc/x"), "--save-dir")
    check_writable(tmp_path / "new" / "deep", "--output-dir")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--output-path .* is a folder, expected the name of a file"):
        check_output(tmp_path, "--output-path")
    check_output(tmp_path / "a" / "b.onnx", "--output-path")
    assert list(tmp_path.iterdir()) == []
