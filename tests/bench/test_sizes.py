"""The command line of bench/sizes.py."""
from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openvino")

from tests.conftest import bench_script


def test_two_networks_of_one_name_are_refused_instead_of_the_last_one_counting(capsys: pytest.CaptureFixture) -> None:
    sizes = bench_script("sizes")
    with pytest.raises(SystemExit) as ended:
        sizes.parse_args(["--model", "a=x.xml", "b=y.xml", "a=z.xml", "--data-dir", "d"])
    assert ended.value.code == 2 and "--model has the name a twice" in capsys.readouterr().err


def test_errors_on_pictures_that_were_replaced_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, asked = bench_script("sizes"), []
    error = {"mse": 0.1, "interval": [0.0, 0.2], "n": 1}
    monkeypatch.setattr(sizes, "errors_at", lambda path, size, args: asked.append(size) or error)
    monkeypatch.setattr(sizes, "measure_latency", lambda models, **_: dict.fromkeys(models))
    for name in ("x.xml", "x.bin", "d/val/fg/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"one")
    args = sizes.parse_args(["--model", f"a={tmp_path / 'x.xml'}", "--sizes", "320", "--data-dir", str(tmp_path / "d")])
    for count in (1, 1):
        sizes.measure(args, tmp_path / "sizes.json")
        assert len(asked) == count
    (tmp_path / "d/val/fg/a.png").write_bytes(b"two!")
    sizes.measure(args, tmp_path / "sizes.json")
    assert asked == [320, 320]
