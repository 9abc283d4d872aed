"""A web page on this machine that cuts people out of pictures, videos and a webcam, by OpenVINO on the CPU:

    python demo.py

prints its address. Nobody else can reach it unless `--host` says so, nothing is sent anywhere, and what visitors upload is
removed after half an hour and when the page ends (Ctrl-C). It needs `requirements-run.txt` and `requirements-demo.txt`, and
no torch.
"""
from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import signal
import sys
from pathlib import Path

from src.command_line import Parser
from src.console import no_file
from src.media.picture_decoder import limit_pixels
from src.page.address import check_address
from src.page.dense import find_dense
from src.page.files import temporary_folder
from src.runtime.network import SHIPPED, shipped_model
from src.script import ROOT, run_script

# Before gradio is imported: no statistics, no look-ups; and no proxy, which Gradio would ask for the page itself.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", no_proxy="*",
                  NO_PROXY="*")

SHOWN = ("img.jpg", "img2.jpg", *(f"sample/val/fg/portrait_{number:02}.webp" for number in (52, 57, 59)))
EXAMPLES = [str(path) for path in (ROOT / "data" / name for name in SHOWN) if path.is_file()]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in "
                        "(default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--max-upload", type=int, default=200, metavar="MB", help="largest file (default: %(default)s)")
    parser.add_argument("--max-megapixels", type=int, default=50, metavar="N", help="largest picture (default: %(default)s)")
    parser.add_argument("--max-seconds", type=int, default=120, metavar="S", help="longest video (default: %(default)s)")
    parser.add_argument("--dense-path", type=Path, help="dense network for the tab Compare, IR or ONNX (default: "
                        "result/dense_modnet.xml, made at the first need, and for newer weights, where torch is installed)")
    args = parser.parse_args(argv)
    for name in ("max_upload", "max_megapixels", "max_seconds"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are whole numbers from 1")
    if not 0 < args.port < 65536:
        parser.error(f"--port is {args.port}, allowed are whole numbers from 1 to 65535")
    return args


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C; return the exit status."""
    args = parse_args(argv)
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio: pip install -r requirements-demo.txt")
    check_address(args.host, args.port)
    if args.dense_path is not None and not args.dense_path.is_file():
        raise no_file("dense network", args.dense_path)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    limit_pixels(args.max_megapixels * 10 ** 6)
    networks = {name: shipped_model(name) for name, paths in SHIPPED.items() if any(path.is_file() for path in paths)}
    with contextlib.ExitStack() as ending, temporary_folder():
        from src.page.limits import Limits
        from src.page.page import build, serve

        limits = Limits(args.max_upload, args.max_megapixels, args.max_seconds)
        page = build(networks, functools.partial(find_dense, args.dense_path), EXAMPLES, limits)
        # When the folder is gone: it waits for those who have the page open, for longer than Ctrl-C waits.
        ending.callback(page.close, verbose=False)
        serve(page, limits, host=args.host, port=args.port)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
