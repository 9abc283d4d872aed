"""Parameters and multiply-accumulates of a config in closed form, from the wiring table; no network is run."""
from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import nn

from src.models.channels import CONV, CONV_BN, CONV_IBN, DEPTHWISE, Wire, wires
from src.models.config import MODNetConfig
from src.models.modnet import MODNet


class LayerCost(NamedTuple):
    """What one layer costs: weights per pair of channels, and output positions at 512x512 in a deployed network."""

    area: int
    positions: int


class LinearCost(NamedTuple):
    """A cost that adds up over layers: so much for each pair of an input and an output channel, and so much for each output
    channel; layers by `wire_key`."""

    per_pair: dict[tuple, float]
    per_width: dict[tuple, float]


@functools.cache
def layer_costs() -> dict[tuple[str, tuple[str, ...], str], LayerCost]:
    """Measure the cost of each layer of the dense network on torch's meta device; keys say what it writes, reads and is."""
    costs = {}
    with torch.device("meta"):
        model = MODNet().eval()
        modules, seen = dict(model.named_modules()), {}
        for name, module in modules.items():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(lambda _, __, out, n=name: seen.update({n: out[0, 0].numel()}))
        model(torch.zeros(1, 3, 512, 512), inference=True)
    for wire in wires(model.config):
        weight = modules[wire.layer].weight
        costs[wire_key(wire)] = LayerCost(weight[0, 0].numel(), seen.get(wire.layer, 0))
    return costs


def wire_key(wire: Wire) -> tuple[str, tuple[str, ...], str]:
    """Return what identifies a layer in networks of any widths: what it writes, what it reads, and its kind."""
    return wire.writes, wire.reads, wire.kind


def _pairs(config: MODNetConfig, wire: Wire) -> int:
    width_in = 1 if wire.kind == DEPTHWISE else sum(config.width(group) for group in wire.reads)
    return config.width(wire.writes) * width_in


def wire_macs(config: MODNetConfig, wire: Wire) -> int:
    """Count the multiply-accumulates of one layer for one 512x512 image; 0 for the training heads."""
    cost = layer_costs()[wire_key(wire)]
    return _pairs(config, wire) * cost.area * cost.positions


def wire_params(config: MODNetConfig, wire: Wire) -> int:
    """Count the trained numbers of one layer and its norm."""
    width = config.width(wire.writes)
    extra = {CONV: width, CONV_IBN: width + 2 * (width // 2), CONV_BN: 2 * width, DEPTHWISE: 2 * width}
    return _pairs(config, wire) * layer_costs()[wire_key(wire)].area + extra.get(wire.kind, 0)


def macs(config: MODNetConfig) -> int:
    """Count the multiply-accumulates of convolutions and linear layers for one 512x512 image, the matte alone."""
    return sum(wire_macs(config, wire) for wire in wires(config))


def params(config: MODNetConfig) -> int:
    """Count the trained numbers of the network, all heads."""
    return sum(wire_params(config, wire) for wire in wires(config))


def linear_macs() -> LinearCost:
    """Return the cost that `macs` counts as a sum over pairs of channels."""
    return LinearCost({key: cost.area * cost.positions for key, cost in layer_costs().items()}, {})


def linear_params() -> LinearCost:
    """Return the cost that `params` counts as a sum over pairs of channels; the halves of an IBNorm are not rounded."""
    extra = {CONV: 1, CONV_IBN: 2, CONV_BN: 2, DEPTHWISE: 2}
    return LinearCost({key: cost.area for key, cost in layer_costs().items()},
                      {key: extra.get(key[2], 0) for key in layer_costs()})


def linear_total(config: MODNetConfig, cost: LinearCost) -> float:
    """Compute what a network costs by a linear cost."""
    return sum(_pairs(config, wire) * cost.per_pair.get(wire_key(wire), 0.0)
               + config.width(wire.writes) * cost.per_width.get(wire_key(wire), 0.0) for wire in wires(config))
