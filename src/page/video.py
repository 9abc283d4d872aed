"""The tab Video: a preview at once, then the whole video with its sound."""
from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from src.media.backdrop import Backdrop
from src.media.compositing import render
from src.media.video_reader import Frame, VideoReader
from src.media.video_results import Look
from src.page.controls import BLUR, COLOUR, PICTURE, Background, backdrop_of, network_choice
from src.page.files import MINUTES_WAITED, keep_used, result_folder
from src.page.limits import USER_ERRORS, Limits, clock, frame_limit, noted, said, told
from src.page.looks import FIRST, PLACE, WORK
from src.page.offer import chosen, ref_size_of
from src.page.photo import small
from src.runtime.matting import Matting
from src.runtime.video import Done, matte_video

KINDS = {"composite": "composite", "alpha": "alpha", "cut-out (ProRes, large)": "cutout"}
SAY_SECONDS = 0.25
BAR = "<progress {}></progress>"
WAITING = f"""() => ["Waiting for its turn: one video at a time", "{BAR.format('')}",
                  {{__type__: "update", interactive: true}}]"""


def first_frame(path: Path, limits: Limits) -> tuple[np.ndarray, str]:
    """Read the first frame (H, W, 3) uint8 of a video and say what it is, with what will not be as it was.

    Raises `ValueError` for one that is not taken.
    """
    with contextlib.closing(VideoReader(path, sound=False)) as reader:
        frame_limit(reader, limits)
        info = reader.info
        image = next(item.image for item in reader if isinstance(item, Frame))
    length = f", {clock(float(info.count / info.rate))}" if info.count else ""
    line = f"{info.width}x{info.height}, {float(info.rate):.4g} frames a second{length}"
    return image, noted(line, reader.remarks, [str(path)])


def matted(path: Path, matting: Matting, look: Look, limits: Limits) -> Iterator[int | Done]:
    """Cut out a video: how many frames are done, now and then, and at the end what came of it.

    Whoever leaves the loop stops the work, of which nothing stays then. Raises `ValueError` or `OSError` for a video that
    cannot be read, or that is longer than its header says and the page takes.
    """
    came: queue.SimpleQueue[Any] = queue.SimpleQueue()
    leave, item = threading.Event(), None

    def work(reader: VideoReader, most: int) -> None:
        frames = 0

        def show(_: np.ndarray) -> bool:
            nonlocal frames
            frames += 1
            came.put(frames)
            return leave.is_set() or frames > most

        try:
            done = matte_video(reader, matting, look, output_dir=folder, show=show)
            too_long = frames > most and not leave.is_set()
            came.put(ValueError(f"{path.name} is longer than its header says, this page takes videos of up to "
                                f"{clock(limits.seconds)}") if too_long else done)
        except Exception as error:  # whatever it is, the visitor's thread raises it
            came.put(error)

    with contextlib.closing(VideoReader(path)) as reader:
        most, folder = frame_limit(reader, limits), result_folder()
        thread = threading.Thread(target=work, args=(reader, most), daemon=True)
        thread.start()
        try:
            last = 0.0
            while not isinstance(item := came.get(), (Done, Exception)):
                if time.perf_counter() - last > SAY_SECONDS:
                    last = time.perf_counter()
                    yield item
        finally:
            leave.set()
            thread.join()
            if not isinstance(item, Done):
                shutil.rmtree(folder, ignore_errors=True)
    if isinstance(item, Exception):
        raise item
    yield item


def say_done(done: Done) -> str:
    """Say the frames, frames a second and milliseconds of each stage; what could not be read."""
    stages = " · ".join(f"{name} **{value:.1f} ms**" for name, value in done.stage_ms.items())
    lines = [f"{done.frames} frames in {done.seconds:.1f} s, **{done.frames / done.seconds:.1f} frames a second**; a frame: "
             f"{stages}"]
    return noted("  \n".join(lines + [f"**Read in part**: {'; '.join(done.problems)}"] * bool(done.problems)), done.remarks)


def preview(image: np.ndarray, matting: Matting, backdrop: Backdrop) -> np.ndarray:
    """Make the composite of one frame, as it is shown."""
    return small(render(image, matting.alpha(image), ["composite"], backdrop=backdrop)["composite"])


def first_count(path: Path) -> int | None:
    """Return how many frames the header of a video promises."""
    with contextlib.closing(VideoReader(path, sound=False)) as reader:
        return reader.info.count


def hidden() -> list[Any]:
    """Return what takes the result and its files away."""
    return [gr.update(value=None, visible=False)] * 2


def nothing() -> tuple:
    """Return what `look_at` does while there is nothing to cut out."""
    return gr.update(value=None, visible=True), "", gr.update(interactive=False), *hidden()


def keep_waiting(*uploads: str | None, minutes: float = MINUTES_WAITED) -> None:
    """Keep what a video waits with for its turn, which may be long in coming; `cut` says if it is gone."""
    with contextlib.suppress(ValueError):
        keep_used(uploads, minutes=minutes)


def no_work(said: str) -> tuple:
    """Return a line, no bar, and nothing to stop."""
    return said, "", gr.update(interactive=False)


class VideoTab:
    """What the tab does, for its networks and limits."""

    def __init__(self, networks: Mapping[str, Path], limits: Limits) -> None:
        self.networks, self.limits = networks, limits

    def look_at(self, video: str | None, kind: str, colour: str, behind: str | None, network: str, size: int) -> tuple:
        """Return the first frame cut out, a line about the video, whether it can be cut out, and no result as yet."""
        if video is None or kind == PICTURE and not behind:
            return nothing()
        image, line = first_frame(Path(video), self.limits)
        composed = preview(image, chosen(self.networks, network, size), backdrop_of(kind, colour, behind))
        return gr.update(value=(small(image), composed), visible=True), line, gr.update(interactive=True), *hidden()

    def cut(self, video: str | None, kind: str, colour: str, behind: str | None, network: str, size: int, steady: bool,
            wanted: list[str]) -> Iterator[tuple]:
        """Yield the first frame, the result, its files, a line and a bar on how far it is, and whether it can be stopped,
        until it is done; then the result takes the first frame's place."""
        try:
            keep_used((video, behind))
            if not video or not wanted:
                raise ValueError("drop a video first" if not video else "choose at least one file to write")
            look = Look([KINDS[name] for name in KINDS if name in wanted], backdrop_of(kind, colour, behind),
                        temporal="ofd" if steady else "none")
            # Of its own: it is compiled for the size of this video.
            matting = Matting(chosen(self.networks, network, size).path, hint="throughput", ref_size=ref_size_of(size))
            yield (gr.update(visible=True), *[gr.update(visible=False)] * 2, "Starting", BAR.format(""),
                   gr.update(interactive=True))
            yield from self._told(Path(video), matting, look)
        except USER_ERRORS as error:
            yield *[gr.skip()] * 3, *no_work("")
            raise said(error, (video, behind)) from None
        finally:
            keep_waiting(video, behind, minutes=0)

    def _told(self, video: Path, matting: Matting, look: Look) -> Iterator[tuple]:
        count, begin = first_count(video), time.perf_counter()
        for item in matted(video, matting, look, self.limits):
            if isinstance(item, Done):
                shown = next((str(path) for path in item.paths if path.stem.endswith("_composite")), None)
                yield (gr.update(visible=shown is None), gr.update(value=shown, visible=shown is not None),
                       gr.update(value=[str(path) for path in item.paths], visible=True), *no_work(say_done(item)))
            else:
                speed = item / (time.perf_counter() - begin)
                left = f", {clock(max(0, count - item) / speed)} left" if count else ""
                yield (*[gr.skip()] * 3, f"Frame {item}{f' of {count}' if count else ''}, {speed:.1f} frames a second{left}",
                       BAR.format(f'value="{item}" max="{count}"' if count else ""), gr.skip())


def build_video(networks: Mapping[str, Path], limits: Limits) -> None:
    """Add the tab's components and what they do."""
    tab, still = VideoTab(networks, limits), gr.update(interactive=False)
    with gr.Row(equal_height=False, elem_classes=WORK):
        with gr.Column(scale=4):
            video = gr.Video(label=f"Video, up to {clock(limits.seconds)} and {limits.upload_mb} MB", sources=["upload"],
                             height=300, elem_id="video", elem_classes=FIRST)
            background = Background((COLOUR, PICTURE, BLUR), COLOUR)
            with gr.Accordion("Network and files", open=False):
                network, size = network_choice(networks)
                steady = gr.Checkbox(False, label="Take out flicker (one frame of delay)")
                kinds = gr.CheckboxGroup(list(KINDS), value=["composite"], label="Files")
            with gr.Row():
                start = gr.Button("Cut out", variant="primary", interactive=False, elem_id="video-start")
                stop = gr.Button("Stop", interactive=False, elem_id="video-stop")
        with gr.Column(scale=6):
            frame = gr.ImageSlider(label="First frame: drag to compare", type="numpy", max_height=420, interactive=False,
                                   elem_id="video-frame", elem_classes=PLACE)
            result = gr.Video(label="Result, with sound", interactive=False, height=380, elem_id="video-result",
                              visible=False)
            bar = gr.HTML(elem_id="video-bar", padding=False)
            line = gr.Markdown(elem_id="video-said", elem_classes="said")
            files = gr.File(label="Files", file_count="multiple", interactive=False, visible=False, elem_id="video-files")
    options, looked = [video, *background.inputs, network, size], [frame, line, start, result, files]
    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    gr.on([component.change for component in options], told(tab.look_at), options, looked, show_progress_on=frame,
          trigger_mode="always_last", api_visibility="private").failure(nothing, None, looked, **quiet)
    # In the browser: nothing of the server's that a first frame could overtake.
    start.click(None, None, [line, bar, stop], js=WAITING)
    start.click(keep_waiting, [video, background.inputs[-1]], None, **quiet)
    running = start.click(tab.cut, [*options, steady, kinds], [frame, result, files, line, bar, stop], concurrency_limit=1,
                          show_progress="hidden", api_visibility="private")
    video.change(lambda: still, None, stop, cancels=running, **quiet).then(lambda: "", None, bar, **quiet)
    # Said when the last frame under way has come, or that would stand there.
    stop.click(lambda: still, None, stop, cancels=running, **quiet).then(lambda: no_work("Stopped"), None, [line, bar, stop],
                                                                         **quiet)
