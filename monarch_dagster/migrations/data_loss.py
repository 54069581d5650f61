"""Data loss needs a name (DESIGN rule 8): what a revision would drop or cut is judged on the target, by effect.

The revision runs in a savepoint; the catalog before and after tells which tables and columns are gone or of another
type, whether an operation or a hand-written statement did it. Where something is, the savepoint is rolled back, the
tables are locked, and the values that would be lost are counted. Nothing stored: the revision runs again and stays.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, exc

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.postgres.engines import run_script

_COLUMNS = """
SELECT c.oid, n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'alembic') AND n.nspname !~ '^pg_toast'
"""


@dataclass(frozen=True)
class Column:
    """A stored column: its names, and its type as PostgreSQL formats it."""

    schema: str
    table: str
    name: str
    type: str


Columns = Mapping[tuple[int, int], Column]


@dataclass(frozen=True)
class Loss:
    """What a revision takes from one table: the whole of it, columns, and columns that get another type."""

    schema: str
    table: str
    whole: bool = False
    columns: tuple[str, ...] = ()
    retyped: Mapping[str, str] = field(default_factory=dict)


def find_losses(before: Columns, after: Columns) -> list[Loss]:
    """Compare the stored columns before and after; return what is gone or of another type, a `Loss` a table."""
    tables_after = {oid for oid, _ in after}
    gone: dict[int, list[str]] = defaultdict(list)
    retyped: dict[int, dict[str, str]] = defaultdict(dict)
    names: dict[int, tuple[str, str]] = {}
    for (oid, number), column in before.items():
        now = after.get((oid, number))
        names[oid] = (column.schema, column.table)
        if now is None:
            gone[oid].append(column.name)
        elif now.type != column.type:
            retyped[oid][column.name] = now.type
    losses = [
        Loss(*names[oid], oid not in tables_after, tuple(sorted(gone[oid])), dict(sorted(retyped[oid].items())))
        for oid in gone.keys() | retyped.keys()
    ]
    return sorted(losses, key=lambda loss: (loss.schema, loss.table))


def guarded(
    connection: Connection, revision: str, approved: Collection[str], run: Callable[[], None], source: str
) -> None:
    """Run a revision; refuse it, with the rows per table, where it would lose stored values and is not in `approved`.

    `source` is the revision's text: one that leaves the transaction by an `autocommit_block()` cannot be tried in a
    savepoint and runs as it is; by rule 7 such a revision holds one statement, which builds an index.

    Raises `MonarchError` for the refusal.
    """
    if revision in approved or _leaves_transaction(source):
        run()
        return
    before = _stored_columns(connection)
    savepoint = connection.begin_nested()
    run()
    losses = find_losses(before, _stored_columns(connection))
    if not losses:
        savepoint.commit()
        return
    savepoint.rollback()
    if lines := [line for loss in losses for line in _count(connection, loss)]:
        raise MonarchError(
            f"Revision {revision} would lose stored values; nothing of it was applied:\n" + "\n".join(lines),
            remedy=f"Keep a copy of them if they matter, then name the revision: --allow-data-loss {revision} "
            f"(plain alembic: -x allow_data_loss={revision}).",
        )
    run()


def _leaves_transaction(source: str) -> bool:
    # Asked of the code: in a message or a comment the word opens no way around the guard.
    return "autocommit_block" in source and any(
        isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "autocommit_block"
        for node in ast.walk(ast.parse(source))
    )


def _stored_columns(connection: Connection) -> Columns:
    rows = connection.exec_driver_sql(_COLUMNS)
    return {(oid, number): Column(schema, table, name, type_) for oid, schema, table, number, name, type_ in rows}


def _count(connection: Connection, loss: Loss) -> list[str]:
    """Lock the table, so that the count stays true, and tell what would be lost in it."""
    name = f"{_quote(loss.schema)}.{_quote(loss.table)}"
    run_script(connection, f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    if loss.whole:
        rows = run_script(connection, f"SELECT count(*) FROM {name}").scalar_one()
        return [f"  {loss.schema}.{loss.table}: the table with {counted(rows, 'row')}"] if rows else []
    lines = []
    columns: Sequence[str] = loss.columns
    if columns:
        counts = run_script(connection, f"SELECT {', '.join(f'count({_quote(c)})' for c in columns)} FROM {name}")
        lines += [
            f"  {loss.schema}.{loss.table}.{column}: the column with {counted(count, 'value')}"
            for column, count in zip(columns, counts.one(), strict=True)
            if count
        ]
    for column, type_ in loss.retyped.items():
        if count := _count_cut(connection, name, _quote(column), type_):
            lines.append(f"  {loss.schema}.{loss.table}.{column}: {counted(count, 'value')} lost in {type_}")
    return lines


def _count_cut(connection: Connection, table: str, column: str, type_: str) -> int:
    """Count the values that do not come back unchanged from the new type; all of them where they cannot be cast."""
    try:
        with connection.begin_nested():
            changed = f"{column}::{type_}::text IS DISTINCT FROM {column}::text"
            if _same_scale(type_):
                changed = f"{column}::{type_} IS DISTINCT FROM {column}"
            return int(run_script(connection, f"SELECT count(*) FROM {table} WHERE {changed}").scalar_one())
    except exc.DBAPIError:
        return int(run_script(connection, f"SELECT count({column}) FROM {table}").scalar_one())


def _same_scale(type_: str) -> bool:
    # Numbers and times are equal in other spellings (1.50 and 1.5), which a comparison as text would call lost.
    return type_.startswith(("numeric", "integer", "bigint", "smallint", "double", "real", "timestamp"))


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
