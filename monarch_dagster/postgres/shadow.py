"""Shadow databases: throw-away databases on which a chain or the desired schema is built.

Holds templates (built once per key, then cloned) and clones. What is built on them is the caller's. A template is built
under another name and renamed when it is whole, so a killed process never leaves half of one.
"""

from __future__ import annotations

import atexit
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import uninterrupted
from monarch_dagster.memo import Memo
from monarch_dagster.postgres.engines import connect, display, find_loss, first_line, server_major

TEMPLATE_PREFIX = "monarch_template_"
CLONE_PREFIX = "monarch_clone_"
KEPT_TEMPLATES = 12
STALE_SECONDS = 3600
NO_DATABASE = "3D000"  # invalid_catalog_name


class TemplateGoneError(MonarchError):
    """The template was there a moment ago; another process has pruned it."""


# The clones of this process.
_IN_USE: dict[str, ShadowServer] = {}


@dataclass(frozen=True)
class ShadowServer:
    """A server on which databases may be created and dropped; `url` leads to a maintenance database on it."""

    url: URL
    owned: bool = field(default=False)
    # What was found out about what was built on servers of its major version.
    memo: Memo = field(default_factory=Memo, compare=False)

    @cached_property
    def version(self) -> str:
        """All that the server says of its version, such as "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by …"."""
        with self._connect() as connection:
            return str(connection.exec_driver_sql("SELECT version()").scalar_one())

    @cached_property
    def major(self) -> int:
        """The server's major version."""
        with self._connect() as connection:
            return server_major(connection)

    def has_template(self, key: str) -> bool:
        """Say whether the template for `key` stands ready."""
        with self._connect() as connection:
            return _exists(connection, TEMPLATE_PREFIX + key)

    def make_template(self, key: str, build: Callable[[URL], None], *, base: str | None = None) -> None:
        """Make the template for `key` by `build` on a clone of the template `base` (None: an empty database).

        Nothing is done where it exists. Whatever `build` raises is passed on, and nothing is left behind.
        """
        name = TEMPLATE_PREFIX + key
        with self._connect() as connection:
            if _exists(connection, name):
                return
            with self._database(connection, base) as (building, url):
                build(url)
                _become_template(connection, building, name)
            _prune(connection)

    def keep(self, clone: URL, key: str) -> None:
        """Make `clone` itself the template for `key`, where there is none yet and nobody is connected to it."""
        # It saves a replay and nothing depends on it.
        with self._connect() as connection, suppress(exc.DBAPIError):
            _become_template(connection, str(clone.database), TEMPLATE_PREFIX + key)
            _prune(connection)

    @contextmanager
    def clone(self, key: str | None) -> Iterator[URL]:
        """Give the URL of a clone of the template for `key` (None: an empty database); it is dropped at the end.

        Raises `TemplateGoneError` where there is no such template.
        """
        with self._connect() as connection, self._database(connection, key) as (_, url):
            yield url

    def _connect(self) -> AbstractContextManager[Connection]:
        return connect(self.url, autocommit=True, variable="MONARCH_SHADOW_URL")

    @contextmanager
    def _database(self, connection: Connection, base: str | None) -> Iterator[tuple[str, URL]]:
        name = f"{CLONE_PREFIX}{int(time.time())}_{secrets.token_hex(6)}"
        _IN_USE[name] = self
        try:
            self._create(connection, name, base)
            try:
                yield name, self.url.set(database=name)
            except (MonarchError, exc.SQLAlchemyError) as error:
                if find_loss(error) is None and _is_left(connection, name):
                    raise
                raise MonarchError(
                    f"The shadow database {name} went away while it was in use, or its server did.",
                    remedy="Run again.",
                ) from error
        finally:
            with uninterrupted():
                self._drop(name)
                del _IN_USE[name]

    def _create(self, connection: Connection, name: str, base: str | None) -> None:
        source = TEMPLATE_PREFIX + base if base else "template0"
        # Copying files is fastest, but it forces a checkpoint, which a server that others use should be spared.
        strategy = f" STRATEGY {'file_copy' if self.owned else 'wal_log'}" if self.major >= 15 else ""
        try:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{source}"{strategy}')
        except exc.DBAPIError as error:
            gone = base is not None and getattr(error.orig, "sqlstate", None) == NO_DATABASE
            raise (TemplateGoneError if gone else MonarchError)(
                f"No shadow database could be made on {display(self.url)}: {first_line(error)}",
                remedy="MONARCH_SHADOW_URL needs a role with CREATEDB on a server with room; unset it for the "
                "embedded server.",
            ) from None

    def _drop(self, name: str) -> None:
        # On a connection of its own: an interrupt may have cost the other one. Where the server goes away now, the
        # database went with it; what is left is pruned when it is old.
        with suppress(MonarchError, exc.DBAPIError), self._connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@atexit.register
def _drop_left() -> None:
    """Drop what an interrupt between a clone's making and its use, where nothing else catches it, has left."""
    for name, server in _IN_USE.items():
        server._drop(name)


def _is_left(connection: Connection, name: str) -> bool:
    try:
        return _exists(connection, name)
    except exc.SQLAlchemyError:
        return False  # the server is gone, and the database with it


def _exists(connection: Connection, name: str) -> bool:
    return connection.exec_driver_sql("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).first() is not None


def _become_template(connection: Connection, database: str, name: str) -> None:
    # Whole or not at all: as a template under a clone's name it could not be dropped.
    with uninterrupted():
        # A connection to a template makes its cloning wait and fail.
        connection.exec_driver_sql(f'ALTER DATABASE "{database}" WITH is_template true allow_connections false')
        try:
            connection.exec_driver_sql(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
        except (exc.IntegrityError, exc.ProgrammingError):
            # Another process was first with the same content.
            connection.exec_driver_sql(f'ALTER DATABASE "{database}" WITH is_template false')


def _prune(connection: Connection) -> None:
    """Drop the oldest templates beyond the number kept, and clones that a killed process left."""
    rows = connection.exec_driver_sql(
        "SELECT datname FROM pg_database WHERE datname ^@ %s OR datname ^@ %s ORDER BY oid DESC",
        (TEMPLATE_PREFIX, CLONE_PREFIX),
    ).scalars()
    names = list(rows)
    doomed = [name for name in names if name.startswith(TEMPLATE_PREFIX)][KEPT_TEMPLATES:]
    doomed += [name for name in names if name.startswith(CLONE_PREFIX) and _age(name) > STALE_SECONDS]
    for name in doomed:
        try:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" WITH is_template false')
            connection.exec_driver_sql(f'DROP DATABASE "{name}"')
        except exc.DBAPIError:
            continue  # in use, or dropped by another process in the meantime


def _age(clone: str) -> float:
    stamp = clone.removeprefix(CLONE_PREFIX).partition("_")[0]
    return time.time() - int(stamp) if stamp.isdigit() else 0.0
