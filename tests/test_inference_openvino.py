from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("openvino")

import src.runtime.network
from inference_openvino import Matting, is_video, main, video_kinds, webcam_of
from src.checkpoint import load_model
from src.evaluation.predict import predict_alpha
from src.media.picture_reader import read_image, read_picture
from src.media.preprocess import to_alpha, to_byte_input, to_fixed_input
from src.runtime.network import shared_core
from src.script import run_script
from tests.conftest import ROOT, run, write_noise, write_video


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "in" / "face.png", (30, 40), (600, 120))


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
    np.testing.assert_allclose(matting.alpha(image), to_alpha(matte[:, :, rows, columns], 120, 600, smooth=True), atol=5e-4)
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


def test_urls_without_a_cluster_are_refused_in_one_line(
        tmp_path: Path, tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a.jpg\nfile:///a/b.jpg\n")
    network = ("--model-path", tiny_xml["static"])
    assert "--list list.txt names file:///a/b.jpg: URLs go with --ray" in error_of(capsys, *network, "--list", "list.txt")
    assert "s3://b/out is a URL" in error_of(capsys, *network, "--output-dir", "s3://b/out")
    assert "http://b/a.jpg is a URL" in error_of(capsys, *network, "--image-path", "http://b/a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_threads_are_not_dropped_for_a_device_that_chooses_them(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--threads", "1", "--device", "AUTO"])
    assert ended.value.code == 2 and "--threads goes with --device CPU, not with AUTO" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["MYRIAD", "FOO", "GPU.9", "HETERO:FOO,CPU"])
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


def test_a_network_with_pre_processing_inside_gives_the_same_alpha_and_a_false_one_is_refused(
        tmp_path: Path, tiny_xml: dict[str, Path], picture: Path, capsys: pytest.CaptureFixture) -> None:
    import openvino

    from src.deploy.embedded_input import embed_input

    image = read_image(picture)
    whole = slice(None), slice(None)
    for name, (given, box) in (("free", (to_byte_input(image), whole)),
                               ("static", to_fixed_input(image, 64, 96, as_bytes=True))):
        network = embed_input(shared_core().read_model(tiny_xml[name]), ref_size=256)
        openvino.save_model(network, str(tmp_path / f"{name}.xml"), compress_to_fp16=False)
        matte = Matting(tiny_xml[name]).alpha(given[0])[box]
        expected = to_alpha(matte[None, None], 120, 600, smooth=True)
        np.testing.assert_allclose(Matting(tmp_path / f"{name}.xml").alpha(image), expected, atol=5e-4)
    network.set_rt_info("f32_nchw_bgr", ["modnet", "input"])
    openvino.save_model(network, str(tmp_path / "false.xml"))
    assert "false.xml is not a matting network: its metadata says input 'f32_nchw_bgr'" in error_of(
        capsys, "--model-path", tmp_path / "false.xml")


def test_started_inferences_finish_with_what_alpha_gives_in_any_order(
        tiny_xml: dict[str, Path], picture: Path) -> None:
    matting, image = Matting(tiny_xml["free"], hint="throughput"), read_image(picture)
    pictures = [np.roll(image, 50 * shift, 1) for shift in range(5)]
    started = [matting.start(one) for one in pictures]
    for one, job in reversed(list(zip(pictures, started, strict=True))):
        np.testing.assert_allclose(to_alpha(matting.finish(job)[None, None], 120, 600), matting.alpha(one), atol=1e-5)
    assert min(matting.total_ms.values()) > 0


def test_a_network_fixed_to_a_size_gives_the_same_alpha_and_fits_other_pictures_in(
        tmp_path: Path, tiny_xml: dict[str, Path], picture: Path) -> None:
    import openvino

    from src.deploy.embedded_input import embed_input

    openvino.save_model(embed_input(shared_core().read_model(tiny_xml["free"])), str(tmp_path / "e.xml"),
                        compress_to_fp16=False)
    image = read_image(picture)
    for path in (tiny_xml["free"], tmp_path / "e.xml"):
        matting = Matting(path)
        expected = matting.alpha(image)
        for size in ((64, 64), image.shape[:2]):
            matting.fix_size(*size)
            assert matting.alpha(image).shape == (120, 600)
        np.testing.assert_allclose(matting.alpha(image), expected, atol=5e-4)
        np.testing.assert_allclose(to_alpha(matting.finish(matting.start(image))[None, None], 120, 600), expected, atol=5e-4)
    assert Matting(tiny_xml["static"]).fix_size(50, 50) is None


@pytest.mark.parametrize(("number", "said"), [
    ({"ref_size": -1}, "ref_size is -1, allowed are whole numbers from 32 to 2048"), ({"ref_size": 0}, "ref_size is 0, "),
    ({"threads": 0}, "threads is 0, allowed are whole numbers from 1"), ({"at_once": 0}, "at_once is 0, ")])
def test_numbers_from_python_that_say_nothing_are_refused(tiny_xml: dict[str, Path], number: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Matting(tiny_xml["free"], **number)


def test_a_size_that_is_past_is_not_kept(tiny_xml: dict[str, Path]) -> None:
    matting, queues = Matting(tiny_xml["free"], hint="throughput"), []
    for size in ((64, 96), (96, 64), (64, 96)):
        matting.fix_size(*size)
        assert matting.finish(matting.start(np.zeros((*size, 3), np.uint8))).ndim == 2
        queues.append(weakref.ref(matting._queue))
    gc.collect()
    assert [queue() is None for queue in queues] == [True, True, False]


def test_the_python_door_refuses_other_arrays(tiny_xml: dict[str, Path]) -> None:
    matting = Matting(tiny_xml["free"])
    for image in (np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\), RGB"):
            matting.alpha(image)


def test_the_shipped_model_is_the_default_and_int8_comes_first(
        tmp_path: Path, tiny_xml: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    shipped = tuple(tmp_path / f"pruned_modnet_{precision}.xml" for precision in ("int8", "fp16"))
    monkeypatch.setattr(src.runtime.network, "SHIPPED", {"quality": shipped})
    line = error_of(capsys)
    assert line.startswith("error: no OpenVINO model at ") and "give --model-path" in line
    for path in reversed(shipped):
        for suffix in (".xml", ".bin"):
            shutil.copy(tiny_xml["free"].with_suffix(suffix), path.with_suffix(suffix))
        assert Matting().path == path


@pytest.mark.parametrize(("options", "said"), [
    (["--model", "best"], "error: model is best, allowed are quality, fast"),
    (["--model", "fast", "--model-path", "x.xml"], "error: --model fast goes without --model-path"),
    (["--ref-size", "250"], "error: --ref-size is 250, allowed are multiples of 32 from 256 to 1024"),
    (["--ref-size", "1056"], "error: --ref-size is 1056, allowed are multiples of 32 from 256 to 1024"),
    (["--ref-size", "400"], "error: --ref-size is 400, allowed are multiples of 32 from 256 to 1024")])
def test_a_network_or_size_that_cannot_be_is_said_in_one_line(options: list[str], said: str,
                                                             capsys: pytest.CaptureFixture) -> None:
    assert error_of(capsys, *options).startswith(said)


def test_a_network_that_does_not_ship_yet_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(src.runtime.network.SHIPPED, "fast", (tmp_path / "pruned_modnet_fast_int8.xml",))
    assert "no OpenVINO model at" in (line := error_of(capsys, "--model", "fast")) and "pruned_modnet_fast_int8.xml" in line


def test_the_mode_follows_from_the_name_unless_said() -> None:
    assert [is_video(Path(path), mode) for path, mode in (
        ("a.jpg", None), ("a.MP4", None), ("a.mp4", "image"), ("a", "video"), ("a.jpg", "video"))] == [
        False, True, False, True, False]
    assert [webcam_of(*given) for given in (
        ("video", ["0"], None), (None, [], 1), ("webcam", [], None), (None, ["3"], None), ("webcam", ["2"], None),
        (None, ["2"], 2))] == [0, 1, 0, None, 2, 2]
    assert video_kinds(None, "none") == ("alpha", "composite")
    assert video_kinds(["cutout", "alpha"], "none") == ("alpha",)


def test_no_camera_and_no_place_to_write_get_one_line(
        tmp_path: Path, tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    assert error_of(capsys, "--model-path", tiny_xml["static"], "--camera", 97) == (
        "error: webcam 97 is not there, or gives no picture")
    (tmp_path / "file").touch()
    assert "output-dir" in error_of(capsys, "--model-path", tiny_xml["static"], "--output-dir", tmp_path / "file" / "out")


@pytest.mark.parametrize(("options", "said"), [
    (["--camera", "-1"], "error: --camera is -1, allowed are whole numbers from 0"),
    (["--camera", "0", "--image-path", "a.jpg"],
     "error: --image-path a.jpg does not go with --camera 0: leave one of them out"),
    (["--camera", "0", "--image-path", "1"], "error: --image-path 1 does not go with --camera 0: leave one of them out"),
    (["--mode", "webcam", "--image-path", "talk.mp4"],
     "error: --image-path talk.mp4 does not go with --mode webcam: leave one of them out"),
    (["--mode", "webcam", "--image-path", "data/img.jpg"],
     "error: --image-path data/img.jpg does not go with --mode webcam: leave one of them out"),
    (["--image-path", "-", "--skip-existing"], "error: --image-path - goes without --skip-existing"),
    (["--image-path", "data/img.jpg", "--output", "-", "--skip-existing"],
     "error: --output - goes without --skip-existing"),
    (["--camera", "0", "--skip-existing"], "error: --skip-existing goes with files, not with a webcam"),
    (["--camera", "0", "--list", "a.txt"], "error: --list a.txt does not go with the webcam: leave one of them out"),
    (["--image-path", "holiday", "b.jpg", "--list", "a.txt"],
     "error: --image-path holiday does not go with --list a.txt: leave one of them out")])
def test_nothing_that_was_named_is_dropped_for_something_else(options: list[str], said: str,
                                                              capsys: pytest.CaptureFixture) -> None:
    assert error_of(capsys, *options) == said


def test_a_pattern_and_a_sheet_on_a_picture(tmp_path: Path, tiny_xml: dict[str, Path], picture: Path) -> None:
    assert main(["--model-path", str(tiny_xml["static"]), "--image-path", str(picture.parent / "*.png"), "--save", "sheet",
                 "--background", str(picture), "--output-dir", str(tmp_path / "out")]) == 0
    assert read_image(tmp_path / "out" / "face_sheet.png").shape[1] == 4 * 600


@pytest.mark.skipif(sys.platform != "linux", reason="only there a display can be taken away")
def test_show_without_a_display_gets_one_line(
        tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "--show needs a display" in error_of(capsys, "--model-path", tiny_xml["free"], "--show")


def test_pictures_and_videos_of_several_folders_with_one_command_and_what_is_there_is_skipped(
        tmp_path: Path, tiny_xml: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("av")
    colours = np.random.default_rng(1).integers(0, 256, (64, 96, 4), dtype=np.uint8)
    colours[..., 3] = 255
    colours[:, 48:] = (0, 255, 0, 0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    Image.fromarray(colours).save(tmp_path / "a" / "x.png", dpi=(300, 300))
    Image.fromarray(colours[..., :3]).save(tmp_path / "b" / "x.jpg")
    (tmp_path / "b" / "._x.jpg").touch()
    write_video(tmp_path / "b" / "clip.mp4", [colours[..., :3]] * 2)
    options = ["--model-path", str(tiny_xml["static"]), "--image-path", str(tmp_path / "a"), str(tmp_path / "b" / "*"),
               "--save", "alpha", "composite", "--format", "jpg", "--output-dir", str(tmp_path / "out")]
    assert main(options) == 0 and capsys.readouterr().err == ""
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["a/x_alpha.png", "a/x_composite.jpg", "b/x_alpha.png", "b/x_composite.jpg", "clip_alpha.mp4",
                     "clip_composite.mp4", "clip_times.json"]
    alpha, composite = (read_picture(tmp_path / "out" / "a" / f"x_{name}") for name in ("alpha.png", "composite.jpg"))
    assert (alpha.image[:, 48:] == 0).all() and alpha.image[:, :48].any() and round(alpha.dpi[0]) == 300
    assert (composite.image[:, 56:] > 250).all()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    assert main([*options, "--skip-existing"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 pictures left out" in said and "clip.mp4 left out" in said
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
