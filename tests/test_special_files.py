"""What is no plain file, under every flag that names a file and in every folder: one line that names it, and no waiting."""
from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnx", minversion="1.0")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix has them")

import inference_openvino
import main_prune
from src import average, eval, generate_portraits, infer, trainer
from src.runtime.pipes import complete_pictures
from tests.conftest import status_of


def make_socket(path: Path) -> None:
    """A socket; its name may be longer than the address of one."""
    here = os.getcwd()
    os.chdir(path.parent)
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo, "socket": make_socket, "folder": Path.mkdir, "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("/none"), "link to itself": lambda path: path.symlink_to(path),
    "empty file": Path.touch}


def scripts() -> dict[str, Callable[[list[str]], int]]:
    """The `main` of each script."""
    import convert_openvino
    import export_onnx

    return {"openvino": inference_openvino.main, "infer": infer.main, "eval": eval.main, "trainer": trainer.main,
            "prune": main_prune.main, "average": average.main,
            "generate": generate_portraits.main, "export": export_onnx.main, "convert": convert_openvino.main}


TRAIN = "--epoch 1 --input-size 64 --batch-size 2 --save-dir out --cache-dir cache"
# Where the file stands, and the command; `set`, `tiny.*` and `img.png` are there.
FLAGS = {
    "x.xml": ["openvino --model-path x.xml --image-path img.png", "eval --ckpt-path x.xml --data-dir set"],
    "x.onnx": ["openvino --model-path x.onnx --image-path img.png", "convert --onnx-path x.onnx --output-path out/a.xml"],
    "tiny.bin": ["openvino --model-path tiny.xml --image-path img.png"],
    "x.png": ["openvino --model-path tiny.xml --image-path x.png", "infer --ckpt-path tiny.ckpt --input x.png",
              "openvino --model-path tiny.xml --image-path x.png --output -",
              "openvino --model-path tiny.xml --image-path img.png --background x.png",
              "infer --ckpt-path tiny.ckpt --input img.png --background x.png"],
    "x.mp4": ["openvino --model-path tiny.xml --image-path x.mp4",
              "openvino --model-path tiny.xml --image-path img.png --background x.mp4"],
    "x.txt": ["openvino --model-path tiny.xml --list x.txt"],
    "x.ckpt": ["infer --ckpt-path x.ckpt --input img.png", "eval --ckpt-path x.ckpt --data-dir set",
               f"trainer --model-path x.ckpt --data-dir set {TRAIN}", "prune --ckpt-path x.ckpt --save-dir out",
               f"trainer --model-path tiny.ckpt --teacher x.ckpt --data-dir set {TRAIN}",
               f"trainer --backbone x.ckpt --data-dir set {TRAIN}", "average --ckpt-path x.ckpt --output-path out/a.ckpt",
               "export --ckpt-path x.ckpt --output-path out/a.onnx"],
    "tiny.json": ["infer --ckpt-path tiny.ckpt --input img.png"],
    "x.json": ["infer --ckpt-path tiny.ckpt --prune-info x.json --input img.png",
               "eval --ckpt-path tiny.ckpt --prune-info x.json --data-dir set",
               "export --ckpt-path tiny.ckpt --prune-info x.json --output-path out/a.onnx"],
    "tiny_resume.pt": [f"trainer --model-path tiny.ckpt --data-dir set {TRAIN.replace('out', '.')} --resume"],
    "x.tar": [f"trainer --model-path tiny.ckpt --data-dir x.tar --val-dir set --steps-per-epoch 1 {TRAIN}"],
    "set/train/fg/0.png": [f"trainer --model-path tiny.ckpt --data-dir set {TRAIN}",
                           "prune --ckpt-path tiny.ckpt --rule tied --criterion taylor --data-dir set --save-dir out"],
    "set/val/alpha/0.png": ["eval --ckpt-path tiny.ckpt --data-dir set"],
    "x": [f"trainer --model-path tiny.ckpt --data-dir {data} {TRAIN} {more}" for data, more in
          (("x", ""), ("set", "--val-dir x"), ("set", "--background-dir x"), ("set", "--unlabeled-dir x --soc"),
           ("set", "--semantic-only-dir x"))] + ["eval --ckpt-path tiny.ckpt --data-dir x",
                                                 "convert --onnx-path tiny.onnx --precision int8 --calib-dir x",
                                                 "openvino --model-path tiny.xml --image-path x"],
    "blobs/x.blob": ["openvino --model-path tiny.xml --image-path img.png --cache-dir blobs"],
    "out": ["openvino --model-path tiny.xml --image-path img.png --output-dir out", "generate --output-dir out",
            "openvino --model-path tiny.xml --image-path img.png --cache-dir out"],
    "generated.json": ["generate --output-dir . --train 1 --val 1 --height 64 --width 64"]}
# A folder of that name is fine.
FOLDERS_DO = {"out"}
# Where every kind is tried; elsewhere each takes a second.
QUICK = {"x.xml", "x.onnx", "tiny.bin", "x.mp4", "x.txt", "x.ckpt", "x.json", "tiny.json", "out"}


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """An alarm: who opens a FIFO waits for ever."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def there(tmp_path: Path, discs: Path, tiny_xml: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with what the commands need."""
    discs.rename(tmp_path / "set")
    for path in (*(tiny_xml["free"].with_suffix(suffix) for suffix in (".xml", ".bin", ".onnx")),
                 *(tiny_xml["free"].with_name(f"tiny{suffix}") for suffix in (".ckpt", ".json"))):
        shutil.copy(path, tmp_path / f"tiny{path.suffix}")
    shutil.copy(tmp_path / "set/val/fg/0.png", tmp_path / "img.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("place", FLAGS)
def test_a_file_that_is_none_is_one_line(place: str, there: Path, capsys: pytest.CaptureFixture) -> None:
    path = there / place
    for kind in list(KINDS) if place in QUICK else ("fifo", "device", "link to itself"):
        if path.exists() or path.is_symlink():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if place in FOLDERS_DO and kind == "folder":
            continue
        path.parent.mkdir(exist_ok=True)
        KINDS[kind](path)
        before = sorted(there.rglob("*"))
        for command in FLAGS[place]:
            script, *options = command.split()
            assert status_of(scripts()[script], *options) == 2, (command, kind, capsys.readouterr())
            said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
            assert len(said) == 1 and said[0].startswith("error: "), (command, kind, said)
            assert Path(place).stem in said[0] or Path(place).parts[0] in said[0], (command, kind, said)
            assert sorted(there.rglob("*")) == before, (command, kind)


def test_entries_of_a_folder_that_are_no_files_are_left_out_by_name(there: Path, capsys, monkeypatch) -> None:
    pictures = there / "set" / "val" / "fg"
    kinds = [kind for kind in KINDS if kind not in ("empty file", "socket")]  # five are named, then a number
    for kind in kinds:
        KINDS[kind](pictures / f"{kind}.png")
    for script, options in (("openvino", ["--model-path", "tiny.xml", "--image-path", str(pictures)]),
                            ("openvino", ["--model-path", "tiny.xml", "--image-path", str(pictures / "*.png")]),
                            ("infer", ["--ckpt-path", "tiny.ckpt", "--input", str(pictures)])):
        monkeypatch.setattr("src.console._NOTED", set())
        assert status_of(scripts()[script], *options, "--save", "alpha", "--output-dir", "new") == 0
        said = capsys.readouterr()
        assert "left out" in said.err and all(f"{kind}.png" in said.err for kind in kinds), said.err
        assert said.out.count("_alpha.png") == 2, said.out


def test_entries_of_a_watched_folder_that_are_no_files_are_left_out_by_name(there: Path, capsys, monkeypatch) -> None:
    pictures, looks = there / "set" / "val" / "fg", []
    kinds = [kind for kind in KINDS if kind not in ("empty file", "folder")]
    for kind in kinds:
        KINDS[kind](pictures / f"{kind}.png")

    def look_thrice(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("src.runtime.pipes.complete_pictures", functools.partial(complete_pictures, sleep=look_thrice))
    assert status_of(inference_openvino.main, "--model-path", "tiny.xml", "--image-path", pictures, "--watch", "--save",
                     "alpha", "--output-dir", "new") == 0
    said = capsys.readouterr()
    assert all(f"{kind}.png: left out" in said.err for kind in kinds), said.err
    assert said.out.count("_alpha.png") == 2, said.out
