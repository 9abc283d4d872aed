"""The tab Compare: the dense network against what pruning made of it, on the same photograph."""
from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np

from src.console import notes_held
from src.media.compositing import rendered
from src.media.picture_reader import read_picture
from src.page.controls import network_choice, photograph
from src.page.limits import noted, told
from src.page.looks import PLACE, WORK
from src.page.offer import chosen
from src.page.photo import on_checks, small

REPEATS = 5
DENSE = "dense"
EXPLAINED = (f"Median of {REPEATS}, the network alone, on this machine beside all else it does, each at the size that "
             "it was made for unless you choose one. How far mattes differ is the mean over the pixels, from 0 to 1.")


def megabytes(path: Path) -> float:
    """Return the size of a network's files, in MB."""
    return sum(part.stat().st_size for part in {path, path.with_suffix(".bin")} if part.is_file()) / 1e6


class Measured(NamedTuple):
    """One network on the photograph."""

    megabytes: float
    milliseconds: float                 # median, the network alone
    apart: float                        # mean difference of its matte from the dense network's, from 0 to 1


def compared(networks: Mapping[str, Path], path: Path, size: int
             ) -> tuple[dict[str, np.ndarray], dict[str, Measured], list[str]]:
    """Return each network's cut-out of a photograph, as it is shown, what was measured, and notes on the photograph.

    The networks take turns, so that a busy moment of the machine hits all of them.
    """
    with notes_held() as notes:
        picture = read_picture(path)
    image, alphas = picture.over(), {}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(REPEATS + 1):
        for name in networks:
            matting = chosen(networks, name, size)
            alphas[name] = matting.alpha(image)
            # The first of a size pays for the set-up.
            times[name] += [matting.milliseconds["infer"]] * bool(turn)
    cuts = {name: on_checks(small(dict(rendered(picture.image, alpha, ["cutout"], backdrop=lambda *_: (0, 0, 0),
                                                opacity=picture.opacity))["cutout"])) for name, alpha in alphas.items()}
    apart = {name: float(np.abs(alpha - alphas[DENSE]).mean()) for name, alpha in alphas.items()}
    return cuts, {name: Measured(megabytes(file), statistics.median(times[name]), apart[name])
                  for name, file in networks.items()}, notes


def say_compared(measured: Mapping[str, Measured], other: str) -> str:
    """Say in Markdown what one network is worth beside the dense one, and all of them in a table."""
    dense, pruned = measured[DENSE], measured[other]
    faster, smaller = dense.milliseconds / pruned.milliseconds, dense.megabytes / pruned.megabytes
    lines = [f"**{faster:.1f} times as fast, {smaller:.0f} times as small**; the mattes differ by {pruned.apart:.4f} on "
             "average.", "",
             "| Network | File | One picture | Speed | Mattes differ by |", "|:---|---:|---:|---:|---:|"]
    for name, row in measured.items():
        lines.append(f"| {name.capitalize()} | {row.megabytes:.1f} MB | {row.milliseconds:.0f} ms | "
                     f"× {dense.milliseconds / row.milliseconds:.1f} | {'' if name == DENSE else f'{row.apart:.4f}'} |")
    return "\n".join([*lines, "", EXPLAINED])


def build_compare(networks: Mapping[str, Path], find_dense: Callable[[], Path], examples: list[str]) -> None:
    """Add the tab's components and what they do; `find_dense` returns the dense network as OpenVINO reads it, or raises
    `ValueError` that says what is needed."""
    with gr.Row(equal_height=False, elem_classes=WORK):
        with gr.Column(scale=4):
            photo = photograph("Photograph", key="compare-photograph")
            other, size = network_choice(networks, "Beside the dense network")
            gr.Examples(examples, photo, label="Or one of these", api_visibility="private")
        with gr.Column(scale=6):
            result = gr.ImageSlider(label="Left: dense. Right: pruned", type="numpy", max_height=520, interactive=False,
                                    elem_id="compare-result", elem_classes=PLACE)
            table = gr.Markdown(elem_id="compare-table")

    @told
    def show(photo: str | None, other: str, size: int) -> tuple:
        if photo is None:
            return None, ""
        cuts, measured, notes = compared({DENSE: find_dense(), **networks}, Path(photo), size)
        return (cuts[DENSE], cuts[other]), noted(say_compared(measured, other), notes, [photo])

    inputs = [photo, other, size]
    shown = gr.on([component.change for component in inputs], show, inputs, [result, table], show_progress_on=result,
                  trigger_mode="always_last", concurrency_limit=1, api_visibility="private")
    shown.failure(lambda: (None, ""), None, [result, table], show_progress="hidden", queue=False, api_visibility="private")
