"""Write the paper's tables with its own figures beside ours, and mattes side by side."""
from __future__ import annotations

from pathlib import Path

from src.checkpoint import load_model
from src.data.samples import find_pairs, read_pair
from src.evaluation.metrics import mse
from src.evaluation.predict import predict_alpha
from src.files import write_atomically, write_text

PAPER = "https://github.com/sisyphus-cv-lab/MODNet-ModelCompression"
# Rows of the paper's first table: title, our key, unit, its MODNet, its MODNet-P.
PAPER_COUNTS = (("parameters (M)", "params", 1e6, "6.45", "1.34"),
                ("GMACs, with training heads", "macs_train", 1e9, "18.32", "4.38"),
                ("GMACs, as deployed", "macs_deploy", 1e9, "-", "-"),
                ("size, fp32 (MB)", "bytes_fp32", 1e6, "25.64", "5.66"),
                ("MSE", "mse", 1.0, "0.009912", "0.018713"),
                ("MAD", "mad", 1.0, "0.013661", "0.022816"))
PAPER_MS = (("Intel i7-8565U CPU", "88.86", "45.93"), ("Neural Compute Stick 2", "167.93", "101.93"))


def counts_table(results: dict[str, dict]) -> list[str]:
    """Format table 1: parameters, MACs, size and errors of the dense, pruned and retrained network."""
    lines = ["| | dense | pruned | pruned, retrained | paper: MODNet | paper: MODNet-P |", "|---|---:|---:|---:|---:|---:|"]
    for title, key, unit, dense, pruned in PAPER_COUNTS:
        digits = 6 if unit == 1.0 else 3
        ours = (f"{results[name][key] / unit:.{digits}f}" for name in ("dense", "pruned", "retrained"))
        lines.append(f"| {title} | {' | '.join(ours)} | {dense} | {pruned} |")
    return lines


def latency_table(latency: dict[str, dict], processor: str) -> list[str]:
    """Format table 2: milliseconds a device, medians with quartiles."""
    def cell(times: dict[str, float]) -> str:
        return f"{times['median']:.1f} ({times['q1']:.1f}-{times['q3']:.1f})"

    lines = ["| device | dense | pruned | dense / pruned |", "|---|---:|---:|---:|"]
    for device, times in latency.items():
        ratio = times["dense"]["median"] / times["retrained"]["median"]
        name = f"{device} ({processor})" if device == "CPU" else device
        lines.append(f"| {name} | {cell(times['dense'])} | {cell(times['retrained'])} | {ratio:.2f} |")
    for device, dense, pruned in PAPER_MS:
        lines.append(f"| paper: {device} | {dense} | {pruned} | {float(dense) / float(pruned):.2f} |")
    return lines


def write_markdown(report: dict, path: Path) -> None:
    """Write the report that `reproduce.py` made as Markdown."""
    recipe, n = report["recipe"], report["results"]["dense"]["n"]
    data = "**generated** portraits (drawn by code, they show nobody)" if report["generated"] else f"`{report['data_dir']}`"
    lines = [
        "# The paper's tables", "",
        f"Rule `paper`, ratio {report['ratio']}, threshold {report['threshold']}, from `{report['ckpt_path']}`; retrained "
        f"{recipe['epochs']} epochs at {recipe['input_size']} px, batch {recipe['batch_size']}, on {data}.", "",
        "## Size and error", "",
        f"Errors are means over {n} images of {data}, at their original size. The paper's are on PPM-100, so compare the "
        "ratios, not the numbers.", "", *counts_table(report["results"]), "",
        "## Speed", "",
        f"Milliseconds of one 512x512 image, OpenVINO FP32, the model alone, {report['threads']} threads, median "
        "(quartiles), networks taking turns. Speeds of different machines do not compare; ratios do.", "",
        *latency_table(report["latency_ms"], report["machine"]["processor"]), "",
        "The Neural Compute Stick 2 needs OpenVINO 2022.3.1; not measured here.", "",
        "## Mattes", "", "![image, true alpha, dense, pruned](compare.png)", "",
        f"The paper's figures: {PAPER}. Made with `{report['command']}`.", ""]
    write_text(path, "\n".join(lines))


def draw_comparison(dense: Path, pruned: Path, data_dir: Path, path: Path, *, rows: int = 5) -> None:
    """Draw image, true alpha, dense and pruned matte for some images spread over `val`."""
    from matplotlib.figure import Figure

    models = {"dense": load_model(dense), "pruned, retrained": load_model(pruned)}
    pairs = find_pairs(data_dir, "val")
    pairs = pairs[::max(1, len(pairs) // rows)][:rows]
    figure = Figure(figsize=(10, 2.9 * len(pairs)), layout="constrained")
    axes = figure.subplots(len(pairs), 4, squeeze=False)
    for line, pair in zip(axes, pairs, strict=True):
        image, true_alpha = read_pair(pair)
        line[0].imshow(image)
        line[0].set_title(pair.image.name)
        line[1].imshow(true_alpha, cmap="gray", vmin=0, vmax=1)
        line[1].set_title("true alpha")
        for axis, (name, model) in zip(line[2:], models.items(), strict=True):
            alpha = predict_alpha(model, image)
            axis.imshow(alpha, cmap="gray", vmin=0, vmax=1)
            axis.set_title(f"{name}\nMSE {mse(alpha, true_alpha):.4f}")
        for axis in line:
            axis.axis("off")
    write_atomically(path, lambda to: figure.savefig(to, dpi=100))
