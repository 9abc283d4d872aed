"""The only place that reads and writes networks: wrappers and names of others, strict loading, sound weights."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from src.console import shown
from src.files import write_json
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import from_prune_info, read_prune_info
from src.state_file import check_like, check_tensor, load_state, save_state, state_bytes

__all__ = ["find_prune_info", "load_backbone", "load_model", "load_state", "save_model", "save_state", "state_bytes",
           "torch_device"]

# Under what others keep the state dict in a checkpoint, and what they put before each name, as `torch.compile` does too.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "module")
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.")
_MOST_WRAPPED = 2


def unwrapped(state: Mapping) -> Mapping:
    """Return the state dict inside `{"state_dict": ...}`, `{"model": ...}` and their kin, also one in the other.

    Raises `ValueError` if there are several, or something else than a state dict is inside.
    """
    for _ in range(_MOST_WRAPPED):
        inside = [key for key in WRAPPERS if key in state and not isinstance(state[key], torch.Tensor)]
        if not inside:
            break
        if len(inside) > 1:
            raise ValueError(f"it holds {' and '.join(map(repr, inside))}: which of them is the network is not said")
        if not isinstance(state[inside[0]], Mapping):
            raise ValueError(f"{inside[0]!r} is a {type(state[inside[0]]).__name__}, expected a state dict")
        state = state[inside[0]]
    return state


def clean_key(key: str) -> str:
    """Translate a parameter name of the official, the published pruning or our layout into ours."""
    while (prefix := next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)) is not None:
        key = key.removeprefix(prefix)
    if ".backbone." in key:
        key = key.removeprefix("lr_branch.")
    return key.replace(".cbr.", ".") if key.startswith("backbone.") else key


def clean_state(state: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Return the tensors by our names; the second copy of the backbone is dropped. Nothing is copied.

    Raises `ValueError` for names that are no strings, values that are no plain tensors, or copies that differ.
    """
    out: dict[str, torch.Tensor] = {}
    for key, value in unwrapped(state).items():
        check_tensor(value, key)
        name = clean_key(key)
        if name in out and not torch.equal(out[name], value):
            raise ValueError(f"the two copies of {shown(name)} differ")
        out[name] = value
    return out


def check_state(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of `state` in the dtypes of `expected`, float32 for weights, once their numbers are seen to be
    sound (`check_like`).

    Raises `ValueError` with the first missing, unknown or differently shaped tensors, or the first unsound one.
    """
    missing = [key for key in expected if key not in state]
    unknown = [shown(key) for key in state if key not in expected]
    shapes = [f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
              for key, value in expected.items() if key in state and state[key].shape != value.shape]
    said = ([f"missing {', '.join(missing[:3])}"] if missing else []) + (
        [f"unknown {', '.join(unknown[:3])}"] if unknown else []) + shapes[:3]
    if said:
        raise ValueError("; ".join(said))
    return {key: check_like(state[key], value, key) for key, value in expected.items()}


def sibling_json(ckpt_path: Path) -> Path:
    """Return where the pruning JSON of a checkpoint lies."""
    return ckpt_path.with_suffix(".json")


def find_prune_info(ckpt_path: Path, prune_info: Path | None) -> dict | None:
    """Return the pruning JSON given, or the sibling of the checkpoint, or `None` for a dense network."""
    sibling = sibling_json(ckpt_path)
    if prune_info is None and not os.path.lexists(sibling):
        return None
    return read_prune_info(Path(prune_info or sibling))


def load_model(ckpt_path: str | Path, prune_info: str | Path | None = None, device: str = "cpu") -> MODNet:
    """Load the MODNet of a checkpoint, float32, in eval mode.

    Reads official MODNet checkpoints, those of the published pruning code, and ours; with and without `module.`, with
    and without the second copy of the backbone, bare or `unwrapped`. `prune_info` defaults to the JSON beside the
    checkpoint; without one the network is dense. Raises `FileNotFoundError`, or `ValueError` naming the file and the first
    tensors that differ or are no finite numbers.
    """
    ckpt_path = Path(ckpt_path)
    state = load_state(ckpt_path)
    info = find_prune_info(ckpt_path, None if prune_info is None else Path(prune_info))
    config = MODNetConfig() if info is None else from_prune_info(info)
    try:
        state = clean_state(state)
        with torch.device("meta"):
            expected = MODNet(config).state_dict()
        state = check_state(state, expected)
    except ValueError as error:
        kind = "the dense MODNet" if info is None else f"the MODNet of {prune_info or sibling_json(ckpt_path)}"
        raise ValueError(f"{ckpt_path} is not {kind}: {error}") from None
    model = MODNet(config)
    model.load_state_dict(state)
    return model.to(device).eval()


def save_model(model: MODNet, ckpt_path: str | Path, info: Mapping, *, half: bool = False) -> None:
    """Write the weights as a plain state dict (fp16 if `half`) and the pruning JSON `info` beside them.

    Raises `ValueError`, before anything is written, for weights that `load_model` would refuse, also as fp16.
    """
    ckpt_path = Path(ckpt_path)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    try:
        for key, value in state.items():
            check_like(value, value, key)
    except ValueError as error:
        raise ValueError(f"{ckpt_path} is not written: {error}{' in fp16' if half else ''}") from None
    # The checkpoint is moved into place last: where it is, all is there, however the process was killed.
    save_state(state, ckpt_path, before=lambda: write_json(sibling_json(ckpt_path), dict(info)))


def load_backbone(model: MODNet, source: str | Path) -> None:
    """Copy an ImageNet MobileNetV2 (`features.N...`, classifier ignored) into the encoder of a dense `model`.

    `source` is a file, or `imagenet` to let torchvision fetch one. Raises `ValueError` naming the file and the first
    tensors that do not fit.
    """
    path = fetch_imagenet() if source == "imagenet" else Path(source)
    try:
        state = clean_state({f"backbone.model.{key}" if isinstance(key, str) else key: value
                             for key, value in unwrapped(load_state(path)).items()})
        state = {key.removeprefix("backbone.model."): value for key, value in state.items()
                 if not key.startswith("backbone.model.classifier.")}
        # torchvision nests convolution and norm one level deeper: conv.0.0 -> conv.0, conv.0.1 -> conv.1, ...
        if any(key.startswith("features.1.conv.0.0.") for key in state):
            state = {_from_torchvision(key): value for key, value in state.items()}
        state = check_state(state, model.backbone.model.state_dict())
    except ValueError as error:
        raise ValueError(f"{path} is not a MobileNetV2 encoder: {error}") from None
    model.backbone.model.load_state_dict(state)


def _from_torchvision(key: str) -> str:
    parts = key.split(".")
    if len(parts) < 5 or parts[2] != "conv" or not parts[3].isdecimal():
        return key
    pairs = 1 if parts[1] == "1" else 2
    if int(parts[3]) < pairs and parts[4].isdecimal():
        return ".".join([*parts[:3], str(3 * int(parts[3]) + int(parts[4])), *parts[5:]])
    return ".".join([*parts[:3], str(3 * pairs + int(parts[3]) - pairs), *parts[4:]])


def fetch_imagenet() -> Path:
    """Fetch torchvision's MobileNetV2 weights, once. Raises `OSError` where there is no network."""
    from torchvision.models import MobileNet_V2_Weights

    url = MobileNet_V2_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    return path


def torch_device(name: str) -> str:
    """Return `name` if torch can use it; `auto` is a GPU where there is one. Raises `ValueError` with what is there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except Exception:  # each kind of device has exceptions of its own; of meta there are no values
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ValueError(f"--device {name} is not there; this machine has {', '.join(there)}") from None
    return name
