"""Processes of their own for what the server starts: forks of one that has imported all it needs.

A fresh process would import for three seconds; and what runs in the server's own process cannot be interrupted alone.
A run goes on when the server is killed. What is executed is in `runs`, what waits for what in `lanes`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted, interruptible

# How long a run may take to roll back; PostgreSQL rolls back what is killed by itself.
ENDING_SECONDS = 30
_PRELOADED = [
    "monarch_dagster.api.runs",
    "monarch_dagster.migrations.apply",
    "monarch_dagster.migrations.checks",
    "monarch_dagster.migrations.generate",
    "monarch_dagster.migrations.status",
    "alembic.command",
]
_CONTEXT = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """Have the process that is forked begin to import; for the main thread."""
    _CONTEXT.set_forkserver_preload(_PRELOADED)
    # A Ctrl-C while it imports is the server's to deal with; what is ignored stays so in a new process.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Ending:
    """How a process ended: what it returned, or the error that it raised; neither where it was interrupted or died."""

    exit_code: int
    result: Any = None
    error: MonarchError | None = None


class Child:
    """A process that calls one function in its main thread, where interrupts are raised as in a command."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Take the function of a module, and what it is called with; what it returns must be plain JSON values."""
        self._receiver, self._sender = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_call, args=(self._sender, function, arguments))
        self._lock = threading.Lock()
        self._stopped_at: float | None = None

    async def run(self) -> Ending:
        """Start it, and wait for its end."""
        return await asyncio.to_thread(self._run)

    def stop(self) -> None:
        """Interrupt it, once: a second interrupt would come in the middle of what the first one takes back."""
        with self._lock:
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                if self._process.pid is not None:
                    self._process.terminate()

    def _run(self) -> Ending:
        with self._lock:
            if self._stopped_at is not None:
                return Ending(128 + signal.SIGTERM)
            self._process.start()
        # Only the process has it open from here on, so that its end is the end of what it tells.
        self._sender.close()
        with self._receiver:
            while not self._receiver.poll(1):
                if self._stopped_at is not None and time.monotonic() - self._stopped_at > ENDING_SECONDS:
                    self._process.kill()
            told: dict[str, Any] = {}
            with suppress(EOFError):
                told = json.loads(self._receiver.recv_bytes())
        self._process.join()
        error = MonarchError(told["error"], remedy=told["remedy"]) if "error" in told else None
        return Ending(self._process.exitcode or 0, told.get("result"), error)


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # In a group of its own: a terminal's Ctrl-C is for the server, which passes it on once.
    os.setsid()
    with interruptible() as exit_code:
        try:
            told = {"result": function(*arguments)}
        except Interrupted:
            sys.exit(exit_code() or 128 + signal.SIGINT)
        except MonarchError as error:
            told = {"error": error.message, "remedy": error.remedy}
        # The server may have been killed; what was done stands in Dagster's history.
        with suppress(BrokenPipeError):
            sender.send_bytes(json.dumps(told, default=str).encode())
