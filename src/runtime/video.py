"""Turn a video or webcam into videos of its mattes, cut-outs and composites, in stages that overlap. No torch here."""
from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.console import progress_bar, say
from src.files import check_writable, write_json
from src.interrupts import STATUSES
from src.media.compositing import render
from src.media.preprocess import to_alpha
from src.media.video_item import Frame, Sound
from src.media.video_reader import VideoReader
from src.media.video_results import Item, Look, result_paths, writing
from src.media.webcam import WebcamReader
from src.runtime.inputs import result_folders
from src.runtime.matting import Matting, Started
from src.runtime.pictures import check_jobs, in_milliseconds, is_done, written
from src.runtime.pipeline import Pipeline, Stage, keep_freed_memory, one_opencv_thread
from src.runtime.temporal import one_frame_delay
from src.script import provenance


class Done(NamedTuple):
    """What came of a video."""

    paths: list[Path]
    frames: int
    seconds: float                      # from the first frame asked for to the last file closed
    stage_ms: dict[str, float]          # milliseconds of work for one frame, stage by stage; `infer` overlaps the others
    problems: list[str]                 # what could not be read
    remarks: list[str]


def times_path(video: str | Path, output_dir: Path) -> Path:
    """Return where it is written what each stage of a video took."""
    return output_dir / f"{Path(video).stem}_times.json"


class VideoJob(NamedTuple):
    """A video and where its results go."""

    picture: Path
    folder: Path
    look: Look

    @property
    def results(self) -> dict[str, Path]:
        """Where each kind of result goes, and what each stage took."""
        return {**result_paths(self.picture, self.folder, self.look), "times": times_path(self.picture, self.folder)}


def plan_videos(videos: Sequence[Path], look: Look, *, output_dir: Path, kept: Sequence[Path] = ()) -> dict[Path, Path]:
    """Return the folder for the results of each video, see `result_folders`. Raises `ValueError` as `check_jobs` does."""
    folders = dict(zip(videos, result_folders(videos, output_dir), strict=True))
    check_jobs([VideoJob(video, folder, look) for video, folder in folders.items()], kept)
    return folders


def videos_left(videos: Mapping[Path, Path], look: Look) -> dict[Path, Path]:
    """Return the videos, with the folder of their results, that lack one, and say which do not."""
    left = {video: folder for video, folder in videos.items()
            if not is_done(result_paths(video, folder, look))}
    for video in (video for video in videos if video not in left):
        say(f"{video} left out: its results are there")
    return left


def on_frames(work: Callable[..., object]) -> Callable[[Iterator[Item]], Iterator[Item]]:
    """Make a stage that turns (frame, value) into (frame, `work(frame, value)`), and hands sound on."""
    def stage(items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            yield item if isinstance(item, Sound) else (item[0], work(*item))
    return stage


def smoothed(items: Iterator[Item]) -> Iterator[Item]:
    """Delay the mattes by one frame to smooth them, each (frame, (started, matte)); sound goes on ahead."""
    sounds: list[Sound] = []

    def mattes() -> Iterator[tuple[tuple, np.ndarray]]:
        for item in items:
            if isinstance(item, Sound):
                sounds.append(item)
            else:
                yield (item[0], item[1][0]), item[1][1]

    for (frame, started), matte in one_frame_delay(mattes()):
        yield from sounds
        sounds.clear()
        yield frame, (started, matte)
    yield from sounds


def stages(matting: Matting, look: Look, write: Callable[[Iterator[Item]], Iterator[Item]]) -> list[Stage]:
    """Return the steps of a video between its reader and its files."""
    def finish(_: Frame, started: Started) -> tuple[Started, np.ndarray]:
        return started, matting.finish(started)

    def compose(frame: Frame, matted: tuple[Started, np.ndarray]) -> dict[str, np.ndarray]:
        started, matte = matted
        alpha = to_alpha(matte[None, None], *started.size, smooth=True)
        return render(frame.image, alpha, look.save, backdrop=look.backdrop, foreground=look.foreground, time=frame.time,
                      opacity=frame.opacity)

    def matte(items: Iterator[Item]) -> Iterator[Item]:
        mattes = on_frames(finish)(items)
        return smoothed(mattes) if look.temporal == "ofd" else mattes

    return [Stage("prepare", on_frames(lambda frame, _: matting.start(frame.over()))), Stage("wait", matte),
            Stage("compose", on_frames(compose)), Stage("encode", write)]


@contextlib.contextmanager
def interrupt_stops(reader: VideoReader | WebcamReader) -> Iterator[None]:
    """Let a signal that ends scripts end a webcam as the end of a file; the second one, and any with a file, interrupts."""
    if not reader.live:
        yield
        return
    before = {number: handler for number in STATUSES if (handler := signal.getsignal(number)) is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_: object) -> None:
        reader.stop()
        restore()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()


def report_video(done: Done, reader: VideoReader | WebcamReader, matting: Matting, output_dir: Path) -> str:
    """Write `<stem>_times.json`, what each stage of a video took, and return the line that says so.

    Raises `OSError` if it cannot be written.
    """
    fps = done.frames / done.seconds
    write_json(times_path(reader.path, output_dir), {
        "input": reader.path, "model": str(matting.path), "frames": done.frames, "seconds": done.seconds, "fps": fps,
        "stage_ms": done.stage_ms, "width": reader.info.width, "height": reader.info.height, "outputs": written(done.paths),
        "problems": done.problems, **provenance()})
    return (f"{reader.path}: {done.frames} frames, {fps:.1f} fps end to end, a frame: {in_milliseconds(done.stage_ms)} -> "
            f"{written(done.paths)}")


def matte_video(reader: VideoReader | WebcamReader, matting: Matting, look: Look, *, output_dir: Path,
                show: Callable[[np.ndarray], bool] | None = None) -> Done:
    """Write `<stem>_<kind>.mp4` (a cut-out: .mov or .webm) for each of `look.save`, as long and as fast as the input, with
    its sound but for the matte.

    `show` gets each composite and returns whether to stop. At the end every file is there and whole, or after an
    exception none is. Raises `ValueError` or `OSError` for what cannot be written.
    """
    paths = result_paths(reader.path, output_dir, look)
    check_writable(output_dir, "--output-dir")
    keep_freed_memory()
    matting.fix_size(reader.info.height, reader.info.width)
    kinds = tuple(dict.fromkeys((*look.save, "composite") if show else look.save))
    before, start, frames = dict(matting.total_ms), time.perf_counter(), 0
    with one_opencv_thread(), interrupt_stops(reader), writing(paths, reader, look) as files:
        source = (item if isinstance(item, Sound) else (item, None) for item in reader)
        pipeline = Pipeline(source, stages(matting, look._replace(save=kinds), files.write))
        with contextlib.closing(iter(pipeline)) as items:
            for _, pictures in progress_bar(items, total=reader.info.count, desc=Path(reader.path).stem, unit="frame"):
                frames += 1
                if show and show(pictures["composite"]):
                    reader.stop()
    seconds = time.perf_counter() - start
    spent = {name: 1000 * pipeline.seconds[name] for name in ("decode", "compose", "encode")}
    spent |= {name: matting.total_ms[name] - before[name] for name in before}
    order = ("decode", "preprocess", "infer", "compose", "encode")
    return Done(list(paths.values()), frames, seconds, {name: spent[name] / max(1, frames) for name in order},
                reader.problems, reader.remarks)
