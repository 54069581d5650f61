"""How Ctrl-C and SIGTERM end a command: both as an `Interrupted`, so that what it has begun is taken back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


# Of its own kind: a plain KeyboardInterrupt that comes while some library runs `exec("…")` has Python end by a signal,
# whoever catches it later (CPython, `run_eval_code_obj`).
class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by Ctrl-C, SIGTERM or a cancel in the UI."""


@contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Have Ctrl-C and SIGTERM raise `Interrupted` meanwhile; for the main thread.

    Gives a function that returns the exit code of an interrupted command, 128 and the number of the first signal that
    came, as a shell tells it; 0 where none came.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    # While a run goes on, Dagster puts handlers of its own in their place, which forget the number; this is written to
    # whatever the handlers are (Python, `signal.set_wakeup_fd`).
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def exit_code() -> int:
        with suppress(BlockingIOError):
            return 128 + os.read(reader, 1)[0]
        return 0

    try:
        with _handling(_interrupt):
            yield exit_code
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what comes meanwhile until the end: for short work that must not be left half-done.

    In another thread than the main one, where no interrupt is raised, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with _handling(lambda number, _frame: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {each: signal.signal(each, handler) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler_before in before.items():
            signal.signal(each, handler_before)
