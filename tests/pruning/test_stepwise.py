"""Pruning in steps."""
import pytest
import torch

from main_prune import main
from src.checkpoint import load_model, save_model
from src.models.channels import tied_group
from src.models.prune_info import to_prune_info
from src.pruning.rules import tied_widths
from src.pruning.stepwise import step_config
from tests.conftest import tiny_config


def test_widths_go_straight_from_dense_to_final():
    dense = tiny_config()
    final = dense.with_widths({"hr.2x.a": 4, "block9.hidden": 8, "lr16x": 7})
    half = step_config(dense, final, 0.5)
    assert (half.width("hr.2x.a"), half.width("block9.hidden"), half.width("hr.2x.b")) == (6, 12, 8)
    assert step_config(dense, final, 0) == dense and step_config(dense, final, 1) == final
    assert all(half.width(group) == half.width(tied_group(half, group)) for group in half.groups())


@pytest.fixture
def tiny_ckpt(tiny_model, tmp_path):
    save_model(tiny_model, tmp_path / "tiny.ckpt", to_prune_info(tiny_model.config))
    return tmp_path / "tiny.ckpt"


def test_two_steps_end_at_the_widths_of_one_and_resume(tiny_ckpt, discs, tmp_path):
    args = ["--ckpt-path", str(tiny_ckpt), "--rule", "tied", "--round-to", "2", "--data-dir", str(discs), "--save-dir",
            str(tmp_path / "out"), "--steps", "2", "--step-batch-size", "2", "--step-input-size", "64"]
    assert main(args) == 0
    stem = tmp_path / "out" / "modnet_p_ratio_0.5_thresh_0.5_tied_2_steps"
    one, two, end = (load_model(f"{stem}{part}.ckpt") for part in ("_step1", "_step2", ""))
    dense = load_model(tiny_ckpt)
    from src.pruning.criteria import filter_scores
    once = tied_widths(filter_scores(dense.state_dict(), dense.config), dense.config, 0.5, 0.5, round_to=2)
    assert two.config == end.config == once and one.config == step_config(dense.config, once, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(two.state_dict().values(), end.state_dict().values(), strict=True))
    stamp = (tmp_path / "out" / f"{stem.name}_step1.ckpt").stat().st_mtime_ns
    (tmp_path / "out" / f"{stem.name}_step2.ckpt").unlink()
    assert main([*args, "--resume"]) == 0
    assert (tmp_path / "out" / f"{stem.name}_step1.ckpt").stat().st_mtime_ns == stamp
    again = load_model(f"{stem}.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), end.state_dict().values(), strict=True))


@pytest.mark.parametrize(("args", "said"), [(["--steps", "2"], "--steps needs pictures"), (["--steps", "-1"], "steps is -1"),
                                            (["--steps", "2", "--data-dir", "DISCS"], "steps go with rule tied")])
def test_steps_that_cannot_be_are_refused(upstream_ckpt, discs, tmp_path, args, said):
    args = [str(discs) if arg == "DISCS" else arg for arg in args]
    with pytest.raises(ValueError, match=said):
        main(["--ckpt-path", str(upstream_ckpt), "--save-dir", str(tmp_path), *args])


@pytest.fixture(scope="module")
def upstream_ckpt(tmp_path_factory):
    from tests.conftest import upstream_state

    path = tmp_path_factory.mktemp("dense") / "our_modnet.ckpt"
    torch.save(upstream_state("official", 11, "module."), path)
    return path
