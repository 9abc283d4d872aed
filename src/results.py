"""Which results may be written over what is there. No torch here.

The one rule for every script that writes checkpoints: never over an input, whatever name it goes by; over its own earlier
result when the same command is given again; over any other result only when the user says `--overwrite`. A result is its
own when the JSON beside it says under `origin` that it was made from the same files, by the SHA-256 of their bytes, with
the same settings. A training is never its own: it may hold hours of work, so it is gone on with or overwritten as told.
"""
from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from src.console import no_file
from src.files import keep_inputs
from src.records import read_json

BESIDE = (".json", ".md", ".png")
ORIGIN = {"sources": [{"path": str, "sha256": (None, str)}], "settings": dict}
# What a training writes, after its stem: its checkpoints, and all of its files.
RUN_CHECKPOINT = re.compile(r"_(?:best|epoch\d+)\.(?:ckpt|json)")
RUN_FILE = re.compile(rf"{RUN_CHECKPOINT.pattern}|_(?:log\.jsonl|curves\.png|resume\.pt|tensorboard)")
# A checkpoint of pruning in steps, or of the short training after a step.
STEP_FILE = re.compile(r"_step\d+(?:_training_(?:best|epoch\d+))?\.ckpt")


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def origin(sources: Iterable[Path | str], settings: Mapping[str, object] | None = None) -> dict:
    """Describe what a result is made from, for its JSON: each source's path and SHA-256, and the settings.

    A source that is no file, such as `imagenet`, has no SHA-256. Raises `FileNotFoundError` for a path without a file.
    """
    described = []
    for source in sources:
        if isinstance(source, Path) and not source.is_file():
            raise no_file("checkpoint", source)
        described.append({"path": str(source), "sha256": sha256(source) if isinstance(source, Path) else None})
    return {"sources": described, "settings": json.loads(json.dumps(settings or {}, default=str))}


def source_of(made: Mapping | None) -> list[tuple[str, str]] | None:
    """List what tells the sources of an `origin` apart: the SHA-256 of each, or its name; `None` if it does not say."""
    sources = made.get("sources") if isinstance(made, Mapping) else None
    if not isinstance(sources, list) or not all(isinstance(source, Mapping) for source in sources):
        return None
    return [str(source.get("sha256") or source.get("path")) for source in sources]


def read_origin(ckpt_path: Path) -> dict | None:
    """Read the `origin` in the JSON beside a checkpoint; `None` if there is none that has its shape: then nothing says what
    is there."""
    try:
        return read_json(ckpt_path.with_suffix(".json"), {"origin": ORIGIN})["origin"]
    except (OSError, ValueError):
        return None


def difference(there: Mapping | None, made: Mapping) -> str | None:
    """Say in words how the origin of what is there differs from that of what would be made; `None` if it does not."""
    if there is None:
        return "and nothing says what it was made from"
    if source_of(there) != source_of(made):
        return f"made from another source ({', '.join(str(source.get('path')) for source in there['sources'])})"
    old, new = there["settings"], made["settings"]
    for key in (*new, *old):
        if old.get(key) != new.get(key):
            return f"made with {key} {old.get(key)}, now it is {new.get(key)}"
    return None


def beside(ckpt_path: Path) -> list[Path]:
    """List a checkpoint and the files that belong to it under its stem, whether they are there or not."""
    return [ckpt_path, *(ckpt_path.with_suffix(suffix) for suffix in BESIDE if ckpt_path.name)]


def check_result(ckpt_path: Path, made: Mapping, *, inputs: Iterable[Path], overwrite: bool = False,
                 option: str = "--save-dir") -> None:
    """Check that the result `ckpt_path`, whose JSON will hold the origin `made`, may be written; `option` names its place.

    Raises `ValueError` by the rule of this module: over an input always, over another's result without `overwrite`.
    """
    there = [path for path in beside(ckpt_path) if path.exists()]
    keep_inputs(there, [path for given in inputs for path in beside(given)])
    why = difference(read_origin(ckpt_path), made) if there and not overwrite else None
    if why:
        raise ValueError(f"{there[0]} is there already, {why}: --overwrite replaces it, another {option} keeps both")


def files_like(stem: Path, pattern: re.Pattern[str]) -> list[Path]:
    """List the files, and folders, whose names are that of `stem` and what `pattern` matches, sorted."""
    if not stem.parent.is_dir():
        return []
    return sorted(path for path in stem.parent.iterdir()
                  if path.name.startswith(stem.name) and pattern.fullmatch(path.name, len(stem.name)))


def check_run(stem: Path, *, inputs: Sequence[Path], resume: bool = False, overwrite: bool = False) -> None:
    """Check that a training whose files are named after `stem` may begin, or with `resume` go on.

    Raises `ValueError` by the rule of this module: for an input among its files always, for a run that is there without
    `overwrite`, save with `resume` where there is a state to go on from.
    """
    there = files_like(stem, RUN_FILE)
    keep_inputs(there, [path for given in inputs for path in beside(given)])
    goes_on = resume and Path(f"{stem}_resume.pt").is_file()
    if there and not overwrite and not goes_on:
        what = f"without {stem.name}_resume.pt to go on from" if resume else "--resume goes on with it"
        raise ValueError(f"{there[0]} is there already, of another run: {what}, --overwrite replaces it, another --name or "
                         "--save-dir keeps both")
