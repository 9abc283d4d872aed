"""Tiny networks, checkpoints in the upstream layouts and small data sets, shared by the tests."""
from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from src.checkpoint import save_model
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.script import run_script
from tests.ray_process import two_workers  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"

# Two workers of pytest-xdist share the machine: more threads than one each only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them every script that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def tiny_config() -> MODNetConfig:
    """Every width 8, hidden widths 16: a MODNet of about 50 thousand parameters."""
    dense = MODNetConfig()
    widths = {group: 16 if group.endswith(".hidden") and group != "block1.hidden" else 8 for group in dense.groups()}
    return dense.with_widths(widths)


def randomise(model: MODNet, seed: int = 0) -> MODNet:
    """Random weights and running statistics everywhere, so that no norm layer is an identity; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1, generator=generator)
        elif value.ndim == 1:
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    return model.eval()


def upstream_state(layout: str, seed: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """A deterministic state dict in the `official` or `seed` key layout, the same numbers in both."""
    state = {}
    for key, shape in json.loads((FIXTURES / f"keys_{layout}.json").read_text()):
        name = key.replace("lr_branch.backbone.", "backbone.").replace(".cbr.", ".")
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little"))
        if key.endswith("num_batches_tracked"):
            value = np.array(7, dtype=np.int64)
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape).astype("f4")
        elif key.endswith("running_mean"):
            value = rng.normal(0, 0.1, shape).astype("f4")
        elif len(shape) == 4:
            gain = np.exp(rng.normal(0, 0.6 if seed < 10 else 0.15, (shape[0], 1, 1, 1)))
            value = (rng.normal(0, 1, shape) * gain * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))).astype("f4")
        elif len(shape) == 2:
            value = (rng.normal(0, 1, shape) * np.sqrt(2 / shape[1])).astype("f4")
        elif key.endswith("weight"):
            value = rng.uniform(0.5, 1.5, shape).astype("f4")
        else:
            value = rng.normal(0, 0.1, shape).astype("f4")
        state[prefix + key] = torch.from_numpy(np.asarray(value))
    return state


def run(script: str, *args: object, cwd: Path = ROOT, env: dict | None = None) -> subprocess.CompletedProcess:
    """Runs a script of the repository as a user does."""
    return subprocess.run([sys.executable, str(ROOT / script), *map(str, args)], cwd=cwd, env=env, capture_output=True,
                          text=True, timeout=300)


def status_of(main: Callable[[list[str]], int], *args: object) -> int:
    """The exit status of a script's `main`, run in this process: ten times as quick as `run`, where one start was seen."""
    try:
        return run_script(lambda: main([*map(str, args)]))
    except SystemExit as stop:
        return stop.code


@contextlib.contextmanager
def no_larger_files(size: int) -> Iterator[None]:
    """Let the system refuse what would make a file larger than `size` bytes, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def bench_script(name: str) -> ModuleType:
    """The module of a script of `bench/`, which has neighbours of its own and no package."""
    if str(ROOT / "bench") not in sys.path:
        sys.path.append(str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "bench" / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_noise(path: Path, grid: tuple[int, int], size: tuple[int, int]) -> Path:
    """A picture of smooth noise: `grid` rows and columns of random colours, enlarged to `size` width and height."""
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (*grid, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def tiny_model() -> MODNet:
    return randomise(MODNet(tiny_config()))


@pytest.fixture
def tiny_ckpt(tmp_path: Path, tiny_model: MODNet) -> Path:
    path = tmp_path / "tiny.ckpt"
    save_model(tiny_model, path, to_prune_info(tiny_model.config))
    return path


@pytest.fixture(scope="session")
def small_dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense widths outside the encoder, a narrow encoder: rule `paper` wants 32 HR channels."""
    dense = MODNetConfig()
    narrow = {group: 16 if group.endswith(".hidden") else 8 for group in dense.groups() if group.startswith("block")}
    config = dense.with_widths(narrow | {"block1.hidden": 16, "stem": 16, "enc32x": 32, "se": 8, "lr16x": 16})
    path = tmp_path_factory.mktemp("dense") / "small.ckpt"
    save_model(randomise(MODNet(config)), path, to_prune_info(config))
    return path


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A data set of 5 + 2 pictures of a bright disc, whose matte is the disc."""
    for split, count in (("train", 5), ("val", 2)):
        for index in range(count):
            y, x = np.mgrid[:96, :80]
            inside = np.clip(25 + index - np.hypot(y - 48, x - 40) + 0.5, 0, 1)
            for kind, picture in (("fg", np.stack([inside * 200, 40 + 20 * inside, 255 * (1 - inside)], -1)),
                                  ("alpha", inside * 255)):
                path = tmp_path / "discs" / split / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture.astype(np.uint8))
    return tmp_path / "discs"


# The installed package `onnx` hides the folder of that name, so its scripts are imported by their own names.
sys.path.append(str(ROOT / "onnx"))


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny network as ONNX: `free` in size, and `static` 64x96; `tiny.ckpt` lies beside them."""
    pytest.importorskip("onnx", minversion="1.0")
    pytest.importorskip("onnxruntime")
    from export_onnx import export_onnx

    folder = tmp_path_factory.mktemp("onnx")
    model = randomise(MODNet(tiny_config()))
    save_model(model, folder / "tiny.ckpt", to_prune_info(model.config))
    for name, static_size in (("free", None), ("static", (64, 96))):
        export_onnx(folder / "tiny.ckpt", output_path=folder / f"{name}.onnx", static_size=static_size)
    return {name: folder / f"{name}.onnx" for name in ("free", "static")}


@pytest.fixture(scope="session")
def tiny_xml(tiny_onnx: dict[str, Path]) -> dict[str, Path]:
    """The same two as OpenVINO IR with fp32 weights."""
    pytest.importorskip("openvino")
    from convert_openvino import convert_openvino

    paths = {name: path.with_suffix(".xml") for name, path in tiny_onnx.items()}
    for name, path in tiny_onnx.items():
        convert_openvino(path, paths[name], precision="fp32")
    return paths


def write_video(path: Path, pictures: list[np.ndarray], *, rate: int = 25, pts: list[int] | None = None,
                sound: bool = False, codec: str = "libx264", rotation: int = 0, matrix: int = 1) -> Path:
    """A video of (H, W, 3) uint8 RGB pictures: at `rate` frames a second, or at `pts` in 1/600 s; a tone, if `sound`."""
    from fractions import Fraction

    import av

    out = av.open(str(path), "w")
    stream = out.add_stream(codec, rate=rate, options={"crf": "1"} if codec == "libx264" else {})
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
    stream.codec_context.time_base = Fraction(1, 600)
    if rotation:
        stream.set_display_rotation(rotation)
    tone = out.add_stream("aac", rate=48000, layout="mono") if sound else None
    pts = pts or [round(600 / rate * index) for index in range(len(pictures))]
    for picture, when in zip(pictures, pts, strict=True):
        frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p", dst_colorspace={1: 1, 6: 5}[matrix],
                                                             src_color_range=2, dst_color_range=1)
        frame.pts, frame.time_base = when, Fraction(1, 600)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())
    for start in range(0, 80 * pts[-1] if tone else 0, 1024):
        wave = np.sin((start + np.arange(1024)) * 0.06).astype("f4")[None] * 0.3
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        out.mux(tone.encode(frame))
    if tone:
        out.mux(tone.encode())
    out.close()
    return path


WHITE_D50 = (0.9642, 1.0, 0.8249)


def icc_profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile, version 2, for the colour `space` and with these tags."""
    import struct

    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), b"cprt": b"text\0\0\0\0none\0\0\0\0",
            b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in WHITE_D50)), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s4x4s4s4x8xI3i4s44x", 128 + len(table) + len(data), b"none", 0x02400000,
                       b"prtr" if space == b"CMYK" else b"mntr", space, connection, b"acsp", b"none", b"none", 0,
                       *(round(value * 65536) for value in WHITE_D50), b"none")
    return head + table + data


def matrix_profile(primaries: list[tuple[float, float, float]], gamma: float) -> bytes:
    """A profile of RGB by the XYZ (D50) of three primaries, or of grey by that of white alone."""
    import struct

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    if len(primaries) == 1:
        return icc_profile(b"GRAY", {b"kTRC": curve})
    tags = {}
    for letter, values in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))
        tags[letter + b"TRC"] = curve
    return icc_profile(b"RGB ", tags)


def ink_profile() -> bytes:
    """A profile of CMYK by a table of its 16 corners: all is grey, each ink takes a third of the light, black all."""
    import struct

    corners = [(round(255 * (3 - c - m - y) / 3 * (1 - k)), 128, 128) for c, m, y, k in itertools.product((0, 1), repeat=4)]
    matrix = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    same = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + same * 4 + bytes(sum(corners, ())) + same * 3
    return icc_profile(b"CMYK", {b"A2B0": table}, b"Lab ")


def grey_png(levels: np.ndarray, bits: int, key: int) -> bytes:
    """A PNG of 2 or 4 bits a pixel: grey `levels` (H, W) in 0 ... 255; the level `key` of the file is invisible."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    scaled = levels // (255 // (2 ** bits - 1))
    unpacked = np.unpackbits(scaled[..., None], axis=-1)[..., 8 - bits:].reshape(len(levels), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *levels.shape[::-1], bits, 0, 0, 0, 0))
            + chunk(b"tRNS", struct.pack(">H", key)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
