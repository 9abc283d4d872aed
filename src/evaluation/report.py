"""What an evaluation leaves behind: JSON, a row an image as CSV, and a table that compares checkpoints."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.files import short_names, write_atomically, write_json, write_text
from src.script import provenance

DIGITS = {"mse": 6, "mad": 6, "sad": 3, "grad": 3, "conn": 3}


def error_names(result: Mapping) -> list[str]:
    """Names of the errors in what `summarise` returned."""
    return [name for name in result if name not in ("n", "images")]


def write_report(result: dict, path: Path) -> None:
    """Writes `path` (.json, with command and versions) and the images as .csv beside it."""
    write_json(path, {**result, **provenance()})

    def write_csv(to: Path) -> None:
        with to.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(result["images"][0]))
            writer.writeheader()
            writer.writerows(result["images"])

    write_atomically(path.with_suffix(".csv"), write_csv)


def format_error(name: str, value: float | None) -> str:
    """The error `name` with as many digits as its size wants; `-` for a mean without pixels."""
    return "-" if value is None else f"{value:.{DIGITS[name.partition('_')[0]]}f}"


def compare_table(results: Mapping[str, Mapping]) -> str:
    """Markdown: a line for each checkpoint, the lowest error of each column in bold."""
    names = error_names(next(iter(results.values())))
    best = {name: min((result[name] for result in results.values() if result[name] is not None), default=None)
            for name in names}
    lines = [f"| checkpoint | n | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for label, result in results.items():
        cells = (f"**{format_error(name, result[name])}**" if result[name] is not None and result[name] == best[name]
                 else format_error(name, result[name]) for name in names)
        lines.append(f"| {label} | {result['n']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_comparison(results: Mapping[str, Mapping], setting: Mapping, stem: Path) -> None:
    """Writes `compare_table` as `<stem>.md`, and the means as `<stem>.json`."""
    means = {label: {name: value for name, value in result.items() if name != "images"}
             for label, result in results.items()}
    write_json(stem.with_suffix(".json"), {**setting, "results": means, **provenance()})
    write_text(stem.with_suffix(".md"), compare_table(results))


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each model file: the stem of a .ckpt, the name of another, as many folders before it as it takes to
    tell them apart. Raises `ValueError` for a file given twice."""
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"--ckpt-path has {path} twice")
    return short_names(paths, without_suffix=".ckpt")
