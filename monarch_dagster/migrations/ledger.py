"""The ledger: what was applied to a target, when and by whom, and the facts that are its present state.

`alembic.revision_ledger` is history. Rows are added, one per apply, revert, adoption or rebase, and never changed or
deleted; only the end of a row that is in force is noted once. `alembic.facts_hash` is the present: a hash of each
relation that revisions made, as this very server prints it, with the facts that it was taken from, so that drift can
be told aspect by aspect. Nothing is decided here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import URL, Connection

from monarch_dagster.migrations.ledger_tables import FACTS, LEDGER, VERSION_TABLE
from monarch_dagster.postgres.engines import reading, run_script
from monarch_dagster.schema.facts import Aspects, relation_hash

Direction = Literal["upgrade", "downgrade", "adopt", "rebase"]

# A time as a number: the driver reads none where the database's DateStyle is another than ISO.
_IN_FORCE = f"""
SELECT id, direction, revision, down_revision, digest, server_version, applied_by,
    extract(epoch FROM started_at)::double precision
FROM {LEDGER} WHERE ended_at IS NULL AND direction <> 'downgrade' ORDER BY id
"""


@dataclass(frozen=True)
class Entry:
    """A row of the ledger that is in force: a revision that the target has, and the one that it was applied on."""

    id: int
    direction: Direction
    revision: str
    down_revision: str | None
    digest: str
    server_version: int
    applied_by: str
    started_at: datetime

    @classmethod
    def read(cls, row: Sequence[Any]) -> Entry:
        """Return the entry that a row of the query is."""
        values = [*row[:-1], datetime.fromtimestamp(row[-1], UTC)]
        return cls(*values)


@dataclass(frozen=True)
class Target:
    """What a target says of itself: the rows of `alembic_version`, and the ledger's rows in force in their order.

    `kept` says whether it has a ledger at all; `major` is the server's.
    """

    versions: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    kept: bool = False
    major: int = 0

    @property
    def version(self) -> str | None:
        """The stored revision, None for base; the first of several."""
        return self.versions[0] if self.versions else None

    @property
    def said(self) -> str | None:
        """All that `alembic_version` says, for people: None for base, several rows as "a and b"."""
        return " and ".join(self.versions) or None

    @property
    def head(self) -> str | None:
        """The revision that the ledger ends at, None for base."""
        return self.entries[-1].revision if self.entries else None


@dataclass(frozen=True)
class Row:
    """What is to be written of a revision that has just run; seconds is how long that took.

    `relations` has, of each relation that it touched, the hash before and after, None where it is not there.
    """

    direction: Direction
    revision: str
    down_revision: str | None
    digest: str
    body: bytes
    applied_by: str
    run: str
    started_at: datetime
    seconds: float = 0.0
    sql: str = ""
    facts_before: str | None = None
    facts_after: str | None = None
    relations: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    hazards: Sequence[Mapping[str, str]] = ()
    approvals: Sequence[str] = ()


def read_target(url: URL) -> Target:
    """Return what `alembic_version` and ledger say; nothing for a database that was never migrated.

    Raises `MonarchError` when the database cannot be reached or read.
    """
    with reading(url) as connection:
        return target_of(connection)


def target_of(connection: Connection) -> Target:
    """Return what `read_target` returns, as the connection's transaction sees it."""
    run = connection.exec_driver_sql
    major, version_table, ledger = run(
        "SELECT current_setting('server_version_num')::int / 10000, to_regclass(%s), to_regclass(%s)",
        (VERSION_TABLE, LEDGER),
    ).one()
    versions = run(f"SELECT version_num FROM {VERSION_TABLE} ORDER BY 1").scalars().all() if version_table else ()
    entries = [Entry.read(row) for row in run(_IN_FORCE)] if ledger else []
    return Target(tuple(versions), linked(entries), ledger is not None, major)


def linked(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries in the order in which their revisions stand on each other; what is not linked comes last."""
    by_down = {entry.down_revision: entry for entry in entries}
    ordered: list[Entry] = []
    here: str | None = None
    while (found := by_down.pop(here, None)) is not None:
        ordered.append(found)
        here = found.revision
    return (*ordered, *by_down.values())


def read_bodies(connection: Connection, entries: Iterable[Entry]) -> dict[str, bytes]:
    """Return the text of each entry's file as it was applied, by revision."""
    ids = [entry.id for entry in entries]
    rows = connection.exec_driver_sql(f"SELECT revision, body FROM {LEDGER} WHERE id = ANY(%s)", (ids,))
    return {revision: zlib.decompress(body) for revision, body in rows}


def read_past(connection: Connection) -> frozenset[str]:
    """Return all revisions that were ever in force, those that still are among them."""
    return frozenset(connection.exec_driver_sql(f"SELECT DISTINCT revision FROM {LEDGER}").scalars())


def add_row(connection: Connection, row: Row) -> None:
    """Add a row to the ledger; a downgrade ends the row that its revision was in force by."""
    if row.direction == "downgrade":
        end_rows(connection, [row.revision])
    connection.exec_driver_sql(
        f"INSERT INTO {LEDGER} (direction, revision, down_revision, digest, body, sql, server_version, facts_before, "
        "facts_after, relations, hazards, approvals, applied_by, run, started_at, seconds) VALUES "
        "(%s, %s, %s, %s, %s, %s, current_setting('server_version_num')::int / 10000, %s, %s, %s, %s, %s, %s, %s, %s, "
        "%s)",
        (
            *(row.direction, row.revision, row.down_revision, row.digest),
            *(zlib.compress(row.body), zlib.compress(row.sql.encode())),
            *(row.facts_before, row.facts_after, json.dumps(row.relations), json.dumps(row.hazards)),
            *(list(row.approvals), row.applied_by, row.run, row.started_at, row.seconds),
        ),
    )


def end_rows(connection: Connection, revisions: Collection[str]) -> None:
    """Note that the rows by which `revisions` are in force no longer are."""
    connection.exec_driver_sql(
        f"UPDATE {LEDGER} SET ended_at = clock_timestamp() "
        "WHERE ended_at IS NULL AND direction <> 'downgrade' AND revision = ANY(%s)",
        (list(revisions),),
    )


def set_version(connection: Connection, revision: str | None) -> None:
    """Make `revision` the one row of `alembic_version` (None: no row), which is made where it is not there."""
    if connection.exec_driver_sql("SELECT to_regclass(%s)", (VERSION_TABLE,)).scalar_one() is None:
        # As Alembic makes it.
        run_script(
            connection,
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
        )
    run_script(connection, f"DELETE FROM {VERSION_TABLE}")
    if revision is not None:
        connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES (%s)", (revision,))


def read_hashes(connection: Connection) -> dict[str, str]:
    """Return the recorded hash of each relation that revisions made."""
    rows: Any = connection.exec_driver_sql(f"SELECT relation, hash FROM {FACTS}")
    return dict(rows.all())


def read_recorded(connection: Connection, relations: Collection[str]) -> dict[str, Aspects]:
    """Return the recorded facts of the named relations, of those that are recorded."""
    rows: Any = connection.exec_driver_sql(
        f"SELECT relation, facts FROM {FACTS} WHERE relation = ANY(%s)", (list(relations),)
    )
    return dict(rows.all())


def record_facts(connection: Connection, changes: Mapping[str, Aspects | None]) -> None:
    """Make `changes` the recorded facts of their relations; None: the relation is gone."""
    gone = [relation for relation, aspects in changes.items() if aspects is None]
    there = [
        {"relation": relation, "hash": relation_hash(aspects), "facts": aspects}
        for relation, aspects in changes.items()
        if aspects is not None
    ]
    if gone:
        connection.exec_driver_sql(f"DELETE FROM {FACTS} WHERE relation = ANY(%s)", (gone,))
    if there:
        connection.exec_driver_sql(
            f"INSERT INTO {FACTS} SELECT * FROM jsonb_to_recordset(%s::jsonb) AS r(relation text, hash text, "
            "facts jsonb) ON CONFLICT (relation) DO UPDATE SET hash = excluded.hash, facts = excluded.facts",
            (json.dumps(there),),
        )
