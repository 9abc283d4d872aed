"""Transport streams whose clock begins anywhere and begins anew, against the recordings that they were joined from."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from src.media.video_item import Frame, Sound
from src.media.video_reader import VideoReader
from tests.conftest import write_video

COUNT, RATE = 20, 25
# The clock of a transport stream has 33 bits and 90 kHz.
WRAP = 2 ** 33 / 90000


def recording(folder: Path, *, later: float = 0, suffix: str = ".ts") -> Path:
    """Twenty frames and a tone of 0.8 s, on a clock `later` seconds on."""
    pictures = [np.full((64, 96, 3), 10 * i, np.uint8) for i in range(COUNT)]
    given = write_video(folder / "v.mp4", pictures, rate=RATE, sound=True)
    path = folder / f"later{later:.0f}{suffix}"
    with av.open(str(given)) as source, av.open(str(path), "w") as out:
        streams = {0: out.add_stream_from_template(source.streams.video[0])}
        streams[1] = out.add_stream("mp2", rate=48000, layout="mono")
        for frame in source.decode(audio=0):
            frame.pts += int(later * frame.sample_rate)
            out.mux(streams[1].encode(frame))
        out.mux(streams[1].encode(None))
        source.seek(0)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                ticks = int(later / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, streams[0]
                out.mux(packet)
    return path


def read(path: Path) -> tuple[VideoReader, np.ndarray, np.ndarray]:
    """The reader, and the seconds at which frames and packets of sound begin."""
    reader = VideoReader(path)
    items = list(reader)
    return (reader, np.array([float(item.pts * reader.info.time_base) for item in items if isinstance(item, Frame)]),
            np.array([float(item.packet.pts * item.packet.time_base) for item in items if isinstance(item, Sound)]))


@pytest.mark.parametrize("later", [0, 5000, WRAP - 2, WRAP - 1.6])
def test_a_clock_that_begins_anywhere_begins_near_0(tmp_path: Path, later: float) -> None:
    reader, frames, sounds = read(recording(tmp_path, later=later))
    assert reader.problems == reader.remarks == []
    np.testing.assert_allclose(frames, frames[0] + np.arange(COUNT) / RATE, atol=1e-3)
    assert 0 <= frames[0] < 0.3 and 0 <= sounds[0] < 0.3 and 0.6 < sounds[-1] < 1.1 and (np.diff(sounds) > 0).all()


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 5000), (5000, 0)])
def test_joined_recordings_lie_one_after_the_other(tmp_path: Path, one: float, other: float) -> None:
    parts = [recording(tmp_path, later=later).read_bytes() for later in (one, other)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    reader, frames, sounds = read(path)
    assert len(frames) == 2 * COUNT and reader.problems == []
    for half in (frames[:COUNT], frames[COUNT:]):
        np.testing.assert_allclose(half, half[0] + np.arange(COUNT) / RATE, atol=1e-3)
    assert 0 < frames[COUNT] - frames[COUNT - 1] < 0.4
    # The second half of the sound begins where the second half of the pictures does.
    assert (np.diff(sounds) > 0).all() and abs(sounds[len(sounds) // 2] - frames[COUNT]) < 0.3


def test_a_program_stream_is_joined_too_and_other_files_keep_their_clock(tmp_path: Path) -> None:
    pictures = [np.full((64, 96, 3), 10 * i, np.uint8) for i in range(COUNT)]
    with av.open(str(tmp_path / "d.mpg"), "w") as out:
        stream = out.add_stream("mpeg1video", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(stream.encode(None))
    (tmp_path / "joined.mpg").write_bytes((tmp_path / "d.mpg").read_bytes() * 2)
    _, frames, _ = read(tmp_path / "joined.mpg")
    assert len(frames) == 2 * COUNT and (np.diff(frames) > 0.03).all() and frames[-1] - frames[0] < 2
    late = write_video(tmp_path / "late.mkv", pictures, pts=[3000 + 24 * i for i in range(COUNT)])
    reader, frames, _ = read(late)
    assert frames[0] == pytest.approx(5, abs=0.01) and isinstance(reader.info.time_base, Fraction)
