"""What the default `reproduce.py` found: three sentences, the paper's tables with its own figures beside ours."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from src.files import write_text
from src.paper.comparison import TITLES

PAPER = "https://github.com/sisyphus-cv-lab/MODNet-ModelCompression"
# Rows of the paper's first table: title, our key, unit, its MODNet, its MODNet-P.
PAPER_COUNTS = (("parameters (M)", "params", 1e6, "6.45", "1.34"),
                ("GMACs, with training heads", "macs_train", 1e9, "18.32", "4.38"),
                ("GMACs, as deployed", "macs_deploy", 1e9, "-", "-"),
                ("size, fp32 (MB)", "bytes_fp32", 1e6, "25.64", "5.66"))
PAPER_ERRORS = (("MSE", "mse", "0.009912", "0.018713"), ("MAD", "mad", "0.013661", "0.022816"))
PAPER_MS = (("Intel i7-8565U CPU", "88.86", "45.93"), ("Neural Compute Stick 2", "167.93", "101.93"))
# A network whose MSE is this many times the dense network's has not won its accuracy back.
RECOVERED = 2.0
LONG_RUN = ("python reproduce.py --data-dir PORTRAITS --epoch 4 --input-size 384 --precision bf16",
            "for rule paper alone 21 minutes on one core")


def counts_table(results: Mapping[str, Mapping]) -> list[str]:
    """Format table 1: parameters, MACs, size and errors of the networks, before and after they were retrained."""
    lines = [f"| | {' | '.join(TITLES.values())} | paper: MODNet | paper: MODNet-P |", f"|---|{'---:|' * (len(TITLES) + 2)}"]
    for title, key, unit, dense, pruned in PAPER_COUNTS:
        lines.append(_row(title, [f"{results[name][key] / unit:.3f}" for name in TITLES], dense, pruned))
    for title, key, dense, pruned in PAPER_ERRORS:
        before = [f"{results[f'{name}_pruned'][key]:.6f}" if f"{name}_pruned" in results else "-" for name in TITLES]
        lines.append(_row(f"{title}, not retrained", before, "-", "-"))
        lines.append(_row(title, [f"{results[name][key]:.6f}" for name in TITLES], dense, pruned))
    return lines


def _row(title: str, ours: list[str], dense: str, pruned: str) -> str:
    return f"| {title} | {' | '.join(ours)} | {dense} | {pruned} |"


def latency_table(latency: Mapping[str, Mapping], processor: str) -> list[str]:
    """Format table 2: milliseconds a device, medians with quartiles, and how many times as fast as the dense network."""
    def cell(times: Mapping[str, float], dense: Mapping[str, float] | None = None) -> str:
        ratio = "" if dense is None else f", x {dense['median'] / times['median']:.2f}"
        return f"{times['median']:.1f} ({times['q1']:.1f}-{times['q3']:.1f}){ratio}"

    names = {**TITLES, "shipped_int8": "shipped, INT8"}
    lines = [f"| device | {' | '.join(names.values())} |", f"|---|{'---:|' * len(names)}"]
    for device, times in latency.items():
        title = f"{device} ({processor})" if device == "CPU" else device
        cells = [cell(times[name], None if name == "dense" else times["dense"]) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for device, dense, pruned in PAPER_MS:
        lines.append(f"| paper: {device} | {dense} | {pruned}, x {float(dense) / float(pruned):.2f} | - | - | - |")
    return lines


def found(report: Mapping) -> list[str]:
    """Write three sentences on what the numbers of a report say."""
    results, recipe = report["results"], report["recipe"]
    times, dense = report["latency_ms"]["CPU"], results["dense"]

    def share(name: str, key: str = "mse") -> float:
        return results[name][key] / dense[key]

    def faster(name: str) -> str:
        return f"{times['dense']['median'] / times[name]['median']:.1f} times as fast"

    epochs = f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] != 1)}"
    better = min(("published", "ours"), key=share)
    worse = "ours" if better == "published" else "published"
    names = {"published": "the published rule", "ours": "the search"}
    return [
        f"Both cuts leave {share('published', 'macs_deploy'):.0%} of the dense network's multiply-accumulates "
        f"({results['published']['macs_deploy'] / 1e9:.2f} of {dense['macs_deploy'] / 1e9:.2f} G): on this CPU the "
        f"published rule's network runs {faster('published')} as the dense one, ours {faster('ours')}.",
        f"After the same {epochs} of retraining, {names[better]} has {share(better):.3g} times the dense network's MSE "
        f"({results[better]['mse']:.4f} against {dense['mse']:.4f}), {names[worse]} {share(worse):.3g} times "
        f"({results[worse]['mse']:.4f}).",
        f"The shipped network, cut by the search and trained for hours, has {results['shipped']['params'] / 1e6:.2f} of "
        f"{dense['params'] / 1e6:.2f} M parameters and {share('shipped'):.3g} times the dense network's MSE "
        f"({results['shipped']['mse']:.4f}), and in INT8 runs {faster('shipped_int8')}."]


def verdict(report: Mapping) -> list[str]:
    """Say what to make of it where a retraining was too short to win the accuracy back, and what shows more."""
    results = report["results"]
    short = [title for key, title in (("published", "the published rule"), ("ours", "the search"))
             if results[key]["mse"] > RECOVERED * results["dense"]["mse"]]
    if not short:
        return []
    command, duration = LONG_RUN
    return [f"**After {' and '.join(short)}, so short a retraining does not win the accuracy back**: it shows how much of "
            f"the network each cut left working, not where a longer training ends. The longer run: `{command}` "
            f"({duration}); its table is in `docs/results.md`.", ""]


def write_markdown(report: dict, path: Path) -> None:
    """Write the report that `reproduce.py` made as Markdown."""
    recipe, n = report["recipe"], report["results"]["dense"]["n"]
    data = "**generated** portraits (drawn by code, they show nobody)" if report["generated"] else f"`{report['data_dir']}`"
    lines = [
        "# The paper's pipeline, once through", "",
        f"![{', '.join(('picture', 'true matte', *TITLES.values()))}](compare.png)", "",
        *found(report), "", *verdict(report),
        f"Cut from `{report['ckpt_path']}` by the published rule (ratio {report['ratio']}, threshold {report['threshold']}) "
        "and by the search we recommend, to the same multiply-accumulates; both retrained alike, "
        f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] != 1)} at {recipe['input_size']} px, batch "
        f"{recipe['batch_size']}, on {data}.", "",
        "## Size and error", "",
        f"Errors are means over the {n} images of `val` of {data}, at their original size. The paper's are on PPM-100, so "
        "compare the ratios, not the numbers.", "", *counts_table(report["results"]), "",
        "## Speed", "",
        f"Milliseconds of one 512x512 image, OpenVINO, FP32 where it does not say INT8, the model alone, "
        f"{report['threads']} threads, median (quartiles), networks taking turns. Speeds of different machines do not "
        "compare; ratios do.", "",
        *latency_table(report["latency_ms"], report["machine"]["processor"]), "",
        "The Neural Compute Stick 2 needs OpenVINO 2022.3.1; not measured here.", "",
        f"The paper's figures: {PAPER}. Made with `{report['command']}`.", ""]
    write_text(path, "\n".join(lines))
