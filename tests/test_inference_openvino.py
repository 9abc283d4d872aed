from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")

from inference_openvino import Matting, main
from src.checkpoint import load_model
from src.predict import predict_alpha
from src.preprocess import read_image, to_alpha, to_fixed_input
from src.script import run_script
from tests.conftest import ROOT, run, write_noise


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "in" / "face.png", (30, 40), (600, 120))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 12.0, (640, 96))
    for frame in range(4):
        writer.write(np.full((96, 640, 3), 60 * frame, np.uint8))
    writer.release()
    return tmp_path / "clip.mp4"


def error_of(capsys: pytest.CaptureFixture, *options: object) -> str:
    """The one line on stderr of a call that ends with status 2."""
    assert run_script(lambda: main([*map(str, options)])) == 2
    line, = capsys.readouterr().err.splitlines()
    return line


def test_it_imports_no_torch() -> None:
    code = "import sys, inference_openvino; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_free_model_gives_the_networks_alpha(tiny_xml: dict[str, Path], picture: Path) -> None:
    image = read_image(picture)
    alpha = Matting(tiny_xml["free"]).alpha(image)
    assert alpha.shape == (120, 600) and alpha.dtype == np.float32
    expected = predict_alpha(load_model(tiny_xml["free"].with_name("tiny.ckpt")), image)
    np.testing.assert_allclose(alpha, expected, atol=5e-4)


def test_the_static_model_sees_the_padded_picture_and_its_matte_is_cut_back(
        tiny_xml: dict[str, Path], picture: Path) -> None:
    import torch

    image = read_image(picture)
    batch, (rows, columns) = to_fixed_input(image, 64, 96)
    with torch.inference_mode():
        model = load_model(tiny_xml["free"].with_name("tiny.ckpt"))
        matte = model(torch.from_numpy(batch), inference=True)[2].numpy()
    matting = Matting(tiny_xml["static"])
    np.testing.assert_allclose(matting.alpha(image), to_alpha(matte[:, :, rows, columns], 120, 600), atol=5e-4)
    assert list(matting.milliseconds) == ["preprocess", "infer", "postprocess"]
    assert all(value > 0 for value in matting.milliseconds.values())


def test_the_published_command_from_the_root_and_elsewhere(tmp_path: Path, tiny_xml: dict[str, Path]) -> None:
    done = run("inference_openvino.py", "--model-path", tiny_xml["free"], "--image-path", ROOT / "data" / "img.jpg",
               "--device", "CPU", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    for word in ("preprocess", "infer", "postprocess", " ms", "result/img_alpha.png"):
        assert word in done.stdout
    size = read_image(ROOT / "data" / "img.jpg").shape
    assert read_image(tmp_path / "result" / "img_composite.png").shape == size
    done = run("inference_openvino.py", "--model-path", "none.xml", "--image-path", "data/img.jpg")
    assert (done.returncode, done.stderr) == (2, "error: no OpenVINO model at none.xml\n")


def test_a_bad_file_in_a_folder_is_named_and_the_rest_done(
        tmp_path: Path, tiny_xml: dict[str, Path], picture: Path, capsys: pytest.CaptureFixture) -> None:
    (picture.parent / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    assert main(["--model-path", str(tiny_xml["static"]), "--image-path", str(picture.parent), "--output-dir",
                 str(tmp_path / "out"), "--save", "alpha"]) == 1
    said = capsys.readouterr()
    assert "bad.jpg is not a picture" in said.err and "face_alpha.png" in said.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["face_alpha.png"]


def test_a_video_becomes_two_videos_of_its_size_and_speed(
        tmp_path: Path, tiny_xml: dict[str, Path], video: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["--model-path", str(tiny_xml["static"]), "--image-path", str(video), "--mode", "video", "--output-dir",
                 str(out)]) == 0
    said = capsys.readouterr().out
    assert "cutout left out" in said and "4 frames, median preprocess" in said and " fps" in said
    assert sorted(path.name for path in out.iterdir()) == ["clip_alpha.mp4", "clip_composite.mp4"]
    for path in out.iterdir():
        capture = cv2.VideoCapture(str(path))
        found = [capture.get(prop) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS,
                                                cv2.CAP_PROP_FRAME_COUNT)]
        assert found == [640, 96, 12, 4]


def test_an_unreadable_video_and_a_mere_cutout_get_one_line(
        tmp_path: Path, tiny_xml: dict[str, Path], video: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--model-path", tiny_xml["static"], "--mode", "video", "--output-dir", tmp_path / "out"]
    (tmp_path / "bad.mp4").write_bytes(b"junk" * 100)
    assert "bad.mp4 is not a video" in error_of(capsys, *options, "--image-path", tmp_path / "bad.mp4")
    assert "no video at" in error_of(capsys, *options, "--image-path", tmp_path / "none.mp4")
    assert "no alpha channel" in error_of(capsys, *options, "--image-path", video, "--save", "cutout")
    assert not (tmp_path / "out").exists()


def test_a_video_that_stops_by_an_error_leaves_no_file(
        tmp_path: Path, tiny_xml: dict[str, Path], video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Matting, image: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(Matting, "alpha", fail)
    options = ["--model-path", str(tiny_xml["static"]), "--mode", "video", "--output-dir", str(tmp_path / "out")]
    assert run_script(lambda: main([*options, "--image-path", str(video)])) == 130
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("device", ["MYRIAD", "FOO", "GPU.9", "", "HETERO:FOO,CPU"])
def test_a_device_that_is_not_there_gets_a_line_with_those_that_are(
        tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture, device: str) -> None:
    line = error_of(capsys, "--model-path", tiny_xml["static"], "--device", device)
    assert f"device {device}" in line and "CPU" in line
    assert ("2022.3.1" in line) == (device == "MYRIAD")


def test_a_broken_pair_and_a_foreign_network_are_refused_by_name(
        tmp_path: Path, tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    import openvino

    shutil.copy(tiny_xml["free"], tmp_path / "half.xml")
    assert "no weights at" in error_of(capsys, "--model-path", tmp_path / "half.xml")
    (tmp_path / "half.bin").write_bytes(b"")
    assert "half.xml is not a model that OpenVINO reads" in error_of(capsys, "--model-path", tmp_path / "half.xml")
    image = openvino.opset8.parameter([1, 3, 8, 8], np.float32)
    openvino.save_model(openvino.Model([openvino.opset8.relu(image)], [image]), str(tmp_path / "relu.xml"))
    assert "relu.xml is not a matting network: it has [1,3,8,8], [1,3,8,8]" in error_of(
        capsys, "--model-path", tmp_path / "relu.xml")


@pytest.mark.skipif(sys.platform != "linux", reason="only there a display can be taken away")
def test_show_without_a_display_gets_one_line(
        tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "--show needs a display" in error_of(capsys, "--model-path", tiny_xml["free"], "--show")
