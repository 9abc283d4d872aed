"""The options that say which network runs, on what and at which size. No torch here."""
from __future__ import annotations

import argparse
from pathlib import Path

from src.files import check_writable
from src.media.preprocess import REF_SIZE, STRIDE
from src.runtime.network import SHIPPED, shipped_model

REF_SIZES = range(256, 1025, STRIDE)
# The sizes that a network may see when it is judged: also those of small training crops, which nobody runs it at.
JUDGED_SIZES = range(STRIDE, REF_SIZES.stop, STRIDE)
JUDGED_HELP = f"the size that a network sees when it is judged, a multiple of {STRIDE} from {STRIDE} to {REF_SIZES[-1]}"


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `network_settings` reads."""
    parser.add_argument("--model-path", type=Path, help="IR that convert_openvino.py wrote (default: what --model says)")
    parser.add_argument("--model", metavar="NAME", help=f"one of the networks that ship: {', '.join(SHIPPED)} (default: "
                        f"{next(iter(SHIPPED))})")
    parser.add_argument("--ref-size", type=int, metavar="PIXELS", help="what the short side of a picture becomes for the "
                        f"network, a multiple of {STRIDE} from {REF_SIZES[0]} to {REF_SIZES[-1]}: smaller is quicker, "
                        f"larger sees finer hair (default: what the IR says, {REF_SIZE})")
    parser.add_argument("--device", default="CPU", help="CPU, GPU, AUTO, ... (default: %(default)s)")
    parser.add_argument("--cache-dir", type=Path, help="keep the compiled network here (default: compile at each start)")
    parser.add_argument("--fast", action="store_true",
                        help="let the device compute in bf16 or fp16, quicker and less exact (default: float32)")


def wrong_ref_size(size: int, sizes: range = REF_SIZES) -> str:
    """Say that `--ref-size` is none of `sizes`."""
    return f"--ref-size is {size}, allowed are multiples of {sizes.step} from {sizes[0]} to {sizes[-1]}"


def network_settings(args: argparse.Namespace) -> dict[str, object]:
    """Return what `Matting` takes, as the options say.

    Raises `ValueError` for a name that no network has, a size out of range, two networks at once or a cache that cannot be
    written, and `FileNotFoundError` for a network that this copy of the repository has not.
    """
    if args.model is not None and args.model_path is not None:
        raise ValueError(f"--model {args.model} goes without --model-path: each names a network")
    if args.ref_size is not None and args.ref_size not in REF_SIZES:
        raise ValueError(wrong_ref_size(args.ref_size))
    if args.cache_dir is not None:
        check_writable(args.cache_dir, "--cache-dir")
        # OpenVINO would wait at a FIFO; what it cannot use otherwise it compiles anew.
        for kept in args.cache_dir.glob("*.blob"):
            if not kept.is_file():
                raise ValueError(f"--cache-dir has {kept}, which is no plain file")
    path = args.model_path if args.model is None else shipped_model(args.model)
    return {"model_path": path, "device": args.device, "exact": not args.fast, "cache_dir": args.cache_dir,
            "ref_size": args.ref_size}
