"""Run the steps of a pipeline, but not again while their inputs and outputs are what they were."""
from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from src.console import progress_bar
from src.files import keep_inputs, write_json
from src.media.picture_formats import image_suffixes
from src.records import Real, Table, checked, read_json
from src.results import beside, sha256


def fingerprint(value: object) -> object:
    """Return something that JSON can hold and that changes with `value`: a file by its bytes, a folder by its pictures'
    names and bytes, a dataclass by its fields."""
    if isinstance(value, Path) and value.is_dir():
        return _of_pictures(value, _pictures(value))
    if isinstance(value, Path):
        return sha256(value) if value.is_file() else str(value)
    if isinstance(value, list | tuple):
        return [fingerprint(part) for part in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


def _pictures(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """List the pictures of a folder and those in it: name, bytes and time. Links are followed, to each folder once."""
    seen, found = {os.path.realpath(folder)}, []
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders)}
        folders[:] = [name for name, place in real.items() if place not in seen]
        seen.update(real.values())
        found += [Path(parent, name) for name in names]
    found = sorted(path for path in found if path.suffix.lower() in image_suffixes() and path.is_file())
    return tuple((str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


@functools.cache
def _of_pictures(folder: Path, pictures: tuple[tuple[str, int, int], ...]) -> str:
    """Mark the `_pictures` of a folder. Times do not count: a data set that is copied anew is the same. They only say, with
    the size, that a picture need not be read again in this process."""
    marks = [(name, sha256(folder / name)) for name, *_ in
             progress_bar(pictures, desc=f"look at {folder.name}", unit="picture", leave=False)]
    return hashlib.sha256(repr(marks).encode()).hexdigest()


STEPS = Table({"inputs": list, "result?": dict, "seconds?": Real(0), "begun?": bool, "begun_before?": bool})


def duration(seconds: float) -> str:
    """Format seconds as `40 s`, `3 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Steps:
    """Named steps whose inputs and results are kept in `steps.json` in `folder`."""

    FILE = "steps.json"

    def __init__(self, folder: Path, plan: Mapping[str, float] | None = None) -> None:
        """Take a `plan` of the steps in order, each with about how many seconds it takes: the progress lines say so."""
        self.folder, self._plan = folder, plan or {}
        self._path = folder / self.FILE
        self._done: dict[str, dict] = read_json(self._path, STEPS) if os.path.lexists(self._path) else {}

    def run(self, name: str, work: Callable[[], dict | None], *, inputs: Sequence[object],
            outputs: Sequence[Path], shape: object = dict) -> dict:
        """Call `work` unless it was done with the same inputs and its outputs are there; return its result either way.

        `shape` is what a result that is read back must be (`src.records`). Raises `ValueError` naming file and field else.
        """
        if self.begin(name, inputs=inputs, outputs=outputs):
            start = time.perf_counter()
            self.end(name, work() or {}, time.perf_counter() - start)
            return self._done[name]["result"]
        return checked(self._path, self._done[name]["result"], shape, f"{name}.result")

    def begin(self, name: str, *, inputs: Sequence[object], outputs: Sequence[Path], others: Sequence[Path] = ()) -> bool:
        """Return whether a step is still to be done, see `run`; if so, it is begun, and `end` says what came of it.

        Raises `ValueError` if one of `outputs`, or of the `others` that the step writes, is an input, or there without this
        folder's steps having begun to write it: then it is somebody else's.
        """
        marks = json.loads(json.dumps([fingerprint(value) for value in inputs]))
        entry = self._done.get(name, {})
        if entry.get("inputs") == marks and "result" in entry and all(path.is_file() for path in outputs):
            print(f"{self._said(name)}: already done", flush=True)
            return False
        given = [path for value in inputs if isinstance(value, Path) for path in beside(value)]
        keep_inputs([*outputs, *others], given)
        if name not in self._done:
            self._refuse([*outputs, *others])
        about = f", about {duration(self._plan[name])}" if name in self._plan else ""
        print(f"{self._said(name)}{about} ...", flush=True)
        if entry.get("inputs") != marks:
            entry = {"inputs": marks, "begun": False}
        self._done[name] = entry | {"begun_before": entry.get("begun", False), "begun": True}
        self._save()
        return True

    def end(self, name: str, result: dict, seconds: float) -> None:
        """Keep the result of a step that was begun."""
        self._done[name] = {"inputs": self._done[name]["inputs"], "result": result, "seconds": seconds}
        self._save()
        print(f"{self._said(name)}: {seconds:.0f} s", flush=True)

    def own(self, reports: Sequence[Path]) -> None:
        """Check that files which are written beside the steps may be: `ValueError` for one that is there before any step."""
        if not self._done:
            self._refuse(reports)

    def _refuse(self, paths: Sequence[Path]) -> None:
        foreign = next((path for path in paths if os.path.lexists(path)), None)
        if foreign is not None:
            raise ValueError(f"{foreign} is there already, and not by {self._path}: another --output-dir keeps both")

    def _said(self, name: str) -> str:
        """Return the name, with its place among the steps that are planned."""
        names = list(self._plan)
        return f"[{names.index(name) + 1}/{len(names)}] {name}" if name in self._plan else name

    def announce(self) -> None:
        """Say how many steps are planned, and about how long those take that `steps.json` does not know as done."""
        left = sum(seconds for name, seconds in self._plan.items() if "result" not in self._done.get(name, {}))
        print(f"{len(self._plan)} steps, about {duration(left)} to go on two cores", flush=True)

    def was_started(self, name: str) -> bool:
        """Tell, inside `work`, whether the same step, with the same inputs, was begun earlier and not finished."""
        return self._done[name].get("begun_before", False)

    def seconds(self) -> dict[str, float]:
        """Return how long each step took when it was done."""
        return {name: entry["seconds"] for name, entry in self._done.items() if "seconds" in entry}

    def _save(self) -> None:
        write_json(self._path, self._done)
