"""What waits for what: a lane for each job, and the status. The processes are in `processes`, the runs in `runs`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from monarch_dagster.api.processes import Child
from monarch_dagster.api.runs import Runs, execute
from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.settings import Settings

log = logging.getLogger(__name__)

# A hundred runs with nothing to do take two minutes; who calls more often than that is in error.
LONGEST_QUEUE = 100
_ENDED = "The API was ended before this run started."


class TooManyCallsError(MonarchError):
    """More runs of a job wait than any caller can want."""


class ClosingError(MonarchError):
    """The server ends; nothing is begun any more."""


@dataclass(eq=False)
class Ticket:
    """A run that waits for its turn, or has it."""

    run_id: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Lane:
    """The runs of one job, one at a time in a process of its own, in the order of the calls.

    They would wait for each other in the database (the migration lock) or the schema folder (its lock) anyway; here a
    waiting call costs nothing, however many there are, and a long apply keeps no proposal from being generated.
    """

    def __init__(self, runs: Runs, job: str) -> None:
        """Take where runs are written down, and the job's name."""
        self._runs, self.job = runs, job
        self._waiting: deque[Ticket] = deque()
        self._arriving = 0
        self._child: Child | None = None
        self._worker: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self, config: dict[str, Any]) -> Ticket:
        """Write down a run and have it executed when its turn comes.

        Raises `TooManyCallsError`, `ClosingError`, or `StorageError` where it could not be written down.
        """
        if self._stopped:
            raise ClosingError("The API is ending.", remedy="Call again when it is back.")
        if len(self._waiting) + self._arriving >= LONGEST_QUEUE:
            raise TooManyCallsError(
                f"{counted(LONGEST_QUEUE, 'run')} of {self.job} wait already.",
                remedy="Wait for them; one run does what any number of equal calls ask for.",
            )
        self._arriving += 1
        try:
            ticket = Ticket(await asyncio.to_thread(self._runs.create, self.job, config))
        finally:
            self._arriving -= 1
        self._waiting.append(ticket)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return ticket

    def stop(self) -> None:
        """Interrupt the run that has its turn, and let none follow."""
        self._stopped = True
        if self._child is not None:
            self._child.stop()

    async def finished(self) -> None:
        """Wait until nothing is left to do."""
        while self._arriving or (self._worker is not None and not self._worker.done()):
            await asyncio.sleep(0.05)

    async def _work(self) -> None:
        while self._waiting:
            ticket = self._waiting.popleft()
            try:
                reason = _ENDED if self._stopped else await self._execute(ticket)
                # Ends it where its process did not: killed, or unable to open Dagster's storage.
                await asyncio.to_thread(self._runs.end, ticket.run_id, reason)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one has its turn
                log.error("The end of the run %s could not be written down: %s", ticket.run_id, error)
            finally:
                ticket.ended.set()

    async def _execute(self, ticket: Ticket) -> str:
        """Execute a run; return what to say of it where it did not say itself how it ended."""
        started = time.monotonic()
        self._child = Child(execute, ticket.run_id)
        try:
            ending = await self._child.run()
        except (OSError, EOFError) as error:
            return f"No process could be started for this run: {error or 'the one that is forked has ended'}."
        finally:
            self._child = None
        log.info("%s: run %s ended after %.1f s", self.job, ticket.run_id, time.monotonic() - started)
        if ending.error is not None:
            return str(ending.error)
        return f"The process of this run ended before the run did (exit code {ending.exit_code})."


class StatusReader:
    """The status, read by one process at a time for all who ask."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._next: asyncio.Task[dict[str, Any]] | None = None
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._stopped = False

    async def read(self) -> dict[str, Any]:
        """Return a status that was read after this call came: with others who wait, but not one begun before it.

        Raises `MonarchError` where it cannot be read.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        # One caller who hangs up takes it from no other.
        return await asyncio.shield(self._next)

    def stop(self) -> None:
        """Interrupt it."""
        self._stopped = True
        if self._child is not None:
            self._child.stop()

    async def _read(self) -> dict[str, Any]:
        async with self._turn:
            self._next = None
            if self._stopped:
                raise ClosingError("The API is ending.", remedy="Call again when it is back.")
            self._child = Child(read_status)
            try:
                ending = await self._child.run()
            finally:
                self._child = None
        if ending.error is not None:
            raise ending.error
        if ending.result is None:
            raise MonarchError(
                f"The status could not be read: its process ended with exit code {ending.exit_code}.",
                remedy="See what the API printed, or run `monarch status` on its machine.",
            )
        found: dict[str, Any] = ending.result
        return found


class Work:
    """All that the server has going: the lanes of its jobs, and the status."""

    def __init__(self, runs: Runs) -> None:
        """Take where runs are written down."""
        self.runs = runs
        self.generate = Lane(runs, "generate_migrations")
        self.run = Lane(runs, "run_migrations")
        self.status = StatusReader()

    def stop(self) -> None:
        """Interrupt what goes on; it takes back what it has begun, and nothing follows it."""
        for each in (self.generate, self.run, self.status):
            each.stop()

    async def finished(self) -> None:
        """Wait until every run has its end in the history."""
        for lane in (self.generate, self.run):
            await lane.finished()


def read_status() -> dict[str, Any]:
    """Read the object of `monarch status --json`. Raises `MonarchError` where the target cannot be read."""
    from monarch_dagster.migrations.status import read_status as read

    settings = Settings.load()
    return read(settings.sources, settings.shadows, settings.target_url()).to_json()
