from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.evaluation.predict import predict_alpha
from src.infer import main, parse_args
from src.media.compositing import composite
from src.media.foreground import estimate_foreground
from src.media.picture_reader import read_image
from src.script import run_script
from tests.conftest import ROOT, run, write_noise


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "in" / "face.png", (60, 80), (540, 400))


def test_the_published_command_and_its_defaults() -> None:
    args = parse_args(["--ckpt-path", "X.ckpt", "--prune-info", "X.json"])
    assert (args.input, args.output_dir, args.device) == ([Path("data/img.jpg")], Path("result"), "auto")
    assert args.save == ["alpha", "cutout", "composite"]


def test_the_help_promises_no_results_of_videos_which_are_not_read(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parse_args(["--help"])
    assert "of a video" not in " ".join(capsys.readouterr().out.split())


def test_as_a_user_runs_it_from_the_root_and_elsewhere(tmp_path: Path, tiny_ckpt: Path, picture: Path) -> None:
    done = run("src/infer.py", "--ckpt-path", tiny_ckpt, "--prune-info", tiny_ckpt.with_suffix(".json"), "--input",
               picture, "--output-dir", tmp_path / "out")
    assert done.returncode == 0 and str(tmp_path / "out" / "face_alpha.png") in done.stdout and done.stderr == ""
    done = run("src/infer.py", "--ckpt-path", "tiny.ckpt", "--input", "in/none.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: no picture or folder at in/none.png\n")


def test_files_hold_the_networks_matte_at_the_size_of_the_picture(
        tmp_path: Path, tiny_ckpt: Path, picture: Path, tiny_model) -> None:
    out = tmp_path / "out"
    assert main(["--ckpt-path", str(tiny_ckpt), "--input", str(picture), "--output-dir", str(out),
                 "--background", "0,177,64"]) == 0
    image = read_image(picture)
    alpha = predict_alpha(tiny_model, image)
    written = cv2.imread(str(out / "face_alpha.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, np.rint(alpha * 255))
    np.testing.assert_array_equal(read_image(out / "face_composite.png"),
                                  composite(estimate_foreground(image, alpha), alpha, (0, 177, 64)))
    assert cv2.imread(str(out / "face_cutout.png"), cv2.IMREAD_UNCHANGED).shape == (400, 540, 4)


def test_a_bad_file_in_a_folder_is_named_and_the_rest_done(
        tmp_path: Path, tiny_ckpt: Path, picture: Path, capsys: pytest.CaptureFixture) -> None:
    (picture.parent / "bad.png").write_bytes(picture.read_bytes()[:2000])
    cv2.imwrite(str(picture.parent / "one.png"), np.zeros((1, 1), np.uint8))
    options = ["--ckpt-path", str(tiny_ckpt), "--output-dir", str(tmp_path / "out"), "--save", "alpha"]
    assert main([*options, "--input", str(picture.parent)]) == 1
    assert "bad.png is not a picture that can be read" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["face_alpha.png", "one_alpha.png"]
    assert cv2.imread(str(tmp_path / "out" / "one_alpha.png"), cv2.IMREAD_UNCHANGED).shape == (1, 1)
    assert run_script(lambda: main([*options, "--input", str(picture.parent / "bad.png")])) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_8k_picture_works(tmp_path: Path, tiny_ckpt: Path) -> None:
    cv2.imwrite(str(tmp_path / "8k.jpg"), np.full((4320, 7680, 3), 99, np.uint8))
    assert main(["--ckpt-path", str(tiny_ckpt), "--input", str(tmp_path / "8k.jpg"), "--output-dir", str(tmp_path),
                 "--save", "alpha"]) == 0
    assert cv2.imread(str(tmp_path / "8k_alpha.png"), cv2.IMREAD_UNCHANGED).shape == (4320, 7680)


@pytest.mark.parametrize(("options", "said"), [
    (["--background", "red"], "background is 'red', allowed is R,G,B"), (["--device", "cuda:7"], "cuda:7 is not there"),
    (["--input", "EMPTY"], "no pictures in")])
def test_mistakes_get_one_line(tmp_path: Path, tiny_ckpt: Path, capsys: pytest.CaptureFixture, options: list[str],
                               said: str) -> None:
    (tmp_path / "EMPTY").mkdir()
    options = [option.replace("EMPTY", str(tmp_path / "EMPTY")) for option in options]
    assert run_script(lambda: main(["--ckpt-path", str(tiny_ckpt), "--output-dir", str(tmp_path), *options])) == 2
    assert said in capsys.readouterr().err


def test_the_sample_picture_is_there() -> None:
    assert min(read_image(ROOT / "data" / "img.jpg").shape[:2]) >= 256
