"""A few threads that work off requests while one thread decides what is requested next."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers(Generic[T, R]):
    """Threads that do `work` on what they are given; what comes of it, or the error, is taken in any order.

    Unlike a pool's of `concurrent.futures`, the threads are daemons: a fetch that ended, or a person's Ctrl-C, does not
    wait until an org that is silent has used up its timeout.
    """

    def __init__(self, work: Callable[[T], R], threads: int) -> None:
        """Take what to do and how many at a time; threads are started as they are needed."""
        self._work, self._threads = work, threads
        self._given: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[T, R | BaseException]] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _number in range(self._started):
            self._given.put(None)

    @property
    def busy(self) -> int:
        """How many tasks were given and not taken back."""
        return self._busy

    @property
    def free(self) -> bool:
        """Whether a task would be begun at once."""
        return self._busy < self._threads

    def give(self, task: T) -> None:
        """Have the task worked on."""
        self._busy += 1
        if self._started < min(self._busy, self._threads):
            self._started += 1
            threading.Thread(target=self._run, name=f"salesforce-{self._started}", daemon=True).start()
        self._given.put(task)

    def take(self, timeout: float) -> tuple[T, R | BaseException]:
        """Return a task that is done, and what came of it. Raises `TimeoutError` when none is in that many seconds."""
        try:
            done = self._done.get(timeout=max(0.0, timeout))
        except queue.Empty:
            raise TimeoutError from None
        self._busy -= 1
        return done

    def _run(self) -> None:
        while (task := self._given.get()) is not None:
            try:
                self._done.put((task, self._work(task)))
            except BaseException as error:  # noqa: BLE001 - the thread that takes it raises it
                self._done.put((task, error))
