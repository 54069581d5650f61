"""Snapshots: what tables hold before and after a revision, what did not survive, and which tables were rewritten.

Tables and columns are known by the catalog's own numbers, so a rename changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from monarch_dagster.errors import counted
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.postgres.quoting import quote

TABLES_A_QUERY = 50

# Of a table without rows no column is asked for: most of a first installation have none.
_COLUMNS = """
WITH t AS MATERIALIZED (
    SELECT c.oid, n.nspname || '.' || c.relname AS name,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS quoted, c.relkind = 'r' AS plain,
           c.relkind = 'p' OR pg_relation_size(c.oid) > 0 AS may_hold,
           pg_relation_filenode(c.oid) AS file
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname IN (SELECT unnest(%(names)s::text[]))
)
SELECT t.*, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
FROM t LEFT JOIN pg_attribute a ON t.may_hold AND a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY t.name, a.attnum
"""
_MAY_HOLD = 3


@dataclass(frozen=True)
class StoredColumn:
    """A column, and its values as sorted texts without the nulls; `computed` where PostgreSQL generates them."""

    name: str
    type: str
    computed: bool
    values: tuple[str, ...]


@dataclass(frozen=True)
class StoredTable:
    """A table and what it holds, by number of column; a partitioned table has no file of its own."""

    name: str
    file: int | None
    rows: int
    columns: Mapping[int, StoredColumn]


Snapshot = Mapping[int, StoredTable]


def take(connection: Connection, tables: Sequence[str]) -> Snapshot:
    """Return what the named tables ("schema.table") hold, by oid; those that do not exist are left out."""
    described: defaultdict[int, list[Sequence[Any]]] = defaultdict(list)
    for oid, *column in connection.exec_driver_sql(_COLUMNS, {"names": list(tables)}):
        described[oid].append(column)
    rows: dict[int, list[Sequence[str | None]]] = {oid: [] for oid in described}
    queries = [_query(oid, columns) for oid, columns in described.items() if columns[0][_MAY_HOLD]]
    for start in range(0, len(queries), TABLES_A_QUERY):
        for row in run_script(connection, " UNION ALL ".join(queries[start : start + TABLES_A_QUERY])).all():
            rows[row.oid].append(row.texts)
    return {oid: _stored(columns, rows[oid]) for oid, columns in described.items()}


def lost(before: Snapshot, after: Snapshot, *, fixed: bool = False) -> list[str]:
    """Return a line for all that did not survive: rows, values of a column, values that a change of type made null.

    A table or a column that is gone is no line: it was dropped, which the revision says itself. Nor is a value where
    there was none, nor what PostgreSQL computes; nor, where values may have been `fixed`, another one of the same type.
    """
    lines = []
    for oid, table in before.items():
        if (now := after.get(oid)) is None:
            continue
        if now.rows < table.rows:
            lines.append(f"{table.name}: of {counted(table.rows, 'row')} {now.rows or 'none'} left")
            continue
        for number, column in table.columns.items():
            kept = now.columns.get(number)
            if kept is None or (fixed and kept.type == column.type):
                continue
            if told := _lost_values(column, kept):
                lines.append(f"{table.name}.{column.name}: {told}")
    return lines


def least(one: Snapshot, other: Snapshot) -> Snapshot:
    """Return, of each table that `other` has, which of the two holds fewer rows; of equal ones the other."""
    return {oid: one[oid] if oid in one and one[oid].rows < table.rows else table for oid, table in other.items()}


def rewritten(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the tables, by their names now, whose file is another one than before."""
    return {now.name for oid, now in after.items() if oid in before and before[oid].file != now.file}


def _lost_values(before: StoredColumn, after: StoredColumn) -> str:
    values = counted(len(before.values), "value")
    if before.type != after.type:
        gone = len(before.values) - len(after.values)
        return f"of {values} {gone} lost in the change from {before.type} to {after.type}" if gone > 0 else ""
    if before.computed or after.computed:
        return ""
    gone = (Counter(before.values) - Counter(after.values)).total()
    return f"of {values} {gone} lost or changed" if gone else ""


def _query(oid: int, columns: Sequence[Sequence[Any]]) -> str:
    texts = ", ".join(f"{quote(name)}::text" for *_, number, name, _, _ in columns if number is not None)
    _, quoted, plain, *_ = columns[0]
    return f"SELECT {oid} AS oid, ARRAY[{texts}]::text[] AS texts FROM {'ONLY ' if plain else ''}{quoted}"


def _stored(columns: Sequence[Sequence[Any]], rows: Sequence[Sequence[str | None]]) -> StoredTable:
    name, _, _, _, file, *_ = columns[0]
    by_number = {}
    for place, (*_, number, column, type_, computed) in enumerate(columns):
        if number is not None:
            values = sorted(value for row in rows if (value := row[place]) is not None)
            by_number[number] = StoredColumn(column, type_, computed, tuple(values))
    return StoredTable(name, file, len(rows), by_number)
