"""Several pictures at once: order, memory, and how it ends."""
from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from src.console import note
from src.runtime import pool
from src.runtime.pool import PixelRoom, networks_at_once, side_by_side


def lines(work: Callable[[int], str], count: int, *, at_once: int = 4,
          pixels: Callable[[int], int] = lambda _: 1) -> list[str]:
    """What each thing said, or its error."""
    found = []
    with contextlib.closing(side_by_side(work, range(count), at_once=at_once, pixels=pixels)) as attempts:
        for attempt in attempts:
            try:
                found.append(attempt())
            except ValueError as error:
                found.append(f"error: {error}")
    return found


def test_lines_errors_and_notes_come_in_order_whichever_is_done_first(capsys: pytest.CaptureFixture) -> None:
    def work(number: int) -> str:
        time.sleep(0.02 * (number % 3 == 0))
        note(f"order {number}")
        if number % 5 == 2:
            raise ValueError(f"bad {number}")
        return f"good {number}"

    assert lines(work, 300) == [f"{'error: bad' if n % 5 == 2 else 'good'} {n}" for n in range(300)]
    assert capsys.readouterr().err == "".join(f"note: order {number}\n" for number in range(300))


def test_four_are_at_work_at_the_same_time_and_no_more() -> None:
    four, busy, most = threading.Barrier(4, timeout=10), set(), []

    def work(number: int) -> str:
        busy.add(number)
        four.wait()     # passes only if three others are at work too
        most.append(len(busy))
        four.wait()
        busy.remove(number)
        return ""

    before = threading.active_count()
    lines(work, 8)
    assert set(most) == {4} and threading.active_count() == before


def test_pictures_at_work_have_no_more_pixels_than_there_is_room_for_and_a_larger_one_is_alone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LEAST_PIXELS", 10)
    monkeypatch.setattr(pool, "PIXELS_EACH", 0)
    sizes, inside, seen, lock = [3, 4, 5, 25, 1, 2, 9, 9, 1, 1] * 4, [], [], threading.Lock()

    def work(number: int) -> str:
        with lock:
            inside.append(sizes[number])
            seen.append(tuple(inside))
        time.sleep(0.002)
        with lock:
            inside.remove(sizes[number])
        return ""

    lines(work, len(sizes), pixels=sizes.__getitem__)
    assert all(sum(together) <= 10 or together == (25,) for together in seen) and len(seen) == len(sizes)
    assert any(len(together) > 1 for together in seen)


def test_a_large_picture_is_not_passed_by_small_ones() -> None:
    room, came = PixelRoom(10), []

    def ask(pixels: int) -> None:
        with room.holding(pixels):
            came.append(pixels)

    with room.holding(1):
        threads = []
        for pixels in (10, 2, 3):
            threads.append(threading.Thread(target=ask, args=(pixels,)))
            threads[-1].start()
            time.sleep(0.05)
        assert came == []
    for thread in threads:
        thread.join()
    assert came[0] == 10


def test_what_is_no_fault_of_one_picture_ends_all_and_is_what_is_raised() -> None:
    tried = []

    def work(number: int) -> str:
        tried.append(number)
        time.sleep(0.01)
        if number == 6:
            raise OSError("disk full")
        return str(number)

    before = threading.active_count()
    with pytest.raises(OSError, match="disk full"):
        lines(work, 1000)
    assert max(tried) < 20 and threading.active_count() == before


def test_whoever_has_enough_closes_and_nothing_more_is_begun() -> None:
    begun = []

    def work(number: int) -> str:
        begun.append(number)
        time.sleep(0.005)
        return str(number)

    with contextlib.closing(side_by_side(work, range(10_000), at_once=2, pixels=lambda _: 1)) as attempts:
        assert next(attempts)() == "0"
    count = len(begun)
    time.sleep(0.05)
    assert count == len(begun) < 100


def test_as_many_networks_as_fit_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 8)
    assert [networks_at_once(100, threads) for threads in (None, 1, 3, 8, 9)] == [8, 8, 2, 1, 1]
    assert networks_at_once(3, None) == 3
