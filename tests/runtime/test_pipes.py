"""A picture from stdin, one to stdout, and pictures that arrive in a folder."""
from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")

from src.media.picture_reader import read_alpha, read_image
from src.media.picture_results import PictureLook
from src.runtime import pipes
from src.runtime.matting import Matting
from src.runtime.pipes import Watched, check_pipe, complete_pictures
from tests.conftest import ROOT, write_noise


@pytest.fixture
def noise(tmp_path):
    return write_noise(tmp_path / "in" / "a.png", (6, 5), (90, 100))


def infer(*args, data=b"", cwd):
    return subprocess.run([sys.executable, str(ROOT / "inference_openvino.py"), *map(str, args)], input=data, cwd=cwd,
                          capture_output=True, timeout=300, check=False)


def test_a_picture_goes_in_by_stdin_and_its_alpha_out_by_stdout(noise, tiny_xml, tmp_path):
    done = infer("--model-path", tiny_xml["free"], "--image-path", "-", "--output", "-", "--save", "alpha",
                 data=noise.read_bytes(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = Matting(tiny_xml["free"]).alpha(read_image(noise))
    assert np.abs(found / 255 - expected).max() < 0.01
    assert done.stderr.startswith(b"stdin: preprocess ") and not list(tmp_path.glob("result/*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_stdout_that_takes_nothing_is_one_line(noise, tiny_xml, tmp_path):
    closed, pipe = os.pipe()
    os.close(closed)
    for out, why in ((os.open("/dev/full", os.O_WRONLY), "No space left on device"), (pipe, "Broken pipe")):
        done = subprocess.run([sys.executable, str(ROOT / "inference_openvino.py"), "--model-path", str(tiny_xml["free"]),
                               "--image-path", str(noise), "--output", "-"], stdout=out, stderr=subprocess.PIPE, text=True,
                              cwd=tmp_path, timeout=300, check=False)
        os.close(out)
        assert (done.returncode, done.stderr) == (2, f"error: the picture could not be written to stdout: {why}\n")


def test_a_file_goes_out_as_a_cut_out_and_stdin_into_files(noise, tiny_xml, tmp_path):
    done = infer("--model-path", tiny_xml["free"], "--image-path", noise, "--output", "-", "--format", "webp", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout[8:12] == b"WEBP"
    done = infer("--model-path", tiny_xml["free"], "--image-path", "-", "--save", "alpha", data=noise.read_bytes(),
                 cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(b"stdin: ")
    assert read_alpha(tmp_path / "result/stdin_alpha.png").shape == (100, 90)


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_what_is_no_picture_costs_one_line_and_nothing_goes_out(data, tiny_xml, tmp_path):
    done = infer("--model-path", tiny_xml["free"], "--image-path", "-", "--output", "-", data=data, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.startswith(b"error: stdin is not a picture that can be read") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("paths", "options", "said"), [
    (["-"], {"watch": True}, "--watch goes without pipes"), (["a", "-"], {}, "--image-path - takes one --image-path, not 2"),
    (["."], {"output": "-"}, "--output - is for one picture, --image-path is ."),
    (["a.jpg"], {"output": "-", "save": ["alpha", "cutout"]}, "writes one kind, --save has alpha cutout"),
    (["a.mp4"], {"output": "-"}, "--output - is for one picture, --image-path is the video a.mp4"),
    (["a.jpg"], {"watch": True}, "--watch needs a folder, --image-path is a.jpg"),
    (["-"], {"others": ["--ray"]}, "--image-path - goes without --ray")])
def test_what_does_not_go_together_is_refused(paths, options, said):
    with pytest.raises(ValueError, match=said):
        check_pipe(paths, **{"output": None, "watch": False, "save": None, "others": [], **options})


def test_a_picture_counts_when_it_is_complete_once_and_again_when_it_changes(tmp_path, noise, capsys):
    looks, data, came = iter(range(100)), noise.read_bytes(), []
    steps = {1: lambda: (tmp_path / "b.png").write_bytes(data[:50]), 2: lambda: (tmp_path / "b.png").write_bytes(data),
             5: lambda: os.utime(tmp_path / "b.png", (1, 1)), 6: lambda: (tmp_path / "notes.txt").write_text("x"),
             7: lambda: (tmp_path / "empty.png").touch(), 8: lambda: (tmp_path / "other").mkdir(),
             9: lambda: (tmp_path / "other" / "c.png").touch()}
    for look, paths in zip(looks, complete_pictures(tmp_path, sleep=lambda _: None, output_dir=tmp_path / "in/out"),
                           strict=False):
        came += [(path.name, look) for path in paths]
        steps.get(look, lambda: None)()
        if look == 30:
            break
    # Written from look 1 on and whole at 2, it was the same at looks 3 and 4; its time changed at 5; a file stays empty.
    assert came == [("b.png", 4), ("b.png", 7), ("empty.png", 28)]
    said = capsys.readouterr().err.splitlines()
    assert said == [f"note: {tmp_path}/notes.txt: left out, no picture", f"note: {tmp_path}/other: left out, a folder"]


def test_a_watched_folder_is_done_until_ctrl_c(noise, tiny_xml, tmp_path):
    inbox = noise.parent
    process = subprocess.Popen([sys.executable, str(ROOT / "inference_openvino.py"), "--model-path", str(tiny_xml["free"]),
                                "--image-path", str(inbox), "--watch", "--save", "alpha", "--output-dir",
                                str(tmp_path / "out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(path: Path) -> None:
        end = time.monotonic() + 120
        while not path.is_file():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)

    wait(tmp_path / "out/a_alpha.png")
    (inbox / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(noise, inbox / "late.png")
    # Their lines are there when both are done, and Ctrl-C comes then.
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and not out
    assert [line.partition(": ")[0].rpartition("/")[2] for line in lines] == ["a.png", "late.png"]
    assert "broken.jpg is not a picture" in err and "2 pictures done, 1 failed" in err


def test_what_is_done_when_ctrl_c_comes_is_told(tmp_path, noise, capsys):
    names = "abcd"
    for name in names[1:]:
        shutil.copy(noise, noise.with_stem(name))
    barrier = threading.Barrier(2)

    def work(job):
        if job.picture.stem in "ab":
            barrier.wait(60)  # both are begun when the first is interrupted
        if job.picture.stem == "a":
            raise KeyboardInterrupt
        return f"{job.picture.stem} done"

    watched = Watched(PictureLook(["alpha"]), tmp_path / "out", (), skip_existing=False)
    jobs = watched.jobs([noise.with_stem(name) for name in names])
    with pytest.raises(KeyboardInterrupt):
        watched.do(jobs, work, 2)
    assert "b done" in capsys.readouterr().out.splitlines() and noise.with_stem("b") in watched.good
    assert noise not in watched.good | watched.failed


def test_the_last_try_of_a_watched_picture_counts_and_one_that_is_gone_is_noted(tmp_path, noise, capsys):
    def work(job):
        if job.picture.read_bytes() == b"half":
            raise ValueError(f"{job.picture} is not a picture")
        return f"{job.picture} done"

    watched = Watched(PictureLook(["alpha"]), tmp_path / "out", (), skip_existing=False)
    half, gone, twin = noise.parent / "b.png", noise.parent / "c.png", noise.with_suffix(".jpg")
    half.write_bytes(b"half")
    watched.do(watched.jobs([noise, half, gone]), work, 2)
    assert (watched.good, watched.failed) == ({noise}, {half})
    half.write_bytes(b"whole")
    twin.write_bytes(b"another")
    watched.do(watched.jobs([half, twin]), work, 2)
    assert (watched.good, watched.failed) == ({noise, half}, {twin})
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{noise} done", f"{half} done"]
    assert err.splitlines() == [f"error: {half} is not a picture", f"note: {gone}: gone before its turn",
                                f"error: {noise} and {twin} would both be written to {tmp_path}/out/a_alpha.png: rename one"]


def test_ctrl_c_while_a_line_is_printed_does_not_tell_it_twice_and_counts_it(tmp_path, noise, capsys, monkeypatch):
    def say(line):
        print(line)
        raise KeyboardInterrupt

    watched = Watched(PictureLook(["alpha"]), tmp_path / "out", (), skip_existing=False)
    jobs = watched.jobs([noise])
    monkeypatch.setattr(pipes, "say", say)
    with pytest.raises(KeyboardInterrupt):
        watched.do(jobs, lambda job: f"{job.picture} done", 1)
    assert capsys.readouterr().out == f"{noise} done\n" and watched.good == {noise}


def test_a_watched_folder_that_ends_by_a_full_disk_says_what_was_done(tmp_path, noise, capsys, monkeypatch):
    monkeypatch.setattr(pipes, "POLL_SECONDS", 0.01)
    done = []

    def work(job):
        if done:
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(job.picture)
        return "done"

    inbox = tmp_path / "watched"
    inbox.mkdir()
    for name in ("a.png", "b.png"):
        (inbox / name).write_bytes(noise.read_bytes())
    with pytest.raises(OSError, match="No space left"):
        pipes.watch_pictures(inbox, work, PictureLook(["alpha"]), output_dir=tmp_path / "out")
    assert capsys.readouterr().err.splitlines()[-1] == "1 pictures done, 0 failed"


def test_a_folder_that_would_see_its_own_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match="would also see its own results"):
        pipes.watch_pictures(tmp_path, lambda job: "", None, output_dir=tmp_path)


@pytest.mark.parametrize(("stream", "paths", "output"), [("stdin", ["-"], None), ("stdout", ["a.png"], "-")])
def test_a_pipe_that_is_closed_is_said(stream: str, paths: list[str], output: str | None, monkeypatch) -> None:
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(ValueError, match=f"goes through {stream}, which is closed"):
        check_pipe(paths, output=output, watch=False, save=None, others=[])
