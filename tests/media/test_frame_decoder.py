"""Alpha, display matrices and HDR of videos."""
from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from src.media.backdrop import parse_backdrop
from src.media.compositing import render
from src.media.picture_reader import NEUTRAL
from src.media.video_item import Frame
from src.media.video_reader import VideoReader
from src.media.video_results import Look, result_paths, writing
from tests.conftest import write_video

ALPHA_KINDS = {".mov": ("prores_ks", "yuva444p10le", {"profile": "4444"}),
               ".webm": ("libvpx-vp9", "yuva420p", {"crf": "4", "b": "0", "auto-alt-ref": "0"}),
               ".mkv": ("ffv1", "yuva420p", {}), ".avi": ("png", "rgba", {})}


def write_rgba(path: Path, picture: np.ndarray, count: int = 3) -> Path:
    """A video of one RGBA picture (H, W, 4) uint8, codec by the suffix."""
    codec, pixels, options = ALPHA_KINDS[path.suffix]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pixels
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba")
            frame.color_range = 2
            frame = frame.reformat(format=pixels, dst_colorspace=5, dst_color_range=1) if "yuv" in pixels else frame
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def half_hidden() -> np.ndarray:
    """Green; the left third is invisible and red there, the middle one half transparent."""
    picture = np.empty((64, 96, 4), np.uint8)
    picture[:] = 30, 200, 60, 255
    picture[:, :32] = 255, 0, 0, 0
    picture[:, 32:64, 3] = 128
    return picture


def frames_of(reader: VideoReader) -> list[Frame]:
    return [item for item in reader if isinstance(item, Frame)]


@pytest.mark.parametrize("suffix", ALPHA_KINDS)
def test_the_alpha_of_a_video_is_read_and_hidden_colours_are_not(tmp_path: Path, suffix: str) -> None:
    frames = frames_of(VideoReader(write_rgba(tmp_path / f"v{suffix}", half_hidden())))
    assert len(frames) == 3
    for frame in frames:
        assert (frame.opacity[:, :24] == 0).all() and (frame.opacity[:, 72:] >= 254).all()
        assert np.abs(frame.opacity[:, 40:56].astype(int) - 128).max() <= 2
        assert (frame.image[:, :24] == NEUTRAL).all()
        assert np.abs(frame.image[:, 72:].astype(int) - (30, 200, 60)).max() <= 4
        assert np.abs(frame.over((0, 0, 0))[:, 40:56].astype(int) - (15, 100, 30)).max() <= 4


@pytest.mark.parametrize("suffix", [".mov", ".webm"])
def test_a_result_is_as_transparent_as_its_input(tmp_path: Path, suffix: str) -> None:
    reader = VideoReader(write_rgba(tmp_path / f"v{suffix}", half_hidden()))
    look = Look(["alpha", "cutout", "composite"], parse_backdrop("0,0,255"), "none")
    paths = result_paths(reader.path, tmp_path / "out", look)
    with writing(paths, reader, look) as files:
        made = ((frame, render(frame.image, np.full((64, 96), 0.5, np.float32), look.save, backdrop=look.backdrop,
                               foreground="none", opacity=frame.opacity)) for frame in frames_of(reader))
        assert len(list(files.write(made))) == 3
    alpha, cutout, composite = (frames_of(VideoReader(paths[kind]))[1] for kind in look.save)
    for x, share in ((10, 0), (48, 64), (84, 128)):
        assert abs(int(alpha.image[30, x, 0]) - share) <= 3 and abs(int(cutout.opacity[30, x]) - share) <= 3
        expected = np.float32((30, 200, 60)) * share / 255 + np.float32((0, 0, 255)) * (1 - share / 255)
        assert np.abs(composite.image[30, x] - expected).max() <= 6


def test_an_opaque_video_with_an_alpha_plane_has_none(tmp_path: Path) -> None:
    opaque = half_hidden()
    opaque[..., 3] = 255
    for suffix in (".mov", ".webm"):
        assert [frame.opacity for frame in frames_of(VideoReader(write_rgba(tmp_path / f"v{suffix}", opaque)))] == [None] * 3


def test_a_background_video_is_seen_through_to_white(tmp_path: Path) -> None:
    backdrop = parse_backdrop(str(write_rgba(tmp_path / "b.mov", half_hidden())))
    behind = backdrop(np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.float32), 0.0)
    assert (behind[:, :24] == 255).all() and np.abs(behind[30, 48].astype(int) - (142, 227, 157)).max() <= 4


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write (a, b, c, d) into the header of the first track of an .mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    assert struct.unpack(">9i", data[at:at + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    a, b, c, d = (65536 * value for value in matrix)
    data[at:at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
                                    (0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_each_of_the_eight_display_matrices_puts_points_where_its_definition_says(
        tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:20, :20], picture[:20, -20:] = (250, 0, 0), (0, 250, 0)
    path = write_video(tmp_path / "v.mp4", [picture] * 2)
    set_matrix(path, matrix)
    a, b, c, d = matrix
    corners = {name: (a * x + c * y, b * x + d * y) for name, (x, y) in {"red": (10, 10), "green": (86, 10)}.items()}
    width, height = (96, 64) if a else (64, 96)
    reader = VideoReader(path)
    assert (reader.info.width, reader.info.height) == (width, height)
    image = frames_of(reader)[1].image
    for channel, name in enumerate(corners):
        # Where the shown picture reaches below zero, players move it back.
        x, y = (value % side for value, side in zip(corners[name], (width, height), strict=True))
        assert image[y, x, channel] > 200 and image[y, x, 1 - channel] < 60, name


@pytest.mark.parametrize(("transfer", "white"), [(18, 721)])    # (16, 573) passes as well, and takes as long
def test_hdr_becomes_sdr_with_a_remark_and_is_tagged_so(tmp_path: Path, transfer: int, white: int) -> None:
    with av.open(str(tmp_path / "v.mov"), "w") as out:
        stream = out.add_stream("prores_ks", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv422p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for index, code in enumerate((64, white, 940)):
            frame = av.VideoFrame(96, 64, "yuv422p10le")
            for plane, value in zip(frame.planes, (code, 512, 512), strict=True):
                plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
            frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    reader = VideoReader(tmp_path / "v.mov")
    black, grey, brightest = (frame.image[30, 40].astype(int) for frame in frames_of(reader))
    # The white of paper lies well under the brightest light, which is not cut off, and grey stays grey.
    assert black.max() <= 3 and 140 <= grey.min() <= grey.max() <= 200 and brightest.min() >= 250
    assert np.ptp(grey) <= 2 and len(reader.remarks) == 1 and "it is HDR" in reader.remarks[0]
    assert (reader.info.matrix, reader.info.primaries, reader.info.transfer) == (1, 1, 1)
