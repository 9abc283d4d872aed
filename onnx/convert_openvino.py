"""Converts an ONNX file to OpenVINO IR, a pair of .xml and .bin:

    python onnx/convert_openvino.py --onnx-path result/X.onnx --output-path result/X.xml --precision fp16

The result is compared with onnxruntime on a random input. FP16 means weights of 16 bit; OpenVINO still computes in what
the device prefers.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import numpy as np

from src.openvino_matting import fixed_size, import_openvino, last_line
from src.script import run_script

if TYPE_CHECKING:
    from openvino import Model

FREE_SIZE = (256, 256)
# Weights of 16 bit move single pixels at a border by up to 0.3 and the mean by under 0.01, so fp16 is held to the mean.
TOLERANCES = {"fp32": ("max", 1e-3), "fp16": ("mean", 2e-2)}
# Networks of random weights amplify any rounding: where noise of its size on the input moves the matte further than the
# tolerance, up to four times as far is allowed.
ROUNDING = {"fp32": 2.0 ** -22, "fp16": 2.0 ** -11}
ROUNDINGS = 4


def compare(onnx_path: Path, xml_path: Path, size: tuple[int, int], *, precision: str) -> tuple[float, float]:
    """The difference of the IR from onnxruntime, both in float32, for a random input of `size`, and what is allowed."""
    import onnxruntime

    statistic, tolerance = {"max": np.max, "mean": np.mean}[TOLERANCES[precision][0]], TOLERANCES[precision][1]
    rng = np.random.default_rng(1)
    image, noise = (rng.uniform(-1, 1, (1, 3, *size)).astype(np.float32) for _ in range(2))
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    expected, moved = (session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})[0]
                       for x in (image, image + ROUNDING[precision] * noise))
    network = import_openvino().Core().compile_model(str(xml_path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = network([image])[network.output(0)]
    return (float(statistic(np.abs(found - expected))),
            max(tolerance, ROUNDINGS * float(statistic(np.abs(moved - expected)))))


def read_onnx(onnx_path: Path) -> Model:
    """The ONNX file as OpenVINO model. Raises `FileNotFoundError`, or `ValueError` naming the file."""
    import onnx

    if not onnx_path.is_file():
        raise FileNotFoundError(f"no ONNX file at {onnx_path}")
    openvino = import_openvino()
    try:
        onnx.checker.check_model(str(onnx_path))
        return openvino.convert_model(str(onnx_path))
    except Exception as error:  # protobuf, onnx and OpenVINO each have an exception of their own
        raise ValueError(f"{onnx_path} is not an ONNX file that OpenVINO converts: {last_line(error)}") from None


def move_pair(xml_path: Path, output_path: Path) -> None:
    """Moves .xml and .bin into place, the .xml last: what a kill leaves has no .xml, so nothing half is ever loaded."""
    output_path.unlink(missing_ok=True)
    for suffix in (".bin", ".xml"):
        os.replace(xml_path.with_suffix(suffix), output_path.with_suffix(suffix))


def convert_openvino(onnx_path: Path, output_path: Path, *, precision: str = "fp16") -> float:
    """Writes `output_path` (.xml) and its .bin; the difference from onnxruntime, largest (fp32) or mean (fp16).

    `precision` of the weights is `fp32` or `fp16`. Raises `FileNotFoundError`, or `ValueError` for a file that is no
    matting network and for a difference over what `compare` allows; nothing is written then.
    """
    if precision not in TOLERANCES:
        raise ValueError(f"precision is {precision!r}, allowed are {', '.join(TOLERANCES)}")
    if output_path.suffix != ".xml":
        raise ValueError(f"output-path is {output_path}, expected a folder or a name that ends in .xml")
    network = read_onnx(onnx_path)
    size = fixed_size(network, onnx_path) or FREE_SIZE
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_path.parent, prefix=f".{output_path.stem}.") as folder:
        xml_path = Path(folder) / output_path.name
        import_openvino().save_model(network, str(xml_path), compress_to_fp16=precision == "fp16")
        off, allowed = compare(onnx_path, xml_path, size, precision=precision)
        if not off <= allowed:
            raise ValueError(f"IR and {onnx_path} differ by {off:.2e} ({TOLERANCES[precision][0]}), allowed is "
                             f"{allowed:.0e}: nothing written")
        move_pair(xml_path, output_path)
    return off


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx-path", type=Path, required=True, help="file that export_onnx.py wrote")
    parser.add_argument("--output-path", type=Path,
                        help="X.xml, or a folder for the ONNX file's name (default: beside the ONNX file)")
    parser.add_argument("--precision", choices=TOLERANCES, default="fp16",
                        help="of the weights (default: %(default)s, as OpenVINO's own converter)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    output_path = args.output_path or args.onnx_path.with_suffix(".xml")
    if output_path.is_dir() or not output_path.suffix:
        output_path = output_path / f"{args.onnx_path.stem}.xml"
    off = convert_openvino(args.onnx_path, output_path, precision=args.precision)
    weights = output_path.with_suffix(".bin")
    print(f"{output_path}, {weights} ({weights.stat().st_size} bytes): {args.precision}, "
          f"{TOLERANCES[args.precision][0]} difference from onnxruntime {off:.2e}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
