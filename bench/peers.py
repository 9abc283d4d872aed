"""Compare with what people would take instead, on the same pictures, in one run:

    npm pack @imgly/background-removal-data@1.4.5 && tar xzf imgly-background-removal-data-1.4.5.tgz
    python bench/peers.py --isnet package/dist/resources.json --mediapipe-python VENV/bin/python --data-dir PORTRAITS PEOPLE

- ISNet (MIT), which rembg and background removers in browsers run, at 1024x1024. `--isnet` is that file, whose chunks are
  joined, or an ONNX file.
- MediaPipe's selfie segmentation at 256x256; `--mediapipe-python` as for bench/latency.py.
- MODNet as it was published, by the official export, and the networks that ship.

Errors are means over the pictures of the half *report* at their original size, milliseconds are of one picture
(data/img.jpg) from its pixels to its alpha, resizing included, in turns. What is not given is left out and named. Writes
`result/peers.json`, `.md`, and `.png`: of the shipped sample the picture where each peer is most ahead of our INT8 network,
and the one where ours is. A picture whose errors are in `result/peers.jsonl`, by the same files, is not done again.
`--only errors` and `--only times` do one half, and take the other from `peers.json`.
"""
from __future__ import annotations

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import numpy as np
from latency import export
from PIL import Image

from src.command_line import Parser
from src.console import progress_bar
from src.data.samples import Pair, find_pairs, read_pair
from src.data.sources import Source, pairs_by_set
from src.deploy.latency import EXACT, quartiles
from src.evaluation.evaluate import matte_errors, read_ahead, summarise, summarise_sets
from src.evaluation.predict import Predict, openvino_predictor
from src.evaluation.report import format_error
from src.evaluation.sheet import paste_line, tile
from src.files import check_writable, write_atomically, write_json, write_text
from src.media.compositing import to_uint8
from src.media.picture_reader import read_image
from src.media.preprocess import area_resize, to_alpha
from src.records import Real, Table, read_json, read_lines
from src.results import sha256
from src.runtime.matting import Matting
from src.runtime.network import last_line, shared_core, some_cores
from src.script import provenance, run_script

PICTURE, SAMPLE = ROOT / "data" / "img.jpg", ROOT / "data" / "sample"
ISNET, MEDIAPIPE, DENSE = "ISNet, 1024x1024", "MediaPipe selfie, 256x256", "MODNet, dense, official export"
INT8 = "ours, INT8"
OURS = {"ours, FP32": "pruned_modnet_fp16.xml", INT8: "pruned_modnet_int8.xml",
        "ours, fast, INT8": "pruned_modnet_fast_int8.xml"}
ISNET_SIDE, ISNET_MODEL = 1024, "/models/medium"
METRICS = ("mse", "mad", "grad")
ERRORS, TIMES = PARTS = ("errors", "times")
ROW = {"by": dict, "set": str, "name": str, **{metric: Real(0) for metric in METRICS}}
RESULT = {"milliseconds?": Table(Table(Real(0))), "threads?": Real(1), "errors?": Table(Table(dict))}


def joined(resources: Path, onnx_path: Path) -> Path:
    """Write the ONNX file whose chunks lie beside a `resources.json`. Raises `ValueError` naming what is wrong in it."""
    try:
        entry = json.loads(resources.read_text(encoding="utf-8"))[ISNET_MODEL]
        data = b"".join((resources.parent / chunk["hash"]).read_bytes() for chunk in entry["chunks"])
        size = entry["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"isnet {resources} does not list chunks of {ISNET_MODEL} that are there: "
                         f"{type(error).__name__} {error}") from None
    if len(data) != size:
        raise ValueError(f"isnet {resources}: chunks of {ISNET_MODEL} have {len(data)} bytes, expected {size}")
    write_atomically(onnx_path, lambda to: to.write_bytes(data))
    return onnx_path


def isnet(onnx_path: Path, threads: int) -> Predict:
    """Return ISNet as its package runs it: pictures squeezed to 1024x1024, `(x - 128) / 256`."""
    options = {"INFERENCE_PRECISION_HINT": EXACT, "PERFORMANCE_HINT": "LATENCY", **some_cores(threads)}
    try:
        network = shared_core().compile_model(str(onnx_path), "CPU", options)
    except RuntimeError as error:
        raise ValueError(f"isnet {onnx_path} is no network that OpenVINO runs: {last_line(error)}") from None
    request = network.create_infer_request()

    def predict(image: np.ndarray) -> np.ndarray:
        squeezed = area_resize(image, ISNET_SIDE, ISNET_SIDE)
        request.infer([((squeezed.transpose(2, 0, 1)[None] - 128) / 256).astype(np.float32)])
        return to_alpha(request.get_output_tensor(0).data, *image.shape[:2])

    return predict


def ours(path: Path, threads: int) -> Predict:
    """Return a matting network by OpenVINO, on so many threads."""
    return openvino_predictor(Matting(path, threads=threads))


class Selfie:
    """MediaPipe in its own interpreter; `took` is the milliseconds of the last picture there, which its way here is not."""

    def __init__(self, python: Path, threads: int, folder: Path) -> None:
        self.file, self.took = folder / "picture.npy", 0.0
        self.process = subprocess.Popen([str(python), str(ROOT / "bench" / "selfie.py"), "--serve", str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        np.save(self.file, image)
        with contextlib.suppress(BrokenPipeError):  # no answer comes then
            self.process.stdin.write(f"{self.file}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise ValueError(f"mediapipe-python {self.process.args[0]} does not run mediapipe 0.10.21")
        self.took = float(answer)
        return np.clip(np.load(self.file).astype(np.float32), 0, 1)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):  # it died before, and its picture said so
            self.process.stdin.close()
        self.process.wait()


def made_of(name: str, *, isnet_path: Path | None, mediapipe: Path | None, dense: Path | None) -> dict[str, str]:
    """Say which network this is, and by which file: what errors are kept under."""
    path = {ISNET: isnet_path, MEDIAPIPE: mediapipe, DENSE: dense}.get(name) or ROOT / "pretrained" / OURS[name]
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path
    return {"network": name, "sha256": sha256(weights)}


def errors_by_set(networks: Mapping[str, Predict], made: Mapping[str, dict], pairs: Mapping[str, Sequence[Pair]],
                  path: Path) -> dict[str, dict[str, dict]]:
    """Compute the errors on each data set, by set and network as `summarise` gives them; those in `path` (.jsonl) stay."""
    there = {(json.dumps(row["by"]), row["set"], row["name"]): row for row in read_lines(path, ROW)}
    # Pictures of the same names need not be the same: a set may be another, or drawn anew.
    files = {pair: [sha256(part) for part in pair] for of_set in pairs.values() for pair in of_set}

    def by(name: str, pair: Pair) -> dict:
        return {**made[name], "files": files[pair]}

    found: dict[str, dict[str, dict]] = {}
    for own, of_set in pairs.items():
        rows: dict[str, list[dict]] = {name: [] for name in networks}

        def lacking(pair: Pair, own: str = own) -> list[str]:
            return [name for name in networks if (json.dumps(by(name, pair)), own, pair.image.name) not in there]

        left = [pair for pair in of_set if lacking(pair)]
        for pair, (image, alpha) in zip(progress_bar(left, desc=own), read_ahead(left), strict=True):
            for name in lacking(pair):
                row = {"by": by(name, pair), "set": own, "name": pair.image.name,
                       **matte_errors(networks[name](image), alpha, METRICS)}
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                there[json.dumps(row["by"]), own, pair.image.name] = row
        for name in networks:
            for pair in of_set:
                row = there[json.dumps(by(name, pair)), own, pair.image.name]
                rows[name].append({key: row[key] for key in ("name", *METRICS)})
        found[own] = {name: summarise(images) for name, images in rows.items()}
    return found


@contextlib.contextmanager
def predictors(threads: int, *, isnet_path: Path | None, mediapipe: Path | None, dense: Path | None,
               folder: Path) -> Iterator[dict[str, Predict]]:
    """Load all networks that are there."""
    found: dict[str, Predict] = {}
    with contextlib.ExitStack() as stack:
        if isnet_path:
            onnx_path = joined(isnet_path, folder / "isnet.onnx") if isnet_path.suffix == ".json" else isnet_path
            found[ISNET] = isnet(onnx_path, threads)
        if mediapipe:
            selfie = Selfie(mediapipe, threads, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(selfie.close)
            found[MEDIAPIPE] = selfie
        if dense:
            found[DENSE] = ours(export(dense, folder / "official.xml", plain=True), threads)
        found |= {name: ours(ROOT / "pretrained" / file, threads) for name, file in OURS.items()}
        yield found


def milliseconds(networks: Mapping[str, Predict], image: np.ndarray, repeats: int) -> dict[str, dict[str, float]]:
    """Measure one picture, pixels to alpha, in turns; quartiles."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(repeats + 1):
        for name, predict in networks.items():
            start = time.perf_counter()
            predict(image)
            if turn:
                times[name].append(getattr(predict, "took", 1000 * (time.perf_counter() - start)))
    return {name: quartiles(values) for name, values in times.items()}


def draw(networks: Mapping[str, Predict], pairs: Sequence[Pair], path: Path) -> None:
    """Write the pictures where each peer and our INT8 network are furthest apart, either way, a line each."""
    read = [read_pair(pair) for pair in pairs]
    shown = [name for name in (*(name for name in networks if name not in OURS), INT8)]
    mattes = {name: [networks[name](image) for image, _ in read] for name in shown}
    mse = {name: np.array([matte_errors(matte, alpha)["mse"] for matte, (_, alpha) in zip(made, read, strict=True)])
           for name, made in mattes.items()}
    places: dict[int, None] = {}
    for name in shown[:-1]:
        places |= {int((mse[INT8] - mse[name]).argmax()): None, int((mse[name] - mse[INT8]).argmax()): None}
    lines = []
    for place in places:
        image, alpha = read[place]
        captions = [pairs[place].image.name, "true alpha", *(f"{mse[name][place]:.4f} {name}" for name in shown)]
        alphas = [tile(to_uint8(matte)) for matte in (alpha, *(mattes[name][place] for name in shown))]
        lines.append(paste_line([tile(image), *alphas], captions))
    if lines:
        write_atomically(path, functools.partial(Image.fromarray(np.concatenate(lines)).save, format="PNG"))


def markdown(result: dict) -> str:
    """Return the table: milliseconds, and the errors on each data set; a dash for what was not measured."""
    sets, times = list(result["errors"]), result["milliseconds"]
    heads = [f"{name} {metric}" for name in sets for metric in METRICS]
    threads = f", {result['threads']} threads" if times else ""
    lines = [f"| | ms{threads} | " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) + 1)]
    for name in dict.fromkeys((*(name for own in sets for name in result["errors"][own]), *times)):
        ms = times.get(name)
        cells = ["-" if ms is None else f"{ms['median']:.1f} ({ms['q1']:.1f}-{ms['q3']:.1f})"]
        for own in sets:
            errors = result["errors"][own].get(name)
            cells += ["-" if errors is None else format_error(metric, errors[metric]) for metric in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = ", ".join(f"{own} {next(iter(errors.values()))['n']}" for own, errors in result["errors"].items())
    left_out = f" Left out: {', '.join(result['left_out'])}." if result["left_out"] else ""
    return "\n".join(lines) + f"\n\nN: {counts}.{left_out}\n"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--isnet", type=Path, metavar="FILE", help="resources.json of its package, or an ONNX file")
    parser.add_argument("--mediapipe-python", type=Path, help="interpreter with mediapipe==0.10.21")
    parser.add_argument("--dense-ckpt", type=Path, default=ROOT / "pretrained" / "our_modnet.ckpt",
                        help="dense MODNet to export (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, nargs="+", default=[SAMPLE], metavar="FOLDER",
                        help="data sets (default: data/sample)")
    parser.add_argument("--limit", type=int, help="take the first N pictures of each data set")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="turns of the timing (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, help="measure the errors alone, or the times alone")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name, least in (("limit", 1), ("threads", 1), ("repeats", 2)):
        if (value := getattr(args, name)) is not None and value < least:
            parser.error(f"--{name} is {value}, allowed are whole numbers from {least}")
    for name in ("isnet", "mediapipe_python", "dense_ckpt"):
        if (path := getattr(args, name)) and not path.is_file():
            parser.error(f"--{name.replace('_', '-')}: no file at {path}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    folder, json_path = args.output_dir / "peers", args.output_dir / "peers.json"
    folder.mkdir(parents=True, exist_ok=True)
    given = {"isnet_path": args.isnet, "mediapipe": args.mediapipe_python, "dense": args.dense_ckpt}
    left_out = [f"{name} (no {option})" for name, option, path in (
        (ISNET, "--isnet", args.isnet), (MEDIAPIPE, "--mediapipe-python", args.mediapipe_python)) if path is None]
    before = read_json(json_path, RESULT) if args.only and json_path.is_file() else {}
    taken, threads, errors = before.get("milliseconds", {}), before.get("threads", args.threads), before.get("errors", {})
    with predictors(args.threads, folder=folder, **given) as networks:
        if args.only != ERRORS:
            taken, threads = milliseconds(networks, read_image(PICTURE), args.repeats), args.threads
        if args.only != TIMES:
            pairs = pairs_by_set([Source(path) for path in args.data_dir], half="report", limit=args.limit)
            made = {name: made_of(name, **given) for name in networks}
            errors = errors_by_set(networks, made, pairs, json_path.with_suffix(".jsonl"))
            draw(networks, find_pairs(SAMPLE, "val"), args.output_dir / "peers.png")
    every = {label: summarise_sets({own: of_set[label]["images"] for own, of_set in errors.items()})
             for label in networks if errors and all(label in of_set for of_set in errors.values())}
    result = {"milliseconds": taken, "errors": errors, "all": every, "left_out": left_out, "threads": threads,
              **provenance()}
    write_json(json_path, result)
    write_text(args.output_dir / "peers.md", markdown(result))
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
