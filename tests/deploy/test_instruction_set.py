"""Which vectors a machine has, told from what the kernel says of its CPU."""
from __future__ import annotations

from pathlib import Path

import pytest

from src.deploy import instruction_set
from src.deploy.instruction_set import available, chosen, lanes

FLAGS = {"none": "fpu sse2", "avx2": "fpu avx2", "skylake": "avx2 avx512f avx512bw",
         "zen4": "avx2 avx512f avx512bw avx512_vnni"}


@pytest.mark.parametrize(("machine", "most", "found"), [
    ("none", "", []), ("avx2", "", ["avx2"]), ("skylake", "", ["avx2", "avx512"]), ("zen4", "", ["avx2", "avx512", "vnni"]),
    ("zen4", "AVX2", ["avx2"]), ("zen4", "AVX512_CORE_VNNI", ["avx2", "avx512", "vnni"])])
def test_the_sets_of_a_machine(monkeypatch: pytest.MonkeyPatch, machine: str, most: str, found: list[str]) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"model name : X\nflags\t: {FLAGS[machine]}\nbugs : avx512_vnni\n")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert available() == found
    assert chosen() == (found or ["avx2"])[-1] and lanes() == (16 if found[1:] else 8)
    for name in {"avx2", "avx512", "vnni"} - set(found):
        with pytest.raises(ValueError, match=f"cpu is {name}, but this machine has"):
            chosen(name)


def test_the_sets_are_ordered_by_their_vectors() -> None:
    assert list(instruction_set.LANES.values()) == sorted(instruction_set.LANES.values())
