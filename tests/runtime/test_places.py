"""Files at URLs beside files of this machine."""
from pathlib import Path

import pytest

from src.runtime.places import check_place, exists, is_url, local_copy, local_folder, local_results, read_list, url_of


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
    check_place(Path("memory:///out"), "--output-dir")
    assert memory.find("/out") == []
    with pytest.raises(ValueError, match="--output-dir nonesuch://x"):
        check_place(Path("nonesuch://x"), "--output-dir")


def test_a_list_is_a_path_or_url_a_line(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a/b.jpg\n\n s3 x.png\ns3://b/c.png\r\nna\xffme.png\n")
    assert [str(p) for p in read_list(path)] == ["a/b.jpg", " s3 x.png", "s3:/b/c.png", "na\udcffme.png"]


def test_a_list_that_is_none_is_named(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="empty.txt names no files"):
        read_list(tmp_path / "empty.txt")
    with pytest.raises(FileNotFoundError, match="no text for --list at .*none.txt"):
        read_list(tmp_path / "none.txt")
