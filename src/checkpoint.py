"""The only place that reads and writes checkpoints: key clean-up, strict loading, resume state."""
from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch

from src.files import write_atomically, write_json
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import from_prune_info, read_prune_info


def load_state(path: Path) -> dict:
    """What `torch.save` wrote at `path`, on the CPU. Raises `FileNotFoundError` or `ValueError` naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign pickle can raise anything
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise ValueError(f"{path} is not a checkpoint of tensors: {reason}") from None
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a state dict")
    return state


def save_state(state: Mapping, path: Path) -> None:
    """Writes what `load_state` reads, in one move. Raises `OSError` naming the file if it cannot be written."""
    try:
        write_atomically(path, lambda to: torch.save(dict(state), to))
    except RuntimeError as error:  # what torch says of a full disk
        reason = str(error).partition("\n")[0]
        raise OSError(f"cannot write {path}: {reason}") from None


def state_bytes(state: Mapping) -> int:
    """Size of the file that `save_state` would write."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.tell()


def clean_key(key: str) -> str:
    """A parameter name of the official, the published pruning or our layout in ours."""
    key = key.removeprefix("module.").removeprefix("lr_branch.") if ".backbone." in key else key.removeprefix("module.")
    return key.replace(".cbr.", ".") if key.startswith("backbone.") else key


def clean_state(state: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Our names and float32; the second copy of the backbone is dropped.

    Raises `ValueError` for values that are no tensors, or copies of the backbone that differ.
    """
    out: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{key} is a {type(value).__name__}, expected a tensor")
        name, value = clean_key(key), value.float() if value.is_floating_point() else value
        if name in out and not torch.equal(out[name], value):
            raise ValueError(f"the two copies of {name} differ")
        out[name] = value
    return out


def check_state(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raises `ValueError` with the first missing, unknown or differently shaped tensors."""
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in expected]
    shapes = [f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
              for key, value in expected.items() if key in state and state[key].shape != value.shape]
    said = ([f"missing {', '.join(missing[:3])}"] if missing else []) + (
        [f"unknown {', '.join(unknown[:3])}"] if unknown else []) + shapes[:3]
    if said:
        raise ValueError("; ".join(said))


def sibling_json(ckpt_path: Path) -> Path:
    """Where the pruning JSON of a checkpoint lies."""
    return ckpt_path.with_suffix(".json")


def find_prune_info(ckpt_path: Path, prune_info: Path | None) -> dict | None:
    """The pruning JSON given, or the sibling of the checkpoint, or `None` for a dense network."""
    sibling = sibling_json(ckpt_path)
    if prune_info is None and not sibling.is_file():
        return None
    return read_prune_info(Path(prune_info or sibling))


def load_model(ckpt_path: str | Path, prune_info: str | Path | None = None, device: str = "cpu") -> MODNet:
    """The MODNet of a checkpoint, float32, in eval mode.

    Reads official MODNet checkpoints, those of the published pruning code, and ours; with and without `module.`, with
    and without the second copy of the backbone. `prune_info` defaults to the JSON beside the checkpoint; without one the
    network is dense. Raises `FileNotFoundError`, or `ValueError` naming the file and the first differing tensors.
    """
    ckpt_path = Path(ckpt_path)
    state = load_state(ckpt_path)
    info = find_prune_info(ckpt_path, None if prune_info is None else Path(prune_info))
    config = MODNetConfig() if info is None else from_prune_info(info)
    try:
        state = clean_state(state)
        with torch.device("meta"):
            check_state(state, MODNet(config).state_dict())
    except ValueError as error:
        kind = "the dense MODNet" if info is None else f"the MODNet of {prune_info or sibling_json(ckpt_path)}"
        raise ValueError(f"{ckpt_path} is not {kind}: {error}") from None
    model = MODNet(config)
    model.load_state_dict(state)
    return model.to(device).eval()


def save_model(model: MODNet, ckpt_path: str | Path, info: Mapping, *, half: bool = False) -> None:
    """Writes the weights as a plain state dict (fp16 if `half`) and the pruning JSON `info` beside them."""
    ckpt_path = Path(ckpt_path)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_state(state, ckpt_path)
    write_json(sibling_json(ckpt_path), dict(info))


def load_backbone(model: MODNet, source: str | Path) -> None:
    """Copies an ImageNet MobileNetV2 (`features.N...`, classifier ignored) into the encoder of a dense `model`.

    `source` is a file, or `imagenet` to let torchvision fetch one. Raises `ValueError` naming the file and the first
    tensors that do not fit.
    """
    path = fetch_imagenet() if source == "imagenet" else Path(source)
    state = {clean_key(f"backbone.model.{key}").removeprefix("backbone.model."): value
             for key, value in load_state(path).items() if not key.startswith("classifier.")}
    # torchvision nests convolution and norm one level deeper: conv.0.0 -> conv.0, conv.0.1 -> conv.1, ...
    if any(key.startswith("features.1.conv.0.0.") for key in state):
        state = {_from_torchvision(key): value for key, value in state.items()}
    try:
        check_state(state, model.backbone.model.state_dict())
    except ValueError as error:
        raise ValueError(f"{path} is not a MobileNetV2 encoder: {error}") from None
    model.backbone.model.load_state_dict(state)


def _from_torchvision(key: str) -> str:
    parts = key.split(".")
    if parts[2] != "conv":
        return key
    pairs = 1 if parts[1] == "1" else 2
    if int(parts[3]) < pairs:
        return ".".join([*parts[:3], str(3 * int(parts[3]) + int(parts[4])), *parts[5:]])
    return ".".join([*parts[:3], str(3 * pairs + int(parts[3]) - pairs), *parts[4:]])


def fetch_imagenet() -> Path:
    """torchvision's MobileNetV2 weights, fetched once. Raises `OSError` where there is no network."""
    from torchvision.models import MobileNet_V2_Weights

    url = MobileNet_V2_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    return path


def torch_device(name: str) -> str:
    """`name` if torch can use it; `auto` is a GPU where there is one. Raises `ValueError` with what is there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ValueError(f"--device {name} is not there; this machine has {', '.join(there)}") from None
    return name
