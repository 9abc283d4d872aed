"""Export a checkpoint to ONNX, the matte only:

    python onnx/export_onnx.py --ckpt-path result/X.ckpt --prune-info result/X.json --output-path result/X.onnx

Input `input` (N, 3, H, W) float32, RGB in [-1, 1]; output `output` (N, 1, H, W) in [0, 1]. N, H and W are free (H and W
multiples of 32), or with `--static` 1, 512 and 512. The file is compared with the network by onnxruntime.

    python onnx/export_onnx.py --ckpt-path result/X.ckpt --target ncs2

is for OpenVINO 2022.3, the last release for the Neural Compute Stick 2: opset 11 and one size (512x512 or `--static`).
"""
from __future__ import annotations

import argparse
import copy
import io
import sys
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch

from src.checkpoint import load_model
from src.command_line import Parser
from src.console import say
from src.deploy.graph import MatteOnly, deploy
from src.files import check_output, keep_inputs, moved_into_place
from src.models.config import STRIDE
from src.results import beside
from src.script import run_script

TOLERANCE = 1e-4
# Networks of random weights amplify rounding beyond that: four times what torch differs from itself is allowed too.
ROUNDINGS = 4
GRAPHS = ("deploy", "plain")
# What the release reads that a target needs.
TARGETS = ("any", "ncs2")
NCS2_OPSET = 11
OPSETS = range(11, 21)
TRACED_SIZE, COMPARED_SIZE = (1, 3, 256, 256), (2, 3, 192, 320)
STATIC_SIZE = (512, 512)
FREE_AXES = {0: "batch", 2: "height", 3: "width"}


def write_onnx(network: MatteOnly, path: Path, *, shape: tuple[int, ...], opset: int, static: bool) -> None:
    """Trace `network` with an input of `shape` and write one ONNX file, weights included."""
    axes = None if static else {"input": FREE_AXES, "output": FREE_AXES}
    with warnings.catch_warnings():
        # The exporter by tracing is called legacy, but the other one starts at opset 18 and 2022's OpenVINO ends at 16.
        warnings.simplefilter("ignore")
        file = io.BytesIO()  # by name, torch takes no name that is not UTF-8
        torch.onnx.export(network, (torch.zeros(shape),), file, input_names=["input"], output_names=["output"],
                          opset_version=opset, dynamic_axes=axes, dynamo=False)
    path.write_bytes(file.getbuffer())


def random_image(shape: tuple[int, ...]) -> torch.Tensor:
    """Make uniform noise in [-1, 1], always the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.inference_mode()
def rounding(network: MatteOnly, image: torch.Tensor) -> float:
    """Measure how far float32 is off in this network: the largest difference between torch with its oneDNN kernels and torch
    without, or in float64."""
    expected = network(image)
    exact = copy.deepcopy(network).double()(image.double())
    with warnings.catch_warnings():
        # Switching oneDNN says that there is no Intel GPU.
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            return max(float((other - expected).abs().max()) for other in (network(image), exact))


@torch.inference_mode()
def difference(network: MatteOnly, path: Path, image: torch.Tensor) -> float:
    """Measure the largest difference between the network and the ONNX file, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return float((torch.from_numpy(session.run(None, {"input": image.numpy()})[0]) - network(image)).abs().max())


def export_onnx(ckpt_path: Path, prune_info: Path | None = None, *, output_path: Path, opset: int = 11,
                static_size: tuple[int, int] | None = None, graph: str = "deploy", half_size: bool = True) -> float:
    """Write `output_path`; the largest difference from the network at another size (static: at another input).

    Raises `ValueError` if that is over `TOLERANCE` and over `ROUNDINGS` times the rounding of the network itself,
    and for an opset or size that cannot be; nothing is written then. `graph` is one of `GRAPHS`; `half_size` as in
    `deploy`.
    """
    check_export(output_path, opset, static_size)
    keep_inputs([output_path], [*beside(ckpt_path), *([prune_info] if prune_info else [])])
    network = MatteOnly(load_model(ckpt_path, prune_info)).eval()
    written = deploy(network.model, half_size=half_size) if graph == "deploy" else network
    shape = (1, 3, *static_size) if static_size else TRACED_SIZE
    with moved_into_place(output_path) as temporary:
        write_onnx(written, temporary, shape=shape, opset=opset, static=static_size is not None)
        image = random_image(shape if static_size else COMPARED_SIZE)
        worst = difference(network, temporary, image)
        if not worst <= TOLERANCE and not worst <= (allowed := max(TOLERANCE, ROUNDINGS * rounding(network, image))):
            raise ValueError(f"ONNX and network differ by {worst:.2e}, allowed is {allowed:.0e}: nothing written")
    return worst


def check_export(output_path: Path, opset: int, static_size: tuple[int, int] | None) -> None:
    """Raise `ValueError` for an output that is no .onnx, an opset or a static size that cannot be."""
    if output_path.suffix != ".onnx":
        raise ValueError(f"output-path is {output_path}, expected a name that ends in .onnx")
    if opset not in OPSETS:
        raise ValueError(f"opset is {opset}, allowed are {OPSETS[0]} to {OPSETS[-1]}")
    if static_size and any(side < STRIDE or side % STRIDE for side in static_size):
        raise ValueError(f"static is {static_size[0]} {static_size[1]}, allowed are multiples of {STRIDE}")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--ckpt-path", type=Path, required=True, help="checkpoint to export")
    parser.add_argument("--prune-info", type=Path, help="pruning JSON (default: the one beside the checkpoint, if any)")
    parser.add_argument("--output-path", type=Path, help="file to write (default: the checkpoint's name with .onnx)")
    parser.add_argument("--opset", type=int, default=11,
                        help=f"ONNX operator set, {OPSETS[0]} to {OPSETS[-1]} (default: %(default)s)")
    parser.add_argument("--static", type=int, nargs="*", metavar="PIXELS",
                        help="fix batch 1 and this height and width (alone: 512 512; left out: all three are free)")
    parser.add_argument("--target", choices=TARGETS, default="any",
                        help="ncs2: opset 11 and one size, as OpenVINO 2022.3 needs it (default: %(default)s)")
    parser.add_argument("--graph", choices=GRAPHS, default="deploy", help="deploy: batch norms folded, no split and "
                        "concat in IBNorm, the last stage at half size (not for "
                        "ncs2); plain: the operators of the training graph (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.static and len(args.static) != 2:
        parser.error(f"--static has {len(args.static)} number, allowed are none or height and width")
    if args.target == "ncs2":
        if args.opset != NCS2_OPSET:
            parser.error(f"--opset is {args.opset}, --target ncs2 allows {NCS2_OPSET} alone")
        args.static = args.static or []
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    output_path = args.output_path or args.ckpt_path.with_suffix(".onnx")
    check_output(output_path, "--output-path")
    static_size = None if args.static is None else tuple(args.static or STATIC_SIZE)
    worst = export_onnx(args.ckpt_path, args.prune_info, output_path=output_path, opset=args.opset,
                        static_size=static_size, graph=args.graph,
                        half_size=args.target != "ncs2")
    say(f"{output_path}: opset {args.opset}, {'x'.join(map(str, static_size)) if static_size else 'any size'}, "
        f"{output_path.stat().st_size} bytes, max difference from the network {worst:.2e}"
        f"{', within the rounding of float32 in this network' if worst > TOLERANCE else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
