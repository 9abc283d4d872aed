"""What may be written over what: the rule for every script that writes checkpoints, and inputs kept by all."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import main_prune
from src import average, checkpoint, results, trainer
from src.checkpoint import load_model, save_model
from src.files import keep_inputs
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from tests.conftest import randomise, tiny_config

TIED = ["--rule", "tied", "--round-to", "2"]
STEM = "modnet_p_ratio_0.5_thresh_0.5_tied"


def save(path: Path, seed: int = 0) -> Path:
    """A tiny network of its own weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(randomise(MODNet(tiny_config()), seed), path, to_prune_info(tiny_config()))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", ["same", "relative", "symlink", "hard link", "folder link"])
def test_an_input_is_known_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "a").mkdir()
    given = tmp_path / "a" / "x.ckpt"
    given.write_text("weights")
    monkeypatch.chdir(tmp_path / "a")
    (tmp_path / "soft").symlink_to(given)
    os.link(given, tmp_path / "hard")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    output = {"same": given, "relative": Path("../a/x.ckpt"), "symlink": tmp_path / "soft", "hard link": tmp_path / "hard",
              "folder link": tmp_path / "b" / "x.ckpt"}[name]
    with pytest.raises(ValueError, match="is an input .*would be overwritten" if name != "same" else "is an input and"):
        keep_inputs([tmp_path / "new", output], [given, tmp_path / "none"])
    keep_inputs([tmp_path / "new"], [given])


def prune(ckpt: Path, folder: Path, *options: str) -> int:
    return main_prune.main(["--ckpt-path", str(ckpt), "--save-dir", str(folder), *TIED, *options])


def test_a_pruned_network_pruned_again_never_overwrites_its_source(tmp_path: Path) -> None:
    source = save(tmp_path / f"{STEM}.ckpt")
    before = contents(tmp_path)
    for options in ([], ["--overwrite"]):
        with pytest.raises(ValueError, match=f"{STEM}.ckpt is an input"):
            prune(source, tmp_path, *options)
    # A source of another suffix would lose its JSON.
    source.rename(tmp_path / f"{STEM}.pth")
    with pytest.raises(ValueError, match=f"{STEM}.json is an input"):
        prune(tmp_path / f"{STEM}.pth", tmp_path, "--overwrite")
    # So would one whose pruning JSON lies under that name.
    other = save(tmp_path / "other" / "a.ckpt")
    with pytest.raises(ValueError, match=f"{STEM}.json is an input"):
        prune(other, tmp_path, "--overwrite", "--prune-info", str(tmp_path / f"{STEM}.json"))
    assert contents(tmp_path) == {name.replace(".ckpt", ".pth"): data for name, data in before.items()}


def test_another_source_or_setting_needs_overwrite_and_the_same_command_does_not(tmp_path: Path) -> None:
    first, out = save(tmp_path / "first.ckpt"), tmp_path / "out"
    second = save(tmp_path / "second.ckpt", seed=1)
    assert prune(first, out) == 0
    made = json.loads((out / f"{STEM}.json").read_text())["origin"]
    assert made["sources"] == [{"path": str(first), "sha256": hashlib.sha256(first.read_bytes()).hexdigest()}]
    before = contents(out)
    with pytest.raises(ValueError, match=r"made from another source \(.*first.ckpt\): --overwrite replaces it"):
        prune(second, out)
    with pytest.raises(ValueError, match="made with seed 0, now it is 1"):
        prune(first, out, "--seed", "1")
    assert contents(out) == before
    moved = first.rename(tmp_path / "moved.ckpt")
    first.with_suffix(".json").rename(tmp_path / "moved.json")
    assert prune(moved, out) == 0 and prune(second, out, "--overwrite") == 0
    made = json.loads((out / f"{STEM}.json").read_text())["origin"]
    assert made["sources"][0]["sha256"] == results.sha256(second)


@pytest.mark.parametrize("text", [None, "{", "[]", "[" * 50_000, '{"origin": 3}',
                                  '{"origin": {"sources": [{}], "settings": {}}}',
                                  '{"origin": {"sources": [1], "settings": {}}}',
                                  '{"origin": {"sources": [], "settings": null}}'])
def test_a_result_that_does_not_say_what_it_was_made_from_is_not_replaced(tmp_path: Path, text: str | None) -> None:
    source, out = save(tmp_path / "a.ckpt"), tmp_path / "out"
    out.mkdir()
    (out / f"{STEM}.ckpt").write_text("precious")
    if text is not None:
        (out / f"{STEM}.json").write_text(text)
    with pytest.raises(ValueError, match="nothing says what it was made from"):
        prune(source, out)
    assert (out / f"{STEM}.ckpt").read_text() == "precious"


def test_notes_under_the_name_of_a_result_are_kept(tmp_path: Path) -> None:
    source, out = save(tmp_path / "a.ckpt"), tmp_path / "out"
    out.mkdir()
    (out / f"{STEM}.md").write_text("my notes")
    with pytest.raises(ValueError, match=f"{STEM}.md is there already"):
        prune(source, out)


def test_a_python_caller_cannot_overwrite_either(tmp_path: Path) -> None:
    from src.pruning.choice import ByRatio

    source = save(tmp_path / "a.ckpt")
    pruned = main_prune.prune(source, ByRatio(rule="tied", round_to=2))
    with pytest.raises(ValueError, match="a.ckpt is an input"):
        main_prune.save_pruned(pruned, source, overwrite=True)


def test_steps_of_another_source_are_neither_replaced_nor_gone_on_with(tmp_path: Path, discs: Path) -> None:
    source, out = save(tmp_path / "a.ckpt"), tmp_path / "out"
    save(out / f"{STEM}_2_steps_step1.ckpt", seed=1)
    steps = ["--steps", "2", "--data-dir", str(discs)]
    for options in ([], ["--resume"]):
        with pytest.raises(ValueError, match="step1.ckpt is there already, and nothing says"):
            prune(source, out, *steps, *options)
    with pytest.raises(SystemExit):
        prune(source, out, *steps, "--resume", "--overwrite")


def test_steps_go_on_after_a_kill_between_the_two_files_of_one(tmp_path: Path, discs: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = save(tmp_path / "a.ckpt"), tmp_path / "out"
    steps = ["--steps", "2", "--data-dir", str(discs), "--step-input-size", "64", "--step-batch-size", "5"]
    real, written = checkpoint.save_state, []

    def killed(state: dict, path: Path, *, before: Callable[[], object] = lambda: None) -> None:
        if Path(path).name.endswith("_step1.ckpt"):
            before()
            raise KeyboardInterrupt
        real(state, path, before=before)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(source, out, *steps)
    assert not (out / f"{STEM}_2_steps_step1.ckpt").exists() and (out / f"{STEM}_2_steps_step1.json").is_file()
    monkeypatch.setattr(checkpoint, "save_state",
                        lambda state, path, **how: (written.append(Path(path).name), real(state, path, **how)))
    prune(source, out, *steps, "--resume")
    assert f"{STEM}_2_steps.ckpt" in written
    assert load_model(out / f"{STEM}_2_steps.ckpt").config != tiny_config()


def train(ckpt: Path, discs: Path, *options: str) -> int:
    return trainer.main(["--model-path", str(ckpt), "--data-dir", str(discs), "--batch-size", "5", "--epoch", "1",
                         "--input-size", "64", *options])


def test_a_training_refuses_before_any_work_where_another_run_is(tmp_path: Path, discs: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "x.ckpt")
    assert train(source, discs) == 0
    sources = json.loads((tmp_path / "x_best.json").read_text())["origin"]["sources"]
    assert sources[0]["sha256"] == results.sha256(source)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "load_model", lambda *_: pytest.fail("work was begun"))
        with pytest.raises(ValueError, match="x_best.ckpt is there already, of another run: --resume goes on .*"
                                             "--overwrite .*--name or --save-dir"):
            train(source, discs)
        # The network that is gone on from is one of the run's own files.
        for options in (["--name", "x"], ["--name", "x", "--overwrite"]):
            with pytest.raises(ValueError, match="x_best.ckpt is an input"):
                train(tmp_path / "x_best.ckpt", discs, *options)
        with pytest.raises(ValueError, match="x_best.ckpt is an input"):
            train(source, discs, "--teacher", str(tmp_path / "x_best.ckpt"), "--overwrite")
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="x_resume.pt is of another run: it started from another checkpoint"):
        train(save(tmp_path / "y.ckpt", seed=1), discs, "--name", "x", "--resume")
    (tmp_path / "x_resume.pt").unlink()
    with pytest.raises(ValueError, match="without x_resume.pt to go on from"):
        train(source, discs, "--resume")
    assert train(source, discs, "--overwrite", "--lr", "0.02") == 0
    assert json.loads((tmp_path / "x_best.json").read_text())["training"]["lr"] == 0.02


def test_a_shorter_run_that_overwrites_leaves_no_checkpoint_of_the_longer_one(tmp_path: Path, discs: Path) -> None:
    source = save(tmp_path / "x.ckpt")
    for name in ("x_epoch1", "x_epoch9", "x_epoch10"):
        save(tmp_path / f"{name}.ckpt")
    (tmp_path / "x_epoch9_eval.json").touch()
    assert train(source, discs, "--overwrite", "--epoch", "2", "--val-every", "2", "--save-step", "2") == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".ckpt", ".json")) == [
        "x.ckpt", "x.json", "x_best.ckpt", "x_best.json", "x_epoch1.ckpt", "x_epoch1.json", "x_epoch9_eval.json"]
    assert json.loads((tmp_path / "x_epoch1.json").read_text())["training"]["epoch"] == 1


def test_files_of_a_run_are_told_from_those_of_other_names(tmp_path: Path) -> None:
    for name in ("x_best.ckpt", "x_epoch12.json", "x_log.jsonl", "x_epoch0_best.ckpt", "xy_best.ckpt", "x.ckpt",
                 "x_best_eval.json"):
        (tmp_path / name).touch()
    found = results.files_like(tmp_path / "x", results.RUN_FILE)
    assert [path.name for path in found] == ["x_best.ckpt", "x_epoch12.json", "x_log.jsonl"]


def test_an_average_replaces_its_own_alone(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.ckpt"), save(tmp_path / "b.ckpt", seed=1)
    out = tmp_path / "mean.ckpt"
    args = ["--ckpt-path", str(a), str(b), "--output-path", str(out)]
    assert average.main(args) == 0 and average.main(args) == 0
    with pytest.raises(ValueError, match="made with weights .* another --output-path keeps both"):
        average.main([*args, "--weights", "1", "3"])
    assert average.main([*args, "--weights", "1", "3", "--overwrite"]) == 0
    link = tmp_path / "link.ckpt"
    os.link(b, link)
    with pytest.raises(ValueError, match="link.ckpt is an input"):
        average.main([*args[:-1], str(link), "--overwrite"])
    assert b.read_bytes() == link.read_bytes()


def test_an_evaluation_overwrites_no_input(tmp_path: Path, discs: Path) -> None:
    from src.eval import main

    ckpt, out = save(tmp_path / "a.ckpt"), tmp_path / "out"
    out.mkdir()
    args = ["--ckpt-path", str(ckpt), "--data-dir", str(discs), "--output-dir", str(out)]
    (out / "a_eval.json").write_bytes(ckpt.with_suffix(".json").read_bytes())
    with pytest.raises(ValueError, match="a_eval.json is an input"):
        main([*args, "--prune-info", str(out / "a_eval.json")])
    (out / "a_eval.json").unlink()
    (out / "a_sheet.png").symlink_to(discs / "val" / "fg" / "0.png")
    before = contents(discs / "val" / "fg")
    with pytest.raises(ValueError, match="a_sheet.png is an input .*0.png"):
        main([*args, "--sheet", "1"])
    assert contents(discs / "val" / "fg") == before and not (out / "a_eval.json").exists()


def test_an_export_and_a_conversion_overwrite_no_input(tmp_path: Path, tiny_onnx: dict[str, Path]) -> None:
    pytest.importorskip("openvino")
    from convert_openvino import convert_openvino
    from export_onnx import export_onnx

    import onnx

    ckpt = save(tmp_path / "a.onnx")
    before = contents(tmp_path)
    for info in (None, tmp_path / "a.json"):
        with pytest.raises(ValueError, match="a.onnx is an input"):
            export_onnx(ckpt, info, output_path=tmp_path / "." / "a.onnx")
    assert contents(tmp_path) == before
    model = tmp_path / "b" / "m.bin"
    model.parent.mkdir()
    model.write_bytes(tiny_onnx["static"].read_bytes())
    with pytest.raises(ValueError, match="m.bin is an input"):
        convert_openvino(model, tmp_path / "b" / "m.xml", precision="fp32")
    # The weights of an ONNX file may lie beside it.
    onnx.save(onnx.load(tiny_onnx["static"]), tmp_path / "b" / "n.onnx", save_as_external_data=True, location="n.bin")
    before = contents(model.parent)
    with pytest.raises(ValueError, match="n.bin is an input"):
        convert_openvino(tmp_path / "b" / "n.onnx", tmp_path / "b" / "n.xml", precision="fp32")
    assert contents(model.parent) == before


def test_a_pipeline_keeps_what_is_not_its_own(tmp_path: Path, discs: Path) -> None:
    from reproduce import reproduce
    from src.paper.resumable import Steps
    from src.paper.stages import prune_step
    from src.pruning.choice import ByRatio
    from src.training.recipe import Recipe

    how, out = ByRatio(rule="tied", round_to=2), tmp_path / "out"
    source, other = save(tmp_path / "a.ckpt"), save(tmp_path / "b.ckpt", seed=1)
    (out / "p.ckpt").parent.mkdir()
    (out / "p.ckpt").write_text("of somebody else")
    for _ in range(2):  # nor when the same is asked for again
        with pytest.raises(ValueError, match=r"p.ckpt is there already, and not by .*steps.json: another --output-dir"):
            prune_step(Steps(out), "prune", source, out / "p.ckpt", how)
    assert (out / "p.ckpt").read_text() == "of somebody else"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.md").write_text("of somebody else")
    with pytest.raises(ValueError, match="report.md is there already"):
        reproduce(source, discs, output_dir=tmp_path / "mine", ratio=0.5, threshold=0.5, recipe=Recipe(), generated=False)
    for ckpt in (source, other):
        prune_step(Steps(out / "own"), "prune", ckpt, out / "own" / "p.ckpt", how)
    with pytest.raises(ValueError, match="p.ckpt is an input"):
        prune_step(Steps(out / "own"), "prune", out / "own" / "p.ckpt", out / "own" / "p.ckpt", how)
    save(out / "report.ckpt")
    with pytest.raises(ValueError, match="report.json is an input"):
        reproduce(out / "report.ckpt", discs, output_dir=out, ratio=0.5, threshold=0.5, recipe=Recipe(), generated=False)
