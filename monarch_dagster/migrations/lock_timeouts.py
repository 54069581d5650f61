"""How long a revision's statements wait for locks (DESIGN rule 7). What follows when one was not free is others'.

PostgreSQL counts `lock_timeout` for each lock anew. A revision that has one table and waits for the next keeps whoever
reads the first waiting as well, so that in the worst case the waits for all its tables add up for one reader. Hence one
budget for all. A build outside of a transaction is another matter: it keeps nobody waiting, and may wait long itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, event, exc

# lock_not_available, deadlock_detected (PostgreSQL, "Error Codes"): the revision was rolled back and may run again.
PASSING_ERRORS = frozenset({"55P03", "40P01"})
# What each lock still has when the budget is used up, as a part of it: work uses it up, too.
LEAST = 0.2
# Up to this part of it nothing is set anew, which would cost a round trip a statement.
UNCHANGED = 0.1
# An index that is built while others write waits for their transactions to end, and nobody waits for it meanwhile.
BUILD_SECONDS = 3600
# Statements that keep no reader waiting, so that a long one uses nothing up.
_ROWS_ONLY = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SET", "SAVEPOINT"})
# PostgreSQL, "Explicit Locking": SHARE UPDATE EXCLUSIVE lets readers and writers by.
_BUILD = re.compile(r"\b(CONCURRENTLY|VALIDATE\s+CONSTRAINT)\b", re.IGNORECASE)


def may_pass(error: exc.DBAPIError) -> bool:
    """Say whether a revision that failed may succeed when it is tried again: a lock was not free."""
    return getattr(error.orig, "sqlstate", None) in PASSING_ERRORS


@contextmanager
def lock_budget(connection: Connection, seconds: float) -> Iterator[None]:
    """Have what is sent meanwhile, in the connection's transaction, wait for locks for `seconds` together.

    The time runs from the first statement on that may keep a reader waiting. A statement that takes several locks has
    for each of them what is left at its beginning.
    """
    started: float | None = None

    def left(statement: str) -> str:
        nonlocal started
        if started is None:
            started = None if _is_rows_only(statement) else time.monotonic()
            return ""
        spent = time.monotonic() - started
        if spent < UNCHANGED * seconds:
            return ""
        return f"SET LOCAL lock_timeout = {1000 * max(seconds - spent, LEAST * seconds):.0f}"

    with _setting_first(connection, left):
        yield


@contextmanager
def build_patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Have builds wait for locks as long as it takes, and what else is sent meanwhile for `seconds` each.

    For the session: it is about what runs outside of a transaction.
    """

    def patience(statement: str) -> str:
        return f"SET lock_timeout = {1000 * (BUILD_SECONDS if _BUILD.search(statement) else seconds):.0f}"

    with _setting_first(connection, patience):
        yield


@contextmanager
def _setting_first(connection: Connection, decide: Callable[[str], str]) -> Iterator[None]:
    """Send before each statement what `decide` says of it, "" for nothing."""
    database_error: type[Exception] = connection.dialect.loaded_dbapi.Error

    def send(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        # Past SQLAlchemy, whose events tell the ledger what was sent. What fails here fails with the statement, too.
        driver = connection.connection.driver_connection
        if (setting := decide(statement)) and driver is not None:
            with suppress(database_error):
                driver.execute(setting)

    event.listen(connection, "before_cursor_execute", send)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", send)


def _is_rows_only(statement: str) -> bool:
    return (statement[:100].split() or [""])[0].upper() in _ROWS_ONLY
