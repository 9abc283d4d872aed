from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from src.media.frame_decoder import FrameDecoder
from src.media.pyav import from_rgb, scaler
from src.media.video_item import Frame, Sound
from src.media.video_reader import VideoReader, fitted
from tests.conftest import write_video

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 90), (128, 128, 128), (255, 255, 255), (10, 10, 10)]


def flat(colour: tuple[int, int, int], height: int = 64, width: int = 96) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def frames_of(reader: VideoReader) -> list[Frame]:
    return [item for item in reader if isinstance(item, Frame)]


def test_frames_time_stamps_and_sound_come_as_they_lie_in_the_file(tmp_path: Path) -> None:
    pts = [0, 20, 100, 120, 600]
    path = write_video(tmp_path / "v.mp4", [flat((40 * i,) * 3) for i in range(5)], pts=pts, sound=True)
    reader = VideoReader(path)
    items = list(reader)
    assert (reader.info.height, reader.info.width, reader.info.count) == (64, 96, 5) and len(reader.info.sounds) == 1
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.time for frame in frames] == [pytest.approx(p / 600, abs=1e-4) for p in pts]
    assert [round(frame.image.mean()) for frame in frames] == pytest.approx([0, 40, 80, 120, 160], abs=2)
    assert sum(isinstance(item, Sound) for item in items) >= 40 and reader.problems == reader.remarks == []


@pytest.mark.parametrize(("matrix", "red_luma"), [(1, 63), (6, 81)])
def test_colours_come_back_by_the_files_own_matrix(tmp_path: Path, matrix: int, red_luma: int) -> None:
    path = write_video(tmp_path / "v.mp4", [flat(colour) for colour in COLOURS], matrix=matrix)
    # Red is 16 + 219 * 0.2126 by BT.709, 16 + 219 * 0.299 by BT.601.
    assert abs(int(next(av.open(str(path)).decode(video=0)).to_ndarray()[10, 10]) - red_luma) <= 1
    found = [frame.image[30, 40].astype(int) for frame in frames_of(VideoReader(path))]
    assert np.abs(np.array(found) - COLOURS).max() <= 3


def test_there_and_back_no_level_is_lost_in_the_mean() -> None:
    import cv2

    coarse = np.random.default_rng(0).integers(20, 230, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_LINEAR)
    back, opacity = FrameDecoder(1).decode(from_rgb(image, "yuv420p", 1, scaler()))
    assert opacity is None
    assert abs((back.astype(int) - image).mean()) < 0.1


def test_a_video_that_lies_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    lying = flat((0, 0, 0))
    lying[:, :48] = 255
    path = write_video(tmp_path / "v.mp4", [lying] * 2, rotation=-90)
    reader = VideoReader(path)
    assert (reader.info.height, reader.info.width) == (96, 64)
    image = frames_of(reader)[1].image
    assert image[:40].mean() > 250 and image[56:].mean() < 5     # clockwise: what was left is on top


def test_what_is_no_video_gets_one_line_and_a_picture_less_one_too(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(ValueError, match="bad.mp4 is not a video that can be read: "):
        VideoReader(tmp_path / "bad.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match="empty.mp4 is not a video that can be read: the file is empty"):
        VideoReader(tmp_path / "empty.mp4")
    with pytest.raises(FileNotFoundError, match="no video at"):
        VideoReader(tmp_path / "none.mp4")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_truncated_video_gives_what_is_there_and_says_so(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 96, 3), dtype=np.uint8)
    whole = write_video(tmp_path / f"v{suffix}", list(noise))
    if suffix == ".mp4":    # with the index in front, as for the web
        given, out = av.open(str(whole)), av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"})
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
        out.close()
        whole = tmp_path / "front.mp4"
    whole.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    reader = VideoReader(whole)
    assert 15 < len(frames_of(reader)) < 45
    assert "it ends after" in reader.problems[-1] and "of 2.40 s" in reader.problems[-1]


def test_a_video_whose_size_changes_is_fitted_into_its_first_size(tmp_path: Path) -> None:
    parts = [write_video(tmp_path / f"{name}.ts", [flat((250, 0, 0), *size)] * 3) for name, size in
             (("a", (64, 96)), ("b", (96, 64)))]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = VideoReader(path)
    frames = frames_of(reader)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)} and len(frames) == 6
    assert [int(frames[-1].image[32, column, 0] > 200) for column in (5, 48, 90)] == [0, 1, 0]
    assert reader.remarks == [f"{path}: its size changes from 96x64 to 64x96; such frames are fitted into the first size"]
    stamps = [frame.pts for frame in frames]
    assert stamps == sorted(set(stamps))


def test_fitted_keeps_the_aspect_ratio() -> None:
    found = fitted(np.full((10, 20, 3), 9, np.uint8), 40, 40)
    assert found.shape == (40, 40, 3) and found[20, 20, 0] == 9 and (found[:10] == 0).all() and (found[30:] == 0).all()


def test_stop_ends_the_loop(tmp_path: Path) -> None:
    reader = VideoReader(write_video(tmp_path / "v.mp4", [flat((0, 0, 0))] * 9))
    for count, _ in enumerate(reader):
        if count == 2:
            reader.stop()
    assert count == 2 and reader.problems == [] and reader.info.rate == Fraction(25)


def remuxed(given: Path, path: Path, *, later: int = 0, times: int = 1) -> Path:
    """Copy a video's pictures to another container, `later` seconds on, `times` over."""
    with av.open(str(given)) as source, av.open(str(path), "w") as out:
        streams = [out.add_stream_from_template(source.streams.video[0]) for _ in range(times)]
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            ticks = int(later / packet.time_base)
            for stream in streams:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts + ticks, packet.dts + ticks, packet.time_base
                copy.stream, copy.is_keyframe = stream, packet.is_keyframe
                out.mux(copy)
    return path


def test_a_video_that_begins_late_is_whole(tmp_path: Path) -> None:
    given = write_video(tmp_path / "v.mp4", [flat((40 * i,) * 3) for i in range(5)])
    reader = VideoReader(remuxed(given, tmp_path / "late.mkv", later=5))
    assert [round(frame.time, 2) for frame in frames_of(reader)] == [0, 0.04, 0.08, 0.12, 0.16]
    assert reader.problems == []


def test_further_videos_are_left_out_with_a_note_and_a_change_of_size_is_still_told(tmp_path: Path) -> None:
    given = write_video(tmp_path / "v.mp4", [flat((40 * i,) * 3) for i in range(3)])
    reader = VideoReader(remuxed(given, tmp_path / "two.mkv", times=2))
    assert len(frames_of(reader)) == 3 and reader.remarks == [f"{tmp_path / 'two.mkv'}: further videos are left out"]
    parts = [remuxed(write_video(tmp_path / f"{name}.mp4", [flat((250, 0, 0), *size)] * 3), tmp_path / f"{name}.ts", times=2)
             for name, size in (("a", (64, 96)), ("b", (96, 64)))]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = VideoReader(path)
    frames_of(reader)
    assert [("further videos" in remark, "its size changes" in remark) for remark in reader.remarks] \
        == [(True, False), (False, True)]


def encoded(path: Path, codec: str, pixel_format: str, count: int = 3, **options: str) -> Path:
    """Write red frames; of `mjpeg` as the picture of a cover, with a tone."""
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=48000, layout="mono") if codec == "mjpeg" else None
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        if tone:
            stream.disposition = av.stream.Disposition.attached_pic
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            out.mux([*tone.encode(frame), *tone.encode()])
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(flat((200, 0, 0)), format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_sound_with_the_picture_of_a_cover_is_no_video(tmp_path: Path) -> None:
    path = encoded(tmp_path / "song.mp4", "mjpeg", "yuvj420p", 1)
    with pytest.raises(ValueError, match="song.mp4 is not a video that can be read: it has no pictures but that of its"):
        VideoReader(path)


def test_an_interlaced_video_is_named(tmp_path: Path) -> None:
    reader = VideoReader(encoded(tmp_path / "v.mkv", "mpeg2video", "yuv420p", flags="+ildct+ilme"))
    assert len(frames_of(reader)) == 3 and "it is interlaced" in reader.remarks[0]
