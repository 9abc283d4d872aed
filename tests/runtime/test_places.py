"""Files at URLs beside files of this machine."""
from pathlib import Path

import pytest

from src.runtime.places import exists, local_copy, local_folder, local_results, marked, read_list
from src.urls import is_url, url_of


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.mark.parametrize("url", ["s3://bucket/a/b.jpg", "gs://bucket/x", "file:///tmp/a.png", "memory:///a/b.png"])
def test_a_url_comes_back_from_a_path(url):
    assert is_url(Path(url)) and url_of(Path(url)) == url


def test_a_url_keeps_folder_and_name(tmp_path):
    path = Path("s3://bucket/out") / "x.png"
    assert (path.name, path.stem, url_of(path)) == ("x.png", "x", "s3://bucket/out/x.png")
    assert not is_url(tmp_path / "a.png") and not is_url(Path("a:b.png")) and not is_url(Path("C:/a.png"))


def test_a_file_that_looks_like_a_url_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "a.png").write_bytes(b"x")
    assert not is_url(Path("s3://a.png"))


def test_a_copy_of_a_url_is_there_for_a_while(memory):
    memory.pipe_file("/in/x.jpg", b"picture")
    with local_copy(Path("memory:///in/x.jpg")) as path:
        assert path.name == "x.jpg" and path.read_bytes() == b"picture"
    assert not path.exists()


def test_results_reach_their_url_only_if_all_went_well(memory):
    results = {"alpha": Path("memory:///out/x_alpha.png")}
    with pytest.raises(RuntimeError), local_results(results) as here:
        here["alpha"].write_bytes(b"half")
        raise RuntimeError
    assert not exists(results["alpha"])
    with local_results(results) as here:
        here["alpha"].write_bytes(b"whole")
    assert memory.cat("/out/x_alpha.png") == b"whole" and exists(results["alpha"])


def test_results_of_this_machine_are_written_in_place(tmp_path):
    with local_results({"alpha": tmp_path / "a.png"}) as here, local_folder(tmp_path) as folder:
        assert here == {"alpha": tmp_path / "a.png"} and folder == tmp_path


def test_a_url_that_cannot_be_read_is_named(memory):
    with pytest.raises(ValueError, match="memory:///none.jpg cannot be read"), local_copy(Path("memory:///none.jpg")):
        pass
    with pytest.raises(ValueError, match="nonesuch://x/a cannot be reached"), local_copy(Path("nonesuch://x/a")):
        pass


def test_a_place_that_cannot_be_written_is_said_before_the_work(memory):
    with marked(Path("memory:///out"), "--output-dir") as mark:
        assert exists(mark)
    assert memory.find("/out") == []
    for place, said in (("nonesuch://x", "nonesuch://x cannot"), ("file:///proc/no", "file:///proc/no cannot be written")):
        with pytest.raises(ValueError, match=f"--output-dir {said}"), marked(Path(place), "--output-dir"):
            pass


def test_a_folder_is_marked_and_goes_again_if_nothing_came_of_it(tmp_path):
    with marked(tmp_path / "a/b", "--output-dir") as mark:
        assert mark.is_file() and mark.parent == tmp_path / "a/b"
    assert not (tmp_path / "a/b").exists()
    with marked(tmp_path / "b", "--output-dir"):
        (tmp_path / "b/x").touch()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["x"]


def test_a_list_is_a_path_or_url_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / " s3 x.png").touch()
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa/b.jpg\n\n s3 x.png\n  s3://b/c.png \r\nna\xffme.png\na/../a/b.jpg\n\xe2\x80\xa8.png\ns3://b/c.png")
    assert [str(p) for p in read_list(path)] == ["a/b.jpg", " s3 x.png", "s3:/b/c.png", "na\udcffme.png", "\u2028.png"]
    assert capsys.readouterr().err == f"note: --list {path}: 2 of 7 lines name a file again, which is done once\n"


def test_a_list_that_is_none_is_named(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="empty.txt names no files"):
        read_list(tmp_path / "empty.txt")
    with pytest.raises(FileNotFoundError, match="no text for --list at .*none.txt"):
        read_list(tmp_path / "none.txt")
