"""Validation during training."""
import pytest
import torch

from src.data.samples import find_pairs, read_pair
from src.evaluation.evaluate import evaluate
from src.media.preprocess import to_input
from src.training.losses import semantic_target
from src.training.validate import validate


def test_errors_are_those_of_the_evaluation(tiny_model, discs):
    result = evaluate(tiny_model, discs, "val", limit=1)
    said = validate(tiny_model, discs, semantic_training=False, limit=1)
    assert said == {"val_mse": result["mse"], "val_mad": result["mad"], "val_n": 1}


def test_semantics_are_compared_with_the_shrunk_matte(tiny_model, discs, monkeypatch):
    monkeypatch.setattr("src.training.validate.to_input", lambda image: to_input(image, 64))
    errors = []
    for pair in find_pairs(discs, "val"):
        image, alpha = read_pair(pair)
        x = torch.from_numpy(to_input(image, 64))
        true = torch.nn.functional.interpolate(torch.from_numpy(alpha)[None, None], x.shape[2:], mode="area")
        with torch.no_grad():
            errors.append((tiny_model(x)[0] - semantic_target(true)).square().mean().item())
    said = validate(tiny_model, discs, semantic_training=True, limit=None)
    assert said["val_n"] == 2 and said["val_semantic"] == pytest.approx(sum(errors) / 2, rel=1e-4)
