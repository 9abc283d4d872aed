"""A folder of pictures by the command line: results, ends and what is left."""
from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")

import inference_openvino
from src.media import picture_results
from src.media.backdrop import parse_backdrop
from src.script import NetworkError, run_script
from tests.conftest import ROOT, write_noise


def set_cores(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(inference_openvino, "usable_cores", lambda: cores)
    monkeypatch.setattr("src.runtime.pool.usable_cores", lambda: cores)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures of six sizes, and three cores whatever this machine has."""
    set_cores(monkeypatch, 3)
    for number in range(6):
        write_noise(tmp_path / "in" / f"{number}.png", (6, 5), (60 + 40 * (number % 3), 50 + number))
    return tmp_path / "in"


def call(tiny_xml: dict[str, Path], *options: object) -> int:
    return run_script(lambda: inference_openvino.main(["--model-path", str(tiny_xml["free"]), "--ref-size", "256",
                                                       *map(str, options)]))


def test_a_folder_has_byte_for_byte_the_results_of_its_pictures_one_by_one(
        tiny_xml: dict[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    back = write_noise(tmp_path / "back.png", (5, 7), (90, 70))
    options = ["--save", "alpha", "cutout", "composite", "sheet", "--background", back]
    assert call(tiny_xml, "--image-path", folder, *options, "--output-dir", tmp_path / "all") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in said] == [str(path) for path in sorted(folder.iterdir())]
    set_cores(monkeypatch, 1)
    assert call(tiny_xml, "--image-path", folder, *options, "--output-dir", tmp_path / "each") == 0
    files = sorted((tmp_path / "all").iterdir())
    assert len(files) == 24
    assert [path.read_bytes() for path in files] == [(tmp_path / "each" / path.name).read_bytes() for path in files]


def test_a_bad_picture_is_named_and_the_rest_is_done_and_a_second_run_does_what_is_missing(
        tiny_xml: dict[str, Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "2.png").write_bytes(b"no picture")
    options = ["--image-path", folder, "--save", "alpha", "--output-dir", tmp_path / "out"]
    assert call(tiny_xml, *options) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5 and len(list((tmp_path / "out").iterdir())) == 5
    first, last = said.err.splitlines()
    assert first.startswith(f"error: {folder / '2.png'} is not a picture") and last == "1 of 6 pictures failed"
    write_noise(folder / "2.png", (6, 5), (50, 60))
    assert call(tiny_xml, *options, "--skip-existing") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("5 of 6 pictures left out") and out[1].startswith(f"{folder / '2.png'}: preprocess ")


@pytest.mark.parametrize(("error", "said"), [
    (OSError(errno.ENOSPC, "No space left on device", "x.png"), "error: [Errno 28] No space left on device: 'x.png'"),
    (NetworkError("the network is broken"), "error: the network is broken")])
def test_a_full_disk_or_a_broken_network_ends_a_folder_with_one_line(
        error: Exception, said: str, tiny_xml: dict[str, Path], folder: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(picture_results, "write_picture", fail)
    assert call(tiny_xml, "--image-path", folder, "--output-dir", tmp_path / "out") == 2
    assert capsys.readouterr() == ("", f"{said}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_folder_and_leaves_whole_files_alone(
        number: int, status: int, tiny_xml: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    for index in range(200):
        os.link(folder / "1.png", folder / f"x{index}.png")
    process = subprocess.Popen([sys.executable, str(ROOT / "inference_openvino.py"), "--model-path", str(tiny_xml["free"]),
                                "--image-path", str(folder), "--output-dir", str(tmp_path / "out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status and err in ("interrupted\n", "terminated\n", "")
    left = sorted((tmp_path / "out").iterdir())
    assert 0 < len(left) < 600 and not [path.name for path in left if path.name.startswith(".")]
    assert all(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None for path in left)


def test_one_picture_behind_fits_pictures_of_two_sizes_at_the_same_time(tmp_path: Path) -> None:
    backdrop = parse_backdrop(str(write_noise(tmp_path / "back.png", (5, 7), (90, 70))))
    sizes = [(20 + number % 2, 30) for number in range(400)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda size: backdrop(np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32), 0.0), sizes)
        assert [picture.shape[:2] for picture in found] == sizes


@pytest.mark.parametrize("value", ["-1", "10"])
def test_a_png_compression_out_of_range_costs_one_line(
        value: str, tiny_xml: dict[str, Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert call(tiny_xml, "--image-path", folder, "--output-dir", tmp_path / "out", "--png-compression", value) == 2
    assert capsys.readouterr().err == f"error: --png-compression is {value}, allowed are whole numbers from 0 to 9\n"
