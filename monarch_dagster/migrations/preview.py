"""What conversions of pending revisions would do to the values of a target, told beforehand. Nothing stays of it.

The revision decides again when it runs (DESIGN rule 8): rows may be others by then.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, exc

from monarch_dagster.migrations.alter_type import Conversion, Conversions
from monarch_dagster.migrations.converting import Outcome, count_conversions
from monarch_dagster.migrations.environment import SETTINGS
from monarch_dagster.migrations.hazards import converted_types
from monarch_dagster.migrations.planning.conversions import using
from monarch_dagster.migrations.renames import Rename
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.migrations.said_renames import name_before, said_renames
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.quoting import identifier, quote

# Who asks for a status does not wait for a scan of a large table.
SECONDS = 10
# Types of columns of a table, as schema, table, column, type.
_TYPES = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND n.nspname || '.' || c.relname || '.' || a.attname = ANY(%s)
"""


@dataclass(frozen=True)
class Preview:
    """A conversion of a pending revision: what becomes of the values, None where that was not counted in time."""

    revision: str
    column: str
    old: str
    new: str
    outcome: Outcome | None

    def __str__(self) -> str:
        if self.outcome is not None:
            return f"{self.revision} {self.outcome}"
        return f"{self.revision} {self.column}: from {self.old} to {self.new}: not counted; the revision does it itself"

    def to_json(self) -> dict[str, Any]:
        """Return it as `monarch status --json` has it; the counts are null where they are not known."""
        values, failing, cut = (
            (self.outcome.values, self.outcome.failing, self.outcome.cut) if self.outcome else (None, None, None)
        )
        told = {"column": self.column, "from": self.old, "to": self.new}
        return told | {"values": values, "cannot_become": failing, "cut": cut}


def preview_conversions(url: URL, pending: Iterable[Revision]) -> tuple[Preview, ...]:
    """Count for the columns that revisions convert, as their headers say, what would become of the target's values.

    Those edited by hand are left out, since they may do it in another way, and columns that the target does not have
    with that type. Raises `MonarchError` where the target cannot be reached.
    """
    named: list[tuple[str, str, str, str, str]] = []
    renames: list[Rename] = []
    for item in pending:
        renames += said_renames(item.path.read_text())
        if not item.edited:
            named += [
                (item.revision, hazard.object, _before(renames, hazard.object), *types)
                for hazard in item.hazards
                if (types := converted_types(hazard)) is not None
            ]
    if not named:
        return ()
    until = time.monotonic() + SECONDS
    with connect(url) as connection:
        run_script(connection, SETTINGS)
        there = _read_types(connection, [before for _, _, before, _, _ in named])
        tables: dict[tuple[str, str, str], list[Conversion]] = defaultdict(list)
        for revision, _, before, old, new in named:
            schema, table, name, kind = there.get(before, ("", "", "", ""))
            if kind == old:
                conversion = Conversion(name, new, using(identifier(name), old, new))
                tables[revision, schema, table].append(conversion)
        outcomes = {
            (revision, item.name): item
            for (revision, schema, table), conversions in tables.items()
            for item in _count(connection, f"{quote(schema)}.{quote(table)}", conversions, until)
        }
        connection.rollback()
    return tuple(
        Preview(revision, column, old, new, outcomes.get((revision, before)))
        for revision, column, before, old, new in named
        if there.get(before, ("",))[-1] == old
    )


def _before(renames: Sequence[Rename], column: str) -> str:
    """Return what a column is called on a target, whose full name is that after renames that are pending."""
    parts = column.split(".")
    if len(parts) != 3:  # a name with a point in it
        return column
    return ".".join((parts[0], *name_before(renames, *parts)))


def _read_types(connection: Connection, columns: Sequence[str]) -> dict[str, tuple[str, str, str, str]]:
    rows = connection.exec_driver_sql(_TYPES, (list(columns),))
    return {f"{schema}.{table}.{name}": (schema, table, name, kind) for schema, table, name, kind in rows}


def _count(connection: Connection, table: str, conversions: Sequence[Conversion], until: float) -> Sequence[Outcome]:
    left = until - time.monotonic()
    if left <= 0:
        return ()
    # One that fails, by the timeout or since this is a standby, leaves the others as they are.
    with connection.begin_nested() as savepoint:
        try:
            run_script(connection, f"SET LOCAL statement_timeout = {1 + int(1000 * left)}")
            found = count_conversions(connection, Conversions(table, False, tuple(conversions)), lock=False)
        except exc.DBAPIError:
            savepoint.rollback()
            return ()
    return found.outcomes if found is not None else ()
