from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("av")

from tests.conftest import ROOT

sys.path.append(str(ROOT / "bench"))

import temporal
import video

from src.data.portraits.generate import portrait_layers
from src.media.backdrop import parse_backdrop
from src.media.video_results import Look
from src.runtime.matting import Matting


def test_the_first_frames_and_no_more_are_read_and_both_sides_are_measured(tmp_path: Path) -> None:
    video.write_clip(tmp_path / "clip.mp4", 12)
    assert len(list(video.FirstFrames(tmp_path / "clip.mp4", 5))) == 5
    video.write_constant_model(tmp_path / "m.xml")
    found = video.compare(tmp_path / "clip.mp4", model_path=tmp_path / "m.xml", count=5, turns=2, hint="latency",
                          look=Look(["composite"], parse_backdrop("0,0,0")))
    assert found["ratio"] == pytest.approx(found["end_to_end_fps"] / found["model_fps"]) and len(found["ratios"]) == 2
    assert found["end_to_end_cpu_ms"] > found["model_cpu_ms"] > 0


def test_a_swaying_portrait_begins_as_drawn_and_its_alpha_moves_with_it() -> None:
    frames = list(temporal.swaying_portrait(0, 13, noise=0))
    layers = portrait_layers(0)
    np.testing.assert_array_equal(frames[0][1], layers.alpha.astype(np.float32) / 255)
    centres = [float((alpha * np.arange(320)).sum() / alpha.sum()) for _, alpha in frames]
    assert 10 < centres[12] - centres[0] < 30 and np.all(np.diff(centres) > 0)
    assert frames[0][0].shape == (384, 320, 3) and frames[0][0].dtype == np.uint8


def test_a_video_of_fewer_frames_than_are_counted_is_refused(tmp_path: Path) -> None:
    video.write_clip(tmp_path / "clip.mp4", 6)
    video.write_constant_model(tmp_path / "m.xml")
    matting, look = Matting(tmp_path / "m.xml"), Look(["composite"], parse_backdrop("0,0,0"))
    assert set(temporal.on_video(matting, tmp_path / "clip.mp4", 6)) == {"none", "ofd"}
    with pytest.raises(ValueError, match=r"clip\.mp4 has 6 frames, --frames is 7"):
        temporal.on_video(matting, tmp_path / "clip.mp4", 7)
    with pytest.raises(ValueError, match=r"clip\.mp4 has 6 frames, needed are 7"):
        video.end_to_end(matting, tmp_path / "clip.mp4", look, 7)


@pytest.mark.parametrize(("script", "option", "said"), [
    (video, ["--save", "cutuot"], "argument --save: invalid choice"),
    (video, ["--foreground", "slow"], "argument --foreground: invalid choice"),
    (temporal, ["--frames", "2"], "--frames are from 3"), (temporal, ["--seeds", "-1"], "--seeds from 0")])
def test_what_cannot_be_measured_is_refused_by_its_flag(
        script: ModuleType, option: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        script.parse_args(option)
    assert ended.value.code == 2 and said in capsys.readouterr().err
