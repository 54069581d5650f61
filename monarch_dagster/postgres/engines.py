"""SQLAlchemy engines and URLs for PostgreSQL, and the words in which a failed connection is told.

Holds what every connection of Monarch shares: the driver, no pool, a name that shows in `pg_stat_activity`, and
messages without passwords. What is done over a connection belongs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, exc, make_url
from sqlalchemy.pool import NullPool

from monarch_dagster.errors import MonarchError

DRIVER = "postgresql+psycopg"
CONNECT_TIMEOUT_SECONDS = 10
# libpq, "Parameter Key Words": a firewall forgets a connection that idles, as the lock's does while a revision runs for
# an hour. Sockets of the Unix kind ignore them.
KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
# admin_shutdown, crash_shutdown, cannot_connect_now
SERVER_GOES = frozenset({"57P01", "57P02", "57P03"})


def parse_url(text: str, variable: str) -> URL:
    """Read a PostgreSQL URL as SQLAlchemy writes it; `variable` is where it came from, for the message.

    Raises `MonarchError`, without repeating the text (it may hold a password), when it is not a PostgreSQL URL that
    names a database.
    """
    remedy = f"Set {variable} to postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or unset it for the embedded server."
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        raise MonarchError(f"{variable} is not a database URL.", remedy=remedy) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        found = f"{variable} names a {url.get_backend_name()} database; Monarch works on PostgreSQL only."
        raise MonarchError(found, remedy=remedy)
    if not url.database:
        raise MonarchError(f"{variable} names no database.", remedy=remedy)
    if "@" in (url.host or ""):
        raise MonarchError(f"{variable} has an @ in its password or user name.", remedy="Write it as %40.")
    return url.set(drivername=DRIVER)


def display(url: URL) -> str:
    """Return `database on host:port` for messages, never the user's password."""
    host = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"{url.database} on {host}{port}"


def make_engine(url: URL, *, autocommit: bool = False) -> Engine:
    """Return an engine without a pool: Monarch opens few connections and never keeps one that it does not use.

    What the URL itself says of the connection, such as `?connect_timeout=60`, wins.
    """
    arguments = {
        "application_name": "monarch",
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # psycopg prepares a statement after five uses; through a transaction pooler a prepared statement can vanish.
        "prepare_threshold": None,
        **KEEPALIVES,
    }
    connect_args = {name: value for name, value in arguments.items() if name not in url.query}
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    # With hstore as dictionaries each connection would ask first whether the database has that type.
    return create_engine(url, poolclass=NullPool, connect_args=connect_args, use_native_hstore=False, **options)


@contextmanager
def connect(url: URL, *, autocommit: bool = False, variable: str = "MONARCH_DATABASE_URL") -> Iterator[Connection]:
    """Open one connection to `url`, close it at the end; `variable` is where the URL came from, for the message.

    Raises `MonarchError` where the server cannot be reached.
    """
    engine = make_engine(url, autocommit=autocommit)
    try:
        connection = engine.connect()
    except exc.OperationalError as error:
        raise unreachable(url, error, variable) from None
    try:
        yield connection
    finally:
        with suppress(exc.DBAPIError):  # what was not committed goes with a connection that is gone
            connection.close()
        engine.dispose()


@contextmanager
def snapshot(url: URL) -> Iterator[Connection]:
    """Open one connection to `url` on which all queries see one and the same state, and none changes it.

    Raises `MonarchError` as `connect` does.
    """
    with connect(url) as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


@contextmanager
def reading(url: URL) -> Iterator[Connection]:
    """Open a snapshot of `url` to look at what is there; whatever PostgreSQL refuses is a `MonarchError`."""
    with snapshot(url) as connection:
        try:
            yield connection
        except exc.DBAPIError as error:
            if is_lost(error):
                raise MonarchError(
                    f"The connection to the database {display(url)} was lost while it was read: {first_line(error)}",
                    remedy="See that the server runs (its log tells why it ended the connection), then run again.",
                ) from None
            raise MonarchError(
                f"The database {display(url)} could not be read: {first_line(error)}",
                remedy="Check that the role may read the managed schemas and the schema alembic.",
            ) from None


def run_script(connection: Connection, script: str) -> CursorResult[Any]:
    """Run any number of statements in one round trip, word for word: no parameters, so a percent sign is just that."""
    return connection.exec_driver_sql(script, execution_options={"no_parameters": True})


def first_line(error: exc.DBAPIError) -> str:
    """Return the first line of what PostgreSQL said; hints and positions follow it."""
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]


def unreachable(url: URL, error: exc.DBAPIError, variable: str) -> MonarchError:
    """Return the error that says which database could not be opened and why, in PostgreSQL's own first line."""
    reason = first_line(error)
    if url.password:
        reason = reason.replace(str(url.password), "***")
    return MonarchError(
        f"The database {display(url)} could not be opened: {reason}",
        remedy=f"Check that the server runs and that {variable} is right.",
    )


def is_lost(error: exc.DBAPIError) -> bool:
    """Say whether an error is that the connection has gone, and not that PostgreSQL refused something.

    Source: PostgreSQL, "Error Codes" (class 08, and 57P01 to 57P03 for a server that goes); what libpq itself finds has
    no code.
    """
    code = getattr(error.orig, "sqlstate", None) or ""
    if error.connection_invalidated or code.startswith("08") or code in SERVER_GOES:
        return True
    return isinstance(error, exc.OperationalError) and not code


def find_loss(error: BaseException) -> exc.DBAPIError | None:
    """Return the loss of a connection that an error is, or that it came up behind; None where there was none.

    Cleaning up on a connection that is gone fails in ways of its own.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, exc.DBAPIError) and is_lost(found):
            return found
        found = found.__context__
    return None


def server_major(connection: Connection) -> int:
    """Return the server's major version, such as 18."""
    return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10000
