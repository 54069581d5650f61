"""The advisory locks that make applying serial (DESIGN rule 7).

One lock for the whole of an apply, on a connection of its own, taken by polling: a session that waits inside
`pg_advisory_lock` holds a snapshot, and a concurrent index build under the lock then waits for it for ever. A second
one, taken by each revision where it runs, keeps a killed client's backend, which may still be at work, from overlapping
with the next apply: whoever has got the first waits for it too, before anything is looked at. Advisory locks are local
to a database, so the keys are constants.

Holds also who is in the way: of the apply lock, and of a revision that was rolled back for a lock that was not free.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import URL, Connection, Row, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, display, reading, run_script

LOCK_CLASS = 1297043779  # 'MONC' as a number; any constant does
APPLY_LOCK = 1
REVISION_LOCK = 2
POLL_SECONDS = 0.25
WAIT_SECONDS = 600
TELL_AGAIN_SECONDS = 30
SHOWN_BLOCKERS = 5
SHOWN_QUERY = 80

_LOCK_REVISION = "SELECT pg_advisory_xact_lock(%s, %s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s, %s)"
# PostgreSQL, "pg_stat_activity" and "pg_stat_get_activity": others' name, user and process are for everyone to see, the
# rest is null (the query a remark) without pg_read_all_stats.
_HOLDER = """
SELECT a.pid, a.application_name, a.usename, clock_timestamp() - a.backend_start AS age
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_HIDDEN_QUERY = "<insufficient privilege>"
# The strongest lock first: it is the likeliest to be in the way. A prepared transaction has locks and no process.
_BLOCKERS = """
SELECT n.nspname AS schema, c.relname AS name, l.pid, a.usename, a.state, a.query,
  coalesce(nullif(a.application_name, ''), nullif(a.backend_type, 'client backend')) AS client,
  clock_timestamp() - a.xact_start AS age
FROM pg_locks l
LEFT JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND a.backend_type IS DISTINCT FROM 'parallel worker'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.locktype = 'relation' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    OR l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2)
ORDER BY array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
  'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock', 'AccessShareLock'], l.mode), a.xact_start, 1, 2, 3
"""
# One round trip, and no error where the server does not know the setting, or its platform refuses it.
_NOTICE_LOST_CLIENT = """
DO $$ BEGIN
  SET client_connection_check_interval = '1s';
EXCEPTION WHEN undefined_object OR invalid_parameter_value THEN NULL;
END $$
"""
_IDENTIFIER = r'"(?:[^"\n]|"")+"|[^\W\d][\w$]*'
_NAME = re.compile(rf"(?:({_IDENTIFIER})\s*\.\s*)?({_IDENTIFIER})")


@contextmanager
def apply_lock(url: URL, report: Callable[[str], None], *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the target's apply lock; when there is a wait, `report` is told who holds it, again now and then.

    It is had when no revision runs any more: a killed client's backend may just be committing one.

    Raises `MonarchError` when it is not free within `wait_seconds`.
    """
    with connect(url, autocommit=True) as connection:
        _wait_for_lock(connection, APPLY_LOCK, url, report, wait_seconds)
        _wait_for_lock(connection, REVISION_LOCK, url, report, wait_seconds)
        connection.exec_driver_sql(_UNLOCK, (LOCK_CLASS, REVISION_LOCK))
        try:
            yield
        finally:
            with suppress(exc.DBAPIError):  # the connection may be gone, and the lock with it
                connection.exec_driver_sql(_UNLOCK, (LOCK_CLASS, APPLY_LOCK))


def who_migrates(url: URL) -> str:
    """Return who holds the target's apply lock, "" where nobody does. Raises `MonarchError` as `reading` does."""
    with reading(url) as connection:
        holder = connection.exec_driver_sql(_HOLDER, (LOCK_CLASS, APPLY_LOCK)).first()
    return _named(holder) if holder is not None else ""


@contextmanager
def keep_revision_lock(connection: Connection) -> Iterator[None]:
    """Keep the lock of the connection's transaction, which has it, for a revision that leaves that transaction.

    Where the revision fails, it is kept until the connection ends: nobody but this run waits for it meanwhile.
    """
    connection.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, REVISION_LOCK))
    yield
    connection.exec_driver_sql(_UNLOCK, (LOCK_CLASS, REVISION_LOCK))


def lock_revision(connection: Connection) -> None:
    """Take the transaction's own lock; it waits at most `lock_timeout`, which the caller has set."""
    connection.exec_driver_sql(_LOCK_REVISION, (LOCK_CLASS, REVISION_LOCK))


def notice_lost_client(connection: Connection) -> None:
    """Have the server end this session's statement within a second when its client has gone, where it can do so.

    The caller commits: a rollback takes it back. Without it, a killed client's backend works on until its statement
    ends. Source: PostgreSQL, "Connections and Authentication", `client_connection_check_interval` (from 14 on; Linux,
    macOS, illumos and the BSDs).
    """
    run_script(connection, _NOTICE_LOST_CLIENT)


def describe_blockers(connection: Connection, statement: str) -> str:
    """Return who holds locks on the relations that a statement names, a line each; "" where nobody is seen any more.

    To be called when `statement` was rolled back because a lock was not free in time, or by a deadlock. Of the sessions
    of other users it tells as much as the connection's role may see. It ends the connection's transaction.
    """
    named = find_names(statement)
    wants_revision_lock = _LOCK_REVISION in statement
    try:
        rows = connection.exec_driver_sql(_BLOCKERS, (LOCK_CLASS, REVISION_LOCK)).all()
        connection.rollback()
    except exc.DBAPIError:
        return ""  # it explains another error, and must not hide it
    # A session may hold several locks on one relation.
    lines = list(
        dict.fromkeys(
            f"{_locked(row)} {_session(row)}"
            for row in rows
            if (wants_revision_lock if row.name is None else _is_named(row.schema, row.name, named))
        )
    )
    if len(lines) > SHOWN_BLOCKERS:
        lines[SHOWN_BLOCKERS:] = [f"… and {len(lines) - SHOWN_BLOCKERS} more"]
    return "\n".join(lines)


def find_names(statement: str) -> set[tuple[str, str]]:
    """Return whatever in a statement may be a relation's name, as (schema, name); schema "" where none is written.

    It is a guess: keywords and columns are among them.
    """
    return {(_fold(schema), _fold(name)) for schema, name in _NAME.findall(statement)}


def _fold(identifier: str) -> str:
    # PostgreSQL, "Identifiers and Key Words".
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier.lower()


def _is_named(schema: str, name: str, named: Collection[tuple[str, str]]) -> bool:
    return (schema, name) in named or ("", name) in named


def _locked(row: Row[Any]) -> str:
    return f"{row.schema}.{row.name} is locked by" if row.name else "the lock of the running revision is held by"


def _session(row: Row[Any]) -> str:
    if row.pid is None:
        return "a prepared transaction (see pg_prepared_xacts)"
    user = [f"user {row.usename}"] if row.usename else []
    doing = [f"{row.state}{f' for {_seconds(row.age)}' if row.age else ''}"] if row.state else []
    words = "".join(character if character.isprintable() else " " for character in row.query or "").split()
    query = "" if row.query == _HIDDEN_QUERY else " ".join(words)
    cut = f"{query[:SHOWN_QUERY]} …" if len(query) > SHOWN_QUERY else query
    about = ", ".join([*user, f"backend {row.pid}", *doing])
    return f"{row.client or 'a client'} ({about}){f': {cut}' if cut else ''}"


def _wait_for_lock(
    connection: Connection, lock: int, url: URL, report: Callable[[str], None], wait_seconds: float
) -> None:
    deadline = time.monotonic() + wait_seconds
    told: int | None = None
    tell_again = 0.0
    while not _try_lock(connection, lock):
        holder = connection.exec_driver_sql(_HOLDER, (LOCK_CLASS, lock)).first()
        now = time.monotonic()
        if holder is not None and (holder.pid != told or now >= tell_again):
            report(f"Waiting for the migration lock of {display(url)}, held by {_named(holder)}.")
            told, tell_again = holder.pid, now + TELL_AGAIN_SECONDS
        if now > deadline:
            raise MonarchError(
                f"The migration lock of {display(url)} was not free within {wait_seconds:.0f} seconds; "
                f"it is held by {_named(holder)}.",
                remedy="Wait for that run to end, or end its connection with pg_terminate_backend, then run again.",
            )
        time.sleep(POLL_SECONDS)


def _try_lock(connection: Connection, lock: int) -> bool:
    statement = "SELECT pg_try_advisory_lock(%s, %s)"
    return bool(connection.exec_driver_sql(statement, (LOCK_CLASS, lock)).scalar_one())


def _named(holder: Row[Any] | None) -> str:
    if holder is None:
        return "a session that has just ended"
    connected = f", connected for {_seconds(holder.age)}" if holder.age else ""
    return f"{holder.application_name or 'a client'} (user {holder.usename}, backend {holder.pid}{connected})"


def _seconds(age: timedelta) -> timedelta:
    return timedelta(seconds=int(age.total_seconds()))
