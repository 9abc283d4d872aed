"""Measure the milliseconds of OpenVINO networks side by side. No torch here."""
from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.runtime.metadata import embedded_info
from src.runtime.network import last_line, read_network, shared_core, some_cores

if TYPE_CHECKING:
    from openvino import InferRequest, Model

EXACT = "f32"


def random_input(model: Model, size: tuple[int, int]) -> np.ndarray:
    """Make noise as a network reads it: (1, H, W, 3) uint8 where pre-processing is embedded, else (1, 3, H, W) float32 in
    [-1, 1]."""
    rng = np.random.default_rng(0)
    if embedded_info(model):
        return rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
    return rng.uniform(-1, 1, (1, 3, *size)).astype(np.float32)


def prepare(path: Path, *, device: str = "CPU", size: tuple[int, int], threads: int, precision: str = EXACT,
            profile: bool = False) -> tuple[InferRequest, np.ndarray]:
    """Compile an IR for one image of `size`, and make an input for it; `precision` of what is not INT8: `f32` or `bf16`.

    Raises `ValueError` naming a file that is no network of that size or has weights that are not finite.
    """
    core = shared_core()
    options: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if profile:
        options["PERF_COUNT"] = True
    if device == "CPU":
        options |= some_cores(threads)
    model = read_network(core, path)
    image = random_input(model, size)
    try:
        model.reshape(list(image.shape))
        return core.compile_model(model, device, options).create_infer_request(), image
    except RuntimeError as error:
        raise ValueError(f"{path} does not run at {size[1]}x{size[0]}: {last_line(error)}") from None


def quartiles(values: list[float]) -> dict[str, float]:
    """Compute `{"q1", "median", "q3"}` of one value or more, between the smallest and the largest of them."""
    return dict(zip(("q1", "median", "q3"), np.percentile(values, (25, 50, 75)).tolist(), strict=True))


def measure_latency(models: Mapping[str, Path], *, device: str = "CPU", size: tuple[int, int] = (512, 512),
                    threads: int = 2, repeats: int = 30, warm_up: int = 5,
                    precisions: Mapping[str, str] | None = None,
                    sizes: Mapping[str, tuple[int, int]] | None = None) -> dict[str, dict[str, float]]:
    """Measure one inference of each IR: median and quartiles in milliseconds, `{name: {"median", "q1", "q3", "cpu"}}`.

    `cpu` is the median of the time that this process had the processor, all threads together: with one thread it is what
    `median` would be on a machine with nothing else to do, which shared machines are not. One image of
    noise of `size` and precision f32, unless `sizes` and `precisions` say otherwise for a name, the model alone: neither
    reading nor resizing pictures. The networks take turns, so that a busy moment of the machine hits all of them.
    """
    ready = {name: prepare(path, device=device, size=(sizes or {}).get(name, size), threads=threads,
                           precision=(precisions or {}).get(name, EXACT)) for name, path in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    cpu: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(warm_up + repeats):
        for name, (request, image) in ready.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            request.infer([image])
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
                cpu[name].append(1000 * (time.process_time() - cpu_start))
    return {name: {**quartiles(values), "cpu": statistics.median(cpu[name])} for name, values in times.items()}


def profile(path: Path, *, size: tuple[int, int] = (512, 512), threads: int = 1,
            repeats: int = 15) -> list[tuple[str, str, str, float]]:
    """Name, type, kernel and milliseconds of each node that OpenVINO's CPU runs, by its own clock, in order; the quickest
    of `repeats`, since another process can only add to it."""
    request, image = prepare(path, size=size, threads=threads, profile=True)
    spent: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(repeats):
        request.infer([image])
        for node in request.profiling_info:
            spent.setdefault((node.node_name, node.node_type, node.exec_type), []).append(
                1000 * node.real_time.total_seconds())
    return [(*key, min(values)) for key, values in spent.items()]


def multiply_accumulates(path: Path, size: tuple[int, int] = (512, 512)) -> int:
    """Count the multiply-accumulates of the convolutions of an IR or ONNX file, for one image of `size`."""
    model = read_network(shared_core(), path)
    model.reshape(list(random_input(model, size).shape))
    return sum(int(np.prod(op.input_value(1).shape)) * int(np.prod(list(op.output(0).shape)[2:]))
               for op in model.get_ops() if op.get_type_name() in ("Convolution", "GroupConvolution"))


def available_devices() -> list[str]:
    """List the devices that OpenVINO finds on this machine, `CPU` first."""
    return shared_core().available_devices
