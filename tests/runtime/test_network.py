"""What OpenVINO leaves behind in a process."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

from tests.conftest import ROOT

# With a `Core` each, the second network to go puts back the signal stack that the first unmapped.
SIGNALLED = """
import os, signal, sys
from src.runtime.matting import Matting
first, second = Matting(sys.argv[1]), Matting(sys.argv[1])
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_signals_are_handled_after_networks_have_gone_in_any_order(tiny_xml: dict[str, Path]) -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(tiny_xml["static"])], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_importing_openvino_reports_to_nobody() -> None:
    code = ("from src.runtime.network import import_openvino; import_openvino();"
            "import openvino.tools.ovc.telemetry_utils as t; print(t.tm.__name__)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


BOUND = """
import contextlib, os, sys
from pathlib import Path
import numpy as np
from src.runtime.matting import Matting
matting = Matting(sys.argv[1], threads=1, at_once=int(sys.argv[2]) or None)
picture, seen = np.zeros((512, 512, 3), np.uint8), set()
for _ in range(3):
    under_way = matting.start(picture)
    while not under_way.matte.done():
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                seen.add(len(os.sched_getaffinity(int(task.name))))
    matting.finish(under_way)
print(*seen)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: every thread is on it")
@pytest.mark.parametrize("at_once", [0, 2])
def test_no_thread_of_a_network_is_bound_to_one_core_as_those_of_other_processes_are(tiny_xml: dict[str, Path],
                                                                                      at_once: int) -> None:
    done = subprocess.run([sys.executable, "-c", BOUND, str(tiny_xml["free"]), str(at_once)], check=True,
                          capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == [str(len(os.sched_getaffinity(0)))]
