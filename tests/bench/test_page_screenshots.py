"""What is looked at before the page and a browser are started for screenshots."""
from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av")

from tests.conftest import bench_script, status_of


def test_what_is_lacking_is_one_line_before_the_page_is_started(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    shots = bench_script("page_screenshots")
    monkeypatch.setattr(shots, "served", lambda port: pytest.fail("the page was started"))
    for option, said in (("--video", "no video at none.mp4"), ("--picture", "no picture at none.mp4")):
        assert status_of(shots.main, option, "none.mp4", "--output-dir", tmp_path) == 2
        assert capsys.readouterr().err == f"error: {said}\n"
    monkeypatch.setattr(shots.importlib.util, "find_spec", lambda name: None)
    assert status_of(shots.main, "--output-dir", tmp_path) == 2
    assert capsys.readouterr().err == "error: the screenshots need selenium: pip install selenium\n"
