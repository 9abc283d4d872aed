"""Read and write files of tensors: looked through before anything in them is allocated, and written in one move.

`torch.load` is called here and not in `src/checkpoint.py`, since states of trainings pass the same checks as networks.
"""
from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch

from src.console import no_file, shown
from src.files import write_atomically
from src.records import Real, Whole, check_shape

# What the pickle of a state dict of plain tensors names; `torch.load` would also build huge arrays and other tensors.
_PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\._utils\._rebuild_(tensor(_v[23])?|parameter(_with_state)?)"
    r"|torch\._tensor\._rebuild_from_type_v2|torch\.nn\.parameter\.Parameter|torch\.(Tensor|Size|device)"
    r"|torch\.(storage\.)?\w+Storage|torch\.(float|bfloat|int|uint|bool|complex)\w*"
    r"|(builtins|__builtin__)\.(set|complex)|_codecs\.encode")
_KINDS = {"_rebuild_sparse_tensor": "sparse tensors", "_rebuild_sparse_csr_tensor": "sparse tensors",
          "_rebuild_nested_tensor": "nested tensors", "_rebuild_qtensor": "quantised tensors",
          "_rebuild_meta_tensor_no_storage": "tensors without values (of device meta)"}
# A file of torch's before its zip format: this many pickles, then the numbers.
_OLD_PICKLES = 5
# Compressed entries may grow to this many times the size of the file.
_MOST_GROWTH = 8


def _names(stream: BinaryIO) -> Iterator[str]:
    """Yield what one pickle names, `module.name`, without running it."""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield ".".join(argument.split(" "))
        elif opcode.name == "STACK_GLOBAL":
            raise ValueError("its pickle is of protocol 4, torch.save writes 2")


def _check_names(stream: BinaryIO) -> None:
    """Raise `ValueError` for a pickle that names anything but plain tensors and the dicts and lists round them."""
    for name in _names(stream):
        if not _PLAIN.fullmatch(name):
            kind = _KINDS.get(name.rpartition(".")[2], f"objects of kind {shown(name)}")
            raise ValueError(f"it holds {kind}, allowed are plain tensors")


def _check_zip(path: Path) -> None:
    """Raise `ValueError` for an archive whose entries are larger than the file allows, or hold other than plain tensors."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _MOST_GROWTH * size:
            raise ValueError(f"its entries claim {sum(entry.file_size for entry in entries)} bytes, the file has {size}")
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if any("/code/" in entry.filename for entry in entries):
            raise ValueError("it is a TorchScript archive, expected a state dict")
        if len(pickles) != 1:
            raise ValueError("it is a zip file, but not one of torch")
        _check_names(io.BytesIO(archive.read(pickles[0])))
    # On device meta, which allocates nothing: only so is it seen what the tensors claim.
    claimed = torch.load(path, map_location="meta", weights_only=True)
    if (most := sum(_storages(claimed).values())) > _MOST_GROWTH * size:
        raise ValueError(f"its tensors claim {most} bytes, the file has {size}")


def _storages(value: object, depth: int = 8) -> dict[int, int]:
    """Return the bytes of each storage in nested dicts and lists, by its identity."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        return {storage._cdata: storage.nbytes()}
    if not depth or not isinstance(value, dict | list | tuple):
        return {}
    found: dict[int, int] = {}
    for part in value.values() if isinstance(value, dict) else value:
        found |= _storages(part, depth - 1)
    return found


def _check_file(path: Path) -> None:
    if zipfile.is_zipfile(path):
        _check_zip(path)
        return
    with path.open("rb") as stream:
        if not (head := stream.read(64)):
            raise ValueError("the file is empty")
        if head.startswith(b"version https://git-lfs"):
            raise ValueError("it is a pointer of Git LFS, not the file itself: git lfs pull")
        if head.startswith(b"PK"):
            raise ValueError("it is a zip file without its end: is the download whole?")
        if not head.startswith(b"\x80"):
            raise ValueError("it is neither a zip file nor a pickle of torch")
        stream.seek(0)
        for _ in range(_OLD_PICKLES):
            _check_names(stream)


def load_state(path: Path) -> dict:
    """Return what `torch.save` wrote at `path`, plain tensors in dicts, on the CPU.

    Raises `FileNotFoundError`, or `ValueError` naming the file.
    """
    if not path.is_file():
        raise no_file("checkpoint", path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_file(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign pickle can raise anything
        raise ValueError(f"{path} is not a checkpoint of tensors: {_reason(error)}") from None
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return state


def _reason(error: Exception) -> str:
    """Return the first line of an exception in words of a user."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "it claims more than there is memory"
    if isinstance(error, pickle.UnpicklingError):
        return "its pickle is damaged"
    return shown(str(error).strip().partition("\n")[0] or type(error).__name__, most=120)


def save_state(state: Mapping, path: Path, *, before: Callable[[], object] = lambda: None) -> None:
    """Write what `load_state` reads, in one move, `before` which another file is written: on a full disk both stay as they
    were. Raises `OSError` naming the file if it cannot be written."""
    def write(to: Path) -> None:
        to.write_bytes(_saved(state))
        before()

    write_atomically(path, write)


def _saved(state: Mapping) -> memoryview:
    """Return the bytes of the file of a state: torch, which would write it too, says nothing of a full disk ("unexpected pos
    128 vs 0")."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getbuffer()


def state_bytes(state: Mapping) -> int:
    """Return the size of the file that `save_state` would write."""
    return len(_saved(state))


def check_tensor(value: object, name: object) -> torch.Tensor:
    """Return `value` if it is a plain tensor of real numbers, named by a string. Raises `ValueError` naming it, else."""
    if not isinstance(name, str):
        raise ValueError(f"the key {shown(name)} is a {type(name).__name__}, expected the name of a tensor")
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{shown(name)} is a {type(value).__name__}, expected a tensor")
    if value.layout != torch.strided or value.is_quantized or value.is_nested or value.device.type != "cpu":
        kind = "quantised" if value.is_quantized else "nested" if value.is_nested else f"{value.layout}, {value.device}"
        raise ValueError(f"{shown(name)} is a tensor of another kind ({kind}), expected plain numbers")
    return value


def check_structure(value: object, expected: object, name: str) -> None:
    """Raise `ValueError` with the first part of `value` whose kind is not that of the same part of `expected`: dicts of the
    same keys, lists as long, tensors of the same shape, finite numbers, counts from 0."""
    if isinstance(expected, torch.Tensor):
        if check_tensor(value, name).shape != expected.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, expected {tuple(expected.shape)}")
        check_like(value, expected, name)
    elif isinstance(expected, dict):
        if not isinstance(value, dict) or set(value) != set(expected):
            odd = [shown(key) for key in set(value) ^ set(expected)] if isinstance(value, dict) else [shown(value)]
            raise ValueError(f"{name} does not fit: {', '.join(sorted(odd)[:3])}")
        for key, part in expected.items():
            check_structure(value[key], part, f"{name}.{key}")
    elif isinstance(expected, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(expected):
            raise ValueError(f"{name} is {shown(value)}, expected {len(expected)} parts")
        for number, part in enumerate(expected):
            check_structure(value[number], part, f"{name}[{number}]")
    elif isinstance(expected, int | float) and not isinstance(expected, bool):
        # What is from 0 at the start of a run stays so: rates, counts, decays.
        check_shape(value, Whole() if isinstance(expected, int) else Real(0 if expected >= 0 else -math.inf), name)
    elif type(value) is not type(expected):
        raise ValueError(f"{name} is {shown(value)}, expected {'null' if expected is None else type(expected).__name__}")


def check_like(value: torch.Tensor, expected: torch.Tensor, name: str) -> torch.Tensor:
    """Return `value` with the dtype of `expected`, a tensor of the same shape, once it is seen to be sound.

    Weights are floats, counters whole or floats; every number finite, no variance negative. Raises `ValueError`.
    """
    floats = expected.is_floating_point()
    if value.is_complex() or value.dtype == torch.bool or floats and not value.is_floating_point():
        raise ValueError(f"{shown(name)} is of {str(value.dtype).removeprefix('torch.')}, expected floating-point numbers")
    value = value.resolve_neg().to(expected.dtype) if floats else value
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise ValueError(f"{shown(name)} holds values that are not finite")
    if name.endswith("running_var") and (value < 0).any():
        raise ValueError(f"{shown(name)} holds the variance {value.min().item():g}, allowed are numbers from 0")
    return value.to(expected.dtype)
