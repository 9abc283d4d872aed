"""INT8 of a small network, and which of its layers go back to float."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")

from src.deploy import quantise as module
from src.deploy.quantise import augmented, calibration_pictures, difference, layer_groups, mattes, quantise, rank
from src.runtime.network import shared_core


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
            for _ in range(3)]


@pytest.fixture(scope="module")
def float_model(tiny_xml: dict[str, Path]) -> openvino.Model:
    return shared_core().read_model(tiny_xml["free"])


@pytest.fixture(scope="module")
def int8(float_model: openvino.Model, pictures: list[np.ndarray]) -> module.Quantised:
    return quantise(float_model, pictures)


def test_int8_has_weights_of_8_bit_and_mattes_near_the_float_ones(int8, float_model, pictures) -> None:
    bits = {op.get_element_type().get_type_name() for op in int8.model.get_ops() if op.get_type_name() == "Constant"
            and len(op.shape) >= 4 and op.shape[0] >= 8 and max(op.shape[2:]) > 1}
    assert bits == {"i8"} and int8.in_float == []
    expected = mattes(float_model, pictures)
    assert int8.mad == pytest.approx(difference(mattes(int8.model, pictures), expected))
    assert 0 < int8.mad < 0.5 * np.mean([np.abs(matte - 0.5).mean() for matte in expected])


def test_a_network_of_one_size_sees_pictures_at_that_size_also_where_its_batch_is_free(float_model, pictures) -> None:
    for batch in (1, -1):
        model = float_model.clone()
        model.reshape([batch, 3, 32, 64])
        assert [matte.shape for matte in mattes(model, pictures)] == [(1, 1, 32, 64)] * 3


def test_every_layer_belongs_to_a_group_named_as_its_module(int8) -> None:
    groups = layer_groups(int8.model)
    assert {"features.1", "hr_branch/conv_hr2x/conv_hr2x.0", "f_branch/conv_f"} <= set(groups)
    assert len(groups) < sum(len(names) for names in groups.values())


def test_layers_that_return_to_float_bring_the_mattes_nearer(int8, float_model, pictures) -> None:
    expected = mattes(float_model, pictures[:1])
    some = [name for names in list(layer_groups(int8.model).values())[:12] for name in names]
    nearer = module.returned_to_float(int8.model, float_model, some)
    assert difference(mattes(nearer, pictures[:1]), expected) < difference(mattes(int8.model, pictures[:1]), expected)


def test_a_group_in_float_takes_none_with_it_whose_name_begins_alike(int8, float_model, pictures) -> None:
    before, after = (set(layer_groups(model)) for model in
                     (int8.model, module._quantise(float_model, pictures, ["features.1"])))
    assert before - after == {"features.1"} and {"features.10", "features.17"} <= after


def test_max_drop_returns_the_groups_that_rank_first(int8, float_model, pictures, monkeypatch) -> None:
    groups = list(layer_groups(int8.model))
    monkeypatch.setattr(module, "rank", lambda *_: groups)
    asked, answers = [], iter([0.5, 0.45, 0.4, 0.1])
    monkeypatch.setattr(module, "_quantise", lambda model, pictures, *scope: asked.append(scope) or int8.model)
    monkeypatch.setattr(module, "difference", lambda *_: next(answers))
    assert quantise(float_model, pictures, max_drop=0.2).in_float == groups[:2]
    # What norms read in float was nearer, so it stays so.
    assert asked == [([], ()), *((some, module.NORMS) for some in ([], groups[:1], groups[:2]))]


def test_a_max_drop_out_of_reach_says_what_was_reached(int8, float_model, pictures, monkeypatch) -> None:
    monkeypatch.setattr(module, "rank", lambda quantised, model, groups, *_: list(groups))
    monkeypatch.setattr(module, "_quantise", lambda *_: int8.model)
    with pytest.raises(ValueError, match=r"max-drop is 1e-09, but with 16 of \d+ groups of layers in float the"):
        quantise(float_model, pictures, max_drop=1e-9)


def test_the_group_that_is_wrong_ranks_first(int8, float_model, pictures) -> None:
    broken = int8.model.clone()
    name, = layer_groups(int8.model)["hr_branch/conv_enc4x"]
    target, = (op for op in broken.get_ops() if op.get_friendly_name() == name)
    scale = openvino.opset8.multiply(target.input_value(1), np.float32(-3))
    target.input(1).replace_source_output(scale.output(0))
    groups = {group: layer_groups(int8.model)[group] for group in ("features.1", "hr_branch/conv_enc4x", "features.9")}
    expected = mattes(float_model, pictures)
    assert rank(broken, float_model, groups, pictures, expected)[0] == "hr_branch/conv_enc4x"


def test_ten_versions_of_a_picture_keep_what_they_show() -> None:
    picture = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3) // 2
    versions = augmented(picture)
    assert [version.shape[:2] for version in versions] == 2 * [(8, 12), (6, 12), (6, 12), (8, 9), (8, 9)]
    np.testing.assert_array_equal(versions[1], picture[:6])
    np.testing.assert_array_equal(versions[7], np.rint(picture[-6:, ::-1] * 1.0))
    assert versions[0].mean() < picture.mean() < versions[2].mean()


def test_the_default_are_the_shipped_portraits_and_a_folder_is_read_in_order(tmp_path: Path) -> None:
    sample = calibration_pictures(ref_size=64)
    assert len(sample) == 40 and all(p.dtype == np.uint8 and p.shape[0] % 32 == p.shape[1] % 32 == 0 for p in sample)
    for name, value in (("b", 200), ("a", 100)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((64, 64, 3), value, np.uint8))
    assert [int(p.mean()) for p in calibration_pictures(tmp_path, ref_size=64)] == [100, 200]


@pytest.mark.parametrize(("names", "said"), [((), "no pictures in calib-dir"), (("a.png",), "a.png is not a picture")])
def test_a_folder_that_cannot_calibrate_is_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=said):
        calibration_pictures(tmp_path)


def test_a_picture_that_is_too_thin_is_named(tmp_path: Path) -> None:
    for name, shape in (("a", (64, 64, 3)), ("b", (10, 400, 3))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"b\.png: a picture of 400x10 becomes 20480x512 for the network"):
        calibration_pictures(tmp_path)
