"""Measure how long a matte takes on this CPU, for every network side by side:

    python bench/latency.py --pruned-ckpt pretrained/pruned_modnet.ckpt --fp16-xml pretrained/pruned_modnet_fp16.xml \
        --int8-xml pretrained/pruned_modnet_int8.xml

The networks take turns in one run. `model` is inference alone; `files` goes from a JPEG to the PNG of the cut-out. Writes
`result/latency.json`, `.md` and `.png`. What is not given is made in `result/latency/`: the pruned network by the search
from the dense checkpoint, without retraining (its speed is that of a trained one, its mattes are not), INT8 on the shipped
sample.

    python bench/latency.py --profile result/latency/pruned_fp32.xml

prints where the milliseconds of one IR go instead, or of several side by side. `--mediapipe-python` is an interpreter of an
environment with `mediapipe==0.10.21`, the last release with its weights in the wheel; it needs numpy 1, so it has to be
another one.
"""
from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np

from src.command_line import Parser
from src.console import progress_bar
from src.deploy.instruction_set import available
from src.deploy.latency import EXACT, measure_latency, multiply_accumulates, profile, quartiles
from src.files import check_writable, write_atomically, write_json, write_text
from src.media.backdrop import parse_backdrop
from src.media.compositing import render
from src.media.picture_reader import read_image
from src.media.picture_writer import write_picture
from src.results import read_origin, sha256, source_of
from src.runtime.matting import Matting
from src.runtime.network import shared_core, some_cores
from src.script import load_script, provenance, run_script
from src.script import peak_memory as process_peak

SIZES = ((512, 512), (512, 288))
TARGETS = {"params": 1.34e6, "macs": 3.66e9}
OFFICIAL, INT8 = "dense, official export, FP32", "ours, pruned, INT8"
PICTURE = ROOT / "data" / "img.jpg"
# Of a profile: kinds of operators that take less are not named.
LEAST_SHARE = 0.005
# A convolution that keeps the arithmetic units busy and fits the cache: what the CPU can do at most.
PEAK = {"channels": 256, "side": 64}


class Row(NamedTuple):
    """A network, and the precision of what is not INT8."""

    path: Path
    precision: str = EXACT


def build(args: argparse.Namespace) -> dict[str, Row]:
    """Return the rows of the table; IRs that are missing are made."""
    folder = args.output_dir / "latency"
    folder.mkdir(parents=True, exist_ok=True)
    official = export(args.ckpt_path, folder / "official.xml", plain=True)
    published = export(prune(args.ckpt_path, folder / "published.ckpt"), folder / "published.xml", plain=True)
    pruned_ckpt = args.pruned_ckpt or prune(args.ckpt_path, folder / "pruned.ckpt", search=True)
    pruned = export(pruned_ckpt, folder / "pruned_fp32.xml")
    fp16 = args.fp16_xml or export(pruned_ckpt, folder / "pruned_fp16.xml", precision="fp16")
    int8 = args.int8_xml or export(pruned_ckpt, folder / "pruned_int8.xml", precision="int8")
    found = {OFFICIAL: Row(official),
             "ours, dense, FP32": Row(export(args.ckpt_path, folder / "dense_fp32.xml")),
             "published rule, pruned, FP32": Row(published),
             "ours, pruned, official export, FP32": Row(export(pruned_ckpt, folder / "pruned_plain.xml", plain=True)),
             "ours, pruned, FP32": Row(pruned), "ours, pruned, FP16": Row(fp16), INT8: Row(int8)}
    if "avx512" in available():  # without it OpenVINO has no bf16, and fails where `ONEDNN_MAX_CPU_ISA` imitates that
        found |= {"ours, pruned, FP32, bf16 hint": Row(pruned, "bf16"), "ours, pruned, INT8, bf16 hint": Row(int8, "bf16")}
    return found


def export(ckpt_path: Path, xml_path: Path, *, precision: str = "fp32", plain: bool = False) -> Path:
    """Return the IR of a checkpoint, made unless it is there; `plain` is the training graph through OpenVINO's own
    converter, as everybody does it."""
    # Beside it stands what it was made from: that of another checkpoint would be measured as this one's.
    mark, made_from = xml_path.with_suffix(".sha256"), sha256(ckpt_path)
    if xml_path.is_file() and mark.is_file() and mark.read_text() == made_from:
        return xml_path
    mark.unlink(missing_ok=True)
    import openvino

    onnx_path = xml_path.with_suffix(".onnx")
    load_script("export_onnx").export_onnx(ckpt_path, output_path=onnx_path, graph="plain" if plain else "deploy")
    if plain:
        openvino.save_model(openvino.convert_model(onnx_path), xml_path, compress_to_fp16=False)
    else:
        from src.deploy.quantise import calibration_pictures

        pictures = calibration_pictures() if precision == "int8" else ()
        load_script("convert_openvino").convert_openvino(onnx_path, xml_path, precision=precision, embed=True,
                                                         calibration=pictures)
    write_text(mark, made_from)
    return xml_path


def prune(ckpt_path: Path, path: Path, *, search: bool = False) -> Path:
    """Make a pruned checkpoint, not retrained, unless it is there: by the published rule, or by the search to the paper's
    counts."""
    import main_prune

    if not path.is_file() or source_of(read_origin(path)) != [sha256(ckpt_path)]:
        # What a move of an earlier run left in that folder is replaced.
        options = ["--target-params", TARGETS["params"], "--target-macs", TARGETS["macs"], "--search"] if search else []
        subprocess.run([sys.executable, main_prune.__file__, "--ckpt-path", str(ckpt_path), "--save-dir",
                        str(path.parent / path.stem), "--overwrite", *map(str, options)], check=True,
                       stdout=subprocess.DEVNULL)
        made, = (path.parent / path.stem).glob("*.ckpt")
        for suffix in (".json", ".ckpt"):
            made.with_suffix(suffix).replace(path.with_suffix(suffix))
    return path


class FilesToFiles:
    """Picture file in, PNG of the cut-out out, by what inference_openvino.py calls; milliseconds of each stage."""

    def __init__(self, row: Row, threads: int) -> None:
        self.matting = Matting(row.path, exact=row.precision == EXACT, threads=threads)

    def __call__(self, picture: Path, out: Path) -> dict[str, float]:
        times = [time.perf_counter()]
        image = read_image(picture)
        times.append(time.perf_counter())
        alpha = self.matting.alpha(image)
        times.append(time.perf_counter())
        picture_out = render(image, alpha, ["cutout"], backdrop=parse_backdrop("255,255,255"))["cutout"]
        times.append(time.perf_counter())
        write_picture(out, picture_out)
        times.append(time.perf_counter())
        read, _, cut, write = (1000 * (end - start) for start, end in zip(times, times[1:], strict=False))
        return {"read": read, **self.matting.milliseconds, "cut out": cut, "write": write}


def measure_files(rows: dict[str, Row], *, threads: int, repeats: int, out: Path) -> dict[str, dict]:
    """Measure the whole way and each stage in milliseconds, quartiles and medians; the networks take turns."""
    ways = {name: FilesToFiles(row, threads) for name, row in rows.items()}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            stages = way(PICTURE, out)
            if turn:
                seen[name].append(stages)
    return {name: {**quartiles([sum(stages.values()) for stages in runs]),
                   "stages": {stage: float(np.median([run[stage] for run in runs])) for stage in runs[0]}}
            for name, runs in seen.items()}


def peak_memory(row: Row, threads: int, out: Path) -> float:
    """Measure the MB that a process of its own needs at most, from import to the second cut-out."""
    done = subprocess.run([sys.executable, __file__, "--worker", str(row.path), row.precision, str(threads), str(out)],
                          check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def work(path: str, precision: str, threads: str, out: str) -> int:
    """Run what `peak_memory` starts."""
    way = FilesToFiles(Row(Path(path), precision), int(threads))
    for _ in range(2):
        way(PICTURE, Path(out))
    print(process_peak())
    return 0


def measure_peak(folder: Path, threads: int) -> dict[str, float]:
    """Measure the GMAC/s of one large 3x3 convolution of OpenVINO, in FP32 and INT8."""
    import openvino as ov
    from openvino import opset13

    channels, side = PEAK["channels"], PEAK["side"]
    rng, paths = np.random.default_rng(0), {}
    for name in ("fp32", "int8"):
        image = opset13.parameter([1, channels, -1, -1], np.float32)
        weights = opset13.constant(rng.normal(size=(channels, channels, 3, 3)).astype(np.float32))
        value = image
        for _ in range(4):
            ends = [np.float32(x) for x in (0, 2.55, 0, 2.55)]
            kernel = weights
            if name == "int8":
                value = opset13.fake_quantize(value, *ends, 256)
                kernel = opset13.fake_quantize(weights, *(np.float32(x) for x in (-4, 4, -4, 4)), 255)
            value = opset13.relu(opset13.convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
        paths[name] = folder / f"peak_{name}.xml"
        ov.save_model(ov.Model([opset13.result(value)], [image]), paths[name], compress_to_fp16=False)
    macs = 4 * 9 * channels ** 2 * side ** 2
    return {name: macs / 1e6 / fastest(path, channels, side, threads) for name, path in paths.items()}


def fastest(path: Path, channels: int, side: int, threads: int) -> float:
    """Return the milliseconds of the quickest of ten runs."""
    options = {"INFERENCE_PRECISION_HINT": EXACT, **some_cores(threads)}
    request, times = shared_core().compile_model(str(path), "CPU", options).create_infer_request(), []
    image = np.random.default_rng(0).uniform(0, 1, (1, channels, side, side)).astype(np.float32)
    for _ in range(10):
        start = time.perf_counter()
        request.infer([image])
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


def mediapipe(python: Path, threads: int, out: Path) -> dict:
    """Return the same for MediaPipe's selfie segmentation, in its own interpreter."""
    done = subprocess.run([str(python), str(ROOT / "bench" / "selfie.py"), str(PICTURE), str(threads), str(out)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"mediapipe-python {python} does not run mediapipe: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict:
    """Measure all numbers of the table."""
    rows = build(args)
    folder, out = args.output_dir / "latency", args.output_dir / "latency" / "cutout.png"
    result: dict = {"rows": {name: {"file": str(row.path), "mb": size_mb(row.path), "gmacs": macs_of(row)}
                             for name, row in rows.items()}}
    for threads in args.threads:
        for size in SIZES:
            key = f"model {size[0]}x{size[1]}, {threads} threads"
            print(key, file=sys.stderr, flush=True)
            times = measure_latency({name: row.path for name, row in rows.items()}, size=size, threads=threads,
                                    repeats=args.repeats, warm_up=2, precisions={n: r.precision for n, r in rows.items()})
            for name, value in times.items():
                result["rows"][name][key] = value
        print(f"files, {threads} threads", file=sys.stderr, flush=True)
        for name, value in measure_files(rows, threads=threads, repeats=max(3, args.repeats // 2), out=out).items():
            result["rows"][name][f"files, {threads} threads"] = value
        result[f"peak GMAC/s, {threads} threads"] = measure_peak(folder, threads)
    for name, row in rows.items():
        result["rows"][name]["peak_memory_mb"] = peak_memory(row, args.threads[-1], out)
    if args.mediapipe_python:
        result["mediapipe selfie segmentation 256x256 (binary-like masks)"] = mediapipe(
            args.mediapipe_python, args.threads[-1], out)
    return result | {"picture": PICTURE.name, "repeats": args.repeats, **provenance()}


def size_mb(path: Path) -> float:
    """Return the size of a file, or of an IR's pair, in MB."""
    return sum(part.stat().st_size for part in (path, path.with_suffix(".bin"))) / 1e6


def macs_of(row: Row) -> float:
    """Count the 10^9 multiply-accumulates that the IR does at the first size; the pairing of columns counts its zeros."""
    return multiply_accumulates(row.path, SIZES[0]) / 1e9


def ratio(official: dict, row: dict) -> str:
    """Format how many times as fast: by the clock, and where it was measured by the processor time of this process too."""
    cpu = f" (cpu {row['cpu']:.0f} ms, x {official['cpu'] / row['cpu']:.2f})" if "cpu" in row else ""
    return f"{official['median'] / row['median']:.2f}{cpu}"


def markdown(result: dict) -> str:
    """Return the table: milliseconds as median (quartiles), and each row against the official export."""
    keys = [key for key in result["rows"][OFFICIAL] if key.startswith(("model ", "files"))]
    lines = ["| ms, median (quartiles) | " + " | ".join(keys) + " | MB | peak MB |", "|---" * (len(keys) + 3) + "|"]
    for name, row in result["rows"].items():
        cells = [f"{row[k]['median']:.1f} ({row[k]['q1']:.1f}-{row[k]['q3']:.1f}), "
                 f"x {ratio(result['rows'][OFFICIAL][k], row[k])}" for k in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['mb']:.1f} | {row['peak_memory_mb']:.0f} |")
    for name in (key for key in result if key.startswith("mediapipe")):
        lines.append(f"\n{name}: {result[name]}")
    for threads in (key.removeprefix("peak GMAC/s, ") for key in result if key.startswith("peak GMAC/s")):
        peak, row = result[f"peak GMAC/s, {threads}"], result["rows"][INT8]
        rate = row["gmacs"] / row[f"model {SIZES[0][0]}x{SIZES[0][1]}, {threads}"]["median"] * 1000
        lines.append(f"\nPeak of one large 3x3 convolution, {threads}: FP32 {peak['fp32']:.0f} GMAC/s, INT8 "
                     f"{peak['int8']:.0f}. {INT8}: {rate:.0f} GMAC/s, {100 * rate / peak['int8']:.0f} % of the INT8 peak.")
    lines.append(f"\n{result['machine']['processor']}, {result['machine']['cpus']} CPUs, openvino "
                 f"{result['versions']['openvino']}, N = {result['repeats']}, picture {result['picture']}: "
                 f"`{result['command']}`")
    return "\n".join(lines) + "\n"


def draw(result: dict, path: Path) -> None:
    """Draw bars of the model-alone medians, one group of bars for each size and number of threads."""
    from matplotlib.figure import Figure

    keys = [key for key in result["rows"][OFFICIAL] if key.startswith("model ")]
    figure = Figure(figsize=(4 * len(keys), 4), layout="tight")
    axes = figure.subplots(1, len(keys), sharey=True, squeeze=False)
    names = list(result["rows"])
    for axis, key in zip(axes[0], keys, strict=True):
        values = [result["rows"][name][key] for name in names]
        middle = [value["median"] for value in values]
        spread = [[m - v["q1"] for m, v in zip(middle, values, strict=True)],
                  [v["q3"] - m for m, v in zip(middle, values, strict=True)]]
        axis.barh(names[::-1], middle[::-1], xerr=[side[::-1] for side in spread])
        axis.set_title(key, fontsize=9)
        axis.set_xlabel("ms, median and quartiles")
    write_atomically(path, lambda to: figure.savefig(to, dpi=110))


def print_profile(path: Path, threads: int) -> None:
    """Print milliseconds by kind of operator, and the slowest twenty."""
    nodes = profile(path, threads=threads)
    total, kinds = sum(node[3] for node in nodes), collections.Counter()
    for _, kind, kernel, ms in nodes:
        kinds[kind, kernel] += ms
    print(f"{path}, 512x512, {threads} threads: {total:.1f} ms\n\n| operator | kernel | ms | % |\n|---|---|---:|---:|")
    for (kind, kernel), ms in kinds.most_common():
        if ms > LEAST_SHARE * total:
            print(f"| {kind} | {kernel} | {ms:.1f} | {100 * ms / total:.0f} |")
    print("\n| slowest | operator | ms |\n|---|---|---:|")
    for name, kind, _, ms in sorted(nodes, key=lambda node: -node[3])[:20]:
        print(f"| {name} | {kind} | {ms:.2f} |")


def operators(profiles: list[list[tuple[str, str, str, float]]]) -> dict[str, list[float]]:
    """Sum the milliseconds of each kind of operator in each of some profiles, the kind that takes most in any of them first;
    those of under `LEAST_SHARE` everywhere together as the last, whatever they are."""
    sums = [collections.Counter() for _ in profiles]
    for kinds, nodes in zip(sums, profiles, strict=True):
        for _, kind, _, ms in nodes:
            kinds[kind] += ms
    kinds = {kind: [own[kind] for own in sums] for kind in set().union(*sums)}
    named = sorted((kind for kind, values in kinds.items() if any(
        ms > LEAST_SHARE * own.total() for ms, own in zip(values, sums, strict=True))), key=lambda kind: -max(kinds[kind]))
    rest = [sum(values) for values in zip(*(values for kind, values in kinds.items() if kind not in named), strict=True)]
    return {kind: kinds[kind] for kind in named} | {"the rest": rest or [0.0] * len(profiles)}


def print_profiles(paths: list[Path], threads: int) -> None:
    """Print a table of milliseconds by kind of operator, a column for each network."""
    table = operators([profile(path, threads=threads) for path in progress_bar(paths, desc="profile", unit="network")])
    print(f"ms by operator, 512x512, {threads} threads; instruction sets: {', '.join(available())}\n")
    print("| operator | " + " | ".join(path.stem for path in paths) + " |\n|---|" + "---:|" * len(paths))
    for kind, values in (*table.items(), ("**all**", [sum(column) for column in zip(*table.values(), strict=True)])):
        print(f"| {kind} | " + " | ".join(f"{ms:.1f}" for ms in values) + " |")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, default=ROOT / "pretrained" / "our_modnet.ckpt", help="dense checkpoint")
    parser.add_argument("--pruned-ckpt", type=Path, help="our pruned checkpoint (default: made by the search)")
    parser.add_argument("--fp16-xml", type=Path, help="its IR with fp16 weights (default: converted)")
    parser.add_argument("--int8-xml", type=Path, help="its IR in INT8 (default: quantised on the shipped sample)")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each network (default: %(default)s)")
    parser.add_argument("--mediapipe-python", type=Path, help="interpreter with mediapipe==0.10.21, to compare with")
    parser.add_argument("--profile", type=Path, nargs="+", default=[], metavar="XML", help="print where the time of this IR "
                        "goes, or of several side by side, and stop")
    args = parser.parse_args(argv)
    if min(args.threads) < 1 or args.repeats < 2:
        parser.error("--threads are from 1, --repeats from 2")
    for name in ("ckpt_path", "pruned_ckpt", "fp16_xml", "int8_xml", "mediapipe_python"):
        if (path := getattr(args, name)) and not path.is_file():
            parser.error(f"--{name.replace('_', '-')}: no file at {path}")
    for path in args.profile:
        if not path.is_file():
            parser.error(f"--profile: no file at {path}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    if args.profile:
        if len(args.profile) == 1:
            print_profile(args.profile[0], args.threads[0])
        else:
            print_profiles(args.profile, args.threads[0])
        return 0
    check_writable(args.output_dir, "--output-dir")
    result = measure(args)
    write_json(args.output_dir / "latency.json", result)
    write_text(args.output_dir / "latency.md", markdown(result))
    draw(result, args.output_dir / "latency.png")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(work(*sys.argv[2:]) if sys.argv[1:2] == ["--worker"] else run_script(main))
