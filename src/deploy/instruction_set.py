"""Which vectors a CPU has, and so which rewrites of a network help it. No torch, no OpenVINO here."""
from __future__ import annotations

import os
import platform
from pathlib import Path

# Floats in a vector of each instruction set, the least first.
LANES = {"avx2": 8, "avx512": 16, "vnni": 16}
FLAGS = {"avx2": "avx2", "avx512": "avx512bw", "vnni": "avx512_vnni"}
CHOICES = ("auto", *LANES)


def available() -> list[str]:
    """Those of `LANES` that this machine has and that `ONEDNN_MAX_CPU_ISA` does not forbid, the least first."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:  # another system: what every CPU since 2013 has
        flags = {"avx2"} if platform.machine().lower() in ("x86_64", "amd64") else set()
    if "avx512" not in (most := os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower()) and most not in ("", "default", "all"):
        flags -= set(FLAGS.values()) - {"avx2"}
    return [name for name in LANES if FLAGS[name] in flags]


def chosen(cpu: str = "auto") -> str:
    """Return `cpu`, or for `auto` the best that this machine has (`avx2` where it has none).

    Raises `ValueError` for what it lacks.
    """
    found = available()
    if cpu == "auto":
        return found[-1] if found else "avx2"
    if cpu not in found:
        raise ValueError(f"cpu is {cpu}, but this machine has {', '.join(found) or 'none of ' + ', '.join(LANES)}")
    return cpu


def lanes(cpu: str = "auto") -> int:
    """Return floats in a vector of `cpu`. Raises `ValueError` as `chosen`."""
    return LANES[chosen(cpu)]
