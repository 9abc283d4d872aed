"""A decoded frame of a video as an upright picture in RGB: colours, transparency, display matrix, HDR. No torch here."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.media.picture_reader import NEUTRAL
from src.media.pyav import ACCURATE, FULL, MATRICES, import_av, scaler

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream

# FFmpeg's numbers AVCOL_*: BT.709 and BT.2020 (as matrix and as primaries), unspecified; AVCOL_TRC_* of PQ and HLG.
BT709, BT2020, UNSPECIFIED = 1, 9, 2
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# By libswscale: to 8 bits, highlights compressed and not cut off.
TONE_MAP = "out_primaries=bt709:out_transfer=bt709:out_range=pc:intent=perceptual"
# Decoders that see the alpha which FFmpeg's own leave out.
ALPHA_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
UPRIGHT = (1, 0, 0, 1)


def alpha_decoder(stream: VideoStream) -> str | None:
    """Return the decoder that a WebM's stream needs because it says that it has alpha, `None` if its own will do."""
    marks = {key.lower(): value for key, value in stream.metadata.items()}
    return ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name) if marks.get("alpha_mode") == "1" else None


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d), each -1, 0 or 1: a point (x, y) of the frame is shown at (a x + c y, b x + d y).

    As in the header of a QuickTime track; to the nearest of the four turns and their four mirror images.
    """
    kind = import_av().sidedata.sidedata.Type.DISPLAYMATRIX
    found = next((data for data in frame.side_data if data.type == kind), None)
    if found is None or found.buffer_size < 36:
        return UPRIGHT
    matrix = np.frombuffer(bytes(found), np.int32)[:9].reshape(3, 3)[:2, :2].astype(np.int64)
    straight = np.abs(np.diag(matrix)).sum() >= np.abs(matrix[[0, 1], [1, 0]]).sum()
    kept = np.sign(matrix * (np.eye(2, dtype=np.int64) if straight else np.eye(2, dtype=np.int64)[::-1]))
    a, b, c, d = (int(value) for value in kept.ravel())
    return (a, b, c, d) if abs(a * d - b * c) == 1 else UPRIGHT


def turned(picture: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Return (H, W, ...) as `display_matrix` says that it is shown."""
    a, b, c, d = matrix
    if not a:
        picture = picture.swapaxes(0, 1)
    if a < 0 or c < 0:
        picture = picture[:, ::-1]
    if b < 0 or d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def has_alpha(frame: VideoFrame) -> bool:
    """Return whether a frame's format holds an alpha, as itself or in its palette."""
    return frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)


class FrameDecoder:
    """Turns the frames of one video into pictures; `matrix` (of MATRICES) converts those that are not RGB.

    `hdr` says whether a frame was HDR: these are tone-mapped to BT.709.
    """

    def __init__(self, matrix: int) -> None:
        self.matrix, self.hdr = matrix, None
        # One for all frames: setting it up costs ten times what a frame does.
        self._scaler, self._graph, self._graph_for = scaler(), None, None
        self._display: tuple[int, int, int, int] | None = None

    def show_as(self, frame: VideoFrame) -> None:
        """Turn all frames as this one is: for a decoder that does not know what the file says."""
        self._display = display_matrix(frame)

    def decode(self, frame: VideoFrame) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (H, W, 3) uint8 RGB, upright, and its alpha (H, W) uint8 or `None` if all is opaque. The colours of
        invisible pixels are neutral."""
        display, opacity = self._display or display_matrix(frame), None
        if has_alpha(frame):
            opacity = self._convert(frame, "rgba")[..., 3]
            opacity = None if opacity.min() == 255 else opacity
        if frame.color_trc in HDR_TRANSFERS:
            self.hdr = HDR_TRANSFERS[frame.color_trc]
            image = self._tone_mapped(frame)
        else:
            image = self._convert(frame, "gbrp")
        if opacity is not None:
            image[opacity == 0] = NEUTRAL
            opacity = turned(opacity, display)
        return turned(image, display), opacity

    def _convert(self, frame: VideoFrame, pixel_format: str) -> np.ndarray:
        source = {} if frame.colorspace == 0 else {"src_colorspace": MATRICES[self.matrix]}
        return self._scaler.reformat(frame, format=pixel_format, interpolation=ACCURATE, dst_color_range=FULL, threads=1,
                                     **source).to_ndarray()

    def _tone_mapped(self, frame: VideoFrame) -> np.ndarray:
        if frame.color_primaries == UNSPECIFIED:
            frame.color_primaries = BT2020
        if frame.colorspace == UNSPECIFIED:
            frame.colorspace = BT2020
        if self._graph_for != (frame.width, frame.height, frame.format.name):
            self._graph_for, self._graph = (frame.width, frame.height, frame.format.name), self._opened_graph(frame)
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _opened_graph(self, frame: VideoFrame) -> Graph:
        from av.filter import Graph

        graph = Graph()
        graph.link_nodes(graph.add("buffer", video_size=f"{frame.width}x{frame.height}", pix_fmt=frame.format.name,
                                   time_base=str(frame.time_base or "1/25")),
                         graph.add("scale", TONE_MAP), graph.add("format", "gbrp"), graph.add("buffersink")).configure()
        return graph
