"""The dense network as OpenVINO reads it, which the repository ships as a checkpoint alone."""
from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading
from pathlib import Path

from src.console import note
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


def is_of_today(xml: Path) -> bool:
    """Return whether the IR is there and no older than the checkpoint, which newer weights take the place of."""
    checkpoint = ROOT / CHECKPOINT
    return xml.is_file() and not (checkpoint.is_file() and checkpoint.stat().st_mtime > xml.stat().st_mtime)


def find_dense(given: Path | None = None) -> Path:
    """Find the dense network: the one that was given, or the one at `XML`, made there first where torch is installed, and
    anew where the checkpoint is newer.

    Raises `FileNotFoundError` for a given one that is not there, `ValueError` that says what is needed.
    """
    if given:
        if not given.is_file():
            raise FileNotFoundError(f"no dense network at {given}")
        return given
    xml = ROOT / XML
    if is_of_today(xml):
        return xml
    # Not by import: the folder onnx/ of this repository would count.
    there = {part.name.lower() for part in importlib.metadata.distributions()}
    missing = [name for name in NEEDED if name not in there]
    if missing and xml.is_file():
        note(f"{XML} is older than {CHECKPOINT}: Compare shows the dense network before it")
        return xml
    if missing:
        said = " and ".join(f"python {' '.join(command)}" for command in commands(XML))
        raise ValueError(f"Compare needs the dense network as {XML}, which is made with {', '.join(missing)}: in an "
                         f"environment with requirements.txt, {said}. Or start the page with --dense-path and an IR or ONNX "
                         "file.")
    with _ONE_AT_A_TIME:
        for command in commands(xml) if not is_of_today(xml) else ():
            done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(f"the dense network could not be made: {done.stderr.strip().splitlines()[-1:]}")
    return xml
