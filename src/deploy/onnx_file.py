"""Read an ONNX file as an OpenVINO network. No torch here."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from src.console import messages_held, no_file
from src.files import utf8_named
from src.runtime.network import import_openvino, last_line
from src.runtime.weights import check_constants

if TYPE_CHECKING:
    from openvino import Model


def read_onnx(onnx_path: Path) -> Model:
    """Return the ONNX file as OpenVINO model. Raises `FileNotFoundError`, or `ValueError` naming the file."""
    import onnx

    if not onnx_path.is_file():
        raise no_file("ONNX file", onnx_path)
    openvino = import_openvino()
    try:
        with messages_held(), utf8_named(onnx_path) as named:
            onnx.checker.check_model(str(named))
            network = openvino.convert_model(str(named))
    except Exception as error:  # protobuf, onnx and OpenVINO each have an exception of their own
        raise ValueError(f"{onnx_path} is not an ONNX file that OpenVINO converts: {last_line(error)}") from None
    check_constants(network, onnx_path)
    return network


def external_files(onnx_path: Path) -> list[Path]:
    """List the files beside an ONNX file that hold weights of it."""
    import onnx

    tensors = onnx.load(str(onnx_path), load_external_data=False).graph.initializer
    return [onnx_path.parent / entry.value for tensor in tensors for entry in tensor.external_data
            if entry.key == "location"]
