from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from src.media.preprocess import (
    area_resize,
    list_images,
    network_size,
    read_alpha,
    read_image,
    to_alpha,
    to_fixed_input,
    to_input,
)

GRADIENT = np.dstack([*np.meshgrid(np.linspace(0, 255, 30), np.linspace(255, 0, 20)), np.full((20, 30), 128.0)]
                     ).round().astype(np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_area_resize_equals_torchs_area_interpolation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        h, w, height, width = (int(side) for side in rng.integers(1, 200, 4))
        picture = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
        expected = torch.nn.functional.interpolate(tensor, (height, width), mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(area_resize(picture, height, width), expected, atol=1e-4)


def test_area_resize_of_a_plane_keeps_two_dimensions() -> None:
    np.testing.assert_array_equal(area_resize(np.array([[0, 2], [4, 6]], np.float32), 1, 2), [[2, 4]])


@pytest.mark.parametrize(("size", "expected"), [
    ((512, 512), (512, 512)), ((600, 800), (512, 672)), ((800, 600), (672, 512)), ((256, 256), (512, 512)),
    ((500, 700), (480, 672)), ((1, 1), (512, 512)), ((10, 600), (32, 576)), ((4320, 7680), (512, 896)),
    ((511, 300), (864, 512))])
def test_network_size_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_size(*size) == expected


def test_to_input_is_rgb_from_minus_one_to_one() -> None:
    batch = to_input(np.full((512, 512, 3), (0, 255, 51), np.uint8))
    assert batch.shape == (1, 3, 512, 512) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, :, 7, 9], [-1, 1, -0.6], atol=1e-6)


def test_to_input_refuses_a_picture_that_would_need_gigabytes() -> None:
    with pytest.raises(ValueError, match="300x1 becomes 153600x512 for the network, allowed are 4194304 pixels"):
        to_input(np.zeros((1, 300, 3), np.uint8))


@pytest.mark.parametrize(("size", "box"), [
    ((50, 100), (slice(8, 56), slice(0, 96))), ((64, 64), (slice(0, 64), slice(16, 80))),
    ((1, 500), (slice(31, 32), slice(0, 96)))])
def test_to_fixed_input_keeps_the_aspect_ratio_and_is_zero_round_it(size: tuple[int, int], box: tuple) -> None:
    batch, found = to_fixed_input(np.full((*size, 3), 255, np.uint8), 64, 96)
    assert found == box and batch.shape == (1, 3, 64, 96)
    inside = np.zeros((64, 96), bool)
    inside[box] = True
    assert (batch[0, :, inside] == 1).all() and (batch[0, :, ~inside] == 0).all()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_read_image_is_exact_for_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(GRADIENT), **{"lossless": True} if suffix == "webp" else {})
    np.testing.assert_array_equal(read_image(path), GRADIENT)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_read_image_makes_rgb_of_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(GRADIENT).convert(mode)
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), picture)
    image = read_image(path)
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture.convert("RGB"))


def test_read_image_of_a_cmyk_jpeg_and_of_a_transparent_palette(tmp_path: Path) -> None:
    jpeg = save(tmp_path / "a.jpg", Image.fromarray(GRADIENT).convert("CMYK"), quality=95)
    palette = save(tmp_path / "a.png", Image.fromarray(GRADIENT).convert("P"), transparency=0)
    assert np.abs(read_image(jpeg).astype(int) - GRADIENT).mean() < 5
    assert read_image(palette).shape == (20, 30, 3)


def test_16_bit_grey_is_reduced_by_257_and_alpha_keeps_all_of_it(tmp_path: Path) -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 1], [0, 1, 128, 255])
    cv2.imwrite(str(tmp_path / "b.png"), grey + np.array([[0, 1, 0, 0]], np.uint16))
    np.testing.assert_allclose(read_alpha(tmp_path / "b.png"), [[0, 258 / 65535, 128 / 255, 1]], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(GRADIENT), exif=exif)
    turned = np.rot90(GRADIENT, -1)
    assert read_image(path).shape == turned.shape
    assert np.abs(read_image(path).astype(int) - turned).mean() < 12


def test_alpha_of_8_bit_is_divided_by_255_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 51, 255]], np.uint8)))
    np.testing.assert_allclose(read_alpha(path), [[0, 0.2, 1]], rtol=1e-6)


def test_an_alpha_with_colours_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GRADIENT))
    with pytest.raises(ValueError, match="a.png has colours"):
        read_alpha(path)


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tif", "webp"])
def test_half_a_file_is_refused_by_name_and_in_one_line(
        tmp_path: Path, kind: str, capfd: pytest.CaptureFixture) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()))
    (tmp_path / f"half.{kind}").write_bytes(file.getvalue()[:len(file.getvalue()) // 2])
    with pytest.raises(ValueError, match=f"half.{kind} is not a picture that can be read"):
        read_image(tmp_path / f"half.{kind}")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_no_picture_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="a.png is not a picture"):
        read_image(tmp_path / "a.png")


def test_floating_point_samples_and_bombs_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(ValueError, match="a.tif holds samples of kind F"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match="b.png is not a picture that can be read: Image size"):
        read_image(save(tmp_path / "b.png", Image.fromarray(GRADIENT)))


def test_a_missing_picture_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no picture at"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="no folder at"):
        list_images(tmp_path / "none")


def test_a_large_alpha_is_enlarged_without_blocks_on_request_and_with_less_error() -> None:
    y, x = np.mgrid[:900, :600]
    true = np.clip((np.hypot(y - 450, x - 300) - 200) / 6 + 0.5, 0, 1).astype(np.float32)
    matte = area_resize(true, 300, 200)[None, None]
    off = {smooth: np.square(to_alpha(matte, 900, 600, smooth=smooth) - true).mean() for smooth in (False, True)}
    assert off[True] < 0.5 * off[False]
    np.testing.assert_array_equal(to_alpha(matte, 320, 220, smooth=True), to_alpha(matte, 320, 220))
    large = to_alpha(matte, 900, 600, smooth=True)
    assert large.min() == 0 and large.max() == 1
