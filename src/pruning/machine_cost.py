"""What each layer costs in milliseconds of OpenVINO on this machine."""
from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.deploy.graph import deploy, traced
from src.deploy.instruction_set import lanes
from src.deploy.narrow_convolution import pair_columns
from src.deploy.quantise import quantise_roughly
from src.media.preprocess import normalise
from src.models.channels import DEPTHWISE, Wire, wires
from src.models.config import MODNetConfig
from src.models.costs import LinearCost, wire_key
from src.models.modnet import MODNet
from src.runtime.network import shared_core, some_cores

if TYPE_CHECKING:
    from openvino import CompiledModel, Model, Node

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
SIZE = (512, 512)
WARM_UP, REPEATS = 3, 15
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
PREFIX = "__module.model."
# The layers that `HalfSizeOutput` makes of one.
PARTS = {**dict.fromkeys(("plain", "normed", "rim"), "0"), **dict.fromkeys(("plain_head", "normed_head", "rim_head"), "1")}


class Machine(NamedTuple):
    """How this machine's CPU runs a network: its threads, one of `PRECISIONS`, and for int8 the pictures (H, W, 3) uint8
    that its ranges come from."""

    threads: int = 2
    precision: str = "fp32"
    pictures: Sequence[np.ndarray] = ()


def deployed(config: MODNetConfig, machine: Machine) -> Model:
    """Return a network of random weights as it would be shipped: rewritten and, for int8, quantised.

    Raises `ValueError` for int8 without pictures.
    """
    network = traced(deploy(MODNet(config)), (1, 3, 64, 64))
    if lanes() > 8:
        pair_columns(network)
    if machine.precision == "int8":
        if not len(machine.pictures):
            raise ValueError("precision int8 needs calibration pictures: give --calib-dir")
        network = quantise_roughly(network, machine.pictures)
    network.reshape([1, 3, *SIZE])
    return network


def compiled(network: Model, machine: Machine, *, profile: bool = False) -> CompiledModel:
    """Compile a network for the threads and precision of `machine`, with times of its layers if `profile`."""
    options = {"INFERENCE_PRECISION_HINT": PRECISIONS[machine.precision], "PERFORMANCE_HINT": "LATENCY",
               "PERF_COUNT": profile, **some_cores(machine.threads)}
    return shared_core().compile_model(network, "CPU", options)


def _image() -> np.ndarray:
    return normalise(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))[None]


def measure_ms(config: MODNetConfig, machine: Machine) -> float:
    """Median milliseconds of a network for one 512x512 image, the model alone."""
    request, times, image = compiled(deployed(config, machine), machine).create_infer_request(), [], _image()
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        request.infer([image])
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def profile_cost(config: MODNetConfig, machine: Machine) -> LinearCost:
    """Return milliseconds of each layer, by OpenVINO's own clock: those of a convolution for each pair of its channels,
    those of whatever else is done to what it writes (norm, activation, quantising, enlargement, concat) for each channel."""
    network = deployed(config, machine)
    request, image = compiled(network, machine, profile=True).create_infer_request(), _image()
    spent: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        request.infer([image])
        for node in request.profiling_info:
            spent.setdefault(node.node_name, []).append(1000 * node.real_time.total_seconds())
    nodes, layers = {op.get_friendly_name(): op for op in network.get_ops()}, {wire.layer: wire for wire in wires(config)}
    inside, after = Counter(), Counter()
    for name, times in spent.items():
        node = _node(nodes, name)
        if node is None:
            continue
        if wire := _wire(node, layers):
            inside[wire] += min(times)
        elif sources := _sources(node, layers):
            whole = sum(config.width(wire.writes) for wire in sources)
            for wire in sources:
                after[wire] += min(times) * config.width(wire.writes) / whole
    return _linear(config, inside, after)


def _linear(config: MODNetConfig, inside: Counter[Wire], after: Counter[Wire]) -> LinearCost:
    """Return milliseconds inside and after each layer as a linear cost."""
    per_pair, per_width = {}, {}
    for wire in wires(config):
        width_in = 1 if wire.kind == DEPTHWISE else sum(config.width(group) for group in wire.reads)
        per_pair[wire_key(wire)] = inside[wire] / (config.width(wire.writes) * width_in)
        per_width[wire_key(wire)] = after[wire] / config.width(wire.writes)
    return LinearCost(per_pair, per_width)


def _node(nodes: dict[str, Node], name: str) -> Node | None:
    """Return the node of the network that OpenVINO's `name` stems from: it appends what it makes of one."""
    while name and name not in nodes:
        name = name.rpartition("/")[0]
    return nodes.get(name)


def _wire(node: Node, layers: dict[str, Wire]) -> Wire | None:
    """Return the layer that a convolution or linear layer computes."""
    if node.get_type_name() not in LAYERS:
        return None
    module = node.get_friendly_name().removeprefix(PREFIX).partition("/")[0]
    branch, _, part = module.rpartition(".")
    return layers.get(f"{branch}.{PARTS[part]}.layers.0" if part in PARTS else module)


def _sources(node: Node, layers: dict[str, Wire]) -> set[Wire]:
    """Return the layers whose outputs reach `node` without another layer between."""
    found, seen, open_ = set(), set(), [node]
    while open_:
        for value in open_.pop().input_values():
            source = value.get_node()
            if source.get_friendly_name() in seen:
                continue
            seen.add(source.get_friendly_name())
            if wire := _wire(source, layers):
                found.add(wire)
            elif source.get_type_name() not in LAYERS:
                open_.append(source)
    return found
