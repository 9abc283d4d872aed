"""The tab Webcam: live, over a background, with its frames a second."""
from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

from src.media.compositing import render
from src.page.controls import BLUR, COLOUR, PICTURE, Background, backdrop_of, network_choice
from src.page.files import keep_used
from src.page.limits import USER_ERRORS, said
from src.page.looks import FIRST, WORK
from src.page.offer import chosen

AVERAGED = 30
QUALITY = 88
MOST_PIXELS = 1920 * 1080
STREAM_SECONDS = 0.04
NOTHING = '<div class="nothing">Start the webcam; the browser asks first</div>'


class Live:
    """What one visitor's webcam keeps from frame to frame: the background as it was read, and when frames were done."""

    def __init__(self) -> None:
        self.chosen, self.backdrop, self.times = (), None, deque(maxlen=AVERAGED)

    def composed(self, image: np.ndarray, networks: Mapping[str, Path], background: tuple, *, network: str,
                 size: int) -> tuple[np.ndarray, str]:
        """Put the frame (H, W, 3) uint8 over the background, and a line about its speed."""
        if self.backdrop is None or background != self.chosen:
            self.chosen, self.backdrop = background, backdrop_of(*background)
        matting = chosen(networks, network, size, image.shape[:2])
        begin = time.perf_counter()
        alpha = matting.alpha(image)
        matted = time.perf_counter()
        picture = render(image, alpha, ["composite"], backdrop=self.backdrop)["composite"]
        end = time.perf_counter()
        self.times.append(end)
        rate = (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        return picture, (f"**{rate:.1f} frames a second** at {image.shape[1]}x{image.shape[0]} · network "
                         f"**{1000 * (matted - begin):.0f} ms** · colours and background **{1000 * (end - matted):.0f} ms**")


def within_limit(image: np.ndarray) -> np.ndarray:
    """Shrink a frame (H, W, 3) uint8 to at most `MOST_PIXELS`: a camera of 4:3 gives more."""
    height, width = image.shape[:2]
    scale = (MOST_PIXELS / (height * width)) ** 0.5
    size = int(width * scale), int(height * scale)
    return image if scale >= 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def as_tag(picture: np.ndarray) -> str:
    """Put a picture (H, W, 3) uint8 RGB inside an HTML tag: no file is written for a frame."""
    data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return f'<img alt="You, over the background" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def build_webcam(networks: Mapping[str, Path]) -> None:
    """Add the tab's components and what they do."""
    live = gr.State()
    with gr.Row(equal_height=False, elem_classes=WORK):
        with gr.Column(scale=4):
            camera = gr.Image(label="Webcam", sources=["webcam"], streaming=True, type="numpy", height=300, elem_id="camera",
                              elem_classes=FIRST,
                              webcam_options=gr.WebcamOptions(mirror=True))
            background = Background((COLOUR, PICTURE, BLUR), BLUR)
            network, size = network_choice(networks)
        with gr.Column(scale=6):
            out = gr.HTML(NOTHING, elem_id="webcam-out")
            line = gr.Markdown(elem_id="webcam-said", elem_classes="said")

    def show(image: np.ndarray | None, state: Live | None, kind: str, colour: str, behind: str | None, network: str,
             size: int) -> tuple:
        if image is None or kind == PICTURE and not behind:
            return gr.skip(), gr.skip(), state
        state = state or Live()
        try:
            keep_used((behind,))
            picture, speed = state.composed(within_limit(image), networks, (kind, colour, behind), network=network,
                                            size=size)
        except USER_ERRORS as error:  # in the line: a message for each frame would cover the page
            return gr.skip(), said(error, (behind,)).message, state
        return as_tag(picture), speed, state

    camera.stream(show, [camera, live, *background.inputs, network, size], [out, line, live], stream_every=STREAM_SECONDS,
                  time_limit=600, concurrency_limit=4, show_progress="hidden", api_visibility="private")
