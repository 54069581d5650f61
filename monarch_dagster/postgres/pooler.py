"""Whether connections to a URL stay on one server session each, as session locks and settings need (DESIGN rule 7).

Holds the question and its refusal. Who asks it, and when, is decided elsewhere.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from sqlalchemy import URL, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import CONNECT_TIMEOUT_SECONDS, display, unreachable

if TYPE_CHECKING:
    import psycopg

VARIABLE = "MONARCH_DATABASE_URL"
# What an apply holds open at once: its lock, its revision, and a look at the indexes that the revision builds.
CLIENTS = 3
# Of 40 checks of four PgBouncers in transaction mode that share one port none passed, of eight PgBouncers three.
ROUNDS = 8
WAIT_SECONDS = 5.0
# Several servers may stand behind one pooler, so the process's id, which comes first, does not name it alone.
_PROCESS = b"SELECT concat_ws(' ', pg_backend_pid(), inet_server_addr(), pg_postmaster_start_time())"
_REMEDY = (
    f"Set {VARIABLE} to the server's own address and port, or have the pooler keep the session for this user "
    "(PgBouncer: pool_mode = session, for the user or the database)."
)


def check_direct(url: URL, *, wait_seconds: float = WAIT_SECONDS) -> None:
    """Make sure that a connection to `url` stays on one server session, directly or through a pooler that keeps it.

    Raises `MonarchError` where a pooler hands sessions to others between transactions or statements, where it does not
    give three at once, and where the database cannot be reached or lets a query wait for `wait_seconds`.

    A direct connection costs one connect and one query. When it connects, libpq is told a process id: the server's own,
    for cancel requests (PostgreSQL, "Message Formats", BackendKeyData). A pooler routes those itself and makes one up:
    PgBouncer 1.18 told a random number on each of 600 connections, in every pool mode, and the server's id on none; up
    to 1.25 it draws 31 random bits (`src/proto.c`). Where the two differ, what was seen of the sessions decides.
    """
    with closing(_connect(url)) as first:
        if _process_id(_process(first, url, wait_seconds)) == str(first.info.backend_pid):
            return
        for _ in range(ROUNDS):
            seen = _ask_around(first, url, wait_seconds)
            if not _keeps_session(seen):
                raise MonarchError(
                    f"{display(url)} leads through a pooler that does not keep a session (transaction or statement "
                    f"pooling): of {CLIENTS} connections that were open at once, each must have a server process of "
                    f"its own; they had {_told(seen)}.",
                    remedy=_REMEDY,
                )


def _ask_around(first: psycopg.Connection, url: URL, wait_seconds: float) -> list[tuple[int, str]]:
    """Return which process answered which of some connections: each asked twice as it comes, then each again.

    Where a pooler takes the session of an idle connection for the next query of anybody, two connections are answered
    by one process; where it takes its sessions in turn, one connection by two. Nothing is set, locked or held open in a
    transaction: nothing is left on a session that others use, a pool of one session does not wait for itself, and
    statement pooling, which refuses transactions, is seen as well. All but the first connection are new each time: of
    several poolers on one port each has sessions of its own, and three connections may happen to be at three of them.
    """
    with ExitStack() as stack:
        clients = [first]
        seen: list[tuple[int, str]] = []
        for number in range(CLIENTS):
            if number > 0:
                clients.append(stack.enter_context(closing(_connect(url))))
            seen += [(number, _process(clients[number], url, wait_seconds)) for _ in range(2)]
        return seen + [(number, _process(client, url, wait_seconds)) for number, client in enumerate(clients)]


def _keeps_session(seen: Sequence[tuple[int, str]]) -> bool:
    """Say whether each connection had one process, and each process one connection."""
    clients, processes = {client for client, _ in seen}, {process for _, process in seen}
    return len(clients) == len(processes) == len(set(seen))


def _told(seen: Sequence[tuple[int, str]]) -> str:
    had: dict[int, dict[str, None]] = {}
    for client, process in seen:
        had.setdefault(client, {})[_process_id(process)] = None
    return ", ".join(" and ".join(ids) for ids in had.values())


def _process_id(process: str) -> str:
    return process.partition(" ")[0]


def _connect(url: URL) -> psycopg.Connection:
    """Connect without SQLAlchemy: its first connection to a server opens a transaction, and waits without a limit."""
    import psycopg

    _, arguments = url.get_dialect()().create_connect_args(url)
    options = {"application_name": "monarch", "connect_timeout": CONNECT_TIMEOUT_SECONDS, **arguments}
    try:
        return psycopg.connect(**options, autocommit=True)
    except psycopg.OperationalError as error:
        raise _unreachable(url, error) from None


def _process(client: psycopg.Connection, url: URL, wait_seconds: float) -> str:
    """Return which server process answers `client` now, and of which server it is."""
    import psycopg

    try:
        return _ask(client.pgconn, _PROCESS, time.monotonic() + wait_seconds)
    except psycopg.OperationalError as error:
        raise _unreachable(url, error) from None
    except TimeoutError:
        raise MonarchError(
            f"{display(url)} let a query wait for {wait_seconds:g} seconds, as a pooler does that has no session left; "
            f"Monarch needs {CLIENTS} at once.",
            remedy=f"{_REMEDY} It must have {CLIENTS} sessions to give.",
        ) from None


def _ask(pgconn: psycopg.pq.abc.PGconn, query: bytes, deadline: float) -> str:
    """Return the one value that `query` gives; raise `TimeoutError` at the deadline, however the server is doing."""
    import psycopg

    value = ""
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        pgconn.send_query(query)
        pgconn.flush()
        while True:
            while pgconn.is_busy():
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                pgconn.consume_input()
            if (result := pgconn.get_result()) is None:
                return value
            if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
            value = (result.get_value(0, 0) or b"").decode()


def _unreachable(url: URL, error: psycopg.OperationalError) -> MonarchError:
    return unreachable(url, exc.OperationalError(None, None, error), VARIABLE)
