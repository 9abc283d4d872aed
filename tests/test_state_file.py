"""Hostile checkpoints: each is one line that names the file, and nothing large is allocated for it."""
from __future__ import annotations

import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.checkpoint import load_model, save_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from tests.conftest import tiny_config

KEY = "backbone.model.features.0.0.weight"
NORM = "backbone.model.features.0.1"
State = dict[str, torch.Tensor]


def nested(_: torch.Tensor) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


def first(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def put(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return put


BAD_TENSORS = {
    "nan": (KEY, first(float("nan")), "not finite"), "infinity": (KEY, first(float("inf")), "not finite"),
    "nan mean": (f"{NORM}.running_mean", first(float("nan")), "not finite"),
    "negative variance": (f"{NORM}.running_var", first(-1e-3), "variance -0.001, allowed are numbers from 0"),
    "fp16 overflow": (KEY, lambda x: x.half() + 70000, "not finite"),
    "over float32": (KEY, lambda x: x.double() + 1e300, "not finite"),
    "nan counter": (f"{NORM}.num_batches_tracked", lambda x: x * float("nan"), "not finite"),
    "whole numbers": (KEY, torch.Tensor.int, "of int32, expected floating"),
    "bytes": (KEY, lambda x: x.to(torch.uint8), "of uint8"),
    "booleans": (KEY, torch.Tensor.bool, "of bool"), "complex": (KEY, lambda x: x.to(torch.complex64), "of complex64"),
    "sparse": (KEY, torch.Tensor.to_sparse, "sparse tensors"), "meta": (KEY, lambda x: x.to("meta"), "without values"),
    "quantised": (KEY, lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "quantised tensors"),
    "nested": (KEY, nested, "nested tensors"),
    "spread": (KEY, lambda x: torch.zeros(1).expand(10 ** 6, 10 ** 6), r"is \(1000000, 1000000\), expected"),
    "text": (KEY, lambda x: "x" * 10 ** 5, "is a str, expected a tensor")}


@pytest.mark.parametrize("kind", BAD_TENSORS)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_of_another_kind_or_with_unsound_numbers_is_named_in_one_line(kind: str, tiny_ckpt: Path, recwarn) -> None:
    key, change, said = BAD_TENSORS[kind]
    state = torch.load(tiny_ckpt)
    state[key] = change(state[key])
    torch.save(state, tiny_ckpt)
    with warnings.catch_warnings(record=True) as heard, pytest.raises(ValueError, match=said) as raised:
        load_model(tiny_ckpt)
    assert str(tiny_ckpt) in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 600
    assert not heard


@pytest.mark.parametrize(("key", "said"), [
    (5, "key 5 is a int"), (None, "key None is a NoneType"), ("k" * 10 ** 5, r"unknown k{40}\.\.\.k{20}"),
    ("a\nb\x1b[31m", r"unknown a\\nb\\x1b\[31m")])
def test_a_key_that_is_no_name_is_shown_short_and_printable(key: object, said: str, tiny_ckpt: Path) -> None:
    torch.save({**torch.load(tiny_ckpt), key: torch.zeros(1)}, tiny_ckpt)
    with pytest.raises(ValueError, match=said):
        load_model(tiny_ckpt)


def written(path: Path, pickle: bytes, compression: int = zipfile.ZIP_STORED, numbers: int = 16) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (("data.pkl", pickle), ("version", b"3\n"), ("byteorder", b"little"),
                              ("data/0", b"\0" * numbers)):
            archive.writestr(f"archive/{name}", content)
    return path


def claims(numel: int) -> bytes:
    """The pickle of a state dict with one tensor of `numel` floats."""
    count = b"\x8a\x08" + struct.pack("<q", numel)
    return (b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
            b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQK\x00(" + count + b"t(K\x01t\x89ccollections\n"
            b"OrderedDict\n)RtRs.")


@pytest.mark.parametrize(("pickle", "said"), [
    (claims(2 ** 40), "tensors claim 4398046511104 bytes"),
    (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.", "posix.system"),
    (b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x05\x85R.", "objects of kind builtins.bytearray"),
    (b"\x80\x02}", "pickle"), (b"", "pickle")])
def test_a_pickle_that_claims_or_does_more_than_its_tensors_is_refused(pickle: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"x.ckpt is not a checkpoint of tensors: .*{said}"):
        load_model(written(tmp_path / "x.ckpt", pickle))


def test_an_archive_that_grows_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.ckpt", claims(4), zipfile.ZIP_DEFLATED, numbers=2 ** 22)
    with pytest.raises(ValueError, match="its entries claim 41.* bytes, the file has"):
        load_model(path)


@pytest.mark.parametrize(("wrap", "prefix"), [
    (lambda s: {"state_dict": s, "epoch": 3}, ""), (lambda s: {"model": s, "optimizer": {"state": {}}}, "module."),
    (lambda s: {"model": {"state_dict": s}}, "model."), (lambda s: {"state_dict": s}, "model.module.")])
def test_wrapped_checkpoints_are_the_same_network(wrap: Callable[[State], dict], prefix: str, tiny_ckpt: Path) -> None:
    bare = load_model(tiny_ckpt).state_dict()
    torch.save(wrap({prefix + key: value for key, value in bare.items()}), tiny_ckpt)
    found = load_model(tiny_ckpt).state_dict()
    assert all(torch.equal(found[key], value) for key, value in bare.items())


@pytest.mark.parametrize(("wrap", "said"), [
    (lambda s: {"model": s, "state_dict": s}, "holds 'state_dict' and 'model': which"),
    (lambda s: {"model": [s]}, "'model' is a list")])
def test_a_wrapper_that_is_not_clear_is_refused(wrap: Callable[[State], dict], said: str, tiny_ckpt: Path) -> None:
    torch.save(wrap(torch.load(tiny_ckpt)), tiny_ckpt)
    with pytest.raises(ValueError, match=said):
        load_model(tiny_ckpt)


def test_the_format_of_before_zip_is_read_and_looked_through_too(tiny_ckpt: Path) -> None:
    bare = torch.load(tiny_ckpt)
    torch.save(bare, tiny_ckpt, _use_new_zipfile_serialization=False)
    assert torch.equal(load_model(tiny_ckpt).state_dict()[KEY], bare[KEY])
    torch.save({**bare, KEY: bare[KEY].to_sparse()}, tiny_ckpt, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="sparse tensors"):
        load_model(tiny_ckpt)


def test_weights_that_would_not_load_are_not_written(tmp_path: Path) -> None:
    model = MODNet(tiny_config())
    with torch.no_grad():
        model.backbone.model.features[0][0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match="a.ckpt is not written: .*not finite in fp16"):
        save_model(model, tmp_path / "a.ckpt", to_prune_info(model.config), half=True)
    assert not list(tmp_path.iterdir())
