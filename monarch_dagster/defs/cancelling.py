"""Cancelling a run that Dagster's launcher did not start: one of a command, or of the API.

A cancel in the UI reaches a process through the code server that started it. Of any other run Dagster notes the wish
and tells nobody, so the process that works at it looks.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg

LOOK_SECONDS = 2
_CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


@contextmanager
def heeding_cancels(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Interrupt this process, as Ctrl-C does, when the run that it works at meanwhile is cancelled in the UI."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            with suppress(Exception):  # where the storage is away, the run itself says so
                run = instance.get_run_by_id(run_id)
                if run is not None and run.status in _CANCELLED and not done.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
                    return

    looking = threading.Thread(target=look, name="heeding-cancels", daemon=True)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()
