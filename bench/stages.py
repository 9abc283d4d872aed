"""Train one stage after another, over any number of interruptions, by a list of stages:

    python bench/stages.py bench/stages.toml
    python bench/stages.py bench/stages.toml --status

The list is TOML (or JSON of the same shape): `save-dir`, where all files go; `common`, options of `src/trainer.py` that
every stage has; and the stages, each with a `name` and options of its own:

    save-dir = "result/stages"
    [common]
    data-dir = ["people=2", "portraits"]
    val-half = "choose"
    [[stage]]
    name = "semantics"
    model-path = "pretrained/our_modnet.ckpt"
    detail-scale = 0
    matte-scale = 0
    epoch = 10
    [[stage]]
    name = "whole"
    model-path = "semantics"
    epoch = 40
    [[stage]]
    name = "mean"
    average = ["semantics", "whole"]

An option's value is text, a number, a list, or true for a switch. `model-path`, `teacher` and `average` may name an earlier
stage. Start the same command again after any interruption: stages that are done are left as they are, the one that was in
progress goes on at its last epoch. `stages.json` in `save-dir` has what ran when and for how long. All options are checked
before the first stage starts.
"""
from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from src import average, trainer
from src.command_line import Parser
from src.files import write_json
from src.records import Real, Table, parse_json, read_json, read_lines
from src.script import run_script
from src.training.options import make_recipe, parse_train_args

# Options whose value may be the name of an earlier stage.
FROM_STAGES = ("model-path", "teacher")
# Set by this script for every stage.
RESERVED = ("name", "save-dir", "resume")
ENTRY = {"options": dict, "average": [str], "begun": [str], "checkpoint?": str}


@dataclass(frozen=True)
class Stage:
    """A training, by its options, or the average of earlier stages."""

    name: str
    options: Mapping[str, object]
    average: tuple[str, ...] = ()


def read_list(path: Path) -> tuple[Path, list[Stage]]:
    """Return the folder and the stages of a list. Raises `FileNotFoundError`, or `ValueError` that names what is wrong in
    it."""
    if not path.is_file():
        raise FileNotFoundError(f"no list of stages at {path}")
    try:
        text = path.read_text(encoding="utf-8")
        said = parse_json(text, dict) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    allowed = {"save-dir": str, "common": dict, "stage": list}
    for key, kind in allowed.items():
        if key != "common" and key not in said:
            raise ValueError(f"{path} has no {key}")
        if key in said and not isinstance(said[key], kind):
            raise ValueError(f"{path}: {key} is {said[key]!r}, expected {kind.__name__}")
    for key in said.keys() - allowed.keys():
        raise ValueError(f"{path} has {key!r}, allowed are {', '.join(allowed)}")
    stages: list[Stage] = []
    for number, entry in enumerate(said["stage"], 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not (isinstance(name, str) and re.fullmatch(r"[\w-]+", name)):
            raise ValueError(f"{path}: stage {number} has the name {name!r}, allowed are letters, digits, - and _")
        if name in [stage.name for stage in stages]:
            raise ValueError(f"{path} has two stages {name!r}")
        stages.append(make_stage(entry, said.get("common", {}), [stage.name for stage in stages]))
    if not stages:
        raise ValueError(f"{path} has no stage")
    return Path(said["save-dir"]), stages


def make_stage(entry: Mapping[str, object], common: Mapping[str, object], earlier: Sequence[str]) -> Stage:
    """Make a stage from its table in the list. Raises `ValueError` naming it and the option that does not fit."""
    name, own = str(entry["name"]), {key: value for key, value in entry.items() if key != "name"}
    if "average" in own:
        members = own.pop("average")
        if own or not isinstance(members, list) or not members or not all(one in earlier for one in members):
            raise ValueError(f"stage {name!r}: average is a list of earlier stages ({', '.join(earlier) or 'none'}), with "
                             "no other option")
        return Stage(name, {}, tuple(members))
    options = {**common, **own}
    for key in RESERVED:
        if key in options:
            raise ValueError(f"stage {name!r} has {key}, which the list of stages sets")
    stage, said = Stage(name, options), io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            make_recipe(parse_train_args("", arguments(options)))
    except SystemExit:
        raise ValueError(f"stage {name!r}: {said.getvalue().strip().splitlines()[-1].partition('error: ')[2]}") from None
    except ValueError as error:
        raise ValueError(f"stage {name!r}: {error}") from None
    return stage


def arguments(options: Mapping[str, object]) -> list[str]:
    """Return the command line of `options`. A switch is there if it is true."""
    argv = []
    for key, value in options.items():
        if value is not False:
            values = [] if value is True else value if isinstance(value, list) else [value]
            argv += [f"--{key}", *map(str, values)]
    return argv


class Record:
    """What ran when, in `stages.json`: each stage's options, when it was begun, for how long, and the checkpoint at its
    end."""

    def __init__(self, folder: Path) -> None:
        """Raise `ValueError` naming the file and the field for one that is no record."""
        self.folder, self.path = folder, folder / "stages.json"
        self.entries: dict[str, dict] = read_json(self.path, Table(ENTRY)) if os.path.lexists(self.path) else {}

    def checkpoint(self, name: str) -> Path | None:
        """Return the checkpoint of a stage that is done."""
        said = self.entries.get(name, {}).get("checkpoint")
        return Path(said) if said and Path(said).is_file() else None

    def check(self, stage: Stage) -> None:
        """Raise `ValueError` if the stage was begun with other options, or has files that this list did not make."""
        wanted = json.loads(json.dumps({"options": dict(stage.options), "average": list(stage.average)}))
        entry = self.entries.get(stage.name)
        if entry is None:
            pattern = re.compile(rf"{re.escape(stage.name)}(_(best|resume|epoch\d+))?\.(pt|ckpt)")
            there = sorted(path.name for path in self.folder.glob(f"{stage.name}*") if pattern.fullmatch(path.name))
            if there:
                raise ValueError(f"stage {stage.name!r} would overwrite {self.folder / there[0]}, which is not from this "
                                 "list: give it another name")
            return
        for kind, now in wanted.items():
            if entry[kind] != now:
                before, now = (entry[kind], now) if kind == "average" else (
                    {key: value for key, value in one.items() if two.get(key) != value}
                    for one, two in ((entry[kind], now), (now, entry[kind])))
                raise ValueError(f"stage {stage.name!r} was begun with {before}, now it has {now}: give it another name, or "
                                 f"take it out of {self.path} to train it anew")

    def begin(self, stage: Stage) -> bool:
        """Note that a stage starts now; return whether it was begun before."""
        entry = self.entries.setdefault(stage.name, {"options": dict(stage.options), "average": list(stage.average),
                                                     "begun": []})
        before = bool(entry["begun"])
        entry["begun"].append(datetime.datetime.now().isoformat(timespec="seconds"))
        write_json(self.path, self.entries)
        return before

    def finish(self, stage: Stage) -> Path:
        """Note where the checkpoint of a stage is, and how long its epochs took."""
        stem, entry = self.folder / stage.name, self.entries[stage.name]
        rows = log_rows(stem)
        choices = [Path(f"{stem}.ckpt"), Path(f"{stem}_best.ckpt"), Path(f"{stem}_epoch{len(rows) - 1}.ckpt")]
        path = next(path for path in choices if path.is_file())
        entry |= {"checkpoint": str(path), "hours": sum(row["seconds"] for row in rows) / 3600, "epochs": len(rows),
                  "finished": datetime.datetime.now().isoformat(timespec="seconds")}
        write_json(self.path, self.entries)
        return path


def log_rows(stem: Path) -> list[dict]:
    """Return the log of a training, a row an epoch; none without."""
    return read_lines(Path(f"{stem}_log.jsonl"), {"seconds": Real(0), "val_mse?": Real(0)})


def run_stage(stage: Stage, record: Record) -> Path:
    """Train or averages; the checkpoint. An interrupted training goes on."""
    stem = record.folder / stage.name
    begun = record.begin(stage)
    if stage.average:
        members = [str(record.checkpoint(name)) for name in stage.average]
        average.main(["--ckpt-path", *members, "--output-path", f"{stem}.ckpt"])
        return record.finish(stage)
    options = {key: str(record.checkpoint(value) or value) if key in FROM_STAGES else value
               for key, value in stage.options.items()}
    going_on = begun and Path(f"{stem}_resume.pt").is_file()
    trainer.main([*arguments(options), "--name", stage.name, "--save-dir", str(record.folder),
                  *(["--resume"] if going_on else [])])
    return record.finish(stage)


def status(stages: Sequence[Stage], record: Record) -> str:
    """Format a line for each stage: what was done of it."""
    lines = []
    for stage in stages:
        rows, done = log_rows(record.folder / stage.name), record.checkpoint(stage.name)
        best = min((row["val_mse"] for row in rows if "val_mse" in row), default=None)
        said = "done" if done else "begun" if stage.name in record.entries else "to do"
        lines.append(f"{stage.name}: {said}, {len(rows)} epochs, {sum(row['seconds'] for row in rows) / 3600:.2f} h"
                     + ("" if best is None else f", best val_mse {best:.5f}") + (f", {done}" if done else ""))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = Parser(__doc__)
    parser.add_argument("list", type=Path, help="TOML or JSON")
    parser.add_argument("--status", action="store_true", help="say what is done, and train nothing")
    args = parser.parse_args(argv)
    folder, stages = read_list(args.list)
    record = Record(folder)
    if not args.status:
        for stage in stages:
            record.check(stage)
        for stage in stages:
            done = record.checkpoint(stage.name)
            print(f"{stage.name}: {'already done' if done else 'begins'}", flush=True)
            if done is None:
                run_stage(stage, record)
    print(status(stages, record))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
