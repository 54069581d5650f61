"""What a target stores, as the guard of data loss reads it: columns, which tables were written to, and what they hold.

Whether that is a loss, and what follows from it, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monarch_dagster.errors import counted
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations.recording import UNRECORDED
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.postgres.quoting import quote

_STORED = """
c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'alembic') AND n.nspname !~ '^pg_toast'
"""
_COLUMNS = f"""
SELECT c.oid, n.nspname, c.relname, array_agg(a.attnum ORDER BY a.attnum),
    array_agg(a.attname::text ORDER BY a.attnum), array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind IN ('r', 'p') AND {_STORED}
GROUP BY c.oid, n.nspname, c.relname
"""
# What pg_stat_xact_user_tables shows of a table that holds rows, and its file, which TRUNCATE and rewrites replace.
_WRITES = f"""
SELECT c.oid, coalesce(pg_partition_root(c.oid)::oid, c.oid), pg_relation_filenode(c.oid),
    pg_stat_get_xact_tuples_updated(c.oid), pg_stat_get_xact_tuples_deleted(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND {_STORED}{UNRECORDED}"""


@dataclass(frozen=True)
class Column:
    """A stored column: its names, and its type as PostgreSQL formats it."""

    schema: str
    table: str
    name: str
    type: str


@dataclass(frozen=True)
class Writes:
    """What a transaction has done to a table: the file it is in now, and the rows updated and deleted so far.

    `root` is the partitioned table that it is a part of, or else the table itself.
    """

    root: int
    file: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Stored:
    """A table and its stored columns: their numbers in it, names, and types."""

    schema: str
    table: str
    numbers: Sequence[int]
    names: Sequence[str]
    types: Sequence[str]

    def columns(self) -> dict[int, Column]:
        """Return the columns by their numbers."""
        described = zip(self.numbers, self.names, self.types, strict=True)
        return {number: Column(self.schema, self.table, name, type_) for number, name, type_ in described}


# By oid.
Tables = Mapping[int, Stored]


@dataclass(frozen=True)
class Held:
    """What a table that stays held before a revision: its rows, and the values of each column that stays."""

    columns: Sequence[Column]
    # The same columns, as they are called after the revision.
    renamed: Sequence[Column]
    whole: bool
    counts: Sequence[int]

    def told_after(self, connection: Connection) -> list[str]:
        """Tell, when the revision has run, how many rows are gone, and values where a row is still there."""
        if not self.counts[0]:
            return []
        now = _count(connection, self.renamed, whole=self.whole)
        rows, *values = (before - after for before, after in zip(self.counts, now, strict=True))
        gone = max(rows, 0)
        name = f"{self.columns[0].schema}.{self.columns[0].table}"
        lines = [f"  {name}: {counted(gone, 'row')} deleted"] if gone else []
        # A row that is gone took its values with it; they are not told again.
        lost = [(column.name, count - gone) for column, count in zip(self.columns, values, strict=True)]
        return lines + [f"  {name}.{column}: {counted(count, 'value')} lost" for column, count in lost if count > 0]


@uncollected()
def stored_columns(connection: Connection) -> Tables:
    """Read the tables with columns that hold values."""
    return {oid: Stored(*described) for oid, *described in connection.exec_driver_sql(_COLUMNS)}


def renamed_columns(before: Tables, after: Tables) -> dict[Column, Column]:
    """Return what the columns that stay are called after a revision."""
    return {
        column: there[number]
        for oid, table in before.items()
        if oid in after
        for there in [after[oid].columns()]
        for number, column in table.columns().items()
        if number in there
    }


def read_writes(connection: Connection) -> Mapping[int, Writes]:
    """Read what the current transaction has done to each table that holds rows, by oid."""
    return {oid: Writes(*values) for oid, *values in connection.exec_driver_sql(_WRITES)}


def find_written(before: Mapping[int, Writes], after: Mapping[int, Writes]) -> set[int]:
    """Return the tables, partitioned ones as a whole, of which rows were updated, deleted or written anew."""
    return {
        writes.root
        for oid, writes in before.items()
        if (now := after.get(oid)) is not None
        and (writes.file, writes.updated, writes.deleted) != (now.file, now.updated, now.deleted)
    }


def hold(
    connection: Connection, table: int, before: Tables, after: Tables, left_out: Collection[Column], *, whole: bool
) -> Held | None:
    """Lock a table, so that nobody else writes to it, and count what it holds; None where no column of it stays.

    `before` and `after` are the tables around the revision, `left_out` those of before that are judged otherwise;
    `whole` counts the partitions with it.
    """
    there = {table: before[table]} if table in before else {}
    kept = [(old, new) for old, new in renamed_columns(there, after).items() if old not in left_out]
    if not kept:
        return None
    columns, renamed = zip(*kept, strict=True)
    run_script(connection, f"LOCK TABLE {_name(columns[0], whole=whole)} IN SHARE ROW EXCLUSIVE MODE")
    return Held(columns, renamed, whole, _count(connection, columns, whole=whole))


def _count(connection: Connection, columns: Sequence[Column], *, whole: bool) -> Sequence[int]:
    counts = ", ".join(["count(*)", *(f"count({quote(column.name)})" for column in columns)])
    return tuple(run_script(connection, f"SELECT {counts} FROM {_name(columns[0], whole=whole)}").one())


def _name(column: Column, *, whole: bool) -> str:
    # Tables that inherit from it are tables of their own.
    return f"{'' if whole else 'ONLY '}{quote(column.schema)}.{quote(column.table)}"
