"""Screenshots of each tab of the page, for docs/, by headless Chromium (Debian: chromium, chromium-driver):

    python bench/page_screenshots.py

starts the page and writes `docs/page_picture.webp`, `page_video.webp`, `page_webcam.webp`, `page_compare.webp`, and
`page_phone.webp` as a phone shows the first and the last. The webcam shows the video, by default a slow move over
`data/img.jpg`. The milliseconds are those of a second picture: the first of a size pays for the set-up.
"""
from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import av
from PIL import Image, ImageChops

from src.command_line import Parser
from src.console import no_file
from src.files import check_writable
from src.script import run_script

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--use-fake-ui-for-media-stream",
         "--use-fake-device-for-media-stream", "--window-size=1240,1300", "--hide-scrollbars")
PATIENCE, QUALITY, GAP, MARGIN = 300.0, 80, 8, 32
SAMPLE = ROOT / "data" / "sample" / "val" / "fg"
MOVED = ROOT / "data" / "img.jpg"
PHONE = {"width": 390, "height": 1000, "pixelRatio": 1.0, "touch": True}


def slow_move(picture: Path, path: Path, *, size: tuple[int, int] = (640, 480), frames: int = 100) -> None:
    """Write a video that comes a little nearer to the upper part of a picture, and goes back."""
    with Image.open(picture) as file, av.open(str(path), "w") as out:
        image, stream = file.convert("RGB"), out.add_stream("libx264", rate=25, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            near = 1 - 0.12 * abs(1 - 2 * number / (frames - 1))
            wide, high = image.width * near, image.width * near * size[1] / size[0]
            left, top = (image.width - wide) / 2, (image.height - high) * 0.06
            frame = image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + wide, top + high))
            out.mux(stream.encode(av.VideoFrame.from_image(frame)))
        out.mux(stream.encode())


def as_webcam(video: Path, path: Path, frames: int = 150) -> None:
    """Write the first frames of a video as Motion JPEG, which Chromium takes for a webcam."""
    with av.open(str(video)) as source, av.open(str(path), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=25)
        for number, frame in enumerate(source.decode(video=0)):
            if number == frames:
                break
            if not number:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuvj420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
        out.mux(stream.encode())


class Shots:
    """A browser at the page."""

    def __init__(self, url: str, webcam: Path, output_dir: Path, *, phone: bool = False) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--use-file-for-fake-video-capture={webcam}"):
            options.add_argument(flag)
        if phone:
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": PHONE})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.url, self.output_dir = url, output_dir
        self.open()

    def open(self) -> None:
        """Open the page, anew if it was open."""
        self.driver.get(self.url)
        self.wait(lambda: self.all("#photograph input[type=file]"))

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def wait(self, found: Callable[[], object]) -> None:
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(StaleElementReferenceException):  # the page is drawing it anew
                if found():
                    return
            time.sleep(0.2)
        raise ValueError("the page did not show what it should")

    def tab(self, name: str) -> None:
        next(button for button in self.all("button[role=tab]") if button.text.strip() == name).click()

    def click(self, selector: str, text: str) -> None:
        def clicked() -> bool:
            found = next((e for e in self.all(selector) if text in e.text and e.is_displayed()), None)
            if found is not None:
                found.click()
            return found is not None

        self.wait(clicked)

    def drop(self, where: str, path: Path, until: str) -> None:
        """Drop a file and wait until `until` is there."""
        self.wait(lambda: self.all(f"{where} input[type=file]"))
        self.all(f"{where} input[type=file]")[0].send_keys(str(path))
        self.wait(lambda: self.all(until))

    def seen(self) -> Image.Image:
        """Return what is seen, when it has come to rest."""
        time.sleep(2)
        return Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")

    def save(self, name: str) -> None:
        """Write what is seen, when it has come to rest, down to where nothing more follows."""
        picture = self.seen()
        empty = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
        *_, end = ImageChops.difference(picture, empty).getbbox()
        write(picture.crop((0, 0, picture.width, min(end + MARGIN, picture.height))), self.output_dir, name)


def write(picture: Image.Image, output_dir: Path, name: str) -> None:
    """Write a screenshot for the documentation."""
    picture.save(output_dir / f"page_{name}.webp", quality=QUALITY, method=6)


def take_phone(url: str, webcam: Path, picture: Path, output_dir: Path) -> None:
    """Take the tabs Picture and Compare as a phone shows them, beside one another."""
    shots = Shots(url, webcam, output_dir, phone=True)
    try:
        shots.drop("#photograph", picture, "#times strong")
        first = shots.seen()
        shots.tab("Compare")
        shots.drop("#compare-photograph", picture, "#compare-table table")
        second = shots.seen()
    finally:
        shots.driver.quit()
    both = Image.new("RGB", (first.width + second.width + GAP, first.height), "#94a3b8")
    both.paste(first, (0, 0))
    both.paste(second, (first.width + GAP, 0))
    write(both, output_dir, "phone")


def take(url: str, video: Path | None, picture: Path, output_dir: Path) -> None:
    """Take a screenshot of each tab of the page at `url`. Raises `ValueError` if something does not come."""
    with tempfile.TemporaryDirectory() as folder:
        webcam = Path(folder) / "webcam.mjpeg"
        if video is None:
            slow_move(MOVED, video := Path(folder) / "portrait.mp4")
        as_webcam(video, webcam)
        shots = Shots(url, webcam, output_dir)
        try:
            for _ in range(2):
                shots.open()
                shots.drop("#photograph", picture, "#times strong")
            shots.save("picture")
            shots.tab("Video")
            shots.drop("#video", video, "#video-start:not([disabled])")
            shots.click("#video-start", "Cut out")
            shots.wait(lambda: any("frames in" in e.text for e in shots.all("#video-said")))
            shots.save("video")
            shots.tab("Webcam")
            shots.click("#camera button", "Access")
            shots.click("#camera button", "Record")
            shots.wait(lambda: any("frames a second" in e.text for e in shots.all("#webcam-said")))
            time.sleep(5)
            shots.save("webcam")
            shots.click("#camera button", "Stop")
            shots.tab("Compare")
            shots.drop("#compare-photograph", picture, "#compare-table table")
            shots.save("compare")
        finally:
            shots.driver.quit()
        take_phone(url, webcam, picture, output_dir)


@contextlib.contextmanager
def served(port: int) -> Iterator[str]:
    """Run the page on a port of this machine; its address. Raises `ValueError` with what it said if it does not start."""
    process = subprocess.Popen([sys.executable, str(ROOT / "demo.py"), "--port", str(port)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    try:
        said = "it said nothing"
        for said in process.stdout:
            if said.startswith("http"):
                break
        else:
            raise ValueError(f"the page did not start: {said.strip()}")
        yield said.strip()
    finally:
        process.terminate()
        process.wait()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--url", help="of a page that runs already (default: start one)")
    parser.add_argument("--port", type=int, default=7861, help="of the page that is started (default: %(default)s)")
    parser.add_argument("--video", type=Path, help="a short video of a person")
    parser.add_argument("--picture", type=Path, default=SAMPLE / "portrait_59.webp", help="default: a portrait of "
                        "data/sample")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "docs", help="default: docs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    for what, path in (("video", args.video), ("picture", args.picture)):
        if path is not None and not path.is_file():
            raise no_file(what, path)
    if importlib.util.find_spec("selenium") is None:
        raise ValueError("the screenshots need selenium: pip install selenium")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    with served(args.port) if args.url is None else contextlib.nullcontext(args.url) as url:
        take(url, args.video and args.video.resolve(), args.picture.resolve(), args.output_dir)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
