"""Milliseconds of OpenVINO networks, measured side by side. No torch here."""
from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def measure_latency(models: Mapping[str, Path], *, device: str = "CPU", size: tuple[int, int] = (512, 512),
                    threads: int = 2, repeats: int = 30, warm_up: int = 5) -> dict[str, dict[str, float]]:
    """Median and quartiles in milliseconds of one inference of each IR: `{name: {"median", "q1", "q3"}}`.

    One image (1, 3, *size) float32 of noise, precision f32, the model alone: neither reading nor resizing pictures. The
    networks take turns, so that a busy moment of the machine hits all of them.
    """
    import openvino as ov

    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        options["INFERENCE_NUM_THREADS"] = threads
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, *size)).astype(np.float32)
    requests = {}
    for name, path in models.items():
        model = core.read_model(path)
        model.reshape([1, 3, *size])
        requests[name] = core.compile_model(model, device, options).create_infer_request()
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(warm_up + repeats):
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer([image])
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: dict(zip(("q1", "median", "q3"), statistics.quantiles(values, n=4), strict=True))
            for name, values in times.items()}


def available_devices() -> list[str]:
    """Devices that OpenVINO finds on this machine, `CPU` first."""
    import openvino as ov

    return ov.Core().available_devices
