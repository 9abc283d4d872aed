"""Makes the animated picture of README: a video and its cut-out side by side, with the frames per second that were measured:

    python bench/animation.py --video talk.mp4 --output docs/realtime.webp

Each frame that is shown went through the network that ships at the video's own size; the time of a frame is that of
`Matting.alpha`, of which the median is written on the picture. Open the picture before you use it.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import cv2
import numpy as np
from PIL import Image

from src.command_line import Parser
from src.console import progress_bar, say
from src.files import check_output, write_atomically
from src.media.compositing import render
from src.media.video_reader import Frame, Sound, VideoReader
from src.runtime.matting import Matting
from src.runtime.pool import usable_cores
from src.script import run_script

GREEN = (24, 120, 84)
MOST_BYTES = 1_500_000


def frames_of(video: Path, start: float, seconds: float) -> Iterator[Frame]:
    """Yield the frames of a part of a video. Raises `ValueError` if it cannot be read."""
    with contextlib.closing(VideoReader(str(video))) as reader:
        for item in reader:
            if isinstance(item, Sound) or item.time < start:
                continue
            if item.time >= start + seconds:
                return
            yield item


def side_by_side(image: np.ndarray, cut_out: np.ndarray, text: str, width: int) -> Image.Image:
    """Return two pictures (H, W, 3) uint8 beside one another, each `width` wide, with a line of text."""
    height = round(image.shape[0] * width / image.shape[1])
    both = np.hstack([cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in (image, cut_out)])
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(both, text, (width + 8, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return Image.fromarray(both)


def animate(video: Path, output: Path, *, model_path: Path | None = None, start: float = 0.0, seconds: float = 5.0,
            rate: int = 10, width: int = 320, quality: int = 50) -> float:
    """Write the animation; the frames per second of the network. Raises `ValueError` for a video without such a part, and if
    the file would be larger than README bears."""
    check_output(output, "--output")
    matting, times, shown = Matting(model_path), [], []
    frames = list(frames_of(video, start, seconds))
    if len(frames) < 2:
        raise ValueError(f"{video} has no frames from {start} s on")
    matting.fix_size(*frames[0].image.shape[:2])
    matting.alpha(frames[0].image)
    each = (frames[-1].time - frames[0].time) / (len(frames) - 1)
    step = max(1, round(1 / (rate * each)))
    for image in progress_bar([frame.image for frame in frames[::step]], desc="frames"):
        begin = time.perf_counter()
        alpha = matting.alpha(image)
        times.append(time.perf_counter() - begin)
        shown.append((image, render(image, alpha, ["composite"], backdrop=lambda *_: GREEN, foreground="fast")["composite"]))
    speed, cores, file = 1 / statistics.median(times), usable_cores(), io.BytesIO()
    text = f"{speed:.0f} frames a second, {cores} CPU core{'s' * (cores > 1)}"
    pictures = [side_by_side(*pair, text, width) for pair in shown]
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], duration=round(1000 * step * each), loop=0,
                     quality=quality, method=4)
    if file.tell() > MOST_BYTES:
        raise ValueError(f"{output} would have {file.tell()} bytes, allowed are {MOST_BYTES}: lower --width or --quality")
    write_atomically(output, lambda to: to.write_bytes(file.getbuffer()))
    return speed


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/realtime.webp"), help="default: %(default)s")
    parser.add_argument("--model-path", type=Path, help="IR (default: the one that ships)")
    parser.add_argument("--start", type=float, default=0.0, help="second to begin at (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (default: %(default)s)")
    parser.add_argument("--width", type=int, default=320, help="of each half (default: %(default)s)")
    parser.add_argument("--quality", type=int, default=50, help="of WebP, 0 to 100 (default: %(default)s)")
    args = parser.parse_args(argv)
    if not (0 <= args.start < math.inf and 0 < args.seconds < math.inf):
        parser.error("--start is from 0, --seconds over 0")
    if not (16 <= args.width <= 4096 and 0 <= args.quality <= 100):
        parser.error("--width is from 16 to 4096, --quality from 0 to 100")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    args = parse_args(argv)
    speed = animate(args.video, args.output, model_path=args.model_path, start=args.start, seconds=args.seconds,
                    width=args.width, quality=args.quality)
    say(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, {speed:.1f} frames a second")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
