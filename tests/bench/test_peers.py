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


def pairs_of(folder: Path, count: int) -> list:
    import numpy as np
    from PIL import Image

    from src.data.samples import Pair

    made = []
    for number in range(count):
        pair = Pair(folder / f"{number}.png", folder / f"{number}_alpha.png")
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(pair.image)
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(pair.alpha)
        made.append(pair)
    return made


def test_errors_that_are_there_stay_and_those_of_another_file_are_done_anew(tmp_path: Path) -> None:
    import numpy as np
    from peers import errors_by_set
    from PIL import Image

    asked: list[int] = []

    def predict(image: np.ndarray) -> np.ndarray:
        asked.append(int(image[0, 0, 0]))
        return np.full(image.shape[:2], 0.5, np.float32)

    pairs, path = pairs_of(tmp_path, 3), tmp_path / "peers.jsonl"
    first = errors_by_set({"ours": predict}, {"ours": {"network": "ours", "sha256": "1"}}, {"people": pairs[:2]}, path)
    assert first["people"]["ours"]["mse"] == pytest.approx(0.25) and asked == [0, 40]
    errors_by_set({"ours": predict}, {"ours": {"network": "ours", "sha256": "1"}}, {"people": pairs}, path)
    assert asked == [0, 40, 80]
    errors_by_set({"ours": predict}, {"ours": {"network": "ours", "sha256": "2"}}, {"people": pairs[:1]}, path)
    assert asked == [0, 40, 80, 0]
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(pairs[0].image)  # as of a set that was drawn anew
    errors_by_set({"ours": predict}, {"ours": {"network": "ours", "sha256": "1"}}, {"people": pairs}, path)
    assert asked == [0, 40, 80, 0, 200]


def test_a_network_that_was_only_timed_has_dashes() -> None:
    from peers import METRICS, markdown

    errors = {"people": {"ours": {**dict.fromkeys(METRICS, 0.25), "n": 3}}}
    times = {"ISNet": {"median": 2, "q1": 1, "q3": 3}}
    table = markdown({"threads": 2, "errors": errors, "left_out": [], "milliseconds": times})
    assert "| ours | - | 0.250000 |" in table
    assert "| ISNet | 2.0 (1.0-3.0) | - | - | - |" in table
