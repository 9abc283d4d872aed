"""Pictures on a Ray cluster of two workers on this machine."""
from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference_openvino import main
from src.runtime import cluster
from src.runtime.actor import Actor, Work
from tests.conftest import write_video

pytest.importorskip("openvino")
ray = pytest.importorskip("ray", reason="requirements-cluster.txt is not installed")


@pytest.fixture(scope="module")
def two_workers():
    cluster.import_ray()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
             runtime_env={"env_vars": {"PYTHONPATH": str(cluster.ROOT)}})
    yield ray
    ray.shutdown()


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

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        mark = self._work.output_dir / "killed"
        if row["file"].endswith("a/2.png") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(row)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_results_are_those_of_one_machine_byte_for_byte(two_workers, pictures, tiny_xml, tmp_path, capsys):
    options = ["--model-path", str(tiny_xml["free"]), "--image-path", f"{pictures}/a", f"{pictures}/b", "--threads", "1",
               "--background", "10,200,30"]
    assert main([*options, "--output-dir", str(tmp_path / "one")]) == 1
    one = capsys.readouterr()
    assert main([*options, "--output-dir", str(tmp_path / "many"), "--ray"]) == 1
    many = capsys.readouterr()
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many") != {}
    assert len(files_of(tmp_path / "many")) == 9 and "a/1_alpha.png" in files_of(tmp_path / "many")
    failed = [json.loads(line) for line in (tmp_path / "many/failed.jsonl").read_text().splitlines()]
    assert [Path(row["file"]).name for row in failed] == ["broken.png"] and "broken.png" in failed[0]["reason"]
    # The same files in the same order; one machine also counts the failures.
    names = [[line.split(":")[0] for line in said.out.splitlines()[:3]] for said in (one, many)]
    assert names[0] == names[1] and len(names[0]) == 3
    assert many.err.splitlines() == one.err.splitlines()[:1]


def test_a_second_run_does_the_rest_only(two_workers, pictures, tiny_xml, tmp_path, capsys):
    options = ["--model-path", str(tiny_xml["free"]), "--output-dir", str(tmp_path / "out"), "--ray", "--skip-existing"]
    assert main([*options, "--image-path", f"{pictures}/b"]) == 0
    capsys.readouterr()
    (pictures / "b" / "2.png").write_bytes((pictures / "a" / "2.png").read_bytes())
    assert main([*options, "--image-path", f"{pictures}/b"]) == 0
    assert "1 of 2 pictures left out" in (said := capsys.readouterr().out) and "b/2.png: " in said and "b/1.png" not in said


def test_a_second_run_leaves_out_videos_too(two_workers, tiny_xml, tmp_path, capsys):
    pytest.importorskip("av")
    frames = [np.full((48, 64, 3), level, np.uint8) for level in (40, 200, 90)]
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", frames)
    options = ["--model-path", str(tiny_xml["free"]), "--output-dir", str(tmp_path / "out"), "--save", "composite", "--ray",
               "--skip-existing"]
    assert main([*options, "--image-path", str(tmp_path / "a.mp4")]) == 0
    before = (tmp_path / "out/a_composite.mp4").read_bytes()
    capsys.readouterr()
    assert main([*options, "--image-path", str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]) == 0
    said = capsys.readouterr().out
    assert "a.mp4 left out: its results are there" in said and "1 files in" in said
    assert (tmp_path / "out/a_composite.mp4").read_bytes() == before and (tmp_path / "out/b_composite.mp4").is_file()


def test_a_killed_worker_loses_nothing(two_workers, pictures, tiny_xml, tmp_path):
    work = Work({"model_path": tiny_xml["free"], "threads": 1}, tmp_path / "out", 10**6,
                {"background": "0,0,0", "save": ["alpha"]}, {"background": "0,0,0", "save": ["alpha"]})
    (tmp_path / "out").mkdir()
    items = [{"file": str(pictures / name), "folder": "",
              "results": json.dumps({"alpha": str(tmp_path / "out" / f"{name.replace('/', '_')}")})}
             for name in ("a/1.png", "a/2.png", "b/1.png")]
    rows = list(cluster.rows_of(two_workers, items, work, threads=1, actor=DiesOnce))
    assert (tmp_path / "out" / "killed").exists()
    assert [Path(row["file"]) for row in rows] == [Path(item["file"]) for item in items]
    assert [row["failed"] + row["fatal"] for row in rows] == ["", "", ""]
    assert all(cv2.imread(str(path)) is not None for path in (tmp_path / "out").glob("*.png"))
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_network_that_workers_cannot_load_ends_the_run_in_one_line(two_workers, pictures, tmp_path):
    with pytest.raises(ValueError, match=f"no OpenVINO model at .*none.xml \\(on {socket.gethostname()}\\)"):
        main(["--model-path", str(tmp_path / "none.xml"), "--image-path", f"{pictures}/b", "--output-dir",
              str(tmp_path / "out"), "--ray"])


def test_urls_go_in_and_out(two_workers, pictures, tiny_xml, tmp_path):
    (tmp_path / "list.txt").write_text(f"file://{pictures}/a/1.png\nfile://{pictures}/none.png\n")
    assert main(["--model-path", str(tiny_xml["free"]), "--list", str(tmp_path / "list.txt"), "--save", "alpha", "--ray",
                 "--output-dir", f"file://{tmp_path}/out"]) == 1
    assert cv2.imread(str(tmp_path / "out/1_alpha.png"), cv2.IMREAD_UNCHANGED).shape == (64, 80)
    assert json.loads((tmp_path / "out/failed.jsonl").read_text())["file"].endswith("none.png")


def test_no_cluster_at_an_address_is_said_at_once(two_workers, pictures, monkeypatch, tmp_path):
    own = ray.get_runtime_context().gcs_address
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free_port = port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"--ray 127.0.0.1:{port}: no cluster there"):
        main(["--image-path", f"{pictures}/b", "--output-dir", str(tmp_path / "out"), "--ray", f"127.0.0.1:{port}"])
    assert time.monotonic() - start < cluster.PATIENCE
    # A cluster answers: Ray's own server on this machine.
    cluster.check_address(own)
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ValueError, match=f"{port}: no cluster there \\(timed out\\)"):
            cluster.check_address(f"127.0.0.1:{port}")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with pytest.raises(ValueError, match="what answers is not Ray"):
        cluster.check_address(f"127.0.0.1:{server.server_port}")
    thread.join()
    server.server_close()
    # What `auto` would find is looked at too: Ray keeps the address of a cluster that is gone.
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port}")
    with pytest.raises(ValueError, match=f"--ray auto: no cluster there, at 127.0.0.1:{free_port} "):
        cluster.connect("auto")
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(f"127.0.0.1:{free_port}")
    with pytest.raises(ValueError, match=f"--ray auto: no cluster there, at 127.0.0.1:{free_port} "):
        cluster.connect("auto")
    for address in ("nonsense", "host:port", ":1", "h:99999"):
        with pytest.raises(ValueError, match="is no address"):
            cluster.check_address(address)
