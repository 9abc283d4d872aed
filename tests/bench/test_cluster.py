"""The arithmetic of bench/cluster.py, and that its runs are not done twice."""
import json

import numpy as np
import pytest

from tests.conftest import bench_script

cluster = bench_script("cluster")


def row(cores, way, repeat, speed):
    extra = {"start_seconds": 4.0 + repeat, "driver_mib": 200.0} if way == "ray" else {}
    return {"cores": cores, "way": way, "repeat": repeat, "per_second": speed, "seconds": 60.0,
            "cpu_seconds": 1 / speed, "megabytes": 2.5, **extra}


ROWS = [row(1, "plain", 0, 3.0), row(1, "ray", 0, 2.9), row(1, "plain", 1, 5.0), row(1, "ray", 1, 4.7),
        row(2, "plain", 0, 9.0)]


def test_shares_and_a_larger_cluster_by_hand(capsys):
    lines = cluster.medians(ROWS)
    assert list(lines) == [1] and lines[1]["share"] == pytest.approx(3.8 / 4.0) and lines[1]["start_seconds"] == 4.5
    cluster.tell(lines, machines=16, machine_cores=64, price=0.04)
    said = capsys.readouterr().out
    # 1024 cores x 4 x 0.95; a million is 1e6 / 3891.2 / 3600 hours of 1024 cores.
    assert "= 3891 a second, a million in 0.07 h for 2.92 at 0.04" in said
    assert "9728 MB/s of files at 2.50 MB a picture" in said
    assert "| 1 | 4.00 | 3.80 | 0.95 | 0.96 | 4.5 | 200 |" in said


def test_only_missing_runs_are_done_in_turns_and_few_at_a_time(tmp_path, monkeypatch):
    asked, output = [], tmp_path / "cluster.json"
    for way in cluster.WAYS:
        monkeypatch.setitem(cluster.WAYS, way, lambda folder, cores, out, way=way: asked.append((cores, way)) or {
            "seconds": 2.0, "cpu_seconds": 1.0, "per_second": 1.0, "megabytes": 2.0})
    rows = ROWS[:1]
    cluster.measure(tmp_path, rows, pictures=2, cores=[1, 2], repeats=1, limit=2, output=output)
    assert asked == [(1, "ray"), (2, "plain")] and cluster.read_rows(output, 2) == rows
    cluster.measure(tmp_path, rows, pictures=2, cores=[1, 2], repeats=1, limit=None, output=output)
    assert asked[2:] == [(2, "ray")] and len(json.loads(output.read_text())["rows"]) == 4
    with pytest.raises(ValueError, match="is of 2 pictures, not of 3"):
        cluster.read_rows(output, 3)


@pytest.mark.parametrize("args", [["--price", "nan"], ["--cores", "1", "0"], ["--memory", "-1"], ["--repeats", "0"]])
def test_numbers_that_nothing_can_be_measured_with_are_refused(args, capsys):
    with pytest.raises(SystemExit) as ended:
        cluster.parse_args(args)
    assert ended.value.code == 2 and f"{args[0]} is {args[-1]}, allowed are numbers over 0" in capsys.readouterr().err


def test_pictures_that_were_drawn_in_part_are_drawn_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "generate_portrait", lambda seed: (np.zeros((6, 5, 3), np.uint8), None))
    write, written = cluster.cv2.imwrite, []

    def interrupted(path, picture):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        return write(path, picture)

    monkeypatch.setattr(cluster.cv2, "imwrite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cluster.draw_pictures(tmp_path / "in" / "3", 3)
    assert list((tmp_path / "in").iterdir()) == []
    cluster.draw_pictures(tmp_path / "in" / "3", 3)
    assert len(list((tmp_path / "in" / "3").iterdir())) == 3 and len(list((tmp_path / "in").iterdir())) == 1


def test_cores_that_are_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "usable_cores", lambda: 2)
    monkeypatch.setattr(cluster, "import_ray", lambda: pytest.fail("the cores are looked at first"))
    with pytest.raises(ValueError, match="--cores has 3, this machine has 2"):
        cluster.main(["--cores", "1", "3", "--output", str(tmp_path / "a.json")])
