"""main_prune.py as a user runs it."""
import json

import pytest
import torch

from main_prune import main
from src.checkpoint import load_model, save_model
from src.models.costs import linear_macs, macs
from src.models.prune_info import PUBLISHED_KEYS, from_prune_info, to_prune_info
from tests.conftest import run, status_of, upstream_state


@pytest.fixture(scope="module")
def dense_ckpt(tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "our_modnet.ckpt"
    torch.save(upstream_state("official", 11, "module."), path)
    return path


def test_published_command_from_another_folder(dense_ckpt, tmp_path):
    done = run("main_prune.py", "--ckpt_path", dense_ckpt, "--ratio", 0.5, "--threshold", 0.5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stem = tmp_path / "result" / "modnet_p_ratio_0.5_thresh_0.5"
    assert sorted(p.suffix for p in stem.parent.iterdir()) == [".ckpt", ".json", ".md", ".png"]
    info = json.loads(stem.with_name(stem.name + ".json").read_text())
    assert info["new_cfg"][0] == 16 and info["rule"] == "paper"
    model = load_model(f"{stem}.ckpt")
    assert info["counts"]["after"]["params"] == sum(p.numel() for p in model.parameters())
    assert "| block17.hidden | 960 |" in done.stdout and "GMACs, as deployed" in done.stdout


def test_fresh_initialisation_has_the_widths_but_not_the_weights(small_dense, tmp_path):
    kernels = []
    for seed, flags in ((1, ["--no-weight-replace"]), (2, ["--weight_replace", "False"])):
        assert main(["--ckpt-path", str(small_dense), "--save-dir", str(tmp_path / f"s{seed}"), "--seed", str(seed),
                     *flags]) == 0
        state = load_model(tmp_path / f"s{seed}" / "modnet_p_ratio_0.5_thresh_0.5.ckpt").state_dict()
        kernels.append(state["hr_branch.conv_hr.0.layers.0.weight"])
    dense = load_model(small_dense).state_dict()["hr_branch.conv_hr.0.layers.0.weight"]
    assert not torch.equal(*kernels) and kernels[0].shape == kernels[1].shape
    assert not any((dense.flatten(0, 1) == kernel[0, 0]).all((-1, -2)).any() for kernel in kernels)


@pytest.mark.parametrize(("args", "said"), [
    (["--ratio", "1.5"], "ratio is 1.5"), (["--ratio", "0.95"], "ratio is 0.95"), (["--threshold", "0"], "threshold is 0"),
    (["--weight_replace", "maybe"], "maybe"), (["--ratio", "x"], "--ratio"), (["--rule", "best"], "--rule")])
def test_bad_numbers_cost_one_line_and_status_2(dense_ckpt, tmp_path, capsys, args, said):
    status = status_of(main, "--ckpt-path", dense_ckpt, "--save-dir", tmp_path / "r", *args)
    err = capsys.readouterr().err
    assert status == 2 and said in err and "Traceback" not in err
    assert not (tmp_path / "r").exists()


def test_bad_checkpoints_cost_one_line_and_status_2(tmp_path, tiny_model, capsys):
    (tmp_path / "text.ckpt").write_text("hello")
    save_model(tiny_model, tmp_path / "nan.ckpt", to_prune_info(tiny_model.config))
    state = tiny_model.state_dict()
    state["hr_branch.conv_hr.0.layers.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.ckpt")
    for name, said in (("text.ckpt", "text.ckpt"), ("none.ckpt", "none.ckpt"),
                       ("nan.ckpt", "hr_branch.conv_hr.0.layers.0.weight holds values that are not finite")):
        assert status_of(main, "--ckpt_path", tmp_path / name, "--save-dir", tmp_path / "r") == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and said in err
    assert not (tmp_path / "r").exists()


def test_a_pruned_network_is_told_which_rule_cuts_it_further(tiny_ckpt, tmp_path, capsys):
    assert status_of(main, "--ckpt-path", tiny_ckpt, "--save-dir", tmp_path / "r") == 2
    assert "cannot be kept: rule paper is for the dense network" in capsys.readouterr().err and not (tmp_path / "r").exists()
    assert status_of(main, "--ckpt-path", tiny_ckpt, "--save-dir", tmp_path / "r", "--rule", "tied", "--round-to", 2) == 0


@pytest.mark.parametrize("scope", ["whole", "branches", "backbone"])
def test_published_keys_alone_rebuild_what_rule_paper_made(dense_ckpt, tmp_path, scope):
    assert main(["--ckpt-path", str(dense_ckpt), "--save-dir", str(tmp_path), "--scope", scope]) == 0
    suffix = "" if scope == "whole" else f"_{scope}"
    info = json.loads((tmp_path / f"modnet_p_ratio_0.5_thresh_0.5{suffix}.json").read_text())
    published = {key: info[key] for key in (*PUBLISHED_KEYS, "residual")}
    assert from_prune_info(published) == from_prune_info(info)


def test_rule_tied_loses_no_residual(dense_ckpt, tmp_path, capsys):
    assert main(["--ckpt-path", str(dense_ckpt), "--save-dir", str(tmp_path), "--rule", "tied", "--round-to", "4"]) == 0
    assert "Residual additions lost: none." in capsys.readouterr().out
    config = load_model(tmp_path / "modnet_p_ratio_0.5_thresh_0.5_tied.ckpt").config
    assert config.width("block9.hidden") % 4 == 0 and sum(block.residual for block in config.blocks) == 10


def test_a_target_is_met_and_named(dense_ckpt, tmp_path):
    assert main(["--ckpt-path", str(dense_ckpt), "--save-dir", str(tmp_path), "--rule", "tied",
                 "--target-macs", "3.66e9"]) == 0
    info = json.loads((tmp_path / "modnet_p_macs_3.66e+09_tied.json").read_text())
    assert 0.98 * 3.66e9 <= info["counts"]["after"]["macs_deploy"] <= 3.66e9
    assert info["budget"] == {"params": None, "macs": 3.66e9}


@pytest.mark.parametrize("args", [["--target-params", "0"], ["--target-macs", "nan"],
                                  ["--target-params", "1e6", "--scope", "branches"]])
def test_a_wrong_target_is_refused(dense_ckpt, args):
    with pytest.raises(ValueError, match="target"):
        main(["--ckpt-path", str(dense_ckpt), *args])


def test_criterion_taylor_looks_at_pictures(small_dense, discs, tmp_path, capsys):
    args = ["--ckpt-path", str(small_dense), "--save-dir", str(tmp_path), "--criterion", "taylor"]
    with pytest.raises(ValueError, match="taylor needs pictures"):
        main(args)
    assert main([*args, "--data-dir", str(discs)]) == 0
    by_l1 = inherited(small_dense, tmp_path)
    by_taylor = load_model(tmp_path / "modnet_p_ratio_0.5_thresh_0.5_taylor.ckpt")
    assert by_taylor.config == by_l1.config
    key = "hr_branch.conv_hr.0.layers.0.weight"
    assert not torch.equal(by_taylor.state_dict()[key], by_l1.state_dict()[key])


def inherited(ckpt_path, save_dir):
    """What the default criterion makes."""
    assert main(["--ckpt-path", str(ckpt_path), "--save-dir", str(save_dir)]) == 0
    return load_model(save_dir / "modnet_p_ratio_0.5_thresh_0.5.ckpt")


def test_a_search_is_named_and_loads(dense_ckpt, tmp_path, capsys):
    assert main(["--ckpt-path", str(dense_ckpt), "--save-dir", str(tmp_path), "--target-params", "1.34e6", "--target-macs",
                 "3.66e9", "--search"]) == 0
    path = tmp_path / "modnet_p_params_1.34e+06_macs_3.66e+09_tied_search.ckpt"
    counts = json.loads(path.with_suffix(".json").read_text())["counts"]["after"]
    assert counts["params"] <= 1.34e6 and counts["macs_deploy"] <= 3.66e9
    assert sum(p.numel() for p in load_model(path).parameters()) == counts["params"]


@pytest.mark.parametrize(("args", "said"), [(["--search"], "--search needs"),
                                            (["--search", "--target-macs", "4e9", "--rule", "paper"], "--rule tied"),
                                            (["--target-latency", "20", "--rule", "paper"], "--rule tied"),
                                            (["--target-latency", "20", "--target-macs", "4e9"], "goes without"),
                                            (["--target-latency", "nan"], "--target-latency is nan"),
                                            (["--target-latency", "20", "--threads", "0"], "--threads is 0"),
                                            (["--round-branches-to", "16"], "--round-branches-to goes with --search"),
                                            (["--round-to", "16"], "--round-to goes with --rule tied"),
                                            (["--target-macs", "4e9", "--round-to", "8"], "--round-to goes with --rule"),
                                            (["--target-macs", "4e9", "--ratio", "0.3"], "--ratio goes without targets"),
                                            (["--widths", "f.1x=8", "--threshold", "0.3"], "--threshold goes without"),
                                            (["--precision", "bf16"], "--precision goes with --target-latency"),
                                            (["--calib-dir", "x"], "--calib-dir goes with --target-latency")])
def test_options_that_do_not_go_together_are_refused(dense_ckpt, args, said):
    with pytest.raises(ValueError, match=said):
        main(["--ckpt-path", str(dense_ckpt), *args])


@pytest.mark.parametrize(("args", "said"), [
    (["--rule", "tied", "--steps", "2", "--data-dir", "x", "--no-weight-replace"], "--no-weight-replace begins"),
    (["--resume"], "--resume goes with --steps"), (["--step-epochs", "3"], "--step-epochs goes with --steps"),
    (["--data-dir", "x"], "--data-dir x goes with --steps and --criterion taylor")])
def test_what_only_steps_use_is_not_dropped_in_silence(dense_ckpt, tmp_path, capsys, args, said):
    assert status_of(main, "--ckpt-path", dense_ckpt, "--save-dir", tmp_path / "r", *args) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_a_latency_target_is_met_and_said(dense_ckpt, tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    monkeypatch.setattr("src.pruning.latency_cost.profile_cost", lambda config, machine: linear_macs())
    monkeypatch.setattr("src.pruning.latency_cost.measure_ms", lambda config, machine: macs(config) / 1e8)
    args = ["--ckpt-path", str(dense_ckpt), "--save-dir", str(tmp_path)]
    assert main([*args, "--target-latency", "40", "--threads", "1"]) == 0
    info = json.loads((tmp_path / "modnet_p_latency_40ms_1_threads_fp32_tied.json").read_text())
    assert 38 <= info["latency"]["measured"] <= 40 and info["rule"] == "tied"
    assert info["latency"]["measured"] == info["counts"]["after"]["macs_deploy"] / 1e8
    with pytest.raises(ValueError, match="target-latency is 500 ms, possible here are .* to 154.7"):
        main([*args, "--target-latency", "500"])
