from __future__ import annotations

import errno
from pathlib import Path

import pytest

from src.runtime.pictures import check_results, find_pictures, make_output_dir, run_pictures


def test_two_pictures_with_the_same_results_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="in/a.jpg and in/a.png would both be written to out/a_alpha.png: rename one"):
        check_results([Path("in/a.jpg"), Path("in/a.png")], Path("out"), ["alpha"])


def test_a_result_never_overwrites_a_picture() -> None:
    with pytest.raises(ValueError, match="the alpha of in/a.png would overwrite in/a_alpha.png"):
        check_results([Path("in/a.png"), Path("in/a_alpha.png")], Path("in"), ["cutout", "alpha"])


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="no pictures in"):
        find_pictures(tmp_path)
    with pytest.raises(FileNotFoundError, match="no picture or folder at"):
        find_pictures(tmp_path / "none")


def test_a_failure_in_a_folder_is_named_the_rest_done_and_the_status_1(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()

    def work(path: Path) -> str:
        if path.stem == "b":
            raise ValueError("too\nthin")
        return f"did {path.name}"

    assert run_pictures(tmp_path, work, output_dir=tmp_path / "out", save=["alpha"]) == 1
    said = capsys.readouterr()
    assert "did a.png" in said.out and "did c.png" in said.out
    assert f"error: {tmp_path / 'b.png'}: too thin" in said.err and "1 of 3 pictures failed" in said.err
    with pytest.raises(ValueError, match="b.png: too thin"):
        run_pictures(tmp_path / "b.png", work, output_dir=tmp_path / "out", save=["alpha"])


def test_a_pattern_takes_what_matches_and_a_file_of_that_name_first(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.jpg", "b.jpg", "c.png", "deep/d.jpg"):
        (tmp_path / name).touch()
    assert find_pictures(tmp_path / "*.jpg") == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert find_pictures(tmp_path / "**" / "*.jpg") == [tmp_path / name for name in ("a.jpg", "b.jpg", "deep/d.jpg")]
    (tmp_path / "[a].jpg").touch()
    assert find_pictures(tmp_path / "[a].jpg") == [tmp_path / "[a].jpg"]
    with pytest.raises(FileNotFoundError, match=r"no pictures match .*\*\.gif"):
        find_pictures(tmp_path / "*.gif")


def test_a_full_disk_ends_a_folder_at_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    tried = []

    def work(path: Path) -> str:
        tried.append(path.name)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left"):
        run_pictures(tmp_path, work, output_dir=tmp_path / "out", save=["alpha"])
    assert tried == ["a.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="output-dir .*file/out cannot be written: Not a directory"):
        make_output_dir(tmp_path / "file" / "out")
    with pytest.raises(ValueError, match="output-dir /proc cannot be written: "):
        make_output_dir(Path("/proc"))
