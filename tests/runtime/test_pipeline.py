from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from src.runtime.pipeline import DEPTH, Pipeline, Stage


def test_what_comes_out_is_in_order_and_went_through_every_stage() -> None:
    def uneven(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.002 * (item % 3))
            yield item + 1

    found = list(Pipeline(range(50), [Stage("uneven", uneven), Stage("double", lambda items: (2 * x for x in items))]))
    assert found == [2 * (x + 1) for x in range(50)]


def test_stages_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=5)

    def meet(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            both.wait()     # passes only if the other stage is at work too
            yield item

    def first(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            yield item
            both.wait()

    assert list(Pipeline(range(5), [Stage("first", first), Stage("second", meet)])) == list(range(5))


def test_a_source_runs_ahead_by_no_more_than_the_queues_hold() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for index in range(10_000):
            taken += 1
            yield index

    before = threading.active_count()
    with contextlib.closing(iter(Pipeline(source(), [Stage("one", iter), Stage("two", iter)]))) as items:
        for done, _ in enumerate(items):
            assert taken - done <= 3 * (DEPTH + 1) + 2
            if done == 300:
                break
    assert taken < 400 and threading.active_count() == before


@pytest.mark.parametrize("where", ["source", "stage"])
def test_an_error_anywhere_is_raised_and_the_threads_end(where: str) -> None:
    def breaking(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            if item == 7:
                raise ValueError("seven")
            yield item

    source = breaking(iter(range(100))) if where == "source" else range(100)
    before = threading.active_count()
    with pytest.raises(ValueError, match="seven"):
        list(Pipeline(source, [Stage("work", breaking if where == "stage" else iter)]))
    assert threading.active_count() == before


def test_seconds_leave_waiting_out() -> None:
    def slow(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.02)
            yield item

    pipeline = Pipeline(range(10), [Stage("quick", iter), Stage("slow", slow)])
    list(pipeline)
    assert list(pipeline.seconds) == ["decode", "quick", "slow"]
    assert pipeline.seconds["slow"] >= 0.2 > pipeline.seconds["quick"]
