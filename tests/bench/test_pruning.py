"""The rivals of bench/pruning.py, and its tables."""
import shutil
import sys

import numpy as np
import pytest
import torch

from src.models.channels import CONV_IBN, wires
from src.models.config import MODNetConfig
from src.models.modnet import IBNorm, MODNet
from tests.conftest import ROOT, bench_script, randomise, run, status_of

sys.path.insert(0, str(ROOT / "bench"))


def test_inheriting_everything_by_position_changes_nothing(tiny_model):
    from rivals import published_state

    state = tiny_model.state_dict()
    same = published_state(state, tiny_model.config, tiny_model.config)
    assert same.keys() == state.keys() and all(torch.equal(same[key], state[key]) for key in state)


def test_published_inheritance_fits_and_copies_norm_statistics_by_position(tiny_model):
    from rivals import published_state

    pruned = tiny_model.config.with_widths({"hr.2x.a": 4, "se": 3})
    state = published_state(tiny_model.state_dict(), tiny_model.config, pruned)
    MODNet(pruned).load_state_dict(state)
    norm = next(wire.norm for wire in wires(pruned) if wire.kind == CONV_IBN and wire.writes == "hr.2x.a")
    before = tiny_model.state_dict()[f"{norm}.bnorm.running_mean"]
    assert torch.equal(state[f"{norm}.bnorm.running_mean"], before[:2])


@pytest.mark.parametrize("global_pruning", [True, False])
def test_torch_pruning_meets_the_macs_and_keeps_the_batch_norms_of_the_kept_channels(global_pruning):
    pytest.importorskip("torch_pruning")
    from rivals import torch_pruned

    from src.complexity import count_macs

    dense = MODNetConfig()
    dense = randomise(MODNet(dense.with_widths({group: dense.width(group) // 2 for group in dense.groups()})))
    target = 0.5 * count_macs(dense, inference=True)
    model = torch_pruned(dense, target, global_pruning=global_pruning)
    assert abs(count_macs(model, inference=True) / target - 1) <= 0.02
    old, new = ({name: module for name, module in m.named_modules() if isinstance(module, IBNorm)} for m in (dense, model))
    for name, norm in new.items():
        if norm.bnorm.num_features:
            assert np.isin(norm.bnorm.running_mean.numpy(), old[name].bnorm.running_mean.numpy()).all()


def test_the_script_resumes_and_refuses_another_setting(tiny_model, discs, tmp_path, capsys):
    args = ("bench/pruning.py", "--data-dir", discs, "--sizes", 8e9, "--seeds", 0, "--steps", 1, "--batch-size", 2,
            "--input-size", 64, "--eval-size", 64, "--output-dir", tmp_path, "--ways",
            "tied, search, l1", "tied, search, taylor")
    done = run(*args)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "pruning_bench.jsonl").read_text().splitlines()
    bench = bench_script("pruning")
    assert status_of(bench.main, *args[1:]) == 0 and capsys.readouterr().out == done.stdout
    assert (tmp_path / "pruning_bench.jsonl").read_text().splitlines() == lines
    assert status_of(bench.main, *args[1:], "--lr", 0.5) == 2 and "lr 0.001, now it is 0.5" in capsys.readouterr().err


def test_the_runs_of_another_checkpoint_or_other_pictures_are_not_taken_for_these(tiny_ckpt, discs, tmp_path, monkeypatch):
    bench, settings = bench_script("pruning"), []

    def runs(*_, setting, **__):
        settings.append(setting)
        raise ValueError("seen")

    monkeypatch.setattr(bench, "bench", runs)
    moved, changed = (shutil.copytree(discs, tmp_path / name) for name in ("moved", "changed"))
    (changed / "train" / "fg" / "0.png").write_bytes(b"another")
    other = shutil.copy(tiny_ckpt, tmp_path / "other.ckpt")
    for ckpt, data_dir in ((tiny_ckpt, discs), (other, moved), (tiny_ckpt, changed), (discs / "val/fg/0.png", discs)):
        assert status_of(bench.main, "--ckpt-path", ckpt, "--data-dir", data_dir, "--output-dir", tmp_path / "out") == 2
    differ = [[key for key in setting if setting[key] != settings[0][key]] for setting in settings]
    assert differ == [[], [], ["pictures"], ["checkpoint"]]
