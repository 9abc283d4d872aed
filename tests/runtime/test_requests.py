"""One network, many threads."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")

from src.runtime.matting import SHAPES_KEPT, Matting
from src.runtime.requests import RequestPool


def pictures(count: int) -> list[np.ndarray]:
    """Pictures of different sizes and contents."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (40 + 7 * index, 160 - 11 * index, 3), dtype=np.uint8) for index in range(count)]


@pytest.mark.parametrize(("kind", "hint"), [("free", "latency"), ("free", "throughput"), ("static", "throughput")])
def test_sixty_calls_from_six_threads_give_what_they_give_alone(tiny_xml: dict[str, Path], kind: str, hint: str) -> None:
    matting, given = Matting(tiny_xml[kind], hint=hint, ref_size=64 if kind == "free" else None), pictures(10)
    alone = [matting.alpha(picture) for picture in given]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(matting.alpha, given * 6))
    for expected, found in zip(alone * 6, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_started_inferences_of_several_threads_are_not_mixed_up(tiny_xml: dict[str, Path]) -> None:
    matting, given = Matting(tiny_xml["static"], hint="throughput"), pictures(8)

    def both(picture: np.ndarray) -> np.ndarray:
        return matting.finish(matting.start(picture))

    alone = [both(picture) for picture in given]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(both, given * 6))
    for expected, found in zip(alone * 6, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_milliseconds_are_those_of_the_threads_own_last_call(tiny_xml: dict[str, Path]) -> None:
    matting = Matting(tiny_xml["static"])
    assert matting.milliseconds == {}
    matting.alpha(pictures(1)[0])
    mine, others = matting.milliseconds, []

    def other() -> None:
        others.append(matting.milliseconds)
        matting.alpha(pictures(1)[0])
        others.append(matting.milliseconds)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert matting.milliseconds is mine and others[0] == {} and list(others[1]) == list(mine)


class SlowNetwork:
    """A compiled network of two requests at once, which knows how many were made and asked at once."""

    def __init__(self) -> None:
        self.made = self.busy = self.most = 0

    def get_property(self, name: str) -> int:
        return 2

    def create_infer_request(self) -> SlowNetwork:
        self.made += 1
        return self

    def infer(self, inputs: list[np.ndarray], *, share_inputs: bool) -> list[np.ndarray]:
        self.busy += 1
        self.most = max(self.most, self.busy)
        time.sleep(0.01)
        self.busy -= 1
        if inputs[0].size == 0:
            raise RuntimeError("nothing to see")
        return inputs


def test_no_more_requests_than_the_device_works_on_even_after_failures() -> None:
    network = SlowNetwork()
    requests = RequestPool(network)

    def ask(size: int) -> int:
        try:
            return requests.infer(np.zeros(size))[0].size
        except RuntimeError:
            return -1

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [1, 0, 2] * 8)) == [1, -1, 2] * 8
    assert (network.made, network.most) == (2, 2)


def test_openvino_is_told_to_keep_compiled_code_for_few_sizes(tiny_xml: dict[str, Path]) -> None:
    # That this bounds memory was measured: docs/deployment.md.
    config = Matting(tiny_xml["free"])._compile.keywords["config"]
    assert config["CPU_RUNTIME_CACHE_CAPACITY"] == SHAPES_KEPT <= 100


def test_networks_that_threads_load_at_once_are_loaded_one_after_the_other(tiny_xml: dict[str, Path],
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [], []

    def watched(*given: object) -> None:
        inside.append(given)
        time.sleep(0.02)
        most.append(len(inside))
        inside.pop()

    monkeypatch.setattr("src.runtime.network.check_constants", watched)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Matting(tiny_xml["static"]).alpha(pictures(1)[0]), range(4)))
    assert most == [1] * 4
    for matte in found:
        np.testing.assert_array_equal(matte, found[0])
