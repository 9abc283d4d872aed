"""The dense network as OpenVINO reads it, which the repository ships as a checkpoint alone."""
from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

from src.script import ROOT

NEEDED = ("torch", "onnx", "onnxruntime")
CHECKPOINT = Path("pretrained/our_modnet.ckpt")
XML = Path("result/dense_modnet.xml")
_ONE_AT_A_TIME = threading.Lock()


def commands(xml: Path) -> list[list[str]]:
    """Return the two scripts, with their options, that make the dense network's IR."""
    onnx = xml.with_suffix(".onnx")
    return [["onnx/export_onnx.py", "--ckpt-path", str(CHECKPOINT), "--output-path", str(onnx)],
            ["onnx/convert_openvino.py", "--onnx-path", str(onnx), "--output-path", str(xml), "--precision", "fp32"]]


def find_dense(given: Path | None = None) -> Path:
    """Return the dense network: the one that was given, or the one at `XML`, made there first where torch is installed.

    Raises `FileNotFoundError` for a given one that is not there, `ValueError` that says what is needed.
    """
    xml = given or ROOT / XML
    if xml.is_file():
        return xml
    if given:
        raise FileNotFoundError(f"no dense network at {given}")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        said = " and ".join(f"python {' '.join(command)}" for command in commands(XML))
        raise ValueError(f"Compare needs the dense network as {XML}, which is made with {', '.join(missing)}: in an "
                         f"environment with requirements.txt, {said}. Or start the page with --dense-path and an IR or ONNX "
                         "file.")
    with _ONE_AT_A_TIME:
        for command in commands(xml) if not xml.is_file() else ():
            done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(f"the dense network could not be made: {done.stderr.strip().splitlines()[-1:]}")
    return xml
