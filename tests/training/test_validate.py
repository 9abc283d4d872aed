"""Validation during training."""
import shutil

import pytest
import torch

from src.data.samples import find_pairs, read_pair
from src.data.sources import Source, half_of
from src.evaluation.evaluate import evaluate
from src.media.preprocess import to_input
from src.training.losses import semantic_target
from src.training.validate import validate


def test_errors_are_those_of_the_evaluation(tiny_model, discs):
    result = evaluate(tiny_model, discs, "val", limit=1)
    said = validate(tiny_model, discs, semantic_training=False, limit=1)
    assert said == {"val_mse": result["mse"], "val_mad": result["mad"], "val_n": 1}


def test_several_sets_have_errors_of_their_own_and_their_mean(tiny_model, discs, tmp_path):
    shutil.copytree(discs, tmp_path / "others")
    (tmp_path / "others/val/fg/1.png").write_bytes((discs / "val/fg/0.png").read_bytes())
    sources = [Source(discs), Source(tmp_path / "others", 3.0)]
    said = validate(tiny_model, sources, semantic_training=False, limit=None)
    own = [evaluate(tiny_model, source.path, "val") for source in sources]
    assert [said["val_mse_discs"], said["val_mad_others"]] == [own[0]["mse"], own[1]["mad"]] and said["val_n"] == 4
    assert said["val_mse"] == pytest.approx((own[0]["mse"] + own[1]["mse"]) / 2) and own[0]["mse"] != own[1]["mse"]


def test_one_half_of_val_chooses(tiny_model, discs):
    assert [half_of(pair.image.stem) for pair in find_pairs(discs, "val")] == ["choose", "choose"]
    assert validate(tiny_model, discs, semantic_training=False, limit=None, half="choose")["val_n"] == 2
    with pytest.raises(ValueError, match="discs has no pictures in the half 'report' of val"):
        validate(tiny_model, discs, semantic_training=False, limit=None, half="report")


def test_semantics_are_compared_with_the_shrunk_matte(tiny_model, discs):
    errors = []
    for pair in find_pairs(discs, "val"):
        image, alpha = read_pair(pair)
        x = torch.from_numpy(to_input(image, 64))
        true = torch.nn.functional.interpolate(torch.from_numpy(alpha)[None, None], x.shape[2:], mode="area")
        with torch.no_grad():
            errors.append((tiny_model(x)[0] - semantic_target(true)).square().mean().item())
    said = validate(tiny_model, discs, semantic_training=True, limit=None, ref_size=64)
    assert said["val_n"] == 2 and said["val_semantic"] == pytest.approx(sum(errors) / 2, rel=1e-4)
