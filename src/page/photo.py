"""The tab Picture: one photograph, cut out, over a background, to download."""
from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np

from src.console import notes_held
from src.media.compositing import checkerboard, composite, rendered
from src.media.picture_reader import read_picture
from src.media.picture_writer import write_picture
from src.page.controls import (
    BLUR,
    COLOUR,
    FOREGROUNDS,
    PICTURE,
    TRANSPARENT,
    Background,
    backdrop_of,
    network_choice,
    photograph,
)
from src.page.files import result_folder
from src.page.limits import noted, told
from src.page.looks import PLACE, WORK
from src.page.offer import chosen

SHOWN = 1200
KINDS = ("alpha", "cutout", "composite")


class CutOut(NamedTuple):
    """What came of a photograph."""

    image: np.ndarray                   # (h, w, 3) uint8, as it is shown
    result: np.ndarray                  # (h, w, 3) uint8, on the background or, if that is transparent, a checkerboard
    files: dict[str, Path]              # of `KINDS`
    milliseconds: dict[str, float]
    notes: list[str]                    # on what was left out of the picture


def small(picture: np.ndarray) -> np.ndarray:
    """Shrink a picture (H, W, C) uint8 to sides of at most `SHOWN` pixels."""
    scale = SHOWN / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def on_checks(cut: np.ndarray) -> np.ndarray:
    """Put a cut-out (H, W, 4) uint8 on a checkerboard, (H, W, 3) uint8."""
    checks = checkerboard(*cut.shape[:2], max(8, min(cut.shape[:2]) // 32))
    return composite(np.ascontiguousarray(cut[..., :3]), cut[..., 3] / np.float32(255), checks)


def cut_out(networks: Mapping[str, Path], path: Path, *, kind: str, colour: str, behind: str | None, network: str, size: int,
            foreground: str) -> CutOut:
    """Cut the person out of the photograph at `path` and write the results.

    Raises `ValueError` for a file that is no picture, one that is too large, or a background that is missing.
    """
    with notes_held() as notes:
        backdrop, times = backdrop_of(kind, colour, behind), [time.perf_counter()]
        picture = read_picture(path)
    times.append(time.perf_counter())
    matting = chosen(networks, network, size)
    alpha = matting.alpha(picture.over())
    within = matting.milliseconds
    times.append(time.perf_counter())
    folder, shown, spent = result_folder(), None, 0.0
    files = {name: folder / f"{path.stem}_{name}.png" for name in KINDS}
    for name, result in rendered(picture.image, alpha, KINDS, backdrop=backdrop, foreground=foreground,
                                 opacity=picture.opacity):
        begin = time.perf_counter()
        write_picture(files[name], result, dpi=picture.dpi)
        if name == ("cutout" if kind == TRANSPARENT else "composite"):
            shown = on_checks(small(result)) if kind == TRANSPARENT else small(result)
        spent += time.perf_counter() - begin
    times.append(time.perf_counter() - spent)
    milliseconds = {"read": 1000 * (times[1] - times[0]), "prepare": within["preprocess"], "network": within["infer"],
                    "enlarge": within["postprocess"], "colours and background": 1000 * (times[3] - times[2]),
                    "write": 1000 * spent}
    return CutOut(small(picture.over()), shown, files, milliseconds, notes)


def say_times(milliseconds: Mapping[str, float]) -> str:
    """Format the milliseconds of each stage as one line."""
    parts = (f"{name} **{value:.0f} ms**" if value >= 10 else f"{name} **{value:.1f} ms**"
             for name, value in milliseconds.items())
    return " · ".join(parts)


def build_picture(networks: Mapping[str, Path], examples: list[str]) -> None:
    """Add the tab's components and what they do."""
    with gr.Row(equal_height=False, elem_classes=WORK):
        with gr.Column(scale=4):
            photo = photograph("Photograph", key="photograph")
            background = Background((TRANSPARENT, COLOUR, PICTURE, BLUR), TRANSPARENT)
            with gr.Accordion("Network and colours", open=False):
                network, size = network_choice(networks)
                foreground = gr.Radio(FOREGROUNDS, value="fast", label="Colours of hair and rim")
            gr.Examples(examples, photo, label="Or one of these", examples_per_page=6, api_visibility="private")
        with gr.Column(scale=6):
            result = gr.ImageSlider(label="Drag to compare", type="numpy", max_height=560, elem_id="result",
                                    interactive=False, buttons=["fullscreen"], elem_classes=PLACE)
            times = gr.Markdown(elem_id="times", elem_classes="said")
            with gr.Row(elem_classes="get"):
                buttons = [gr.DownloadButton(label, interactive=False, elem_id=f"get-{kind}") for kind, label in
                           zip(KINDS, ("↓ Alpha", "↓ Cut-out", "↓ Composite"), strict=True)]

    def nothing() -> tuple:
        return None, "", *[gr.update(value=None, interactive=False)] * len(KINDS)

    @told
    def show(photo: str | None, kind: str, colour: str, behind: str | None, network: str, size: int,
             foreground: str) -> tuple:
        if photo is None:
            return nothing()
        if kind == PICTURE and not behind:
            gr.Info("Drop the background picture on its field")
            return gr.skip(), gr.skip(), *[gr.skip()] * len(KINDS)
        done = cut_out(networks, Path(photo), kind=kind, colour=colour, behind=behind, network=network, size=size,
                       foreground=foreground)
        return ((done.image, done.result), noted(say_times(done.milliseconds), done.notes, [photo, behind]),
                *(gr.update(value=str(done.files[name]), interactive=True) for name in KINDS))

    inputs, outputs = [photo, *background.inputs, network, size, foreground], [result, times, *buttons]
    shown = gr.on([component.change for component in inputs], show, inputs, outputs, show_progress_on=result,
                  trigger_mode="always_last", api_name="cut_out")
    # Or what belongs to the choice before could still be downloaded.
    shown.failure(nothing, None, outputs, show_progress="hidden", queue=False, api_visibility="private")
