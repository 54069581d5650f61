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
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import first_line, reading, run_script
from monarch_dagster.schema.facts import Aspects, relation_hash

SCHEMA = "alembic"
VERSION_TABLE = f"{SCHEMA}.alembic_version"
LEDGER = f"{SCHEMA}.revision_ledger"
FACTS = f"{SCHEMA}.facts_hash"

# insufficient_privilege (PostgreSQL, "Error Codes").
_NOT_PERMITTED = "42501"

Direction = Literal["upgrade", "downgrade", "adopt", "rebase"]

_TABLES = f"""
CREATE TABLE {LEDGER} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade', 'adopt', 'rebase')),
    revision text NOT NULL,
    down_revision text,
    digest text NOT NULL,
    body bytea NOT NULL,
    sql bytea NOT NULL,
    server_version integer NOT NULL,
    facts_before text,
    facts_after text,
    relations jsonb NOT NULL,
    hazards jsonb NOT NULL,
    approvals text[] NOT NULL,
    applied_by text NOT NULL,
    database_user text NOT NULL DEFAULT session_user,
    run text NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision NOT NULL,
    ended_at timestamptz
);
COMMENT ON TABLE {LEDGER} IS
    'What Monarch applied to this database: append-only. body and sql are compressed with zlib.';
CREATE UNIQUE INDEX revision_ledger_in_force ON {LEDGER} (coalesce(down_revision, ''))
    WHERE ended_at IS NULL AND direction <> 'downgrade';
CREATE OR REPLACE FUNCTION {SCHEMA}.keep_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        ended := NEW.ended_at;
        NEW.ended_at := NULL;
        IF OLD.ended_at IS NULL AND NEW IS NOT DISTINCT FROM OLD THEN
            NEW.ended_at := ended;
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '{LEDGER} is append-only: % is refused', TG_OP;
END $$;
CREATE TRIGGER keep_ledger BEFORE UPDATE OR DELETE ON {LEDGER}
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.keep_ledger();
CREATE TRIGGER keep_ledger_whole BEFORE TRUNCATE ON {LEDGER}
    FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.keep_ledger();
DROP TABLE IF EXISTS {FACTS};
CREATE TABLE {FACTS} (relation text PRIMARY KEY, hash text NOT NULL, facts jsonb NOT NULL);
COMMENT ON TABLE {FACTS} IS 'The relations that revisions made, as this server printed them after the last one.';
"""
_IN_FORCE = f"""
SELECT id, direction, revision, down_revision, digest, server_version, applied_by, started_at
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
    entries = [Entry(*row) for row in run(_IN_FORCE)] if ledger else []
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


def make_tables(connection: Connection) -> None:
    """Make the schema and the ledger where they are not there, in the connection's transaction.

    Raises `MonarchError`, with the transaction aborted, where the role may not.
    """
    # Asked first: IF NOT EXISTS wants the right to create schemas also where the schema is there.
    schema, ledger, role = connection.exec_driver_sql(
        "SELECT to_regnamespace(%s), to_regclass(%s), quote_ident(current_user)", (SCHEMA, LEDGER)
    ).one()
    try:
        if schema is None:
            run_script(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        if ledger is None:
            run_script(connection, _TABLES)
    except exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_PERMITTED:
            raise
        give = (
            f"CREATE SCHEMA {SCHEMA} AUTHORIZATION" if schema is None else f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO"
        )
        raise MonarchError(
            f"The role {role} may not make the tables of the schema {SCHEMA}, where Monarch writes what it applied: "
            f"{first_line(error)}. Nothing was changed.",
            remedy=f"Have the database's owner run: {give} {role};",
        ) from None


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
