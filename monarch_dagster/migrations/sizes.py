"""What hazards mean on a target: how many rows and bytes the tables hold that pending revisions work on. Read only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import URL

from monarch_dagster.migrations.hazards import LIMIT, MANY_COLUMNS, gravity, severity
from monarch_dagster.migrations.revisions import Hazard, Revision
from monarch_dagster.postgres.engines import reading
from monarch_dagster.schema.columns import MOST_COLUMNS

# reltuples is -1 until a table is analyzed (PostgreSQL, "pg_class"); the statistics collector may know more by then.
_SIZES = """
SELECT n.nspname || '.' || c.relname,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint ELSE pg_stat_get_live_tuples(c.oid) END,
       pg_total_relation_size(c.oid),
       (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname = ANY(%s)
ORDER BY 1
"""


@dataclass(frozen=True)
class TableSize:
    """What a table holds: rows (PostgreSQL's estimate), bytes with indexes, and columns with those dropped."""

    table: str
    rows: int
    bytes: int
    columns: int


Sizes = Mapping[str, TableSize]


def read_sizes(url: URL, pending: Iterable[Revision]) -> Sizes:
    """Return the sizes of the tables that the hazards of `pending` name and that the target has, in one query.

    Raises `MonarchError` when the target cannot be read.
    """
    names = sorted({name for item in pending for hazard in item.hazards for name in _candidates(hazard)})
    if not names:
        return {}
    with reading(url) as connection:
        return {row[0]: TableSize(*row) for row in connection.exec_driver_sql(_SIZES, (names,))}


def sizes_for(item: Revision, sizes: Sizes) -> Sizes:
    """Return those of `sizes` that the hazards of one revision name."""
    found = [size for hazard in item.hazards if (size := size_of(hazard, sizes)) is not None]
    return {size.table: size for size in found}


def size_of(hazard: Hazard, sizes: Sizes) -> TableSize | None:
    """Return the size of the table that a hazard is about; None where it is about none that is there."""
    return next((sizes[name] for name in _candidates(hazard) if name in sizes), None)


def hazard_rows(pending: Iterable[Revision], sizes: Sizes) -> list[dict[str, str]]:
    """Return the hazards of revisions and of the target's tables, the gravest first, with rows and size of the table.

    Each has the keys severity, revision, kind, object, detail, rows and size, the last two "" where the target has no
    such table.
    """
    found = [(item.revision, hazard) for item in pending for hazard in item.hazards]
    found += [("", hazard) for hazard in live_hazards(sizes)]
    rows = []
    for revision, hazard in sorted(found, key=lambda item: gravity(item[1].kind)):
        size = size_of(hazard, sizes)
        held = {"rows": f"about {size.rows:,}", "size": human_bytes(size.bytes)} if size else {"rows": "", "size": ""}
        rows.append(hazard_row(revision, hazard) | held)
    return rows


def hazard_row(revision: str, hazard: Hazard) -> dict[str, str]:
    """Return a hazard of a revision as a row for people."""
    told = {"kind": hazard.kind, "object": hazard.object, "detail": hazard.detail}
    return {"severity": severity(hazard.kind), "revision": revision, **told}


def live_hazards(sizes: Sizes) -> list[Hazard]:
    """Return the limits that tables of the target come near to."""
    return [
        Hazard(LIMIT, item.table, f"{item.columns:,} of {MOST_COLUMNS:,} columns are used, dropped ones counted")
        for item in sizes.values()
        if item.columns >= MANY_COLUMNS
    ]


def human_bytes(number: int) -> str:
    """Return such as "16 kB" and "1.2 GB", as PostgreSQL's own `pg_size_pretty` counts."""
    size = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TB"


def _candidates(hazard: Hazard) -> tuple[str, str]:
    """Return the names that the table may have: a hazard's object is a table, or a column of it."""
    return hazard.object, hazard.object.rpartition(".")[0]
