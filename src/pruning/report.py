"""Report what pruning cut where: tables, and a picture of the widths before and after."""
from __future__ import annotations

from pathlib import Path

from src.complexity import Complexity
from src.files import write_atomically
from src.models.channels import wires
from src.models.config import MODNetConfig
from src.models.costs import wire_macs, wire_params

BRANCHES = ("backbone", "lr_branch", "hr_branch", "f_branch")


def branch_costs(config: MODNetConfig, branch: str) -> tuple[int, int]:
    """Count parameters, and multiply-accumulates of one 512x512 image as deployed, of one of `BRANCHES`."""
    table = [wire for wire in wires(config) if wire.layer.startswith(f"{branch}.")]
    return sum(wire_params(config, wire) for wire in table), sum(wire_macs(config, wire) for wire in table)


def _branch_rows(dense: MODNetConfig, pruned: MODNetConfig) -> list[str]:
    lines = ["| branch | parameters (M) before | after | GMACs as deployed before | after |", "|---|---:|---:|---:|---:|"]
    for branch in BRANCHES:
        (p0, m0), (p1, m1) = branch_costs(dense, branch), branch_costs(pruned, branch)
        lines.append(f"| {branch} | {p0 / 1e6:.3f} | {p1 / 1e6:.3f} | {m0 / 1e9:.3f} | {m1 / 1e9:.3f} |")
    return lines


def pruning_table(dense: MODNetConfig, pruned: MODNetConfig, before: Complexity, after: Complexity) -> str:
    """Format a Markdown table of the width of each group and the counts of the network, before and after."""
    lines = ["| channel group | before | after |", "|---|---:|---:|"]
    lines += [f"| {group} | {dense.width(group)} | {pruned.width(group)} |" for group in dense.groups()]
    lost = [f"block{number}" for number, (old, new) in enumerate(zip(dense.blocks, pruned.blocks, strict=True), 1)
            if old.residual and not new.residual]
    lines += ["", *_branch_rows(dense, pruned)]
    lines += ["", f"Residual additions lost: {', '.join(lost) or 'none'}.", "",
              "| at 512x512 | before | after | after / before |", "|---|---:|---:|---:|"]
    rows = (("parameters (M)", "params", 1e6), ("GMACs, with training heads", "macs_train", 1e9),
            ("GMACs, as deployed", "macs_deploy", 1e9), ("checkpoint, fp32 (MB)", "bytes_fp32", 1e6))
    for title, name, unit in rows:
        old, new = getattr(before, name), getattr(after, name)
        lines.append(f"| {title} | {old / unit:.3f} | {new / unit:.3f} | {new / old:.3f} |")
    return "\n".join(lines) + "\n"


def channel_table(costs: dict[str, float], threads: int, precision: str) -> str:
    """Make a Markdown table of what a channel of each dense group costs in microseconds, dearest first."""
    lines = [f"Time of one channel, 512x512, {precision}, threads: {threads}, by OpenVINO's own clock:", "",
             "| channel group | microseconds a channel |", "|---|---:|"]
    lines += [f"| {group} | {costs[group]:.1f} |" for group in sorted(costs, key=costs.__getitem__, reverse=True)]
    return "\n".join(lines) + "\n"


def draw_widths(dense: MODNetConfig, pruned: MODNetConfig, path: Path) -> None:
    """Write a PNG: for each channel group a grey bar of its width before, a coloured one of its width after."""
    from matplotlib.figure import Figure

    groups = dense.groups()
    figure = Figure(figsize=(13, 5), layout="constrained")
    axis = figure.subplots()
    places = range(len(groups))
    axis.bar(places, [dense.width(group) for group in groups], color="0.85", label="before")
    axis.bar(places, [pruned.width(group) for group in groups], color="tab:blue", width=0.55, label="after")
    axis.set_xticks(places, groups, rotation=90, fontsize=7)
    axis.set(yscale="log", ylabel="channels", xlim=(-0.7, len(groups) - 0.3))
    axis.legend()
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))
