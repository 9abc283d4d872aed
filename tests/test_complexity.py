"""Counts against the figures of the design and against sums by hand."""
import torch
from torch import nn

from src.complexity import complexity, count_macs
from src.models.modnet import MODNet


def test_dense_counts():
    counts = complexity(MODNet())
    assert (counts.params, counts.macs_train, counts.macs_deploy) == (6_487_075, 18_117_066_752, 15_465_971_712)
    assert 25.9e6 < counts.bytes_fp32 < 26.5e6


def test_macs_equal_a_count_by_hooks_and_leave_no_trace(tiny_model):
    before = set(tiny_model.state_dict())
    counted = count_macs(tiny_model, size=(64, 96), inference=True)
    assert set(tiny_model.state_dict()) == before
    sums = []
    for module in tiny_model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            per_value = module.weight[0].numel()
            module.register_forward_hook(lambda _, __, out, n=per_value: sums.append(out.numel() * n))
    with torch.no_grad():
        tiny_model(torch.zeros(1, 3, 64, 96), inference=True)
    assert counted == sum(sums) == complexity(tiny_model, size=(64, 96)).macs_deploy
