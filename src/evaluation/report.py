"""Write the reports of an evaluation: JSON, a row an image as CSV, and a table that compares checkpoints."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.files import short_names, write_atomically, write_json, write_text
from src.script import provenance

# What a result holds beside its errors, and what all pictures of several data sets are called.
NO_ERRORS = ("n", "images", "sets", "intervals", "ratios")
ALL = "all"
COLUMNS = {"intervals": ("_low", "_high"), "ratios": ("_ratio", "_ratio_low", "_ratio_high")}
DIGITS = {"mse": 6, "mad": 6, "sad": 3, "grad": 3, "conn": 3}


def error_names(result: Mapping) -> list[str]:
    """List the names of the errors in what `summarise` returned."""
    return [name for name in result if name not in NO_ERRORS]


def _write_csv(rows: Sequence[Mapping], path: Path) -> None:
    def write(to: Path) -> None:
        with to.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def write_report(result: dict, path: Path) -> None:
    """Write `path` (.json, with command and versions) and the images as .csv beside it."""
    write_json(path, {**result, **provenance()})
    _write_csv(result["images"], path.with_suffix(".csv"))


def format_error(name: str, value: float | None) -> str:
    """Format the error `name` with as many digits as its size wants; `-` for a mean without pixels."""
    return "-" if value is None else f"{value:.{DIGITS[name.partition('_')[0]]}f}"


def format_interval(name: str, value: float | None, bounds: Sequence[float] | None) -> str:
    """Format the error, and its 95 % interval if there is one."""
    return format_error(name, value) + (f" [{', '.join(format_error(name, x) for x in bounds)}]" if bounds else "")


def parts(results: Mapping[str, Mapping]) -> dict[str, dict[str, Mapping]]:
    """Return the results by data set, then of all pictures; of a single set, all alone."""
    sets = next(iter(results.values())).get("sets", {})
    by_set = {name: {label: result["sets"][name] for label, result in results.items()} for name in sets}
    return {f"{name} (a set)" if name == ALL else name: own for name, own in by_set.items()} | {ALL: dict(results)}


def compare_table(results: Mapping[str, Mapping]) -> str:
    """Format a Markdown table: a line for each checkpoint and data set, the lowest error of its column in bold; then, if
    there are some, the ratios to the first checkpoint."""
    names, by_set = error_names(next(iter(results.values()))), parts(results)
    several = len(by_set) > 1
    mark = "| set " if several else ""
    lines = [f"{mark}| checkpoint | n | {' | '.join(names)} |", f"{'|---' * several}|---|---:|{'---:|' * len(names)}"]
    for set_name, own in by_set.items():
        best = {name: min((result[name] for result in own.values() if result[name] is not None), default=None)
                for name in names}
        for label, result in own.items():
            cells = (format_interval(name, result[name], result.get("intervals", {}).get(name)) for name in names)
            marked = (f"**{cell}**" if result[name] is not None and result[name] == best[name] else cell
                      for name, cell in zip(names, cells, strict=True))
            lines.append(f"{f'| {set_name} ' * several}| {label} | {result['n']} | {' | '.join(marked)} |")
    return "\n".join(lines + _ratio_lines(by_set, names)) + "\n"


def _ratio_lines(by_set: Mapping[str, Mapping[str, Mapping]], names: Sequence[str]) -> list[str]:
    first, several = next(iter(by_set[ALL])), len(by_set) > 1
    rows = [f"{f'| {set_name} ' * several}| {label} | "
            + " | ".join("-" if found is None else "{:.3f} [{:.3f}, {:.3f}]".format(*found)
                         for found in (result["ratios"][name] for name in names)) + " |"
            for set_name, own in by_set.items() for label, result in own.items() if "ratios" in result]
    if not rows:
        return []
    head = f"{'| set ' * several}| over {first} | {' | '.join(names)} |"
    return ["", head, f"{'|---' * several}|---|{'---:|' * len(names)}", *rows]


def flat_rows(results: Mapping[str, Mapping]) -> list[dict]:
    """Make a row for each data set and checkpoint: its errors, the bounds of their intervals, and the ratios to the
    first."""
    rows = []
    for set_name, own in parts(results).items():
        for label, result in own.items():
            row = {"set": set_name, "checkpoint": label, "n": result["n"]}
            for name in error_names(result):
                row[name] = result[name]
                for kind, suffixes in COLUMNS.items():
                    if kind in result:
                        values = result[kind][name] or [None] * len(suffixes)
                        row |= {name + suffix: value for suffix, value in zip(suffixes, values, strict=True)}
            rows.append(row)
    return rows


def write_comparison(results: Mapping[str, Mapping], setting: Mapping, stem: Path) -> None:
    """Write `compare_table` as `<stem>.md`, the means as `<stem>.json`, and, of several sets or with intervals, as
    `<stem>.csv`."""
    means = {label: {name: value for name, value in result.items() if name != "images"}
             for label, result in results.items()}
    write_json(stem.with_suffix(".json"), {**setting, "results": means, **provenance()})
    write_text(stem.with_suffix(".md"), compare_table(results))
    first = next(iter(results.values()))
    if "sets" in first or "intervals" in first:
        _write_csv(flat_rows(results), stem.with_suffix(".csv"))


def labels(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each model file: the stem of a .ckpt, the name of another, as many folders before it as it
    takes to tell them apart. Raises `ValueError` for a file given twice."""
    there = [path.absolute() for path in paths]
    for path, place in zip(paths, there, strict=True):
        if there.count(place) > 1:
            raise ValueError(f"--ckpt-path has {path} twice")
    return short_names(paths, without_suffix=".ckpt")
