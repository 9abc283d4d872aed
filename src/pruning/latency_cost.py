"""Measure what each layer costs in milliseconds of OpenVINO on this machine, and find widths for a target in
milliseconds."""
from __future__ import annotations

import functools
import statistics
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from src.console import progress_bar
from src.deploy.graph import deploy
from src.models.channels import CONV_IBN, DEPTHWISE, LINEAR, tied_group, wires
from src.models.config import MODNetConfig
from src.models.costs import LinearCost, linear_total, wire_key
from src.models.modnet import MODNet
from src.pruning.search import Search
from src.runtime.network import import_openvino, shared_core

if TYPE_CHECKING:
    from openvino import CompiledModel

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
SIZE = (512, 512)
TOLERANCE = 0.05
WARM_UP, REPEATS = 3, 15
MAX_REFUSED = 8


def check_precision(precision: str) -> None:
    """Raise `ValueError` for what is none of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, allowed are {', '.join(PRECISIONS)}")


def compile_config(config: MODNetConfig, *, threads: int, precision: str, profile: bool = False) -> CompiledModel:
    """Compile a network of random weights for one 512x512 image on the CPU."""
    openvino = import_openvino()
    with warnings.catch_warnings():
        # torch calls the tracer that OpenVINO's converter uses deprecated.
        warnings.simplefilter("ignore")
        network = openvino.convert_model(deploy(MODNet(config)), example_input=torch.zeros(1, 3, 64, 64))
    network.reshape([1, 3, *SIZE])
    options = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "INFERENCE_NUM_THREADS": threads,
               "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": profile}
    return shared_core().compile_model(network, "CPU", options)


def measure_ms(config: MODNetConfig, *, threads: int = 2, precision: str = "fp32") -> float:
    """Measure the median milliseconds of a network for one 512x512 image, the model alone."""
    request, times = compile_config(config, threads=threads, precision=precision).create_infer_request(), []
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)).numpy()
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        request.infer([image])
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def profile_cost(config: MODNetConfig, *, threads: int = 2, precision: str = "fp32") -> LinearCost:
    """Measure the milliseconds of each layer by OpenVINO's own clock: those of a convolution for each pair of its channels,
    those of what follows it (norm, concat, activation) for each channel that it writes."""
    request = compile_config(config, threads=threads, precision=precision, profile=True).create_infer_request()
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)).numpy()
    spent: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        request.infer([image])
        for node in request.profiling_info:
            spent.setdefault(node.node_name, []).append(1000 * node.real_time.total_seconds())
    spent = {name: statistics.median(times) for name, times in spent.items()}

    def milliseconds(module: str) -> float:
        inside = (f"__module.model.{module}/", f"__module.model.{module}.")
        return sum(ms for name, ms in spent.items() if name.startswith(inside))

    per_pair, per_width = {}, {}
    for wire in wires(config):
        width_in = 1 if wire.kind == DEPTHWISE else sum(config.width(group) for group in wire.reads)
        width = config.width(wire.writes)
        per_pair[wire_key(wire)] = milliseconds(wire.layer) / (width * width_in)
        if wire.kind == CONV_IBN:
            whole = milliseconds(wire.layer.rpartition(".")[0])
            per_width[wire_key(wire)] = (whole - milliseconds(wire.layer)) / width
        elif wire.kind != LINEAR:
            per_width[wire_key(wire)] = milliseconds(wire.norm) / width if wire.norm else 0.0
    return LinearCost(per_pair, per_width)


def search_path(dense: MODNetConfig, cost: LinearCost, *, round_to: int = 8) -> list[MODNetConfig]:
    """List the networks that the search passes for one cost, from the dense one to the smallest."""
    search = Search(dense, round_to=round_to)
    path = [search.config()]
    while search.step([(cost, 1.0)]):
        path.append(search.config())
    return path


def fit_machine(dense: MODNetConfig, target: float, *, threads: int = 2, precision: str = "fp32",
                round_to: int = 8) -> tuple[MODNetConfig, float]:
    """Fit the widths to `target` milliseconds as `fit_latency` does, by what this machine measures.

    Raises `ValueError` as it does.
    """
    options = {"threads": threads, "precision": precision}
    return fit_latency(dense, target, round_to=round_to, cost=profile_cost(dense, **options),
                       measure=functools.partial(measure_ms, **options))


def fit_latency(dense: MODNetConfig, target: float, *, round_to: int = 8, cost: LinearCost,
                measure: Callable[[MODNetConfig], float]) -> tuple[MODNetConfig, float]:
    """Find the widths on the search's path that `measure` finds under `target` milliseconds, by at most 5 %, and their
    milliseconds.

    Raises `ValueError` for a target over the dense network's time or under the smallest one's, and where the machine is
    too noisy to come that near.
    """
    path = search_path(dense, cost, round_to=round_to)
    slow, fast, best = 0, len(path) - 1, None
    slowest, fastest = measure(path[slow]), measure(path[fast])
    if not fastest <= target <= slowest:
        raise ValueError(f"target-latency is {target:g} ms, possible here are {fastest:.1f} to {slowest:.1f}, the time of "
                         "the dense network")
    with progress_bar(desc="latency", unit="network") as bar:
        while fast - slow > 1:
            middle = (slow + fast) // 2
            found = measure(path[middle])
            bar.set_postfix(ms=f"{found:.1f}")
            bar.update()
            if found > target:
                slow = middle
                continue
            fast = middle
            if best is None or found > best[1]:
                best = path[middle], found
            if found >= (1 - TOLERANCE) * target:
                return best
    best = widen(best, dense, target, round_to=round_to, cost=cost, measure=measure) if best else (path[fast], fastest)
    if best[1] < (1 - TOLERANCE) * target:
        raise ValueError(f"no network was measured within 5 % under target-latency {target:g} ms; the nearest took "
                         f"{best[1]:.1f} ms; is the machine busy?")
    return best


def widen(start: tuple[MODNetConfig, float], dense: MODNetConfig, target: float, *, round_to: int, cost: LinearCost,
          measure: Callable[[MODNetConfig], float]) -> tuple[MODNetConfig, float]:
    """Widen single groups of `start`, a network and its milliseconds, while it stays under `target` and more than 5 % is
    left: a step of the search may be longer than that."""
    (config, found), members, refused = start, {}, set()
    for group in dense.groups():
        members.setdefault(tied_group(dense, group), []).append(group)
    while found < (1 - TOLERANCE) * target and len(refused) < MAX_REFUSED:
        scale, grown = found / linear_total(config, cost), {}
        for leader, groups in members.items():
            wider = config.with_widths(dict.fromkeys(groups, min(dense.width(leader), config.width(leader) + round_to)))
            more = scale * linear_total(wider, cost) - found
            if leader not in refused and 0 < more <= target - found:
                grown[leader] = more, wider
        if not grown:
            break
        leader = max(grown, key=lambda name: grown[name][0])
        now = measure(grown[leader][1])
        if now > target:
            refused.add(leader)
        else:
            config, found = grown[leader][1], now
    return config, found
