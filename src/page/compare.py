"""The tab Compare: the dense network against what pruning made of it, on the same photograph."""
from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import gradio as gr
import numpy as np

from src.media.compositing import rendered
from src.media.picture_reader import read_picture
from src.page.controls import photograph
from src.page.limits import told
from src.page.offer import SIZES, chosen
from src.page.photo import on_checks, small

REPEATS = 5
DENSE = "dense"
EXPLAINED = (f"Median of {REPEATS}, the network alone, on this machine. How far mattes differ is the mean over the pixels, "
             "from 0 to 1.")


def megabytes(path: Path) -> float:
    """Return the size of a network's files, in MB."""
    return sum(part.stat().st_size for part in {path, path.with_suffix(".bin")} if part.is_file()) / 1e6


def compared(networks: Mapping[str, Path], path: Path, size: int) -> tuple[dict[str, np.ndarray], str]:
    """Return each network's cut-out of a photograph, as it is shown, and a table (Markdown) of sizes and milliseconds.

    The networks take turns, so that a busy moment of the machine hits all of them.
    """
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
    dense = statistics.median(times[DENSE])
    lines = ["| network | file | one picture | | mattes differ by |", "|---|---:|---:|---:|---:|"]
    for name, file in networks.items():
        took, apart = statistics.median(times[name]), float(np.abs(alphas[name] - alphas[DENSE]).mean())
        lines.append(f"| {name} | {megabytes(file):.1f} MB | {took:.0f} ms | {dense / took:.1f} times as fast | "
                     f"{'-' if name == DENSE else f'{apart:.4f}'} |")
    return cuts, "\n".join(lines)


def build_compare(networks: Mapping[str, Path], find_dense: Callable[[], Path], examples: list[str]) -> None:
    """Add the tab's components and what they do; `find_dense` returns the dense network as OpenVINO reads it, or raises
    `ValueError` that says what is needed."""
    names = list(networks)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4):
            photo = photograph("Photograph", key="compare-photograph")
            other = gr.Radio(names, value=names[0], label="Beside the dense network", visible=len(names) > 1)
            size = gr.Dropdown(list(SIZES), value=512, label="Network size: short side in pixels")
            gr.Examples(examples, photo, label="Or one of these", api_visibility="private")
        with gr.Column(scale=6):
            result = gr.ImageSlider(label="Left: dense. Right: pruned", type="numpy", max_height=520, interactive=False,
                                    elem_id="compare-result")
            table = gr.Markdown(elem_id="compare-table")

    @told
    def show(photo: str | None, other: str, size: int) -> tuple:
        if photo is None:
            return None, ""
        cuts, said = compared({DENSE: find_dense(), **networks}, Path(photo), size)
        return (cuts[DENSE], cuts[other]), f"{said}\n\n{EXPLAINED}"

    inputs = [photo, other, size]
    gr.on([component.change for component in inputs], show, inputs, [result, table], show_progress_on=result,
          trigger_mode="always_last", concurrency_limit=1, api_visibility="private")
