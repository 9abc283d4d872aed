"""The rivals of bench/peers.py."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "bench")]


def test_chunks_are_joined_in_their_order(tmp_path: Path) -> None:
    from peers import ISNET_MODEL, joined

    for name, data in (("b", b"12"), ("a", b"345")):
        (tmp_path / name).write_bytes(data)
    listing = tmp_path / "resources.json"
    listing.write_text(json.dumps({ISNET_MODEL: {"chunks": [{"hash": "b"}, {"hash": "a"}], "size": 5}}))
    assert joined(listing, tmp_path / "x.onnx").read_bytes() == b"12345"


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"/models/medium": {"chunks": [{"hash": "none"}], "size": 1}}',
                                  '{"/models/medium": {"chunks": [], "size": 7}}'])
def test_a_list_without_the_network_is_one_line(text: str, tmp_path: Path) -> None:
    from peers import joined

    (tmp_path / "resources.json").write_text(text)
    with pytest.raises(ValueError, match="resources.json"):
        joined(tmp_path / "resources.json", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_the_table_names_what_was_left_out() -> None:
    from peers import METRICS, markdown

    errors = {"people": {"ours": {**dict.fromkeys(METRICS, 0.25), "n": 3}}}
    table = markdown({"threads": 2, "errors": errors, "left_out": ["ISNet (no --isnet)"],
                      "milliseconds": {"ours": {"median": 2.0, "q1": 1.0, "q3": 3.0}}})
    assert "| ours | 2.0 (1.0-3.0) | 0.250000 | 0.250000 | 0.250 |" in table
    assert "N: people 3. Left out: ISNet (no --isnet)." in table


def test_an_interpreter_without_mediapipe_is_named(tmp_path: Path) -> None:
    import numpy as np
    from peers import Selfie

    selfie = Selfie(Path("/bin/false"), 1, tmp_path)
    with pytest.raises(ValueError, match="/bin/false does not run mediapipe"):
        selfie(np.zeros((4, 4, 3), np.uint8))
    selfie.close()
