from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from src.media.backdrop import parse_backdrop
from src.media.compositing import KINDS, composite
from src.media.picture_reader import Picture, read_picture
from src.media.picture_results import PictureLook, result_paths, save_results
from src.media.picture_writer import write_picture

IMAGE = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)
ALPHA = np.array([[0.25, 1.0]], np.float32)


def look(file_format: str = "png", **options: object) -> PictureLook:
    return PictureLook(("alpha", "cutout", "composite"), parse_backdrop("0,0,255"), "none", file_format, **options)


def test_files_read_back_by_opencv_are_what_was_given(tmp_path: Path) -> None:
    paths = save_results(Picture(IMAGE, None, None), ALPHA, result_paths("x.y", tmp_path, look()), look())
    assert [path.name for path in paths] == ["x.y_alpha.png", "x.y_cutout.png", "x.y_composite.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    alpha, rgba, rgb = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    np.testing.assert_array_equal(alpha, [[64, 255]])
    np.testing.assert_array_equal(rgba, [[[30, 20, 10, 64], [0, 100, 200, 255]]])
    np.testing.assert_array_equal(rgb[..., ::-1], composite(IMAGE, ALPHA, (0, 0, 255)))


def test_each_format_takes_what_it_can_hold_and_the_rest_is_png() -> None:
    found = {name: [path.suffix for path in result_paths("a", Path(), PictureLook(KINDS, file_format=name)).values()]
             for name in ("png", "jpg", "webp")}
    assert found == {"png": [".png"] * 4, "jpg": [".png", ".png", ".jpg", ".jpg"],
                     "webp": [".png", ".webp", ".webp", ".webp"]}


@pytest.mark.parametrize("file_format", ["png", "jpg", "webp"])
def test_results_are_tagged_srgb_and_keep_the_resolution_but_a_matte_has_no_colours(
        tmp_path: Path, file_format: str) -> None:
    image = np.full((30, 40, 3), (200, 90, 20), np.uint8)
    chosen = look(file_format, quality=100)
    picture, alpha = Picture(image, None, (300.0, 150.0)), np.ones((30, 40), np.float32)
    paths = save_results(picture, alpha, result_paths("a", tmp_path, chosen), chosen)
    for path in paths:
        with Image.open(path) as file:
            profile = file.info.get("icc_profile")
            is_srgb = "srgb" in file.info or profile and "sRGB" in ImageCms.getProfileDescription(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)))
            assert bool(is_srgb) == ("alpha" not in path.name)
        found = read_picture(path)
        if path.suffix != ".webp":  # whose resolution is in its EXIF alone
            assert np.allclose(found.dpi, (300, 150), atol=0.02)
        if "alpha" not in path.name:
            assert np.abs(found.image.astype(int) - image).max() <= 3


def test_a_quality_costs_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (20, 95):
            write_picture(tmp_path / f"a{suffix}", noise, quality=quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes[0] < sizes[1] / 2


def test_a_full_disk_is_said_with_the_name_of_the_file() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.media.picture_writer.write_atomically", lambda path, write: write(path))
        patch.setattr(Path, "suffix", ".png")
        with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
            write_picture(Path("/dev/full"), IMAGE)


def test_a_name_that_the_file_system_does_not_take_is_found_before_anything_is_written(tmp_path: Path) -> None:
    paths = result_paths("x" * 245, tmp_path, look())
    assert len(paths["alpha"].name) == 255
    with pytest.raises(OSError, match="File name too long"):
        save_results(Picture(IMAGE, None, None), ALPHA, paths, look())
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_long_for_its_format_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.webp cannot be written: a side of 16384 pixels, .webp holds 16383"):
        write_picture(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_one_result_is_too_long_for_its_format(tmp_path: Path) -> None:
    wide, alpha = Picture(np.zeros((2, 4100, 3), np.uint8), None, None), np.zeros((2, 4100), np.float32)
    some = PictureLook(KINDS, parse_backdrop("0,0,255"), "none", "webp")
    with pytest.raises(ValueError, match=r"wide_sheet.webp cannot be written: a side of 16400 pixels"):
        save_results(wide, alpha, result_paths("wide", tmp_path, some), some)
    assert list(tmp_path.iterdir()) == []


def test_each_png_compression_is_exact_and_the_highest_smaller_than_none(tmp_path: Path) -> None:
    picture = np.cumsum(np.random.default_rng(2).integers(-2, 3, (80, 90, 4)), 0).astype(np.uint8)
    for given in (picture, picture[..., :3], picture[..., 0]):
        sizes = []
        for level in range(10):
            write_picture(tmp_path / "a.png", given, png_compression=level)
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), given)
            sizes.append((tmp_path / "a.png").stat().st_size)
        assert max(sizes) == sizes[0] and sizes[9] <= sizes[2] < sizes[0] > sizes[1]
