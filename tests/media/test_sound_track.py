"""Sound, titles and names of files: what an output video keeps."""
from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from src.media.backdrop import parse_backdrop
from src.media.video_item import Frame, Sound
from src.media.video_reader import VideoReader
from src.media.video_results import Look, result_paths, writing

FRAMES, RATE = 20, 48000


def write_sounds(path: Path, codecs: dict[str, str], *, seconds: float = FRAMES / 25, rate: int = RATE,
                 metadata: dict[str, str] | None = None) -> Path:
    """Twenty grey frames in 0.8 s, and for each language a tone by its codec."""
    with av.open(f"file:{path}", "w") as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        tracks = {}
        for language, codec in codecs.items():
            tracks[language] = out.add_stream(codec, rate=rate, layout="stereo")
            tracks[language].metadata["language"] = language
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 * index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        for pitch, track in enumerate(tracks.values(), 1):
            for start in range(0, round(seconds * rate), 960):
                wave = np.sin((start + np.arange(960)) * 0.05 * pitch).astype("f4") * 0.3
                frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                out.mux(track.encode(frame))
            out.mux(track.encode())
    return path


def copied(path: Path, folder: Path, kind: str = "composite", alpha_video: str = "prores") -> tuple[Path, VideoReader]:
    """Write the frames of a video as they are, as the composite or cut-out is written."""
    reader = VideoReader(path)
    look = Look([kind], parse_backdrop("0,0,0"), alpha_video=alpha_video)
    paths = result_paths(reader.path, folder, look)
    with writing(paths, reader, look) as files:
        for _ in files.write(item if isinstance(item, Sound) else (item, {kind: np.dstack([item.image, item.image[..., 0]])
                                                                              if kind == "cutout" else item.image})
                              for item in reader):
            pass
    return paths[kind], reader


def tones(path: Path) -> list[tuple[str, float, int]]:
    """Of each track: codec, seconds, and how often its wave crosses zero in a second."""
    found = []
    with av.open(f"file:{path}") as container:
        for index, stream in enumerate(container.streams.audio):
            container.seek(0)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
            parts = [part.to_ndarray()[0] for frame in container.decode(audio=index) for part in resampler.resample(frame)]
            wave = np.concatenate(parts)
            middle = wave[len(wave) // 4:-len(wave) // 4]
            found.append((stream.codec_context.name, len(wave) / RATE,
                          round(np.count_nonzero(np.diff(np.sign(middle))) * RATE / len(middle))))
    return found


@pytest.mark.parametrize(("suffix", "codec", "kind", "alpha_video", "written"), [
    (".mkv", "pcm_s16le", "composite", "prores", "aac"), (".mkv", "flac", "cutout", "prores", "aac"),
    (".mkv", "libopus", "cutout", "prores", "aac"), (".avi", "mp2", "cutout", "vp9", "opus")])
def test_sound_that_the_container_refuses_is_encoded_anew(
        tmp_path: Path, suffix: str, codec: str, kind: str, alpha_video: str, written: str) -> None:
    given = write_sounds(tmp_path / f"v{suffix}", {"eng": codec})
    path, reader = copied(given, tmp_path / "out", kind, alpha_video)
    (before, after), (remark,) = (tones(given)[0], tones(path)[0]), reader.remarks
    assert after[0] in (written, f"lib{written}", "pcm_s16le", "flac") and abs(after[1] - before[1]) < 0.1
    assert abs(after[2] - before[2]) <= 0.03 * before[2]
    assert f"encoded anew as {written}, {path.suffix} takes no" in remark
    assert len([item for item in VideoReader(path) if isinstance(item, Frame)]) == FRAMES


def test_sound_that_cannot_be_encoded_is_left_out_with_a_remark_and_the_pictures_stay(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import src.media.sound_track

    monkeypatch.setitem(src.media.sound_track.CODECS, ".webm", "no_such_codec")
    path, reader = copied(write_sounds(tmp_path / "v.mkv", {"eng": "aac"}), tmp_path / "out", "cutout", "vp9")
    assert "sound left out, .webm takes no aac" in reader.remarks[0] and tones(path) == []
    assert len([item for item in VideoReader(path) if isinstance(item, Frame)]) == FRAMES


def test_all_tracks_their_languages_titles_and_the_day_of_making_are_kept(tmp_path: Path) -> None:
    said = {"title": "A walk – Übung", "creation_time": "2024-05-01T12:30:15.000000Z", "artist": "somebody"}
    given = write_sounds(tmp_path / "v.mkv", {"eng": "aac", "deu": "ac3"}, metadata=said)
    path, reader = copied(given, tmp_path / "out")
    assert reader.remarks == []
    assert [tone[0] for tone in tones(path)] == ["aac", "ac3"]
    for before, after in zip(tones(given), tones(path), strict=True):
        assert after == (before[0], pytest.approx(before[1], abs=0.05), pytest.approx(before[2], rel=0.02))
    with av.open(str(path)) as container:
        assert [stream.metadata["language"] for stream in container.streams.audio] == ["eng", "deu"]
        assert {key: container.metadata.get(key) for key in said} == said


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".ts", ".mp4", ".avi"])
def test_sound_that_outlasts_the_pictures_means_nothing_is_missing(tmp_path: Path, suffix: str) -> None:
    codec = "libopus" if suffix == ".webm" else "mp3" if suffix == ".avi" else "aac"
    reader = VideoReader(write_sounds(tmp_path / f"v{suffix}", {"eng": codec}, seconds=2))
    assert sum(isinstance(item, Frame) for item in reader) == FRAMES and reader.problems == []


@pytest.mark.parametrize("name", [b"2024-05-01T12:30:15.mp4", b"a:b.mp4", b"http:x.mp4", b"file:y.mp4", b"-i.mp4",
                                  b"n\xff\xfe.mp4", b"%03d [x].mp4", b"concat:a|b.mp4"])
def test_any_name_of_a_file_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    path = Path(os.fsdecode(name))
    monkeypatch.chdir(tmp_path)
    write_sounds(path, {})
    done, reader = copied(path, Path("."))
    assert done.name == f"{path.stem}_composite.mp4" and reader.problems == []
    assert sum(isinstance(item, Frame) for item in VideoReader(done)) == FRAMES
    assert parse_backdrop(str(path)) is not None


def test_a_prores_cutout_keeps_the_colours_description(tmp_path: Path) -> None:
    given = write_sounds(tmp_path / "v.mp4", {})
    for matrix, primaries, transfer in ((1, 1, 1), (6, 6, 6), (9, 9, 14)):
        reader = VideoReader(given)
        reader.info = reader.info._replace(matrix=matrix, primaries=primaries, transfer=transfer)
        for alpha_video in ("prores", "vp9"):
            look = Look(["cutout"], parse_backdrop("0,0,0"), alpha_video=alpha_video)
            paths = result_paths(reader.path, tmp_path / "out", look)
            with writing(paths, reader, look) as files:
                picture = np.full((64, 96, 4), 90, np.uint8)
                list(files.write(iter([(Frame(picture[..., :3], 0, 0, 0.0), {"cutout": picture})])))
            with av.open(str(paths["cutout"])) as container:
                context = container.streams.video[0].codec_context
                assert (context.colorspace, context.color_primaries, context.color_trc) == (matrix, primaries, transfer)
