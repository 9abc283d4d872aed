"""Controls that several tabs share: a photograph, a background, a network."""
from __future__ import annotations

import importlib.util
import re
from abc import ABCMeta
from collections.abc import Iterable
from typing import Any

import gradio as gr

from src.media.backdrop import Backdrop, parse_backdrop
from src.page.looks import FIRST
from src.page.offer import OWN, SIZES

TRANSPARENT, COLOUR, PICTURE, BLUR = "transparent", "colour", "picture", "blur"
FOREGROUNDS = [("Fast", "fast"), *([("Multi-level (slower)", "ml")] if importlib.util.find_spec("pymatting") else []),
               ("As in the picture", "none")]
HEX = re.compile(r"#?([0-9a-fA-F]{6})")
# An image whose file reaches the handler as it is, for our own reader, where Gradio would decode it. A class, since Gradio
# makes a visitor's components anew when they change; not by a class statement, since it would write a stub file beside this.
Photograph = ABCMeta.__new__(type(gr.Image), "Photograph", (gr.Image,), {
    "__module__": __name__, "__doc__": "An image as the file that was dropped.", "is_template": True,
    "preprocess": lambda self, payload: payload.path if payload else None})


def photograph(label: str, *, height: int | None = 380, key: str | None = None) -> gr.Image:
    """Add an area to drop a picture on; its file reaches the handler as it is: profile, alpha."""
    return Photograph(label=label, sources=["upload", "clipboard"], height=height, buttons=["fullscreen"], elem_id=key,
                      type="filepath", elem_classes=FIRST if key else [], placeholder="Drop a photograph here, or click")


def colour_of(text: str) -> str:
    """Return `R,G,B` of a colour picker's `#rrggbb` or `rgba(r, g, b, a)`. Raises `ValueError` for anything else."""
    if found := HEX.fullmatch(text.strip()):
        return ",".join(str(part) for part in bytes.fromhex(found[1]))
    parts = re.fullmatch(r"rgba?\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*(?:,[^)]*)?\)", text.strip())
    if not parts or any(float(part) > 255 for part in parts.groups()):
        raise ValueError(f"the colour is {text!r}, allowed is #rrggbb")
    return ",".join(str(round(float(part))) for part in parts.groups())


def backdrop_of(kind: str, colour: str, picture: str | None) -> Backdrop:
    """Return what stands behind the person. Raises `ValueError` for a picture that is missing or cannot be read."""
    if kind == BLUR:
        return parse_backdrop("blur")
    if kind == PICTURE:
        if not picture:
            raise ValueError("the background is to be a picture: drop one on the field Background picture")
        return parse_backdrop(picture)
    return parse_backdrop(colour_of(colour) if kind == COLOUR else "255,255,255")


def titled(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return choices as Gradio takes them, a word with a capital for each value."""
    return [(name.capitalize(), name) for name in names]


def network_choice(networks: Iterable[str], label: str = "Network") -> tuple[gr.Radio, gr.Dropdown]:
    """Add the choice of a network and of the size that it sees."""
    names = list(networks)
    return (gr.Radio(titled(names), value=names[0], label=label),
            gr.Dropdown([(f"{size} pixels" if size else "What it was made for", size) for size in SIZES], value=OWN,
                        label="Short side of the picture that the network sees",
                        info="Less is faster, more keeps finer hair"))


class Background:
    """Choice of what stands behind the person; `inputs` are what `backdrop_of` takes."""

    def __init__(self, kinds: tuple[str, ...], value: str) -> None:
        self.kind = gr.Radio(titled(kinds), value=value, label="Background")
        self.colour = gr.ColorPicker("#3d7a5f", label="Background colour", visible=value == COLOUR)
        self.picture = photograph("Background picture", height=160)
        self.picture.visible = value == PICTURE
        self.inputs: list[Any] = [self.kind, self.colour, self.picture]
        self.kind.change(lambda kind: (gr.update(visible=kind == COLOUR), gr.update(visible=kind == PICTURE)), self.kind,
                         [self.colour, self.picture], show_progress="hidden", queue=False, api_visibility="private")
