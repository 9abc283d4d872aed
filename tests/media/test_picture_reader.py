from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from src.media.picture_formats import list_images
from src.media.picture_reader import NEUTRAL, read_alpha, read_image, read_picture
from tests.conftest import grey_png, ink_profile, matrix_profile

GRADIENT = np.dstack([*np.meshgrid(np.linspace(0, 255, 30), np.linspace(255, 0, 20)), np.full((20, 30), 128.0)]
                     ).round().astype(np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


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


UPRIGHT = {1: GRADIENT, 2: GRADIENT[:, ::-1], 3: np.rot90(GRADIENT, 2), 4: GRADIENT[::-1], 5: GRADIENT.swapaxes(0, 1),
           6: np.rot90(GRADIENT, -1), 7: np.rot90(GRADIENT, 2).swapaxes(0, 1), 8: np.rot90(GRADIENT), 9: GRADIENT}


@pytest.mark.parametrize("code", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_every_exif_orientation_is_applied_to_colours_and_to_alpha(tmp_path: Path, suffix: str, code: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = code
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix in ("jpg", "avif") else {}
    opacity = Image.fromarray(GRADIENT[..., 0] // 2 + 100)
    picture = Image.fromarray(GRADIENT)
    if suffix != "jpg":
        picture.putalpha(opacity)
    found = read_picture(save(tmp_path / f"a.{suffix}", picture, exif=exif, **options))
    assert found.image.shape == UPRIGHT[code].shape
    assert np.abs(found.image.astype(int) - UPRIGHT[code]).mean() < 9
    if suffix != "jpg":
        # Red falls and rises with the alpha, whatever the orientation.
        assert np.abs(found.opacity.astype(int) - (UPRIGHT[code][..., 0] // 2 + 100)).mean() < 3


def test_alpha_of_8_bit_is_divided_by_255_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 51, 255]], np.uint8)))
    np.testing.assert_allclose(read_alpha(path), [[0, 0.2, 1]], rtol=1e-6)


def test_an_alpha_with_colours_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GRADIENT))
    with pytest.raises(ValueError, match="a.png has colours"):
        read_alpha(path)


def test_a_matte_of_lossy_webp_whose_grey_is_off_by_a_level_is_a_matte(tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :250]
    matte = (np.clip(100.5 - np.hypot(y - 150, x - 125), 0, 1) * 255).astype(np.uint8)
    path = save(tmp_path / "a.webp", Image.fromarray(matte))
    colours = np.asarray(Image.open(path).convert("RGB"))
    assert (colours[..., 1] != colours[..., 0]).any(), "what this is about"
    assert np.abs(read_alpha(path) - matte / 255).mean() < 0.001


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


@pytest.mark.parametrize("data", [b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b""])
def test_no_picture_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="a.png is not a picture that can be read: " +
                       ("its bytes are of no format" if data else "the file is empty")):
        read_image(tmp_path / "a.png")


def test_floating_point_samples_and_bombs_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(ValueError, match="a.tif holds samples of kind F"):
        read_image(path)
    path = save(tmp_path / "b.png", Image.fromarray(GRADIENT))
    for most in (599, 200):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(ValueError, match=f"b.png is not a picture .* Image size .600 pixels. .* {most} .*--max-pixels"):
            read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert read_image(path).shape == (20, 30, 3)


def test_a_missing_picture_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no picture at"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="no folder at"):
        list_images(tmp_path / "none")


# Lines of XYZ (D50) for the primaries of a space, as its specification has them after Bradford's adaptation.
D50 = {"srgb": [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)],
       "adobe": [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)],
       "p3": [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]}


def meant(colours: np.ndarray, space: str, gamma: float) -> np.ndarray:
    """The same colours in sRGB, by the definition of the spaces."""
    light = (colours / 255) ** gamma @ np.array(D50[space]) @ np.linalg.inv(np.array(D50["srgb"]))
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# Not so saturated that they leave sRGB.
INSIDE = GRADIENT // 3 + 80


@pytest.mark.parametrize(("space", "gamma", "suffix"), [
    ("adobe", 2.2, "jpg"), ("adobe", 2.2, "tif"), ("p3", 2.2, "png"), ("p3", 1.8, "webp"), ("p3", 2.2, "avif")])
def test_colours_mean_what_the_profile_says(tmp_path: Path, space: str, gamma: float, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix in ("jpg", "avif") else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(INSIDE), icc_profile=matrix_profile(D50[space], gamma), **options)
    off = np.abs(read_image(path) - meant(INSIDE, space, gamma))
    assert off.mean() < 1.5 and np.abs(INSIDE - meant(INSIDE, space, gamma)).mean() > 3


def test_a_camera_that_says_adobe_rgb_in_its_exif_alone_is_believed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    path = save(tmp_path / "a.jpg", Image.fromarray(INSIDE), exif=exif, quality=100, subsampling=0)
    with Image.open(path) as file:
        assert file.getexif().get_ifd(0xA005)[1] == "R03"
    assert np.abs(read_image(path) - meant(INSIDE, "adobe", 563 / 256)).mean() < 1.5


def test_the_profile_counts_for_transparent_grey_palette_and_16_bit_pictures_too(tmp_path: Path) -> None:
    colours, grey = matrix_profile(D50["adobe"], 2.2), matrix_profile([(0.9642, 1.0, 0.8249)], 1.4)
    rgba = Image.fromarray(INSIDE)
    rgba.putalpha(200)
    expected = meant(INSIDE, "adobe", 2.2)
    assert np.abs(read_picture(save(tmp_path / "a.png", rgba, icc_profile=colours)).image - expected).max() < 2
    palette = Image.fromarray(INSIDE).quantize(16)
    found = read_image(save(tmp_path / "p.png", palette, icc_profile=colours))
    assert np.abs(found - meant(np.asarray(palette.convert("RGB")), "adobe", 2.2)).max() < 2
    levels = np.arange(40, 256, dtype=np.uint8)[None]
    light = (levels / 255) ** 1.4
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    for name, picture in (("l", Image.fromarray(levels)), ("d", Image.fromarray(levels.astype(np.uint16) * 257)),
                          ("la", Image.merge("LA", [Image.fromarray(levels), Image.new("L", (216, 1), 99)]))):
        found = read_picture(save(tmp_path / f"{name}.png", picture, icc_profile=grey)).image
        assert np.abs(found - expected[..., None]).max() < 2, name


def test_cmyk_with_a_profile_is_what_little_cms_makes_of_it(tmp_path: Path) -> None:
    profile = ink_profile()
    inks = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8), "CMYK")
    path = save(tmp_path / "a.tif", inks, icc_profile=profile)
    expected = ImageCms.profileToProfile(inks, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    np.testing.assert_array_equal(read_image(path), expected)
    assert np.abs(read_image(path) - np.asarray(inks.convert("RGB"), int)).mean() > 5


def test_a_profile_that_says_srgb_or_nothing_sensible_changes_nothing(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.png", Image.fromarray(GRADIENT), icc_profile=srgb)
    np.testing.assert_array_equal(read_image(path), GRADIENT)
    assert capsys.readouterr().err == ""
    for number, broken in enumerate((b"no profile", srgb[:200], ink_profile(), matrix_profile([(0.9642, 1, 0.8249)], 1.4))):
        path = save(tmp_path / f"{number}.png", Image.fromarray(GRADIENT), icc_profile=broken)
        np.testing.assert_array_equal(read_image(path), GRADIENT)
        assert capsys.readouterr().err.startswith(f"note: {path}: its colour profile is left out: ")


def transparent_pictures() -> Iterator[tuple[str, Image.Image, dict, int]]:
    """Red pictures whose left half is invisible and green: name, picture, how to save it, alpha of the right half."""
    colours = np.zeros((8, 16, 3), np.uint8)
    colours[:, :8], colours[:, 8:] = (0, 255, 0), (255, 0, 0)
    for name, right, suffix in (("rgba", 102, "png"), ("webp", 102, "webp"), ("avif", 102, "avif"), ("tiff", 102, "tif"),
                                ("tga", 102, "tga"), ("jp2", 102, "jp2"), ("ico", 255, "ico"), ("qoi", 102, "qoi")):
        picture = Image.fromarray(colours)
        picture.putalpha(Image.fromarray(np.uint8([0] * 8 + [right] * 8)[None].repeat(8, 0)))
        options = {"webp": {"lossless": True, "exact": True}, "ico": {"sizes": [(16, 8)]},
                   "avif": {"quality": 100, "subsampling": "4:4:4"}}
        yield f"{name}.{suffix}", picture, options.get(suffix, {}), right
    palette = Image.fromarray(np.uint8([0] * 8 + [1] * 8)[None].repeat(8, 0), "P")
    palette.putpalette([0, 255, 0, 255, 0, 0])
    yield "palette.png", palette, {"transparency": b"\0\x66"}, 102
    yield "palette.gif", palette, {"transparency": 0}, 255
    yield "key.png", Image.fromarray(colours), {"transparency": (0, 255, 0)}, 255


@pytest.mark.parametrize(("name", "picture", "options", "right"), [*transparent_pictures()],
                         ids=lambda value: str(value)[:12])
def test_alpha_is_read_and_hidden_colours_are_not(tmp_path: Path, name: str, picture: Image.Image, options: dict,
                                                  right: int) -> None:
    found = read_picture(save(tmp_path / name, picture, **options))
    if name.endswith("ico"):
        found = found._replace(image=found.image[:8, :16], opacity=found.opacity[:8, :16])
    assert (found.opacity[:, :8] == 0).all() and (found.opacity[:, 8:] == right).all()
    assert (found.image[:, :7] == NEUTRAL).all() and np.abs(found.image[:, 9:] - [255.0, 0, 0]).max() < 4
    shown = found.over((0, 0, 200))
    assert np.abs(shown[:, 9:] - np.array([right, 0, 200 * (1 - right / 255)])).max() < 4
    assert (shown[:, :7] == (0, 0, 200)).all()


def test_16_bit_alpha_and_keys_of_grey_are_read(tmp_path: Path) -> None:
    deep = np.zeros((2, 3, 4), np.uint16)
    deep[..., 2], deep[..., 3] = 65535, [0, 0x6666, 65535]
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    found = read_picture(tmp_path / "deep.png")
    np.testing.assert_array_equal(found.opacity, [[0, 102, 255]] * 2)
    np.testing.assert_array_equal(found.image[0], [NEUTRAL, (255, 0, 0), (255, 0, 0)])
    levels = np.uint8([[0, 85, 170, 255]])
    save(tmp_path / "8.png", Image.fromarray(levels), transparency=170)
    for bits, key in ((2, 2), (4, 10)):
        (tmp_path / f"{bits}.png").write_bytes(grey_png(levels, bits, key))
    for bits in (2, 4, 8):
        np.testing.assert_array_equal(read_picture(tmp_path / f"{bits}.png").opacity, [[255, 255, 0, 255]])


def test_an_opaque_alpha_is_none(tmp_path: Path) -> None:
    picture = Image.fromarray(GRADIENT)
    picture.putalpha(255)
    assert read_picture(save(tmp_path / "a.png", picture)).opacity is None


def png_with(path: Path, colours: np.ndarray, *chunks: tuple[bytes, bytes]) -> Path:
    """Write a PNG with chunks of one's own before its pixels."""
    data = io.BytesIO()
    Image.fromarray(colours).save(data, "PNG")
    head, rest = data.getvalue()[:33], data.getvalue()[33:]
    own = b"".join(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
                   for kind, content in chunks)
    path.write_bytes(head + own + rest)
    return path


CHRM = {"p3": (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
        "srgb": (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))}
GAMMA = {gamma: (b"gAMA", struct.pack(">I", round(100_000 / gamma))) for gamma in (1.0, 1.8, 2.2)}
ADOBE_BY_ICC = (b"iCCP", b"x\0\0" + zlib.compress(matrix_profile(D50["adobe"], 2.2)))


@pytest.mark.parametrize(("space", "gamma", "chunks"), [
    ("srgb", 1.0, [GAMMA[1.0]]), ("srgb", 1.8, [GAMMA[1.8], CHRM["srgb"]]), ("p3", 1.8, [GAMMA[1.8], CHRM["p3"]]),
    ("p3", None, [GAMMA[2.2], CHRM["p3"]]), ("p3", None, [CHRM["p3"]]), ("p3", None, [(b"cICP", b"\x0c\x0d\0\1")]),
    ("p3", 2.2, [(b"cICP", b"\x0c\x04\0\1"), ADOBE_BY_ICC]), ("srgb", 1.0, [(b"cICP", b"\x01\x08\0\1"), GAMMA[1.8]])])
def test_colours_mean_what_a_png_says_without_a_profile(tmp_path: Path, space: str, gamma: float | None,
                                                       chunks: list[tuple[bytes, bytes]]) -> None:
    light = INSIDE / 255
    srgb = 255 * (light if gamma else np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4))
    expected = meant(INSIDE if gamma else srgb, space, gamma or 1.0)
    path = png_with(tmp_path / "a.png", INSIDE, *chunks)
    assert np.abs(read_image(path) - expected).max() < 2.5 and np.abs(INSIDE - expected).mean() > 3
    assert np.abs(read_picture(tmp_path / "x.png", data=path.read_bytes()).image - expected).max() < 2.5


@pytest.mark.parametrize("chunks", [
    [GAMMA[2.2]], [GAMMA[2.2], CHRM["srgb"]], [(b"sRGB", b"\0"), GAMMA[1.0], CHRM["p3"]],
    [(b"cICP", b"\x01\x0d\0\1"), GAMMA[1.0]], [(b"gAMA", bytes(4))], [(b"cICP", b"\x02\x02\0\1")], [(b"cICP", b"\x0c")]])
def test_what_a_png_says_of_srgb_or_not_at_all_changes_nothing(tmp_path: Path, chunks: list[tuple[bytes, bytes]]) -> None:
    np.testing.assert_array_equal(read_image(png_with(tmp_path / "a.png", INSIDE, *chunks)), INSIDE)


def test_primaries_that_are_no_colours_are_left_out_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.testing.assert_array_equal(read_image(png_with(tmp_path / "zero.png", INSIDE, (b"cHRM", bytes(32)))), INSIDE)
    assert "zero.png: its colour profile is left out: its primaries are no colours" in capsys.readouterr().err


def test_a_still_picture_that_is_hdr_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = png_with(tmp_path / "hdr.png", INSIDE, (b"cICP", b"\x09\x10\0\1"))
    np.testing.assert_array_equal(read_image(path), INSIDE)
    assert "hdr.png: it is HDR (PQ), and is taken as it is" in capsys.readouterr().err


def test_the_code_points_of_an_avif_count(tmp_path: Path) -> None:
    path = save(tmp_path / "a.avif", Image.fromarray(INSIDE), quality=100, subsampling="4:4:4")
    data = path.read_bytes()
    place = data.index(b"colrnclx") + 8
    path.write_bytes(data[:place] + struct.pack(">HH", 12, 4) + data[place + 4:])
    assert np.abs(read_image(path) - meant(INSIDE, "p3", 2.2)).mean() < 1.5


def test_a_picture_in_lab_is_read_without_a_note(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    path = save(tmp_path / "lab.tif", ImageCms.applyTransform(Image.fromarray(INSIDE), lab))
    assert np.abs(read_image(path).astype(int) - INSIDE).max() < 8
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="libtiff is no library of its own there")
def test_a_damaged_tiff_is_one_line_that_names_it(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    for compression, mode in (("tiff_lzw", "RGB"), ("tiff_adobe_deflate", "RGB"), ("jpeg", "RGB"), ("group4", "1")):
        path = save(tmp_path / f"{compression}.tif", Image.fromarray(noise).convert(mode), compression=compression)
        data = bytearray(path.read_bytes())
        data[10:200] = bytes(190)
        path.write_bytes(data)
        if mode == "RGB":
            with pytest.raises(ValueError, match=f"{compression}.tif is not a picture that can be read: "):
                read_image(path)
            assert capfd.readouterr().err == ""
        else:
            assert read_image(path).shape == noise.shape
            (line,) = capfd.readouterr().err.splitlines()
            assert line == f"note: {path}: it is damaged (Fax4Decode), and taken as far as it could be read"
