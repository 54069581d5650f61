"""The advisory locks that make applying serial (DESIGN rule 7).

One lock for the whole of an apply, on a connection of its own, taken by polling: a session that waits inside
`pg_advisory_lock` holds a snapshot, and a concurrent index build under the lock then waits for it for ever. A second
one, taken by each revision's transaction, keeps a killed client's backend, which may still be at work, from overlapping
with the next apply. Advisory locks are local to a database, so the keys are constants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, display

LOCK_CLASS = 1297043779  # 'MONC' as a number; any constant does
APPLY_LOCK = 1
REVISION_LOCK = 2
POLL_SECONDS = 0.25
WAIT_SECONDS = 600

_HOLDER = """
SELECT a.pid, a.application_name, a.usename, now() - a.backend_start AS age
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def apply_lock(url: URL, report: Callable[[str], None], *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the target's apply lock; `report` is told once who holds it when there is a wait.

    Raises `MonarchError` when it is not free within `wait_seconds`.
    """
    with connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + wait_seconds
        told = False
        while not _try_lock(connection):
            if not told:
                report(f"Waiting for the migration lock of {display(url)}, held by {_holder(connection)}.")
                told = True
            if time.monotonic() > deadline:
                raise MonarchError(
                    f"The migration lock of {display(url)} was not free within {wait_seconds:.0f} seconds; "
                    f"it is held by {_holder(connection)}.",
                    remedy="Wait for that run to end, or end its connection with pg_terminate_backend, then run again.",
                )
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(exc.DBAPIError):  # the connection may be gone, and the lock with it
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))


def lock_revision(connection: Connection) -> None:
    """Take the transaction's own lock; it waits at most `lock_timeout`, which the caller has set."""
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_CLASS, REVISION_LOCK))


def _try_lock(connection: Connection) -> bool:
    statement = "SELECT pg_try_advisory_lock(%s, %s)"
    return bool(connection.exec_driver_sql(statement, (LOCK_CLASS, APPLY_LOCK)).scalar_one())


def _holder(connection: Connection) -> str:
    row = connection.exec_driver_sql(_HOLDER, (LOCK_CLASS, APPLY_LOCK)).first()
    if row is None:
        return "a session that has just ended"
    return f"{row.application_name or 'a client'} (user {row.usename}, backend {row.pid}, connected for {row.age})"
