"""The benches of folders and of scale: resuming, and arithmetic by hand."""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("av")

from tests.conftest import ROOT

sys.path.append(str(ROOT / "bench"))

import folder
import scale

from src.media.picture_formats import pixels_of
from src.media.picture_reader import read_image
from src.media.picture_writer import write_picture


def test_photographs_are_enlarged_to_the_sizes_asked_for_once(tmp_path: Path) -> None:
    paths = folder.enlarge(ROOT / "data/sample/val/fg", 3, (0.02, 0.08), tmp_path / "p")
    assert sorted(round(pixels_of(path) / 1e4) for path in paths) == [2, 4, 8]
    before = [path.stat().st_mtime_ns for path in paths]
    assert folder.enlarge(ROOT / "data/sample/val/fg", 3, (0.02, 0.08), tmp_path / "p") == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_a_turn_that_has_its_line_is_not_done_again_and_ratios_are_turn_by_turn(tmp_path: Path) -> None:
    done = []

    def way(name: str, seconds: list[float]) -> object:
        def work() -> tuple[float, float]:
            done.append(name)
            return seconds.pop(0), 1.0
        return work

    setting, path = {"pictures": 10}, tmp_path / "a.jsonl"
    folder.measure({"slow": way("slow", [8.0]), "quick": way("quick", [2.0])}, 1, setting, path)
    rows = folder.measure({"slow": way("slow", [6.0]), "quick": way("quick", [3.0])}, 2, setting, path)
    assert done == ["slow", "quick"] * 2
    slow, quick = folder.summary(rows, 10)
    assert quick["ratios"] == [4, 2] and quick["ratio"] == 3 and slow["a_second"] == pytest.approx(10 / 7)
    folder.measure({"slow": way("slow", [1.0])}, 1, {"pictures": 11}, path)
    assert done[-1] == "slow" and len(done) == 5


def test_what_a_server_would_do_by_hand() -> None:
    rates = [{"side": 512, "streams": streams, "threads": 1, "a_second": rate} for streams, rate in ((1, 10.0), (2, 16.0))]
    found = {"cores": 2, "rates": rates, "traffic_mb": 100.0,
             "files": [{"side": 2048, "read": 20.0, "network": 100.0, "rest": 80.0}]}
    said = scale.server(found, 10, bandwidth=50)
    assert said[0].endswith("16.0, which is 0.800 of 2 times one")
    # 10 x 10 x 0.8; 100 / (1 + 0.25 x 9); 50 GB / 100 MB; 10 cores / 0.2 s.
    assert [line.rpartition(": ")[2].removeprefix("at most ") for line in said[1:]] == [
        "80 a second", "31 a second", "500 a second", "50 a second"]


def test_what_another_folder_or_checkout_gave_is_not_taken_for_this_ones(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "ours", lambda paths, *_, **__: (seen.append([read_image(path).mean() for path in paths]),
                                                                 (1.0, 1.0))[1])
    monkeypatch.setattr(folder, "other", lambda paths, model, checkout: (seen.append(checkout.name), (1.0, 1.0))[1])
    for name, value in (("dark", 20), ("bright", 220)):
        write_picture(tmp_path / name / "a.png", np.full((32, 32, 3), value, np.uint8))
        (tmp_path / name / "inference_openvino.py").touch()
        seen: list = []
        assert folder.main(["--image-dir", str(tmp_path / name), "--pictures", "1", "--megapixels", "1", "1", "--turns", "1",
                            "--before", str(tmp_path / name), "--output", str(tmp_path / "b.json")]) == 0
        assert seen[0] == name and seen[1:] == [[pytest.approx(value, abs=2)]] * 2
    # The same once more, and another checkout: only its turn is lacking.
    seen.clear()
    folder.main(["--image-dir", str(tmp_path / "bright"), "--pictures", "1", "--megapixels", "1", "1", "--turns", "1",
                 "--before", str(tmp_path / "dark"), "--output", str(tmp_path / "b.json")])
    assert seen == ["dark"]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in image-dir"):
        folder.enlarge(tmp_path, 1, (1.0, 1.0), tmp_path / "p")
