"""Pictures on a Ray cluster of two workers on this machine."""
from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.runtime import cluster
from src.runtime.actor import PICTURE, Actor, Work
from src.runtime.connection import import_ray
from src.runtime.places import marked
from tests.ray_process import needs_ray

pytest.importorskip("openvino")
SCRIPT = "inference_openvino"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures and a file that is none, in two folders."""
    rng = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), rng.integers(0, 255, (64, 80, 3), np.uint8))
    (tmp_path / "in" / "a" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "in"


class DiesOnce(Actor):
    """An actor whose process is killed while it works on the second file, the first time."""

    def __call__(self, row: dict[str, bytes]) -> dict[str, str]:
        mark = self._work.output_dir / "killed"
        if row["file"].endswith(b"a/2.png") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(row)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@needs_ray
def test_results_are_those_of_one_machine_byte_for_byte(two_workers, pictures, tiny_xml, tmp_path):
    options = ["--model-path", str(tiny_xml["free"]), "--image-path", f"{pictures}/a", f"{pictures}/b", "--threads", "1",
               "--background", "10,200,30"]
    one = two_workers.main(SCRIPT, *options, "--output-dir", tmp_path / "one")
    many = two_workers.main(SCRIPT, *options, "--output-dir", tmp_path / "many", "--ray")
    assert (one.status, many.status) == (1, 1)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many") != {}
    assert len(files_of(tmp_path / "many")) == 9 and "a/1_alpha.png" in files_of(tmp_path / "many")
    failed = [json.loads(line) for line in (tmp_path / "many/failed.jsonl").read_text().splitlines()]
    assert [Path(row["file"]).name for row in failed] == ["broken.png"] and "broken.png" in failed[0]["reason"]
    # The same files in the same order; one machine also counts the failures.
    names = [[line.split(":")[0] for line in said.out.splitlines()[:3]] for said in (one, many)]
    assert names[0] == names[1] and len(names[0]) == 3
    assert many.err.splitlines() == one.err.splitlines()[:1]


@needs_ray
def test_a_second_run_does_the_rest_only(two_workers, pictures, tiny_xml, tmp_path):
    options = ["--model-path", str(tiny_xml["free"]), "--output-dir", str(tmp_path / "out"), "--ray", "--skip-existing"]
    assert two_workers.main(SCRIPT, *options, "--image-path", f"{pictures}/b").status == 0
    (pictures / "b" / "2.png").write_bytes((pictures / "a" / "2.png").read_bytes())
    status, said, _ = two_workers.main(SCRIPT, *options, "--image-path", f"{pictures}/b")
    assert status == 0 and "1 of 2 pictures left out" in said and "b/2.png: " in said and "b/1.png" not in said


@needs_ray
def test_a_second_run_leaves_out_videos_too(two_workers, tiny_xml, tmp_path):
    pytest.importorskip("av")
    from tests.conftest import write_video

    frames = [np.full((48, 64, 3), level, np.uint8) for level in (40, 200, 90)]
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", frames)
    options = ["--model-path", str(tiny_xml["free"]), "--output-dir", str(tmp_path / "out"), "--save", "composite", "--ray",
               "--skip-existing"]
    assert two_workers.main(SCRIPT, *options, "--image-path", tmp_path / "a.mp4").status == 0
    before = (tmp_path / "out/a_composite.mp4").read_bytes()
    status, said, _ = two_workers.main(SCRIPT, *options, "--image-path", tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert status == 0 and "a.mp4 left out: its results are there" in said and "1 files in" in said
    assert (tmp_path / "out/a_composite.mp4").read_bytes() == before and (tmp_path / "out/b_composite.mp4").is_file()


def rows_where_one_dies(items: list[cluster.Item], work: Work) -> list[dict[str, str]]:
    """What the cluster of this process gives for `items` if an actor is killed."""
    return list(cluster.rows_of(import_ray(), items, work, threads=1, actor=DiesOnce))


@needs_ray
def test_a_killed_worker_loses_nothing(two_workers, pictures, tiny_xml, tmp_path):
    work = Work({"model_path": tiny_xml["free"], "threads": 1}, tmp_path / "out", 10**6,
                {"background": "0,0,0", "save": ["alpha"]}, {"background": "0,0,0", "save": ["alpha"]})
    (tmp_path / "out").mkdir()
    items = [cluster.Item(pictures / name, tmp_path / "out" / name[0], PICTURE)
             for name in ("a/1.png", "a/2.png", "b/1.png")]
    rows = two_workers.do(rows_where_one_dies, items, work)
    assert (tmp_path / "out" / "killed").exists()
    assert [Path(row["file"]) for row in rows] == [item.file for item in items]
    assert [row["failed"] + row["fatal"] for row in rows] == ["", "", ""]
    assert all(cv2.imread(str(path)) is not None for path in (tmp_path / "out").rglob("*.png"))
    assert len(list((tmp_path / "out").rglob("*_alpha.png"))) == 3


@needs_ray
def test_a_name_that_is_not_utf8_reaches_the_actor():
    name = b"/in/\xff.png"
    table = cluster.table_of([cluster.Item(Path(os.fsdecode(name)), Path("out"), PICTURE)])
    assert table.to_pylist() == [{"file": name, "folder": b"out", "kind": PICTURE}]


@needs_ray
def test_a_network_that_workers_cannot_load_ends_the_run_in_one_line(two_workers, pictures, tmp_path):
    said = two_workers.main(SCRIPT, "--model-path", tmp_path / "none.xml", "--image-path", f"{pictures}/b", "--output-dir",
                            tmp_path / "out", "--ray")
    assert said.status == 2 and len(said.err.splitlines()) == 1
    assert re.search(f"no OpenVINO model at .*none.xml \\(on {socket.gethostname()}\\)", said.err)


@needs_ray
def test_urls_go_in_and_out(two_workers, pictures, tiny_xml, tmp_path):
    (tmp_path / "list.txt").write_text(f"file://{pictures}/a/1.png\nfile://{pictures}/none.png\n")
    assert two_workers.main(SCRIPT, "--model-path", tiny_xml["free"], "--list", tmp_path / "list.txt", "--save", "alpha",
                            "--ray", "--output-dir", f"file://{tmp_path}/out").status == 1
    assert cv2.imread(str(tmp_path / "out/1_alpha.png"), cv2.IMREAD_UNCHANGED).shape == (64, 80)
    assert json.loads((tmp_path / "out/failed.jsonl").read_text())["file"].endswith("none.png")


def work_in(folder: Path, tiny_xml: dict[str, Path], **others) -> Work:
    looks = {"background": "0,0,0", "save": ["alpha"]}
    return Work({"model_path": tiny_xml["free"], "threads": 1}, folder, 10**6, looks, looks, **others)


def test_an_output_folder_that_machines_do_not_share_ends_the_run(pictures, tiny_xml, tmp_path):
    (tmp_path / "out").mkdir()
    row = {"file": str(pictures / "b/1.png"), "folder": str(tmp_path / "out"), "kind": PICTURE}
    with marked(tmp_path / "out", "--output-dir") as mark:
        assert Actor(work_in(tmp_path / "out", tiny_xml, mark=mark))(row)["said"]
    back = Actor(work_in(tmp_path / "out", tiny_xml, mark=mark))(row)
    assert f"{tmp_path}/out is another place here" in back["fatal"] and socket.gethostname() in back["fatal"]


def test_relative_paths_go_from_where_the_run_was_started(pictures, tiny_xml, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    row = {"file": "in/b/1.png", "folder": "out", "kind": PICTURE}
    back = Actor(work_in(Path("out"), tiny_xml, started_in=tmp_path))(row)
    assert back["said"].startswith("in/b/1.png: ") and (tmp_path / "out/1_alpha.png").is_file()
    gone = Actor(work_in(Path("out"), tiny_xml, started_in=tmp_path / "gone"))(row)
    assert "No such file or directory" in gone["fatal"] and "gone" in gone["fatal"]
