"""What a function hands over is used while it goes on, and an early end or an error stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from monarch_dagster.streaming import AHEAD, streamed

SECONDS = 10


def handing() -> list[str]:
    """Return the threads that hand something over now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streamed")]


def test_all_comes_in_its_order_also_what_counts_as_nothing() -> None:
    given: list[int | None] = [0, None, *range(AHEAD * 3)]

    def produce(hand_over: Callable[[int | None], None]) -> None:
        for item in given:
            hand_over(item)

    assert list(streamed(produce)) == given
    assert list(streamed(lambda _hand_over: None)) == []


def test_the_first_is_used_before_the_last_is_made() -> None:
    used = threading.Event()

    def produce(hand_over: Callable[[str], None]) -> None:
        hand_over("first")
        assert used.wait(SECONDS), "nobody used the first"
        hand_over("last")

    items = streamed(produce)
    assert next(items) == "first"
    used.set()
    assert list(items) == ["last"]


def test_an_error_comes_behind_what_was_handed_over_before_it() -> None:
    def produce(hand_over: Callable[[str], None]) -> None:
        hand_over("first")
        raise ValueError("no second")

    items = streamed(produce)
    assert next(items) == "first"
    with pytest.raises(ValueError, match="no second"):
        next(items)
    assert not handing()


def test_closed_early_nothing_goes_on() -> None:
    ended = threading.Event()

    def produce(hand_over: Callable[[int], None]) -> None:
        try:
            for number in range(10**9):
                hand_over(number)
        finally:
            ended.set()

    items = streamed(produce)
    assert next(items) == 0
    items.close()
    assert ended.is_set()
    assert not handing()
