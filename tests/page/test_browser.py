"""The page in a real browser: headless Chromium drops pictures, reads messages and downloads what came of them."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.media.compositing import to_uint8
from src.media.picture_reader import read_alpha, read_image
from src.page.files import sweep
from src.runtime.matting import Matting
from src.runtime.network import shipped_model
from tests.conftest import ROOT, write_video

pytest.importorskip("openvino")
pytest.importorskip("gradio", reason="the page needs gradio: pip install -r requirements-demo.txt")
pytest.importorskip("selenium", reason="the browser test needs selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver (Debian: chromium, "
                                "chromium-driver)")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000")
PATIENCE = 120.0


class Page:
    """A page that is served, and the folder in which it keeps its files."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url, self.folder, self.port, self.asked = f"http://127.0.0.1:{port}", folder, port, folder / "asked.txt"
        self.start()

    def start(self) -> None:
        said = self.folder / "said.txt"
        with said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests/page/served.py"), str(self.asked), "--port", str(self.port)], stdout=out,
                stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(self.folder)},
                # Which a test run in the background ignores.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        wait_for(lambda: self.url in said.read_text() or self.process.poll() is not None, "the address")
        assert self.process.poll() is None, said.read_text()
        self.temporary = next(self.folder.glob("modnet-page-*"))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_for(found: Callable[[], Any], what: str) -> Any:
    """What `found` gives, once that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = Page(tmp_path_factory.mktemp("page"), port)
    yield served
    served.stop()


class Window:
    """A browser of its own, at the page."""

    def __init__(self, page: Page, downloads: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads),
                                                  "profile.default_content_setting_values.automatic_downloads": 1})
        for flag in (*FLAGS, f"--user-data-dir={downloads}/profile"):
            options.add_argument(flag)
        self.downloads, self.driver = downloads, webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.get(page.url)
        wait_for(lambda: self.all("#photograph input[type=file]"), "the page")

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def drop(self, path: Path) -> None:
        """Drop a picture; the one before is taken away first."""
        for button in self.all("#photograph button[aria-label*=Clear], #photograph button[aria-label*=Remove]")[:1]:
            button.click()
            wait_for(lambda: not self.all("#times strong"), "the empty page")
        wait_for(lambda: self.all("#photograph input[type=file]"), "the upload")[0].send_keys(str(path))

    def matted(self) -> None:
        wait_for(lambda: self.all("#times strong") and self.all("#get-alpha:not([disabled])"), "the cut-out")

    def choose(self, label: str) -> None:
        """Click a radio button of the tab that is shown."""
        found = [e for e in self.all("label") if e.text.strip() == label and e.is_displayed()]
        self.driver.execute_script("arguments[0].click()", found[0])

    def tab(self, name: str) -> None:
        next(button for button in self.all("button[role=tab]") if button.text.strip() == name).click()
        wait_for(lambda: self.all("#video input[type=file]"), "the tab")

    def said(self) -> str:
        """The line under a video."""
        return self.driver.execute_script("return document.querySelector('#video-said')?.innerText ?? ''").strip()

    def notice(self) -> str:
        """What the page says by itself."""
        return self.driver.execute_script("return document.querySelector('#notice')?.innerText ?? ''")

    def download(self, kind: str) -> Path:
        """Click one of the download buttons; the file."""
        before = set(self.downloads.glob("*.png"))
        self.driver.execute_script("arguments[0].click()", self.all(f"#get-{kind}")[0])
        return wait_for(lambda: next(iter(set(self.downloads.glob("*.png")) - before), None), f"the {kind}")


@pytest.fixture
def open_window(page: Page, tmp_path: Path) -> Iterator[Callable[[], Window]]:
    windows: list[Window] = []

    def opened() -> Window:
        downloads = tmp_path / str(len(windows))
        downloads.mkdir()
        windows.append(Window(page, downloads))
        return windows[-1]

    yield opened
    for window in windows:
        window.driver.quit()


@pytest.fixture(scope="module")
def alpha_of() -> Callable[[Path], np.ndarray]:
    """What the Python API says of a picture, uint8."""
    matting = Matting(shipped_model())
    return lambda path: to_uint8(matting.alpha(read_image(path)))


def apart(found: Path, expected: np.ndarray) -> int:
    """The largest difference of a downloaded matte, in levels."""
    return int(np.abs(np.rint(255 * read_alpha(found)).astype(int) - expected).max())


def test_a_dropped_picture_is_cut_out_as_the_python_api_does_and_gets_another_background(open_window, alpha_of, page):
    window, picture = open_window(), ROOT / "data/img2.jpg"
    window.drop(picture)
    window.matted()
    expected = alpha_of(picture)
    assert apart(window.download("alpha"), expected) <= 1
    white = read_image(window.download("composite"))
    line = window.all("#times")[0].text
    window.choose("Colour")
    wait_for(lambda: window.all("#times")[0].text not in ("", line), "another composite")
    (window.downloads / "img2_composite.png").unlink()
    green = read_image(window.download("composite"))
    behind, inside = expected == 0, expected == 255
    assert (white[behind] == 255).all() and (green[behind] == (0x3d, 0x7a, 0x5f)).all()
    assert (white[inside] == green[inside]).all()
    hosts = window.driver.execute_script("return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)")
    assert set(hosts) == {page.url}


def test_a_file_that_is_no_picture_gets_a_message_without_the_servers_paths(open_window, tmp_path):
    window = open_window()
    for name, data in (("broken.jpg", b"\xff\xd8\xff no picture"), ("text.png", b"dear page")):
        (tmp_path / name).write_bytes(data)
        window.drop(tmp_path / name)
        wait_for(lambda name=name: any(name in e.text for e in window.all(".toast-body")), "the message")
        said = " ".join(e.text for e in window.all(".toast-body"))
        assert f"{name} is not a picture that can be read" in said and "modnet-page" not in said
        window.driver.refresh()
    window.drop(ROOT / "data/img.jpg")
    window.matted()


def test_a_bad_background_gets_a_message_too_and_the_cut_out_before_cannot_be_downloaded(open_window, tmp_path):
    window, text = open_window(), tmp_path / "letter.png"
    text.write_bytes(b"dear page")
    window.drop(ROOT / "data/img.jpg")
    window.matted()
    window.choose("Picture")
    field = ("return [...document.querySelectorAll('input[type=file]')].find(e => e.closest('[role=tabpanel]')?.offsetParent"
             " && !e.closest('#photograph'))")
    wait_for(lambda: window.driver.execute_script(field), "the field").send_keys(str(text))
    wait_for(lambda: any("letter.png is not a picture that can be read" in e.text for e in window.all(".toast-body")),
             "the message")
    wait_for(lambda: window.all("#get-composite[disabled]") and not window.all("#times strong"), "the empty result")


def test_an_example_is_there_when_all_uploads_were_swept(open_window, page):
    sweep(page.temporary, time.time() + 1)
    window = open_window()
    examples = wait_for(lambda: window.all(".gallery-item"), "the examples")
    # As a screen reader calls them.
    assert [button.accessible_name for button in examples[:2]] == ["Example 1", "Example 2"]
    examples[1].click()
    window.matted()


def test_a_video_is_stopped_while_it_runs_and_while_it_waits_and_nothing_of_it_stays(open_window, page, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", [np.zeros((96, 160, 3), np.uint8)] * 900)
    window = open_window()
    window.driver.switch_to.new_window("tab")  # a visit of its own
    window.driver.get(page.url)
    visits = window.driver.window_handles[::-1]
    for visit, said in zip(visits, ("Frame ", "Waiting for its turn"), strict=True):
        window.driver.switch_to.window(visit)
        wait_for(lambda: window.all("#photograph input[type=file]"), "the page")
        window.tab("Video")
        window.all("#video input[type=file]")[0].send_keys(str(clip))
        wait_for(lambda: window.all("#video-start:not([disabled])"), "the first frame")[0].click()
        wait_for(lambda said=said: said in window.said(), said)
    for visit in visits[::-1]:
        window.driver.switch_to.window(visit)
        window.all("#video-stop")[0].click()
        wait_for(lambda: window.said() == "Stopped", "the end")
    wait_for(lambda: not any(page.temporary.rglob("clip_*")), "the empty folder")
    assert window.said() == "Stopped"


def test_two_visitors_at_once_get_their_own_pictures(open_window, alpha_of):
    windows, pictures = (open_window(), open_window()), (ROOT / "data/img.jpg", ROOT / "data/img2.jpg")
    for _ in range(2):
        for window, picture in zip(windows, pictures, strict=True):
            window.drop(picture)
        for window, picture in zip(windows, pictures, strict=True):
            window.matted()
            found = window.download("alpha")
            assert apart(found, alpha_of(picture)) <= 1
            found.unlink()
        windows, pictures = windows, pictures[::-1]


def test_a_file_that_was_swept_is_told_so_by_its_button_its_link_and_the_next_choice(open_window, page):
    window = open_window()
    window.drop(ROOT / "data/img.jpg")
    window.matted()
    alpha = next(page.temporary.rglob("img_alpha.png"))
    sweep(page.temporary, time.time() + 1)
    window.all("#get-alpha")[0].click()
    assert wait_for(window.notice, "the notice") == ("img_alpha.png was removed, since nobody used it for 30 minutes: cut "
                                                     "it out again.")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{page.url}/gradio_api/file={alpha}")
    said = refused.value.read().decode()
    assert said.startswith("This file is not here: what nobody used for 30 minutes is removed.") and "img" not in said
    window.choose("Colour")
    wait_for(lambda: any("img.jpg was removed, since nobody" in e.text for e in window.all(".toast-body")), "the message")
    assert not list(window.downloads.glob("*.png"))


def test_nothing_leaves_the_machine_and_no_file_stays_after_ctrl_c_while_somebody_has_the_page_open(open_window, page):
    window = open_window()
    window.drop(ROOT / "data/img.jpg")
    window.matted()
    assert any(page.temporary.rglob("*.png"))
    page.process.send_signal(signal.SIGINT)
    page.process.wait(60)
    assert not page.temporary.exists()
    assert not page.asked.exists(), page.asked.read_text()
    # The visitor, who does nothing, reads so, and has the page again when it is back.
    assert wait_for(window.notice, "the notice").startswith("The server of this page has stopped")
    page.start()
    wait_for(lambda: not window.notice() and not window.all("#times strong"), "the page anew")
    wait_for(lambda: window.all("#photograph input[type=file]"), "the page")
