"""Every script takes files and folders whose names are bytes that no UTF-8 is, and writes others beside them."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnx", minversion="1.0")

import inference_openvino
from src import average, eval, generate_portraits, infer, trainer
from tests.conftest import status_of, write_video

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there names are text")
ODD = os.fsdecode(b"\xff\xe4")


def scripts() -> dict:
    """The `main` of each script, its options, and the kinds of files that it writes."""
    import convert_openvino
    import export_onnx

    return {
        "inference_openvino": (inference_openvino.main, ["--model-path", "x.xml", "--image-path", "set/val/fg", "v.mp4",
                                                         "--background", "set/val/fg/0.png", "--output-dir", "out"], ".png"),
        "onnx": (inference_openvino.main, ["--model-path", "x.onnx", "--list", "list.txt", "--output-dir", "out"], ".png"),
        "eval": (eval.main, ["--ckpt-path", "x.ckpt", "x.onnx", "--data-dir", "set", "--output-dir", "out", "--sheet", "1"],
                 ".csv"),
        "infer": (infer.main, ["--ckpt-path", "x.ckpt", "--prune-info", "x.json", "--input", "set/val/fg", "--output-dir",
                               "out"], ".png"),
        "export": (export_onnx.main, ["--ckpt-path", "x.ckpt", "--output-path", "out/y.onnx"], ".onnx"),
        "convert": (convert_openvino.main, ["--onnx-path", "x.onnx", "--output-path", "out/y.xml"], ".xml"),
        "trainer": (trainer.main, ["--model-path", "x.ckpt", "--data-dir", "set", "--epoch", "1", "--input-size", "64",
                                   "--cache-dir", "cache", "--teacher", "x.ckpt", "--save-dir", "out"], ".ckpt"),
        "average": (average.main, ["--ckpt-path", "x.ckpt", "--output-path", "out/a.ckpt"], ".ckpt"),
        "generate": (generate_portraits.main, ["--train", "1", "--val", "1", "--height", "64", "--width", "64",
                                               "--output-dir", "out"], ".json")}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, tiny_xml: dict[str, Path]) -> Path:
    """A folder with each kind of input; its own name and those of the files are no UTF-8."""
    folder = tmp_path_factory.mktemp("odd") / ODD
    folder.mkdir()
    for suffix in (".xml", ".bin", ".onnx"):
        shutil.copy(tiny_xml["free"].with_suffix(suffix), folder / f"{ODD}x{suffix}")
    for suffix in (".ckpt", ".json"):
        shutil.copy(tiny_xml["free"].with_name(f"tiny{suffix}"), folder / f"{ODD}x{suffix}")
    return folder


@pytest.mark.parametrize("name", ["inference_openvino", "onnx", "eval", "infer", "export", "convert", "trainer", "average",
                                  "generate"])
def test_names_that_are_no_utf8(name: str, odd: Path, discs: Path, capsys: pytest.CaptureFixture) -> None:
    import numpy as np

    shutil.copytree(discs, odd / f"{ODD}set", dirs_exist_ok=True)
    for kind in ("fg", "alpha"):
        shutil.copy(discs / "val" / kind / "0.png", odd / f"{ODD}set" / "val" / kind / f"{ODD}.png")
    write_video(odd / "v.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2).rename(odd / f"{ODD}v.mp4")
    (odd / f"{ODD}list.txt").write_bytes(os.fsencode(odd / f"{ODD}set/val/fg/{ODD}.png"))
    main, options, suffix = scripts()[name]
    files = ("x.", "set", "v.mp4", "list", "out", "cache")
    given = [str(odd / f"{ODD}{option}") if option.startswith(files) else option for option in options]
    assert status_of(main, *given) == 0, capsys.readouterr().err
    made = [*odd.glob(f"{ODD}out*")]
    assert any(path.suffix == suffix for folder in made for path in folder.rglob("*")), made
    for folder in made:
        shutil.rmtree(folder)


def test_tensorboard_which_takes_no_such_names_is_refused_before_any_work(odd: Path, discs: Path, capsys) -> None:
    assert status_of(trainer.main, "--model-path", odd / f"{ODD}x.ckpt", "--data-dir", discs, "--save-dir", odd / "new",
                     "--tensorboard") == 2
    assert "--tensorboard writes to folders with names in UTF-8 alone, not to " in capsys.readouterr().err
    assert not (odd / "new").exists()
