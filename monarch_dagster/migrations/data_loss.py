"""Data loss needs a name (DESIGN rule 8): what a revision would drop or cut is judged on the target, by effect.

The revision runs in a savepoint; the catalog before and after tells which tables and columns are gone or of another
type, and the transaction's statistics which were written to, whether an operation or a hand-written statement did it.
Where something is, the savepoint is rolled back, the tables are locked, and what they hold is counted. Nothing stored:
the revision runs again, and stays where the tables that stay hold no less than before.

A statement that gives a column another type is judged before it is sent (`judging`): values that cannot become the new
type are no loss that could be allowed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, exc

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations import autocommit
from monarch_dagster.migrations.converting import CORRECT_OR_KEEP, Outcome
from monarch_dagster.migrations.judging import Judging
from monarch_dagster.migrations.registry_rows import PROVIDER, is_registry
from monarch_dagster.migrations.stored_values import (
    Column,
    Tables,
    find_written,
    hold,
    read_writes,
    renamed_columns,
    stored_columns,
)
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.postgres.quoting import quote

_UNIQUE_VIOLATION = "23505"


@dataclass(frozen=True)
class _Unknown:
    """A column whose new type is not there before the revision runs: how many values it holds, and different ones."""

    column: Column
    before: tuple[int, int]

    def told_after(self, connection: Connection, renamed: Column) -> list[str]:
        """Tell, when the revision has run, what it lost: values that became null, or one and the same."""
        now = _distinct(connection, f"{quote(renamed.schema)}.{quote(renamed.table)}", renamed.name)
        lost = max(before - after for before, after in zip(self.before, now, strict=True))
        name = f"{self.column.schema}.{self.column.table}.{self.column.name}"
        return [f"  {name}: {counted(lost, 'value')} lost"] if lost > 0 else []


@dataclass(frozen=True)
class Loss:
    """What a revision takes from one table: the whole of it, columns, and columns that get another type (old, new)."""

    schema: str
    table: str
    whole: bool = False
    columns: tuple[str, ...] = ()
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def find_losses(before: Tables, after: Tables, judged: Collection[tuple[int, int]] = ()) -> list[Loss]:
    """Compare the stored columns before and after; return what is gone or of another type, a `Loss` a table.

    What became of the values of the columns `judged`, by table and number, is known, so that their type does not
    matter.
    """
    losses = []
    for oid, table in before.items():
        now = after.get(oid)
        if now == table:
            continue
        there = now.columns() if now else {}
        gone = sorted(column.name for number, column in table.columns().items() if number not in there)
        retyped = {
            column.name: (column.type, there[number].type)
            for number, column in table.columns().items()
            if number in there and there[number].type != column.type and (oid, number) not in judged
        }
        if gone or retyped:
            losses.append(Loss(table.schema, table.table, now is None, tuple(gone), dict(sorted(retyped.items()))))
    return sorted(losses, key=lambda loss: (loss.schema, loss.table))


def guarded(
    connection: Connection,
    revision: str,
    approved: Collection[str],
    run: Callable[[], None],
    source: str,
    *,
    is_upgrade: bool,
) -> None:
    """Run a revision; refuse it, with the rows per table, where it would lose stored values and is not in `approved`.

    `source` is the revision's text: where the function that runs leaves the transaction by an `autocommit_block()`,
    it cannot be tried in a savepoint, and it is refused unless its code plainly loses nothing. What converts a column
    whose values do not all fit is refused, approved or not.

    Raises `MonarchError` for the refusal.
    """
    if leaves_transaction(source, is_upgrade=is_upgrade):
        if revision not in approved and (unjudged := autocommit.find_unjudged(_running(source, is_upgrade))):
            raise _cannot_be_judged(revision, unjudged)
        run()
        return
    if revision in approved:
        _run_judged(connection, revision, run)
        return
    before, written_before = stored_columns(connection), read_writes(connection)
    savepoint = connection.begin_nested()
    judging = _run_judged(connection, revision, lambda: _run_inside(connection, revision, run))
    after = stored_columns(connection)
    lines = _lost_in_conversions(judging)
    losses = find_losses(before, after, judging.judged)
    written = find_written(written_before, read_writes(connection)) - judging.explained()
    if not losses and not written and not lines:
        savepoint.commit()
        return
    savepoint.rollback()
    unknown: list[_Unknown] = []
    lines += [line for loss in losses for line in _count(connection, loss, unknown)]
    if lines:
        raise _refused(revision, lines)
    left_out = {item.column for item in unknown}
    held = [
        hold(connection, table, before, after, left_out, whole=table not in written_before) for table in sorted(written)
    ]
    # Locks went with the savepoint, so that rows may be others by now.
    judging = _run_judged(connection, revision, lambda: _run_inside(connection, revision, run))
    renamed = renamed_columns(before, after) if unknown else {}
    lines = _lost_in_conversions(judging)
    lines += [line for item in unknown for line in item.told_after(connection, renamed[item.column])]
    lines += [line for item in held if item for line in item.told_after(connection)]
    if lines:
        raise _refused(revision, lines)


def _run_judged(connection: Connection, revision: str, run: Callable[[], None]) -> Judging:
    """Run a revision, and refuse it where it converts a column whose values do not all fit."""
    judging = Judging(connection)
    try:
        with judging.watching():
            run()
    except exc.DBAPIError as error:
        if not judging.failing and judging.converting and getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION:
            raise _one_value(revision, error) from None
        # What was not converted may have been in the way of what came behind it.
        if not judging.failing:
            raise
    if judging.failing:
        raise _impossible(revision, judging.outcomes)
    return judging


def _lost_in_conversions(judging: Judging) -> list[str]:
    return [f"  {item.name}: {counted(item.cut, 'value')} lost in {item.new}" for item in judging.outcomes if item.cut]


def _run_inside(connection: Connection, revision: str, run: Callable[[], None]) -> None:
    """Run a revision whose code does not show that it leaves its transaction, and refuse it where it does so."""

    def refuse(_connection: Connection) -> None:
        raise _cannot_be_judged(revision, "a commit while it runs")

    # Told before the commit is sent; what an imported function commits is seen here only.
    event.listen(connection, "commit", refuse)
    try:
        run()
    finally:
        event.remove(connection, "commit", refuse)


def leaves_transaction(source: str, *, is_upgrade: bool) -> bool:
    """Say whether the function of a revision's text that runs opens an `autocommit_block()`."""
    # A full parse of a large file is slow.
    return "autocommit_block" in source and autocommit.leaves_transaction(_running(source, is_upgrade))


def _running(source: str, is_upgrade: bool) -> Sequence[ast.FunctionDef]:
    return autocommit.running_code(source, "upgrade" if is_upgrade else "downgrade")


def _cannot_be_judged(revision: str, call: str) -> MonarchError:
    return MonarchError(
        f"Revision {revision} leaves its transaction, so what it would lose cannot be judged; nothing of it was "
        f"applied:\n  {call}",
        remedy=f"Do it in a transaction, in a revision that does not leave it, or name the revision: "
        f"--allow-data-loss {revision} (plain alembic: -x allow_data_loss={revision}).",
    )


def _impossible(revision: str, outcomes: Sequence[Outcome]) -> MonarchError:
    # What PostgreSQL refused of a batch was sent, and judged, once more by itself.
    lines = list(dict.fromkeys(f"  {item}" for item in outcomes if item.failing or item.cut))
    return MonarchError(
        f"Revision {revision} converts columns whose values do not all fit; nothing of it was applied:\n"
        + "\n".join(lines),
        remedy=f"{CORRECT_OR_KEEP} Naming it with --allow-data-loss lets values be cut, and does not help where they "
        "cannot become the new type.",
    )


def _one_value(revision: str, error: exc.DBAPIError) -> MonarchError:
    diagnosis = getattr(error.orig, "diag", None)
    table, index = (
        (f"{diagnosis.schema_name}.{diagnosis.table_name}", diagnosis.constraint_name) if diagnosis else ("a table", "")
    )
    return MonarchError(
        f"Revision {revision} converts columns of {table}, and values that differ now would be one and the same then, "
        f"which the unique index {index} does not allow; nothing of it was applied.",
        remedy="Correct those rows, then run again. Or keep the old type (choices.column_type in object_meta.json, or "
        "the model's), delete this revision and generate anew.",
    )


def _refused(revision: str, lines: Sequence[str]) -> MonarchError:
    return MonarchError(
        f"Revision {revision} would lose stored values; nothing of it was applied:\n" + "\n".join(lines),
        remedy=f"Keep a copy of them if they matter, then name the revision: --allow-data-loss {revision} "
        f"(plain alembic: -x allow_data_loss={revision}).",
    )


def _count(connection: Connection, loss: Loss, unknown: list[_Unknown]) -> list[str]:
    """Lock the table, so that the count stays true, and tell what would be lost in it.

    A column that gets a type which the revision itself makes is added to `unknown`.
    """
    name = f"{quote(loss.schema)}.{quote(loss.table)}"
    run_script(connection, f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    if is_registry(connection, loss.schema, loss.table):
        # What Monarch wrote there itself, from a file that is still there, is no loss.
        name = f"(SELECT * FROM {name} WHERE provider <> '{PROVIDER}') AS others"
    if loss.whole:
        rows = run_script(connection, f"SELECT count(*) FROM {name}").scalar_one()
        return [f"  {loss.schema}.{loss.table}: the table with {counted(rows, 'row')}"] if rows else []
    lines = []
    columns: Sequence[str] = loss.columns
    if columns:
        counts = run_script(connection, f"SELECT {', '.join(f'count({quote(c)})' for c in columns)} FROM {name}")
        lines += [
            f"  {loss.schema}.{loss.table}.{column}: the column with {counted(count, 'value')}"
            for column, count in zip(columns, counts.one(), strict=True)
            if count
        ]
    for column, (old, new) in loss.retyped.items():
        if connection.exec_driver_sql("SELECT to_regtype(%s)", (new,)).scalar_one() is None:
            changed = Column(loss.schema, loss.table, column, old)
            unknown.append(_Unknown(changed, _distinct(connection, name, column)))
        elif count := _count_cut(connection, name, quote(column), old, new):
            lines.append(f"  {loss.schema}.{loss.table}.{column}: {counted(count, 'value')} lost in {new}")
    return lines


def _distinct(connection: Connection, table: str, column: str) -> tuple[int, int]:
    quoted = quote(column)
    counts: Any = run_script(connection, f"SELECT count({quoted}), count(DISTINCT {quoted}::text) FROM {table}").one()
    return counts[0], counts[1]


def _count_cut(connection: Connection, table: str, column: str, old: str, new: str) -> int:
    """Count the values that do not come back from the new type as they were; all of them where they cannot be cast."""
    back = f"{column}::{new}::{old}"
    # Some types, such as json, know no equality; then the spelling decides.
    for changed in (f"{back} IS DISTINCT FROM {column}", f"{back}::text IS DISTINCT FROM {column}::text"):
        with suppress(exc.DBAPIError), connection.begin_nested():
            return int(run_script(connection, f"SELECT count(*) FROM {table} WHERE {changed}").scalar_one())
    return int(run_script(connection, f"SELECT count({column}) FROM {table}").scalar_one())
