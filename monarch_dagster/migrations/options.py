"""How to migrate a database; what Alembic is asked for says no more than which revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL

from monarch_dagster.migrations.transcript import Transcript
from monarch_dagster.postgres.engines import find_loss

LOCK_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Options:
    """How to migrate: where, and what the person who asked for it approved."""

    url: URL
    shadow: bool = False
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS
    approved: frozenset[str] = frozenset()
    # Revisions that may run without a proof, for the ledger.
    unproved: frozenset[str] = frozenset()
    # What asked for it, for the ledger: a Dagster run's id, or a command.
    run: str = "alembic"
    # Whether the caller holds the target's lock.
    locked: bool = False
    # The content of revisions whose script here is another one, since it stands behind another revision.
    originals: Mapping[str, bytes] = field(default_factory=dict)
    # What revisions send, which is sent instead of running their scripts here.
    transcripts: Mapping[str, Transcript] = field(default_factory=dict)
    # Told, under the lock, the revisions that the database holds; it may refuse to go on.
    on_start: Callable[[Sequence[str]], None] = field(default=lambda _revisions: None)
    # Told the revisions that an upgrade is about to run; it may refuse them.
    on_steps: Callable[[Sequence[str]], None] = field(default=lambda _revisions: None)
    on_step: Callable[[str, float], None] = field(default=lambda _revision, _seconds: None)
    # Called, under the lock, when all revisions have run.
    on_end: Callable[[], None] = field(default=lambda: None)
    # Called, under the lock, where a revision failed or was refused, or something in front of one.
    on_stop: Callable[[], None] = field(default=lambda: None)

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Call `on_stop` where what runs meanwhile fails while the server is there; the error stays the error."""
        try:
            yield
        except Exception as error:
            if find_loss(error) is None:
                self.on_stop()
            raise
