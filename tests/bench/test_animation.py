"""The animated picture of README: as long as the video, and over the old one only if it is small enough."""
from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageSequence

pytest.importorskip("openvino")
pytest.importorskip("av")

from tests.conftest import bench_script

animation, video = bench_script("animation"), bench_script("video")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """30 frames in a second."""
    video.write_clip(tmp_path / "clip.mp4", 30)
    video.write_constant_model(tmp_path / "m.xml")
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_it_lasts_as_long_as_what_it_shows(clip: Path, tmp_path: Path, seconds: float) -> None:
    animation.animate(clip, tmp_path / "a.webp", model_path=tmp_path / "m.xml", seconds=seconds, width=160)
    with Image.open(tmp_path / "a.webp") as picture:
        times = [frame.load() and frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
    assert times == [100] * 10


def test_one_that_is_too_large_leaves_the_old_one(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.webp").write_bytes(b"old")
    monkeypatch.setattr(animation, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match=r"a\.webp would have \d+ bytes, allowed are 10"):
        animation.animate(clip, tmp_path / "a.webp", model_path=tmp_path / "m.xml", width=160)
    assert (tmp_path / "a.webp").read_bytes() == b"old"


@pytest.mark.parametrize("option", [["--seconds", "0"], ["--seconds", "nan"], ["--start", "-1"], ["--width", "0"],
                                    ["--quality", "101"]])
def test_numbers_that_give_no_picture_are_refused(option: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        animation.parse_args(["--video", "a.mp4", *option])
    assert ended.value.code == 2 and option[0] in capsys.readouterr().err
