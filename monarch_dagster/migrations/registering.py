"""Keeping the registry: after an apply or a revert, `utilities` says what the provider's tables and columns mean.

Which rows there should be is decided in `schema.registry`; here they are compared with those that are there, and what
differs is written in a transaction of its own. By then the revisions have been applied: what fails here is told, and
fails nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations.options import LOCK_TIMEOUT_SECONDS
from monarch_dagster.migrations.registry_rows import is_like_registry, lacking, read_rows, read_tables, remove, write
from monarch_dagster.postgres.engines import connect, first_line, is_lost, snapshot
from monarch_dagster.postgres.locks import apply_lock, lock_revision
from monarch_dagster.postgres.pooler import check_direct
from monarch_dagster.salesforce.object_meta import ObjectMeta, read_object_meta
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.registry import FIELDS, OBJECTS, SCHEMA, FieldRow, ObjectRow, unfit
from monarch_dagster.schema.registry_changes import Changes, find_changes

log = logging.getLogger(__name__)

# insufficient_privilege, lock_not_available (PostgreSQL, "Error Codes").
_NOT_PERMITTED, _LOCKED = "42501", "55P03"
_REGISTRY = f"The registry of objects and fields ({SCHEMA})"
_AGAIN = "`monarch run-migrations` registers again, also where nothing is pending."


@dataclass(frozen=True)
class Registered:
    """How many objects and fields stand in the registry, and how many rows were written or removed for it.

    `skipped` says why the target has no registry, `failed` why what it has was left as it is.
    """

    objects: int = 0
    fields: int = 0
    changed: int = 0
    removed: int = 0
    skipped: str = ""
    failed: str = ""

    @property
    def told(self) -> str:
        """The words for people."""
        if reason := self.failed or self.skipped:
            return f"not kept: {reason}"
        moved = {"written": self.changed, "removed": self.removed}
        what = ", ".join(f"{count:,} {verb}" for verb, count in moved.items() if count)
        return f"{counted(self.objects, 'object')}, {counted(self.fields, 'field')} ({what or 'nothing changed'})"


@dataclass
class Registrar:
    """Registers once a run: under the run's own lock where it takes that, else by itself."""

    sources: Sources
    url: URL
    # What ran so far.
    applied: Sequence[object]
    result: Registered | None = None

    def register(self) -> None:
        """Register under the lock that the caller holds."""
        self.result = register(self.sources, self.url, locked=True)

    def stopped(self) -> None:
        """Register, under the same lock, what a run came to that ends with an error: what it applied stays."""
        if self.applied:
            self.register()

    def settled(self) -> Registered:
        """Return what came of it, having registered by now."""
        return self.result or register(self.sources, self.url, locked=False)


def register(sources: Sources, url: URL, *, locked: bool) -> Registered:
    """Have the registry of a target say what `object_meta.json` says of the tables and columns that are there.

    Where nothing differs, nothing is written. Only rows of this provider are touched; those of tables and columns that
    are gone are removed, or go on under the name that these have now.

    Args:
        sources: where the file is, and the schema of the provider's tables.
        url: the target.
        locked: whether the caller holds the target's lock; it is taken where something is to be written otherwise.

    Raises nothing: a failure is warned of, and told by the result.
    """
    try:
        with uncollected():
            result = _register(sources, url, locked=locked)
    except MonarchError as error:
        result = _failed(error.message, error.remedy)
    except exc.DBAPIError as error:
        result = _refused(error, url)
    except Exception as error:  # noqa: BLE001 - whatever it is, the revisions that ran are applied
        result = _failed(f"{type(error).__name__}: {error}", "Report it; nothing else is the worse for it.")
    if result.failed:
        log.warning("The registry of objects and fields was not kept: %s", result.failed)
    else:
        log.debug("Registry: %s", result.told)
    return result


def _register(sources: Sources, url: URL, *, locked: bool) -> Registered:
    with snapshot(url) as connection:
        if reason := unfit(read_tables(connection, SCHEMA, [OBJECTS, FIELDS])):
            return Registered(skipped=reason)
        meta = _read(sources.object_meta_path)
        if meta is None:
            return _without_file(sources, connection)
        if not locked and not (work := _Work.find(connection, meta, sources.provider_schema)):
            return work.done
    if locked:
        return _write(url, meta, sources.provider_schema)
    check_direct(url)
    with apply_lock(url, log.info):
        return _write(url, meta, sources.provider_schema)


def _read(path: Path) -> ObjectMeta | None:
    try:
        return read_object_meta(path)
    except MonarchError as error:
        raise MonarchError(error.message, remedy=f"Correct the file, or bring it back with git. {_AGAIN}") from None


def _without_file(sources: Sources, connection: Connection) -> Registered:
    # A source that is not there is not an empty source (DESIGN rule 1).
    if not read_rows(connection, OBJECTS, ObjectRow):
        return Registered(skipped=f"there is no {sources.object_meta_path.name}")
    return _failed(f"there is no {sources.object_meta_path}.", f"Bring the file back with git. {_AGAIN}")


@dataclass(frozen=True)
class _Work:
    """What is to be removed and written, and what the registry comes to by it."""

    objects: Changes[ObjectRow]
    fields: Changes[FieldRow]

    def __bool__(self) -> bool:
        return bool(self.done.changed or self.done.removed)

    @property
    def done(self) -> Registered:
        changed = len(self.objects.written) + len(self.fields.written)
        return Registered(self.objects.rows, self.fields.rows, changed, self.objects.gone + self.fields.gone)

    @classmethod
    def find(cls, connection: Connection, meta: ObjectMeta, schema: str) -> _Work:
        """Compare the file with the registry, in three queries."""
        tables = read_tables(connection, schema)
        objects, fields = read_rows(connection, OBJECTS, ObjectRow), read_rows(connection, FIELDS, FieldRow)
        return cls(*find_changes(meta, schema, tables, objects, fields))


def _write(url: URL, meta: ObjectMeta, schema: str) -> Registered:
    with connect(url) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        # Whoever gets the apply lock after a killed client waits for this one too.
        lock_revision(connection)
        if work := _Work.find(connection, meta, schema):
            # What goes, goes first: the table of an object that is spelled otherwise now is still the same.
            fields_times = remove(connection, FIELDS, work.fields)
            objects_times = remove(connection, OBJECTS, work.objects)
            write(connection, OBJECTS, work.objects, objects_times)
            write(connection, FIELDS, work.fields, fields_times)
            connection.commit()
    return work.done


def behind(sources: Sources, url: URL, meta: ObjectMeta | None) -> str:
    """Say in one line how far the registry of a target is from the file, and what to do; "" where it is right.

    Args:
        sources: where the file is, and the schema of the provider's tables.
        url: the target; one that has no registry is not behind.
        meta: the file as it was read, None where that could not be done.

    Nothing is written. Raises `MonarchError` where the target cannot be reached.
    """
    try:
        with uncollected(), snapshot(url) as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
            return _behind(sources, connection, meta)
    except exc.DBAPIError as error:
        reason = _refused(error, url).failed.replace("\nWhat to do: ", " ")
        return f"{_REGISTRY} could not be compared with {sources.object_meta_path.name}: {reason}"


def _behind(sources: Sources, connection: Connection, meta: ObjectMeta | None) -> str:
    file, found = sources.object_meta_path.name, read_tables(connection, SCHEMA, [OBJECTS, FIELDS])
    if reason := unfit(found):
        if not any(map(is_like_registry, found.values())):
            return ""
        return f"{_REGISTRY} is not kept: {reason}. A revision has to bring that; then {_AGAIN}"
    if meta is None:
        if not read_rows(connection, OBJECTS, ObjectRow):
            return ""
        return f"{_REGISTRY} is not kept: {file} is not there or not valid. Bring it back with git. {_AGAIN}"
    if not (work := _Work.find(connection, meta, sources.provider_schema)):
        return ""
    differs = f"{_REGISTRY} differs from {file} by {counted(work.done.changed + work.done.removed, 'row')}"
    role, grants = lacking(connection)
    return (
        f"{differs}, and {role} may not write it. Have the owner run: {grants} {_AGAIN}"
        if grants
        else (f"{differs}: {_AGAIN}")
    )


def _failed(message: str, remedy: str) -> Registered:
    return Registered(failed=f"{message}\nWhat to do: {remedy}" if remedy else message)


def _refused(error: exc.DBAPIError, url: URL) -> Registered:
    code, reason = getattr(error.orig, "sqlstate", None), first_line(error)
    if is_lost(error):
        return _failed(f"the connection to the database was lost: {reason}", f"See that the server runs. {_AGAIN}")
    if code == _NOT_PERMITTED and (grants := _grants(url)):
        return _failed(f"{reason}.", f"Have the owner of {SCHEMA} run: {grants} {_AGAIN}")
    if code == _LOCKED:
        return _failed(f"another session holds a lock on its tables: {reason}.", _AGAIN)
    return _failed(f"PostgreSQL refused a row or a statement: {reason}.", f"Correct the cause. {_AGAIN}")


def _grants(url: URL) -> str:
    with suppress(MonarchError, exc.DBAPIError), snapshot(url) as connection:
        return lacking(connection)[1]
    return ""
