from __future__ import annotations

from pathlib import Path

import pytest

from src.runtime.inputs import find_inputs, result_folders


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="no pictures in"):
        find_inputs([tmp_path])
    with pytest.raises(FileNotFoundError, match="no picture or folder at"):
        find_inputs([tmp_path / "none"])


def test_a_pattern_takes_what_matches_and_a_file_of_that_name_first(tmp_path: Path) -> None:
    a, b, _, d = touch(tmp_path, "a.jpg", "b.jpg", "c.png", "deep/d.jpg")
    assert find_inputs([tmp_path / "*.jpg"]) == ([a, b], False)
    assert find_inputs([tmp_path / "**" / "*.jpg"]).files == [a, b, d]
    named, = touch(tmp_path, "[a].jpg")
    assert find_inputs([named]) == ([named], True)
    with pytest.raises(FileNotFoundError, match=r"no pictures match .*\*\.gif"):
        find_inputs([tmp_path / "*.gif"])


def test_brackets_in_a_folders_name_are_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "trip [2024]/a?/x.jpg", "trip [2024]/a?/y.jpg", "trip 2/a?/z.jpg")
    assert [path.name for path in find_inputs([tmp_path / "trip [2024]" / "a?" / "*.jpg"]).files] == ["x.jpg", "y.jpg"]
    assert [path.name for path in find_inputs([tmp_path / "trip [2024]" / "*" / "[x].jpg"]).files] == ["x.jpg"]
    assert [path.name for path in find_inputs([tmp_path / "trip [0-9]" / "*" / "*.jpg"]).files] == ["z.jpg"]
    monkeypatch.chdir(tmp_path)
    assert find_inputs([Path("trip [2024]/a?/[xy].jpg")]).files == [Path(f"trip [2024]/a?/{name}.jpg") for name in "xy"]


def test_hidden_files_do_not_match_a_pattern(tmp_path: Path) -> None:
    kept, *_ = touch(tmp_path, "a.jpg", "._a.jpg", ".b.jpg", "Thumbs.db")
    for pattern in ("*", "*.jpg", ".*", "**"):
        try:
            assert find_inputs([tmp_path / pattern]).files == [kept]
        except FileNotFoundError:
            assert pattern == ".*"


def test_several_values_are_taken_in_order_and_each_file_once(tmp_path: Path) -> None:
    b, a, c, talk = touch(tmp_path, "b.jpg", "in/a.jpg", "in/c.png", "in/talk.mp4")
    assert find_inputs([b, tmp_path / "in", tmp_path / "in" / "*.png", b]).files == [b, a, c]
    assert find_inputs([tmp_path / "in"], also=frozenset((".mp4",))).files == [a, c, talk]
    with pytest.raises(FileNotFoundError, match="none"):
        find_inputs([b, tmp_path / "none.jpg"])


def test_folders_are_kept_where_names_repeat(tmp_path: Path) -> None:
    files = touch(tmp_path, "a/x.jpg", "b/x.jpg", "b/y.jpg", "b/c/x.png", "z.jpg")
    out = Path("out")
    assert result_folders(files, out) == [out / "a", out / "b", out, out / "b" / "c", out]
    assert result_folders(files[:1], out) == [out]
    assert result_folders([files[1], files[3]], out) == [out, out / "c"]
