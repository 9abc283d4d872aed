from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")
av = pytest.importorskip("av")

import src.media.video_writer
from inference_openvino import main
from src.media.backdrop import parse_backdrop
from src.media.preprocess import to_alpha
from src.media.video_item import Frame
from src.media.video_reader import VideoReader
from src.media.video_results import Look
from src.media.video_writer import MPEG4
from src.runtime.matting import Matting
from src.runtime.video import matte_video
from src.script import run_script
from tests.conftest import write_video

PTS = [0, 20, 40, 100, 120, 300, 310, 600]


def scene(level: int) -> np.ndarray:
    """Soft colours, brighter with `level`."""
    coarse = np.random.default_rng(3).integers(30, 150, (6, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC) + np.uint8(10 * level)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight frames at uneven times, with a tone."""
    return write_video(tmp_path / "clip.mp4", [scene(i) for i in range(8)], pts=PTS, sound=True)


@pytest.fixture
def whole(tmp_path: Path) -> Matting:
    """A network whose matte is 1 everywhere."""
    return constant(tmp_path, 1.0)


def constant(folder: Path, value: float) -> Matting:
    """A matting network whose matte is `value` where the picture is bright, and everywhere for `value` 1."""
    import openvino
    from openvino import opset8

    image = opset8.parameter([1, 3, 64, 96], np.float32)
    grey = opset8.reduce_mean(image, np.array([1]), True)
    matte = opset8.clamp(opset8.add(grey, np.float32(2 if value == 1 else 0.5)), 0.0, 1.0)
    openvino.save_model(openvino.Model([matte], [image]), str(folder / "m.xml"), compress_to_fp16=False)
    return Matting(folder / "m.xml")


def frames_of(path: Path) -> list[Frame]:
    return [item for item in VideoReader(path) if isinstance(item, Frame)]


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux(audio=0)
                if packet.pts is not None]


def test_a_composite_keeps_frames_times_colours_and_sound(tmp_path: Path, clip: Path, whole: Matting) -> None:
    done = matte_video(VideoReader(clip), whole, Look(["composite", "alpha"], parse_backdrop("0,255,0")),
                       output_dir=tmp_path / "out")
    composite, alpha = done.paths
    assert done.frames == 8 and done.problems == done.remarks == []
    before, after = frames_of(clip), frames_of(composite)
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=1e-4)
    for one, other in zip(before, after, strict=True):
        off = other.image.astype(int) - one.image
        assert abs(off.mean()) < 0.5 and np.abs(off).mean() < 3
    assert sound_of(composite) == sound_of(clip) and len(sound_of(clip)) > 40
    with av.open(str(clip)) as one, av.open(str(composite)) as other:
        assert other.duration == pytest.approx(one.duration, abs=50_000)
        assert other.streams.video[0].codec_context.colorspace == one.streams.video[0].codec_context.colorspace
    with av.open(str(alpha)) as container:
        assert not container.streams.audio
        assert min(frame.to_ndarray(format="gray").min() for frame in container.decode(video=0)) >= 250
    assert set(done.stage_ms) == {"decode", "preprocess", "infer", "compose", "encode"} and min(done.stage_ms.values()) > 0


@pytest.mark.parametrize(("save", "alpha_video"), [("composite", "none"), ("cutout", "prores"), ("cutout", "vp9")])
def test_the_last_frame_is_shown_as_long_as_before(tmp_path: Path, whole: Matting, save: str, alpha_video: str) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(scene(i)) for i in range(3))
    first.save(tmp_path / "slow.gif", save_all=True, append_images=others, duration=[100, 100, 2000])
    done = matte_video(VideoReader(tmp_path / "slow.gif"), whole, Look([save], parse_backdrop("0,0,0"), "none", alpha_video),
                       output_dir=tmp_path / "out")
    with av.open(str(done.paths[0])) as container:
        assert container.duration == pytest.approx(2_200_000, abs=20_000)


@pytest.mark.parametrize(("alpha_video", "suffix"), [("prores", ".mov"), ("vp9", ".webm")])
def test_a_cutout_has_its_alpha_in_the_video(tmp_path: Path, clip: Path, alpha_video: str, suffix: str) -> None:
    matting = constant(tmp_path, 0.5)
    path, = matte_video(VideoReader(clip), matting, Look(["cutout"], parse_backdrop("0,0,0"), "none", alpha_video),
                        output_dir=tmp_path / "out").paths
    assert path.name == f"clip_cutout{suffix}"
    with av.open(str(path)) as container:
        if alpha_video == "vp9":    # FFmpeg's own VP9 decoder leaves the alpha out
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            found = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet)]
        else:
            found = list(container.decode(video=0))
    assert len(found) == 8 and "a" in found[0].format.name
    frame = frames_of(clip)[3]
    expected = to_alpha(matting.finish(matting.start(frame.image))[None, None], 64, 96)
    alpha = found[3].reformat(format="rgba").to_ndarray()[..., 3] / 255
    assert np.abs(alpha - expected).mean() < 0.03 and 0.1 < expected.mean() < 0.9 and expected.std() > 0.05


def test_order_is_kept_and_one_frame_delay_takes_a_flash_out(tmp_path: Path) -> None:
    dark, bright = np.zeros((64, 96, 3), np.uint8), np.full((64, 96, 3), 255, np.uint8)
    clip = write_video(tmp_path / "f.mp4", [dark] * 4 + [bright] + [dark] * 4 + [bright] * 2, sound=True)
    matting = constant(tmp_path, 0.5)
    found = {}
    for temporal in ("none", "ofd"):
        path, = matte_video(VideoReader(clip), matting, Look(["alpha"], parse_backdrop("0,0,0"), temporal=temporal),
                            output_dir=tmp_path / temporal).paths
        found[temporal] = [int(frame.image.mean() > 100) for frame in frames_of(path)]
    assert found == {"none": [0] * 4 + [1] + [0] * 4 + [1, 1], "ofd": [0] * 9 + [1, 1]}


def test_odd_sides_lose_a_row_and_a_missing_libx264_is_stood_in_for(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Matting) -> None:
    monkeypatch.setattr(src.media.video_writer, "H264", MPEG4._replace(codec="no_such_codec"))
    clip = write_video(tmp_path / "o.mkv", [np.full((65, 97, 3), 90, np.uint8)] * 3, codec="ffv1")
    done = matte_video(VideoReader(clip), whole, Look(["composite"], parse_backdrop("0,0,0")), output_dir=tmp_path / "out")
    path, = done.paths
    assert done.remarks == [f"{path}: the last row and column of 97x65 left out, mpeg4 takes even sides"]
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert [frame.image.shape for frame in frames_of(path)] == [(64, 96, 3)] * 3


def test_a_truncated_video_is_written_as_far_as_it_goes_and_the_status_is_1(
        tmp_path: Path, whole: Matting, capsys: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    clip = write_video(tmp_path / "t.mkv", list(noise))
    clip.write_bytes(clip.read_bytes()[:clip.stat().st_size // 2])
    assert main(["--model-path", str(whole.path), "--image-path", str(clip), "--output-dir", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "t.mkv: read in part, " in said.err and "it ends after" in said.err
    record = json.loads((tmp_path / "out" / "t_times.json").read_text())
    assert record["frames"] == len(frames_of(tmp_path / "out" / "t_composite.mp4")) > 10 and record["problems"]
    assert record["fps"] == pytest.approx(record["frames"] / record["seconds"])


def test_an_unreadable_video_and_a_cutout_without_a_format_get_one_line(
        tmp_path: Path, clip: Path, whole: Matting, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"junk" * 100)
    for path, options, said in ((tmp_path / "bad.mp4", [], "bad.mp4 is not a video"),
                                (tmp_path / "none.mp4", [], "no video at"),
                                (clip, ["--save", "cutout", "--alpha-video", "none"], "writes nothing")):
        assert run_script(lambda p=path, o=options: main(["--model-path", str(whole.path), "--image-path", str(p),
                                                          "--output-dir", str(tmp_path / "out"), *o])) == 2
        line, = capsys.readouterr().err.splitlines()
        assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["start", "finish"])
def test_a_video_that_stops_by_ctrl_c_leaves_no_file(
        tmp_path: Path, clip: Path, whole: Matting, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    real, calls = getattr(Matting, where), []

    def fail(self: Matting, argument: object) -> object:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return real(self, argument)

    monkeypatch.setattr(Matting, where, fail)
    options = ["--model-path", str(whole.path), "--output-dir", str(tmp_path / "out"), "--image-path", str(clip)]
    assert run_script(lambda: main(options)) == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_gets_one_line_and_leaves_no_file(
        tmp_path: Path, clip: Path, whole: Matting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    class Full:
        """An output container on a full disk."""

        def __init__(self, container: object) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def mux(self, packets: object) -> None:
            raise av.FFmpegError(28, "No space left on device", "clip")

    opened = av.open
    monkeypatch.setattr(av, "open", lambda file, mode="r", **kw: Full(opened(file, mode)) if mode == "w" else opened(file))
    options = ["--model-path", str(whole.path), "--output-dir", str(tmp_path / "out"), "--image-path", str(clip)]
    assert run_script(lambda: main(options)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in line and line.startswith("error: ")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_pixel_that_is_not_square_stays_so(tmp_path: Path, whole: Matting) -> None:
    reader = VideoReader(write_video(tmp_path / "s.mp4", [scene(0)] * 2))
    reader.info = reader.info._replace(pixel_shape=Fraction(4, 3))
    path, = matte_video(reader, whole, Look(["composite"], parse_backdrop("0,0,0")), output_dir=tmp_path / "out").paths
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
