"""Limits of a table that PostgreSQL tells only when it is too late: how many columns, and how wide a row.

Columns that were dropped count for ever (PostgreSQL, "Limits"), and facts do not know them: they are counted in the
catalog, of the clone that the chain built and of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import URL, Connection

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.hazards import MANY_COLUMNS
from monarch_dagster.migrations.planning.columns import altered_columns
from monarch_dagster.migrations.renames import Rename
from monarch_dagster.migrations.replay import chain_clone
from monarch_dagster.migrations.row_width import ROW_BYTES, row_bytes, told_width
from monarch_dagster.postgres.engines import connect, reading
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.columns import MOST_COLUMNS
from monarch_dagster.schema.facts import Facts

_USED = """
SELECT n.nspname || '.' || c.relname, c.relnatts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relnatts >= %s
"""
Columns = Mapping[str, int]


def used_columns(connection: Connection, least: int = 0) -> Columns:
    """Return how many columns tables have, dropped ones counted; only of tables with `least` or more."""
    return {str(row[0]): int(row[1]) for row in connection.exec_driver_sql(_USED, (least,))}


def used_after(url: URL, renames: Iterable[Rename]) -> Columns:
    """Return how many columns the tables of a clone have, by the names that renames give them."""
    with connect(url) as connection:
        used = used_columns(connection)
    new = {f"{item.schema}.{item.old}": f"{item.schema}.{item.new}" for item in renames if not item.column}
    return {new.get(name, name): count for name, count in used.items()}


class TooManyColumnsError(MonarchError):
    """A table would get more columns than it can have."""


def check_columns(found: Facts, wanted: Facts, used: Columns) -> None:
    """Raise `TooManyColumnsError` where going from `found` to `wanted`, and its proof, has no room for new columns.

    `used` counts the columns of `found` with those that were dropped.
    """
    for relation, aspects in wanted.relations.items():
        before = found.relations.get(relation)
        if not relation.startswith("table ") or before is None or before == aspects:
            continue
        table, there, come = relation.removeprefix("table "), _columns(before), _columns(aspects)
        count = max(used.get(table, 0), len(there))
        if count + 2 * len(come) <= MOST_COLUMNS:
            continue  # without a look at what changes: few tables come near
        added = len(come - there) + len(altered_columns(before, aspects).replaced)
        if added and count + added > MOST_COLUMNS:
            raise too_many(table, count + added, added, count - len(there & come))
        if count + 2 * added > MOST_COLUMNS:
            raise TooManyColumnsError(
                f"{table} has {count:,} columns, dropped ones counted, and gets {added:,}. A proof adds them twice, "
                f"since it takes them back in between, and PostgreSQL allows {MOST_COLUMNS:,}. Nothing was written.",
                remedy="Generate it in two steps: take some of the new columns out of the source, and add them "
                "afterwards.",
            )


def check_target(chain: Chain, url: URL, here: str | None, goal: str, shadows: Callable[[], ShadowServer]) -> None:
    """Raise `MonarchError` where a target's table has no room for the columns that it gets on the way to `goal`.

    Each time that a column was taken back and added again on the target counts there. Looked at only where a table has
    many columns, and a shadow can be had; PostgreSQL itself refuses the revision otherwise, when it runs.
    """
    with reading(url) as connection:
        crowded = used_columns(connection, MANY_COLUMNS)
    if not crowded:
        return
    try:
        server = shadows()
        before, after = (chain_columns(server, chain, revision) for revision in (here, goal))
    except MonarchError:
        return
    for table, used in sorted(crowded.items()):
        added = after.get(table, 0) - before.get(table, 0)
        if added > 0 and used + added > MOST_COLUMNS:
            raise too_many(table, used + added, added, max(used - before.get(table, 0), 0))


def chain_columns(shadows: ShadowServer, chain: Chain, revision: str | None) -> Columns:
    """Return how many columns the tables of a chain have at a revision, counting those that it dropped and no others.

    Raises `MonarchError` when a revision cannot be run.
    """
    with chain_clone(shadows, chain, revision, fresh=True) as url, connect(url) as connection:
        return used_columns(connection)


def too_many(table: str, total: int, added: int, gone: int) -> TooManyColumnsError:
    """Return the refusal of a change that gives a table `total` columns, `added` of them new and `gone` dropped."""
    dropped = f", {gone:,} others were dropped, which count until the table is made anew" if gone else ""
    return TooManyColumnsError(
        f"{table} would have {total:,} columns ({added:,} are added{dropped}); PostgreSQL allows {MOST_COLUMNS:,}. "
        "Nothing was changed.",
        remedy="Leave columns out"
        + (
            ", or move the rows into a new table under that name, in a revision of your own (monarch "
            "generate-migrations --empty)."
            if gone
            else "."
        ),
    )


def wide_rows(facts: Facts, used: Columns) -> dict[str, str]:
    """Return what is told of each table whose rows may not fit, by its name."""
    return {
        table: f"{table}: {told_width(width, aspects)}"
        for relation, aspects in sorted(facts.relations.items())
        if relation.startswith("table ")
        and (width := row_bytes(aspects, used.get(table := relation.removeprefix("table "), 0))) > ROW_BYTES
    }


def crowded_tables(used: Columns) -> list[str]:
    """Return a line for each table that has almost as many columns as it can have."""
    return [
        f"{table}: {count:,} of {MOST_COLUMNS:,} columns are used, dropped ones counted"
        for table, count in sorted(used.items())
        if count >= MANY_COLUMNS
    ]


def _columns(aspects: Mapping[str, str]) -> set[str]:
    return {name for name in aspects if name.startswith("column ")}
