"""The command line of bench/sizes.py."""
from __future__ import annotations

import pytest

pytest.importorskip("openvino")

from tests.conftest import bench_script


def test_two_networks_of_one_name_are_refused_instead_of_the_last_one_counting(capsys: pytest.CaptureFixture) -> None:
    sizes = bench_script("sizes")
    with pytest.raises(SystemExit) as ended:
        sizes.parse_args(["--model", "a=x.xml", "b=y.xml", "a=z.xml", "--data-dir", "d"])
    assert ended.value.code == 2 and "--model has the name a twice" in capsys.readouterr().err
