"""What the project wrote and reads back: a field of the wrong kind is named, and nothing is changed."""
from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from src.checkpoint import load_model, load_state, save_state
from src.data.decoded import Pack, write_pack
from src.data.portraits.generate import generate_data_set
from src.data.samples import MattingDataset
from src.files import write_json
from src.paper.resumable import Steps
from src.records import Real, Table, Whole, parse_json, read_json
from src.training.loop import train
from tests.conftest import bench_script
from tests.data.test_decoded import sample
from tests.test_trainer import RECIPE, fresh, read_log

SHAPE = {"n": Whole(1, 9), "share?": (None, Real(0, 1)), "names": [str], "sizes": Table({"w": Whole()}), "on": bool}
GOOD = {"n": 3, "share": 0.5, "names": ["a"], "sizes": {"x": {"w": 1}}, "on": True}


@pytest.mark.parametrize(("change", "said"), [
    ({"n": True}, "n is True, expected a whole number from 1 to 9"), ({"n": 0}, "n is 0"), ({"n": 1.0}, "n is 1.0"),
    ({"share": 2}, "share is 2, expected null or a number from 0 to 1"), ({"names": None}, "names is None, expected a list"),
    ({"names": [1]}, r"names\[0\] is 1, expected text"), ({"sizes": {"x": {}}}, "sizes.x.w is missing"),
    ({"on": "yes"}, "on is yes, expected true or false")])
def test_a_field_of_the_wrong_kind_is_named_with_its_value_and_what_it_should_be(change: dict, said: str) -> None:
    assert parse_json(json.dumps(GOOD), SHAPE) == GOOD
    with pytest.raises(ValueError, match=said):
        parse_json(json.dumps(GOOD | change), SHAPE)


@pytest.mark.parametrize(("text", "said"), [
    ("NaN", "NaN is no finite number"), ("[1e999]", "1e999 is out of range"), ("1" * 400, "1.*is out of range"),
    ("1" * 5000, "is out of range"), ("[" * 10 ** 5, "nested too deeply"), ("", "Expecting value"), (b"\xff\xfe", ""),
    ('{"a": -Infinity}', "-Infinity is no finite number")])
def test_numbers_out_of_range_and_endless_nesting_are_refused_with_the_file(text: str | bytes, said: str,
                                                                           tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"x.json: .*{said}") as raised:
        read_json(path)
    assert len(str(raised.value)) < 300


def test_no_json_with_a_number_that_is_none_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.json is not written"):
        write_json(tmp_path / "a.json", {"mse": float("nan")})
    assert not list(tmp_path.iterdir())


BAD_INFO = {"ratio": 10 ** 400, "new_cfg": [None] * 19, "residual": None, "hr_channels": 7, "counts": {"before": 3},
            "training": [], "average": {}, "rule": 4}


@pytest.mark.parametrize("key", BAD_INFO)
def test_every_field_of_a_pruning_json_is_checked(key: str, tiny_ckpt: Path) -> None:
    path = tiny_ckpt.with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: BAD_INFO[key]}))
    with pytest.raises(ValueError, match=r"tiny.json.*(" + key + "|out of range)"):
        load_model(tiny_ckpt)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and a run of three epochs, of which one is done."""
    from src.training import loop

    folder, original = tmp_path_factory.mktemp("run"), loop.train_epoch
    generate_data_set(folder / "set", train=2, val=1, height=96, width=80)

    def stop(*args: object, title: str, **kwargs: object) -> dict:
        if title.startswith("epoch 1"):
            raise KeyboardInterrupt
        return original(*args, title=title, **kwargs)

    loop.train_epoch = stop
    try:
        train(*fresh(), folder / "set", RECIPE, stem=folder / "a")
    except KeyboardInterrupt:
        return folder
    finally:
        loop.train_epoch = original
    raise AssertionError("not stopped")


NAN = float("nan")
CHANGES = {
    "step": ("step", "3", "step is 3, expected a whole number"), "log": ("log", None, "log is None, expected a list"),
    "row": ("log", [{"epoch": 0, "loss": "x"}], r"log\[0\].loss is x, expected a number"),
    "epochs": ("log", [{"epoch": 4}], r"log\[0\] is of epoch 4 of 3"), "recipe": ("recipe", None, "recipe is None"),
    "scale": ("recipe", {**dataclasses.asdict(RECIPE), "scale": [torch.zeros(2), 1.0]}, "scale was .*tensor"),
    "learning rate": ("recipe", {**dataclasses.asdict(RECIPE), "lr": torch.zeros(2)}, "lr was tensor"),
    "model": ("model", [], r"model does not fit: \[\]"),
    "scheduler": ("scheduler", {}, "scheduler does not fit"),
    "optimizer": ("optimizer", {"state": {}}, "optimizer.param_groups is missing")}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_resume_state_is_named_with_its_field_and_no_file_is_touched(kind: str, interrupted: Path) -> None:
    key, value, said = CHANGES[kind]
    path = interrupted / "a_resume.pt"
    before = load_state(path)
    try:
        save_state(before | {key: value}, path)
        files = {file: file.read_bytes() for file in interrupted.glob("a*")}
        with pytest.raises(ValueError, match=f"a_resume.pt is .*{said}"):
            train(*fresh(), interrupted / "set", RECIPE, stem=interrupted / "a", resume=True)
        assert {file: file.read_bytes() for file in interrupted.glob("a*")} == files
    finally:
        save_state(before, path)


@pytest.mark.parametrize(("change", "said"), [
    (lambda moments: {**moments, "exp_avg": moments["exp_avg"] * NAN}, "exp_avg holds values that are not finite"),
    (lambda moments: {**moments, "exp_avg": torch.zeros(3)}, r"exp_avg is \(3,\), expected"),
    (lambda moments: {"step": moments["step"]}, "expected exp_avg, exp_avg_sq, step")])
def test_moments_of_the_optimiser_that_do_not_fit_are_refused(change, said: str, interrupted: Path, tmp_path: Path) -> None:
    saved = load_state(interrupted / "a_resume.pt")
    saved["optimizer"]["state"][0] = change(saved["optimizer"]["state"][0])
    save_state(saved, tmp_path / "a_resume.pt")
    with pytest.raises(ValueError, match=f"optimizer.state.0.*{said}"):
        train(*fresh(), interrupted / "set", RECIPE, stem=tmp_path / "a", resume=True)


def test_what_a_kill_kept_from_being_written_after_the_state_is_written_from_it(interrupted: Path, tmp_path: Path,
                                                                                capsys) -> None:
    stem, rest = tmp_path / "a", {"data_dir": interrupted / "set", "recipe": RECIPE}
    shutil.copy(interrupted / "a_resume.pt", tmp_path)
    train(*fresh(), stem=stem, resume=True, **rest)
    rows = read_log(stem)
    assert [row["epoch"] for row in rows] == [0, 1, 2] and (tmp_path / "a_epoch0.ckpt").is_file()
    for name in ("a_log.jsonl", "a_epoch2.ckpt", "a_curves.png"):
        (tmp_path / name).unlink()
    best = train(*fresh(), stem=stem, resume=True, **rest)
    assert read_log(stem) == rows and best.is_file() and (tmp_path / "a_epoch2.ckpt").is_file()
    said = json.loads((tmp_path / "a_best.json").read_text())["training"]
    assert said["val_mse"] == min(row["val_mse"] for row in rows)
    assert "nothing to resume" not in capsys.readouterr().err


def test_resuming_without_a_state_starts_afresh_and_says_so(interrupted: Path, tmp_path: Path, capsys) -> None:
    train(*fresh(), interrupted / "set", dataclasses.replace(RECIPE, epochs=1), stem=tmp_path / "a", resume=True)
    assert "note: nothing to resume: no" in capsys.readouterr().err and len(read_log(tmp_path / "a")) == 1


@pytest.mark.parametrize(("text", "said"), [
    ("[]", "it is .*, expected an object"), ('{"a": null}', "a is None"), ('{"a": {"inputs": 1}}', "a.inputs is 1"),
    ('{"a": {"inputs": [], "result": {}, "seconds": -1}}', "a.seconds is -1, expected a number from 0"),
    ('{"a": {"inputs": [1], "result": {"mse": "x"}}}', "a.result.mse is x, expected a number")])
def test_steps_that_were_changed_are_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text(text)
    with pytest.raises(ValueError, match=f"steps.json: {said}"):
        Steps(tmp_path).run("a", dict, inputs=[1], outputs=[], shape={"mse": Real(0)})
    assert (tmp_path / "steps.json").read_text() == text


@pytest.mark.parametrize("rows", [[[-1, 5, 7, 3]], [[0, 10 ** 15, 10 ** 15, 3]], [[0, 5, 7]], [[0, 0, 7, 3]], ["x"], None,
                                  []])
def test_an_index_that_does_not_fit_its_pack_is_none(rows: list | None, tmp_path: Path) -> None:
    write_pack(tmp_path / "a.pack", [sample(5, 7, 3)])
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"samples": rows}))
    with pytest.raises(ValueError, match=r"a\.(json|pack)"):
        Pack(tmp_path / "a.pack")


def test_a_damaged_cache_is_made_anew(discs: Path, tmp_path: Path) -> None:
    def pictures(**options: object) -> list[torch.Tensor]:
        dataset = MattingDataset(discs, size=64, background_dir=discs / "val/fg", cache_dir=tmp_path / "cache")
        dataset.prepare(**options)
        return [dataset[key]["image"] for key in range(5)]

    expected = pictures(pack=True)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 3), }\n")
    for pack in (True, False):
        assert all(torch.equal(a, b) for a, b in zip(pictures(pack=pack), expected, strict=True))


@pytest.mark.parametrize("name", ["train/fg/me.png", "train/alpha/2024_01.png", "val/fg/00009.png", "val/fg/00000.png"])
def test_pictures_of_somebody_else_are_never_removed(name: str, tmp_path: Path) -> None:
    options = {"train": 2, "val": 1, "height": 64, "width": 64}
    generate_data_set(tmp_path / "set", **options)
    generate_data_set(tmp_path / "other", train=1, val=0, height=70, width=80)
    mine = tmp_path / "set" / name
    shutil.copy(tmp_path / "other/train/fg/00000.png", mine)
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.*")}
    with pytest.raises(ValueError, match=f"{name} was not made here, and is not removed"):
        generate_data_set(tmp_path / "set", **options, seed=3, overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.*")} == before


@pytest.mark.parametrize(("record", "said"), [
    ("null", "it is None, expected an object"), ('{"settings": {"train": "2"}, "complete": true}', "settings.train is 2"),
    ('{"settings": {}, "complete": true}', "settings.train is missing"), ("hello", "Expecting value")])
def test_a_changed_record_of_a_generated_set_is_named_and_the_set_stays(record: str, said: str, tmp_path: Path) -> None:
    generate_data_set(tmp_path, train=1, val=0, height=64, width=64)
    (tmp_path / "generated.json").write_text(record)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=f"generated.json: {said}"):
            generate_data_set(tmp_path, train=1, val=0, height=64, width=64, overwrite=overwrite)
    assert (tmp_path / "train/fg/00000.png").is_file() and (tmp_path / "generated.json").read_text() == record


@pytest.mark.parametrize(("text", "said"), [
    ("[]", "expected an object"), ('{"one": {"options": {}, "average": [], "begun": 3}}', "one.begun is 3, expected a list"),
    ('{"one": {"options": {}, "begun": []}}', "one.average is missing"), ("1" * 400, "out of range")])
def test_a_changed_record_of_stages_is_named_with_its_field(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(ValueError, match=f"stages.json: .*{said}"):
        bench_script("stages").Record(tmp_path)


@pytest.mark.parametrize(("text", "said"), [("[]", "it is .*, expected an object"), ("{}", "way is missing"),
                                            ('{"way": "a", "target": NaN}', "NaN is no finite number")])
def test_a_changed_line_of_runs_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{text}\n")
    with pytest.raises(ValueError, match=f"a.jsonl, line 1: {said}"):
        bench_script("pruning").read_rows(tmp_path / "a.jsonl", {})
    assert bench_script("pruning").read_rows(tmp_path / "none.jsonl", {}) == []
