"""Streaming: what a function hands over piece by piece, used while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event
from typing import TypeVar

T = TypeVar("T")

# So many are made and not used yet.
AHEAD = 1000
_LOOK_SECONDS = 0.05


def streamed(produce: Callable[[Callable[[T], None]], object]) -> Generator[T, None, None]:
    """Give what `produce` hands to its argument, while it goes on in a thread of its own, a little ahead.

    What it raises is raised here. Closed early, the iterator ends it at what it hands over next.
    """
    queue: Queue[list[T]] = Queue(AHEAD)
    closed = Event()

    def hand_over(item: T) -> None:
        if closed.is_set():
            raise _ClosedError
        queue.put([item])

    def run() -> None:
        try:
            produce(hand_over)
        finally:
            queue.put([])

    with ThreadPoolExecutor(1, "streamed") as pool:
        done = pool.submit(run)
        try:
            while handed := queue.get():
                yield handed[0]
            done.result()
        finally:
            closed.set()
            while not done.done():
                with suppress(Empty):
                    queue.get(timeout=_LOOK_SECONDS)


class _ClosedError(Exception):
    """Nobody wants more."""
