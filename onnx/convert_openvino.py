"""Convert an ONNX file to OpenVINO IR, a pair of .xml and .bin:

    python onnx/convert_openvino.py --onnx-path result/X.onnx --output-path result/X.xml --precision fp16

The IR takes pictures as they are, (1, H, W, 3) uint8 RGB of any size; with `--no-embed` the network's own floats. It is
compared with onnxruntime on a random picture. FP16 means weights of 16 bit; OpenVINO still computes in what the device
prefers. INT8 is quantised by NNCF, with ranges from the pictures in `--calib-dir`:

    python onnx/convert_openvino.py --onnx-path result/X.onnx --precision int8 --calib-dir PICTURES --max-drop 0.002
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import numpy as np

from src.command_line import Parser
from src.console import messages_held, printable, say
from src.deploy.embedded_input import embed_input
from src.deploy.instruction_set import CHOICES, chosen, lanes
from src.deploy.narrow_convolution import MOST_CHANNELS, pair_columns
from src.deploy.onnx_file import external_files, read_onnx
from src.deploy.quantise import calibration_pictures, quantise
from src.files import check_output, check_replaceable, keep_inputs, temporary_folder, utf8_named
from src.media.picture_decoder import add_max_pixels, limit_pixels
from src.media.preprocess import REF_SIZE, normalise
from src.runtime.metadata import embedded_info
from src.runtime.network import (
    check_matte,
    check_types,
    fixed_size,
    import_openvino,
    last_line,
    shared_core,
)
from src.runtime.options import REF_SIZES, wrong_ref_size
from src.script import run_script

if TYPE_CHECKING:
    from openvino import Model

FREE_SIZE = (256, 256)
# Weights of 16 bit move single pixels at a border by up to 0.3 and the mean by under 0.01, so fp16 is held to the mean.
TOLERANCES = {"fp32": ("max", 1e-3), "fp16": ("mean", 2e-2)}
# Random weights amplify rounding: where noise of its size moves the matte too far, four times as far is allowed.
ROUNDING = {"fp32": 2.0 ** -22, "fp16": 2.0 ** -11}
ROUNDINGS = 4
PRECISIONS = (*TOLERANCES, "int8")
MAX_DROP = 0.002


def compare(onnx_path: Path, xml_path: Path, size: tuple[int, int], *, precision: str) -> tuple[float, float]:
    """Return how far the IR is from onnxruntime, in float32, for a random picture of `size`, and what is allowed.

    Raises `ValueError` or `NetworkError` naming the ONNX file if it gives no matte.
    """
    import onnxruntime

    statistic, tolerance = {"max": np.max, "mean": np.mean}[TOLERANCES[precision][0]], TOLERANCES[precision][1]
    rng = np.random.default_rng(1)
    picture, noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.uniform(-1, 1, (1, 3, *size))
    image = normalise(picture)[None]
    try:
        with messages_held(), utf8_named(onnx_path) as named:
            session = onnxruntime.InferenceSession(str(named), providers=["CPUExecutionProvider"])
            expected, moved = (session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})[0]
                               for x in (image, image + ROUNDING[precision] * noise))
    except Exception as error:  # onnxruntime's are of no common kind
        raise ValueError(f"{onnx_path} does not run in onnxruntime: {last_line(error)}") from None
    check_matte(expected[0, 0], size, onnx_path)
    model = shared_core().read_model(str(xml_path))
    network = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = network([picture[None] if embedded_info(model) else image])[network.output(0)]
    return (float(statistic(np.abs(found - expected))),
            max(tolerance, ROUNDINGS * float(statistic(np.abs(moved - expected)))))


def move_pair(xml_path: Path, output_path: Path) -> None:
    """Move .xml and .bin into place, the .xml last: what a kill leaves has no .xml, so nothing half is ever loaded."""
    output_path.unlink(missing_ok=True)
    for suffix in (".bin", ".xml"):
        os.replace(xml_path.with_suffix(suffix), output_path.with_suffix(suffix))


class Converted(NamedTuple):
    """The difference that was measured, as `said` tells, and the groups of layers that an INT8 network computes in float."""

    difference: float
    in_float: list[str]


def said(precision: str) -> str:
    """Say what `Converted.difference` is."""
    if precision == "int8":
        return "mean difference from the float mattes of the calibration pictures"
    return f"{TOLERANCES[precision][0]} difference from onnxruntime"


def convert_openvino(onnx_path: Path, output_path: Path, *, precision: str = "fp16", embed: bool = False,
                     calibration: Sequence[np.ndarray] = (), max_drop: float | None = None, cpu: str = "auto",
                     ref_size: int = REF_SIZE) -> Converted:
    """Write `output_path` (.xml) and its .bin.

    `precision` is one of `PRECISIONS`; `embed` puts the pre-processing into the IR (`embed_input`), and `ref_size` says what
    the short side of a picture becomes for it unless a user says otherwise. INT8 needs
    `calibration`, pictures (H, W, 3) uint8; the mean difference of their mattes is kept under `max_drop` (`quantise`).
    Raises `FileNotFoundError`, or `ValueError` for a file that is no matting network, for a difference from onnxruntime
    over what `compare` allows, for a `max_drop` that cannot be kept, a `cpu` that this is not and a `ref_size` where the
    network has one size; nothing is written then.
    """
    check_conversion(output_path, precision, calibration, max_drop)
    network, in_float = read_onnx(onnx_path), []
    keep_inputs([output_path, output_path.with_suffix(".bin")], [onnx_path, *external_files(onnx_path)])
    fixed = fixed_size(network, onnx_path)
    if fixed and ref_size != REF_SIZE:
        raise ValueError(f"ref-size is {ref_size}, but {onnx_path} is a network of {fixed[1]}x{fixed[0]} alone")
    check_types(network, onnx_path, ("f32",))
    if lanes(cpu) > MOST_CHANNELS:
        pair_columns(network)
    if precision == "int8":
        network, difference, in_float = quantise(network, calibration, max_drop=max_drop, name=onnx_path)
    if embed:
        network = embed_input(network, precision=precision, source=printable(onnx_path.name), ref_size=ref_size)
    with temporary_folder(output_path) as folder:
        xml_path = folder / output_path.name
        save_network(network, xml_path, output_path, half=precision == "fp16")
        if precision != "int8":
            difference, allowed = compare(onnx_path, xml_path, fixed or FREE_SIZE, precision=precision)
            if not difference <= allowed:
                raise ValueError(f"IR and {onnx_path} differ by {difference:.2e} ({TOLERANCES[precision][0]}), allowed is "
                                 f"{allowed:.0e}: nothing written")
        move_pair(xml_path, output_path)
    return Converted(difference, in_float)


def save_network(network: Model, xml_path: Path, output_path: Path, *, half: bool) -> None:
    """Write a network to `xml_path`, which will become `output_path`. Raises `OSError` if it is not there in full."""
    try:
        import_openvino().save_model(network, str(xml_path), compress_to_fp16=half)
        # On a full disk OpenVINO may write less, and say nothing.
        shared_core().read_model(xml_path)
    except RuntimeError as error:
        raise OSError(f"cannot write {output_path}, is the disk full? {last_line(error)}") from None


def check_conversion(output_path: Path, precision: str, calibration: Sequence[np.ndarray], max_drop: float | None) -> None:
    """Raise `ValueError` for what cannot be."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, allowed are {', '.join(PRECISIONS)}")
    if output_path.suffix != ".xml":
        raise ValueError(f"output-path is {output_path}, expected a folder or a name that ends in .xml")
    for path in (output_path, output_path.with_suffix(".bin")):
        check_replaceable(path)
    if max_drop is not None and not 0 < max_drop <= 1:
        raise ValueError(f"max-drop is {max_drop:g}, allowed is over 0 and at most 1")
    if precision == "int8" and not len(calibration):
        raise ValueError("precision int8 needs calibration pictures, got none")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--onnx-path", type=Path, required=True, help="file that export_onnx.py wrote")
    parser.add_argument("--output-path", type=Path,
                        help="X.xml, or a folder for the ONNX file's name (default: beside the ONNX file)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16",
                        help="of the weights, for int8 also of the computation (default: %(default)s)")
    parser.add_argument("--embed", action=argparse.BooleanOptionalAction, default=True,
                        help="pre-processing inside the IR: pictures of bytes and of any size in (default), or floats")
    parser.add_argument("--calib-dir", type=Path, help="pictures that int8 takes its ranges from, at most 40 of them "
                        "(default: portraits of data/sample, cropped, mirrored, darker and brighter)")
    parser.add_argument("--max-drop", type=float, help="int8: return groups of layers to float until the mattes of the "
                        f"calibration pictures differ by at most this on the mean (default: {MAX_DROP})")
    parser.add_argument("--ref-size", type=int, default=REF_SIZE, metavar="PIXELS", help="what the short side of a picture "
                        "becomes for this network where nobody says otherwise (default: %(default)s)")
    add_max_pixels(parser)
    parser.add_argument("--cpu", choices=CHOICES, default="auto", help="pair narrow convolutions as suits it")
    args = parser.parse_args(argv)
    if args.ref_size not in REF_SIZES or (args.ref_size != REF_SIZE and not args.embed):
        parser.error(f"{wrong_ref_size(args.ref_size)}, and with --no-embed {REF_SIZE} alone")
    for name in ("calib_dir", "max_drop"):
        if args.precision != "int8" and getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')} is for --precision int8, not {args.precision}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    output_path = args.output_path or args.onnx_path.with_suffix(".xml")
    if output_path.is_dir() or not output_path.suffix:
        output_path = output_path / f"{args.onnx_path.stem}.xml"
    check_output(output_path, "--output-path")
    limit_pixels(args.max_pixels)
    int8, cpu = args.precision == "int8", chosen(args.cpu)
    max_drop = None if not int8 else MAX_DROP if args.max_drop is None else args.max_drop
    pictures = calibration_pictures(args.calib_dir, ref_size=args.ref_size) if int8 else ()
    done = convert_openvino(args.onnx_path, output_path, precision=args.precision, embed=args.embed, calibration=pictures,
                            max_drop=max_drop, cpu=cpu, ref_size=args.ref_size)
    weights = output_path.with_suffix(".bin")
    say(f"{output_path}, {weights} ({weights.stat().st_size} bytes): {args.precision}, {said(args.precision)} "
        f"{done.difference:.2e}{', in float: ' + ', '.join(done.in_float) if done.in_float else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
