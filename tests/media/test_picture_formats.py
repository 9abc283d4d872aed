from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.media import picture_formats
from src.media.picture_formats import HEIF_SUFFIXES, image_suffixes, is_animated, list_images
from src.media.picture_reader import read_image
from tests.conftest import ROOT

PICTURE = Image.fromarray(np.full((16, 24, 3), (200, 40, 90), np.uint8))
WRITTEN = ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "avif", "tif", "tiff", "gif", "bmp", "dib", "jp2", "j2k",
           "ppm", "pnm", "tga", "ico", "icns", "pcx", "sgi", "qoi", "dds")


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where pillow-heif is not installed."""
    monkeypatch.setattr(picture_formats.importlib.util, "find_spec", lambda name: None)
    for cached in (picture_formats.reads_heif, image_suffixes):
        cached.cache_clear()
    registered = {suffix: Image.EXTENSION.pop(suffix) for suffix in HEIF_SUFFIXES if suffix in Image.EXTENSION}
    yield
    Image.EXTENSION.update(registered)
    for cached in (picture_formats.reads_heif, image_suffixes):
        cached.cache_clear()


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_pillow_reads_is_a_picture_of_a_folder_and_is_read(tmp_path: Path, suffix: str) -> None:
    picture = PICTURE.resize((32, 32)) if suffix in ("ico", "icns") else PICTURE
    picture.save(tmp_path / f"a.{suffix}")
    (tmp_path / f"a.{suffix}").rename(tmp_path / f"a.{suffix.upper()}")
    path, = list_images(tmp_path)
    image = read_image(path)
    assert image.shape[1] >= 24 and np.abs(image[8, 8].astype(int) - (200, 40, 90)).max() < 12


def test_the_documentation_lists_the_endings() -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    listed = text[text.index("Endings in folders"):text.index("if `pillow-heif`")]
    found = {word for word in listed.replace("`", " ").split() if word.startswith(".")}
    assert found - set(HEIF_SUFFIXES) == image_suffixes() - set(HEIF_SUFFIXES)


def test_hidden_files_are_no_pictures_and_the_rest_is_named_with_its_reason(
        tmp_path: Path, capsys: pytest.CaptureFixture, without_heif: None) -> None:
    for name in ("b.jpg", "a.png", ".x.png", "._a.png", "Thumbs.db", "desktop.ini", ".DS_Store", "notes.txt", "c.heic"):
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").mkdir()
    os.mkfifo(tmp_path / "e.png")
    (tmp_path / "f.png").symlink_to(tmp_path / "nothing")
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.jpg"]
    said = capsys.readouterr().err
    assert said == (f"note: {tmp_path}: left out c.heic (needs pillow-heif: pip install pillow-heif), d.jpg (a folder), "
                    "e.png (no plain file), f.png (a link to nothing), notes.txt (no picture)\n")


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
    assert {".heic", ".heif"} <= image_suffixes()
    PICTURE.save(tmp_path / "a.heic")
    assert np.abs(read_image(tmp_path / "a.heic").astype(int) - (200, 40, 90)).max() < 12


def test_heic_says_what_it_needs_elsewhere(tmp_path: Path, without_heif: None) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ValueError, match="a.heic is not a picture that can be read: needs pillow-heif: pip install"):
        read_image(tmp_path / "a.heic")


def test_of_an_animation_the_first_frame_is_taken_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    second = Image.new("RGB", PICTURE.size, "blue")
    for suffix in ("gif", "png", "webp", "avif", "tif"):
        path = tmp_path / f"a.{suffix}"
        PICTURE.save(path, save_all=True, append_images=[second])
        assert np.abs(read_image(path)[8, 8].astype(int) - (200, 40, 90)).max() < 12
        assert capsys.readouterr().err == (
            f"note: {path}: it holds several {'pages' if suffix == 'tif' else 'frames'}, the first is taken\n")
        assert is_animated(path)
    PICTURE.save(tmp_path / "still.gif")
    assert not is_animated(tmp_path / "still.gif") and not is_animated(tmp_path / "none.gif")
