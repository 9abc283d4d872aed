"""What stands behind the page: limits and their sentences, colours, temporary files, videos, the dense network."""
from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, run, write_video

gr = pytest.importorskip("gradio", reason="the page needs gradio: pip install -r requirements-demo.txt")
pytest.importorskip("openvino")

from src.media.picture_reader import read_picture
from src.media.video_reader import VideoReader
from src.media.video_results import Look
from src.page import dense
from src.page.address import check_address
from src.page.compare import DENSE, Measured, compared, say_compared
from src.page.controls import backdrop_of, colour_of, photograph
from src.page.files import FOLDER_VARIABLE, LOCK, PREFIX, result_folder, sweep, temporary_folder
from src.page.limits import Limits, clock, frame_limit, noted, told
from src.page.looks import theme
from src.page.offer import chosen
from src.page.photo import cut_out
from src.page.video import KINDS, VideoTab, first_frame, keep_waiting, matted
from src.page.webcam import MOST_PIXELS, Live, within_limit
from src.runtime.matting import Matting
from src.script import NetworkError

WHITE = Look(["composite"], lambda image, alpha, time: (255, 255, 255))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", [np.full((64, 96, 3), 9 * i, np.uint8) for i in range(10)], sound=True)


def test_colours_of_the_picker():
    assert colour_of("#3d7a5f") == "61,122,95" and colour_of("rgba(61, 122.2, 95, 1)") == "61,122,95"
    for text in ("red", "#3d7a5", "rgba(300, 0, 0, 1)"):
        with pytest.raises(ValueError, match="allowed is #rrggbb"):
            colour_of(text)
    assert backdrop_of("colour", "#0000ff", None)(None, None, 0) == (0, 0, 255)
    with pytest.raises(ValueError, match="Background picture"):
        backdrop_of("picture", "#000000", None)


def test_a_long_video_is_refused_by_its_length():
    def reader(seconds, width=640):
        return SimpleNamespace(path="/tmp/x/talk.mp4", info=SimpleNamespace(width=width, height=360, rate=Fraction(25),
                                                                             count=25 * seconds))
    assert frame_limit(reader(120), Limits()) == 3150
    with pytest.raises(ValueError, match=r"^talk.mp4 lasts 2:00:00, this page takes videos of up to 2:00"):
        frame_limit(reader(7200), Limits())
    with pytest.raises(ValueError, match="frames of 200000x360, this page takes 50 megapixels"):
        frame_limit(reader(10, 200000), Limits())
    assert clock(59.6) == "1:00" and clock(3661) == "1:01:01"


def test_messages_have_names_and_no_paths_of_the_server():
    def fail(path):
        raise ValueError(f"{path} is not a picture")

    with pytest.raises(gr.Error) as error:
        told(fail)("/tmp/secret/a.jpg")
    assert error.value.message == "a.jpg is not a picture"


def test_a_picture_that_is_too_large_is_told_in_the_pages_own_terms(tmp_path, monkeypatch):
    import cv2

    cv2.imwrite(str(tmp_path / "big.png"), np.zeros((1100, 1000), np.uint8))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10 ** 6)
    with pytest.raises(gr.Error) as error:
        told(read_picture)(tmp_path / "big.png")
    assert error.value.message.startswith("big.png is too large for this page: Image size (1100000 pixels) is over 1 ")
    assert "--max-pixels" not in error.value.message


def test_what_is_left_out_of_a_photograph_is_told_to_its_visitor_alone(folder, tiny_xml, tmp_path, capsys):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    done = cut_out({"tiny": tiny_xml["free"]}, tmp_path / "moving.gif", kind="blur", colour="", behind=None, network="tiny",
                   size=256, foreground="fast")
    assert noted("line", done.notes) == "line  \nNote: moving.gif: it holds several frames, the first is taken"
    assert capsys.readouterr().err == ""


def test_what_a_network_gives_is_a_message_too_in_pictures_and_videos(clip, folder):
    path = folder / "x.xml"

    class Broken:
        def alpha(self, image):
            raise NetworkError(f"{path} gives a matte with values that are not finite")

        path, total_ms, fix_size, start = "x.xml", {"preprocess": 0.0, "infer": 0.0}, lambda *_: None, alpha

    with pytest.raises(gr.Error) as error:
        told(Broken().alpha)(None)
    assert error.value.message == "x.xml gives a matte with values that are not finite" and not error.value.print_exception
    with pytest.raises(NetworkError), contextlib.closing(matted(clip, Broken(), WHITE, Limits())) as items:
        list(items)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(gr.Error, match="x.xml gives a matte"):
        patch.setattr("src.page.video.chosen", lambda *_: Broken())
        patch.setattr("src.page.video.Matting", lambda *_, **__: Broken())
        list(VideoTab({}, Limits()).cut(str(clip), "colour", "#ffffff", None, "x", 512, False, list(KINDS)))


def test_old_files_are_swept_and_at_the_end_all(tmp_path):
    (tmp_path / "a").mkdir()
    for name, age in (("a/old.png", 100), ("a/new.png", 0), ("old.txt", 100)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    sweep(tmp_path, time.time() - 50)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["a", "new.png"]
    with temporary_folder() as page:
        (result_folder() / "x.png").write_bytes(b"x")
        assert len(list(page.rglob("x.png"))) == 1
    assert not page.exists()


def test_what_is_used_stays_and_what_was_swept_is_told_so(folder):
    photo = folder / "me.jpg"
    photo.write_bytes(b"x")
    os.utime(photo, (0, 0))
    assert told(lambda path: path)(str(photo)) == str(photo)
    sweep(folder, time.time() - 50)
    assert photo.exists()
    cut = VideoTab({}, Limits()).cut
    keep_waiting(str(photo), None)
    sweep(folder, time.time() + 7200)
    assert photo.exists()
    with pytest.raises(gr.Error, match="not offered"):
        list(cut(str(photo), "blur", "", None, "x", 0, False, ["alpha"]))
    assert abs(photo.stat().st_mtime - time.time()) < 60
    photo.unlink()
    for work in (told(print), lambda path: list(cut(path, "blur", "", None, "x", 0, False, ["alpha"]))):
        with pytest.raises(gr.Error, match="^'me.jpg was removed, since nobody used it for 30 minutes: drop it again'$"):
            work(str(photo))


def test_a_page_that_was_killed_leaves_its_folder_to_the_next_one_and_one_that_runs_keeps_its_own(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("killed", "runs"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
        (tmp_path / f"{PREFIX}{name}" / LOCK).touch()
    (tmp_path / "another").mkdir()
    with (tmp_path / f"{PREFIX}runs" / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with temporary_folder() as page:
            os.utime(page / LOCK, (0, 0))
            sweep(page, time.time())
            with temporary_folder() as second:
                assert page.exists() and second.exists()
            assert not second.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["another", f"{PREFIX}runs"]


def test_a_photograph_reaches_the_handler_as_its_file_also_from_a_component_that_gradio_made_anew(tmp_path):
    from gradio.data_classes import ImageData

    (tmp_path / "text.jpg").write_bytes(b"dear page")
    area = photograph("Photograph", key="photograph")
    again = area.__class__(**area.constructor_args)
    for one in (area, again):
        assert one.preprocess(ImageData(path=str(tmp_path / "text.jpg"))) == str(tmp_path / "text.jpg")
        assert one.preprocess(None) is None and one.get_block_name() == "image"


def test_a_photograph_becomes_three_files_of_its_size(folder, tiny_xml, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "me.png"), np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))
    done = cut_out({"tiny": tiny_xml["free"]}, tmp_path / "me.png", kind="transparent", colour="#000000", behind=None,
                   network="tiny", size=256, foreground="fast")
    assert [path.name for path in done.files.values()] == ["me_alpha.png", "me_cutout.png", "me_composite.png"]
    assert {cv2.imread(str(path)).shape for path in done.files.values()} == {(90, 70, 3)}
    assert done.result.shape == done.image.shape == (90, 70, 3) and all(ms >= 0 for ms in done.milliseconds.values())
    with pytest.raises(ValueError, match="'other' at 256 is not offered"):
        chosen({"tiny": tiny_xml["free"]}, "other", 256)


def test_a_video_is_told_of_and_cut_out_with_its_sound(folder, tiny_xml, clip):
    image, line = first_frame(clip, Limits())
    assert image.shape == (64, 96, 3) and line.startswith("96x64, 25 frames a second, 0:00")
    *_, done = matted(clip, Matting(tiny_xml["free"], ref_size=64), WHITE, Limits())
    assert done.frames == 10 and [path.name for path in done.paths] == ["clip_composite.mp4"]
    with contextlib.closing(VideoReader(done.paths[0])) as reader:
        assert reader.info.sounds


def test_who_leaves_stops_the_work_and_a_header_that_lies_is_found_out(folder, tiny_xml, clip, monkeypatch):
    matting = Matting(tiny_xml["free"], ref_size=64)
    items = matted(clip, matting, WHITE, Limits())
    assert next(items) == 1
    items.close()
    assert list(folder.iterdir()) == [clip]
    monkeypatch.setattr("src.page.video.frame_limit", lambda reader, limits: 3)
    with pytest.raises(ValueError, match="clip.mp4 is longer than its header says"):
        list(matted(clip, matting, WHITE, Limits()))
    assert list(folder.iterdir()) == [clip]


def test_networks_are_compared_on_one_photograph(tiny_xml, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "me.png"), np.zeros((64, 64, 3), np.uint8))
    cuts, measured, notes = compared({DENSE: tiny_xml["free"], "pruned": tiny_xml["free"]}, tmp_path / "me.png", 256)
    assert set(cuts) == {DENSE, "pruned"} and measured["pruned"].apart == 0 and not notes
    said = say_compared({DENSE: Measured(26.0, 300.0, 0.0), "pruned": Measured(2.0, 40.0, 0.0123)}, "pruned")
    assert said.startswith("**7.5 times as fast, 13 times as small**; the mattes differ by 0.0123") and "| Pruned |" in said


def test_compare_says_what_it_needs_without_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(dense, "ROOT", tmp_path)
    monkeypatch.setattr(dense.importlib.metadata, "distributions", lambda: [])
    with pytest.raises(ValueError, match="Compare needs the dense network.*torch, onnx, onnxruntime.*export_onnx.py"):
        dense.find_dense()
    with pytest.raises(FileNotFoundError, match=r"no dense network at .*x\.xml"):
        dense.find_dense(Path("x.xml"))


def test_compare_makes_the_dense_network_anew_where_the_weights_are_newer(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(dense, "ROOT", tmp_path)
    monkeypatch.setattr(dense, "commands", lambda xml: [["-c", f"open({str(xml)!r}, 'w').write('new')"]])
    xml, checkpoint = tmp_path / dense.XML, tmp_path / dense.CHECKPOINT
    for path, day in ((xml, 2), (checkpoint, 1)):
        path.parent.mkdir()
        path.write_text("old")
        os.utime(path, (day, day))
    assert dense.find_dense() == xml and xml.read_text() == "old"
    os.utime(checkpoint, (3, 3))
    assert dense.find_dense() == xml and xml.read_text() == "new"
    os.utime(xml, (2, 2))
    monkeypatch.setattr(dense.importlib.metadata, "distributions", lambda: [])
    assert dense.find_dense() == xml and "older than pretrained/our_modnet.ckpt" in capsys.readouterr().err


def test_where_the_page_cannot_listen_is_told_by_flag():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port} is taken by another program"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    for host, said in (("", "--host is empty"), ("192.0.2.77", "where this machine cannot listen"),
                       ("no such.invalid", "no address or name that is known here")):
        with pytest.raises(ValueError, match=said):
            check_address(host, port)


@contextlib.contextmanager
def served(host: str, port: int, *, before: str = "", **variables: str):
    """Run demo.py, and some Python before it; what it has said and will say."""
    code = f"{before}\nimport sys, demo, src.script\nsys.exit(src.script.run_script(demo.main))"
    process = subprocess.Popen([sys.executable, "-c", code, "--host", host, "--port", str(port)], text=True, cwd=ROOT,
                               env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said: list[str] = []
    try:
        while not any(line.startswith("http") for line in said) and (line := process.stdout.readline()):
            said.append(line)
        yield said
    finally:
        process.terminate()
        said += process.communicate()[0].splitlines()


def test_the_page_is_served_by_ipv6_and_where_a_proxy_is_set(tmp_path):
    with socket.socket(socket.AF_INET6) as free:
        try:
            free.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        port = free.getsockname()[1]
    with served("::1", port, TMPDIR=str(tmp_path), http_proxy="http://127.0.0.1:9", no_proxy="example.org") as said:
        assert said[-1:] == [f"http://[::1]:{port}\n"], said
        answer = http.client.HTTPConnection("::1", port)
        answer.request("GET", "/")
        assert answer.getresponse().status == 200


def test_a_machine_too_slow_to_show_the_page_to_gradio_in_three_seconds_serves_it(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slow = "import httpx\ndef head(*_, **__): raise httpx.ReadTimeout('timed out')\nhttpx.head = head\n"
    with served("127.0.0.1", port, before=slow, TMPDIR=str(tmp_path)) as said:
        assert said[-1:] == [f"http://127.0.0.1:{port}\n"], said


def test_a_visitor_who_leaves_in_the_middle_of_an_upload_leaves_no_traceback(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with served("127.0.0.1", port, TMPDIR=str(tmp_path)) as said:
        with socket.create_connection(("127.0.0.1", port)) as visitor:
            visitor.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
                            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
                            b'Content-Disposition: form-data; name="files"; filename="me.jpg"\r\n\r\n' + bytes(5000))
        answer = http.client.HTTPConnection("127.0.0.1", port)
        answer.request("GET", "/")
        assert answer.getresponse().status == 200
        time.sleep(1)
    assert not any("Traceback" in line or "ClientDisconnect" in line for line in said), said


def test_bad_options_cost_one_line():
    for options, said in ((("--max-upload", "0"), "--max-upload is 0, allowed are whole numbers from 1"),
                          (("--port", "70000"), "--port is 70000, allowed are"),
                          (("--dense-path", "none.xml"), "error: no dense network at none.xml\n")):
        done = run("demo.py", *options)
        assert done.returncode == 2 and said in done.stderr


def test_a_webcam_is_cut_out_by_a_network_compiled_for_its_frames_loaded_once_with_the_same_matte(tiny_xml):
    networks, frame = {"tiny": tiny_xml["free"]}, np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture, line = Live().composed(frame, networks, ("colour", "#000000", None), network="tiny", size=256)
    assert picture.shape == frame.shape and "64x48" in line
    fixed, free = (chosen(networks, "tiny", 256, size) for size in ((48, 64), None))
    assert fixed is chosen(networks, "tiny", 256, (48, 64)) is not free
    assert fixed.compiled.own_size == (48, 64) and free.compiled.own_size is None
    assert np.abs(fixed.alpha(frame) - free.alpha(frame)).max() < 1e-4


def test_a_webcam_that_gives_more_than_is_taken_is_shrunk_to_it():
    height, width = within_limit(np.zeros((1440, 1920, 3), np.uint8)).shape[:2]
    assert 0.99 * MOST_PIXELS < height * width <= MOST_PIXELS and abs(width / height - 4 / 3) < 0.002
    assert within_limit(np.zeros((1080, 1920, 3), np.uint8)).shape == (1080, 1920, 3)


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb` by WCAG 2."""
    parts = np.array([*bytes.fromhex(colour[1:])]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize(("words", "behind"), [
    *((f"{kind}_text_color{hover}{dark}", f"{kind}_background_fill{hover}{dark}") for dark in ("", "_dark")
      for kind in ("button_primary", "button_secondary") for hover in ("", "_hover")),
    *((f"checkbox_label_text_color_selected{dark}", f"checkbox_label_background_fill_selected{dark}")
      for dark in ("", "_dark")),
    *((f"body_text_color_subdued{dark}", f"{fill}_background_fill{dark}") for dark in ("", "_dark")
      for fill in ("body", "block"))])
def test_words_stand_out_as_wcag_wants_them(words: str, behind: str) -> None:
    look = theme()

    def colour(name: str) -> str:
        value = getattr(look, name)
        if value is None:
            return colour(name.removesuffix("_dark"))
        dark = "_dark" if name.endswith("_dark") and hasattr(look, f"{value[1:]}_dark") else ""
        return colour(value[1:] + dark) if value.startswith("*") else value.replace("white", "#ffffff")

    light, dark = sorted((luminance(colour(words)), luminance(colour(behind))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5, (colour(words), colour(behind))
