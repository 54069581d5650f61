"""Hazards: what the upgrade of a revision may cost. Pure; what depends on a target (rows, sizes) is not known here.

Sources: PostgreSQL, "Explicit Locking", "ALTER TABLE" (notes on rewrites and scans), "Limits", "Database Page Layout".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.schema.facts import Facts, parse_column

DATA_LOSS = "data_loss"
REWRITE = "rewrite"
SCAN = "scan"
LOCK = "lock"
LIMIT = "limit"
IRREVERSIBLE = "irreversible"
CARRIED = "carried"
KINDS = (DATA_LOSS, IRREVERSIBLE, REWRITE, SCAN, CARRIED, LIMIT, LOCK)

MOST_COLUMNS = 1600
# A row must fit a page; what is long is stored elsewhere, and a pointer to it stays in the row.
ROW_BYTES = 8160
# The lock pool is shared: 64 a connection, 100 connections by default. A transaction should leave room for others.
LOCK_BUDGET = 5000
_TOAST_LOCKS = 2
_POINTER_BYTES = 18
_WIDTHS = {
    "boolean": 1,
    "smallint": 2,
    "integer": 4,
    "bigint": 8,
    "real": 4,
    "double precision": 8,
    "date": 4,
    "uuid": 16,
    "interval": 16,
}
_TIME_BYTES = 8


class Mode(IntEnum):
    """Table locks, the weakest first; the number is PostgreSQL's own."""

    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    ACCESS_EXCLUSIVE = 8

    def __str__(self) -> str:
        return self.name.replace("_", " ")


class Held(IntEnum):
    """For how long a lock is held, the shortest first."""

    BRIEFLY = 1
    READING = 2
    BUILDING = 3
    REWRITING = 4

    def __str__(self) -> str:
        return ("briefly", "while every row is read", "while an index is built", "while the table is written anew")[
            self - 1
        ]


BLOCKED = {
    Mode.SHARE_UPDATE_EXCLUSIVE: "readers and writers go on",
    Mode.SHARE: "writers wait",
    Mode.SHARE_ROW_EXCLUSIVE: "writers wait",
    Mode.ACCESS_EXCLUSIVE: "readers and writers wait",
}


@dataclass(frozen=True)
class Lock:
    """A lock on a table ("schema.name"), and for how long it is held."""

    table: str
    mode: Mode
    held: Held = Held.BRIEFLY


def exclusively(table: str, held: Held = Held.BRIEFLY) -> tuple[Lock]:
    """Return the lock of most forms of ALTER TABLE."""
    return (Lock(table, Mode.ACCESS_EXCLUSIVE, held),)


def lock_hazards(locks: Iterable[Lock]) -> list[Hazard]:
    """Return the locks on each table, without those that another one outdoes in strength and time."""
    by_table: dict[str, set[Lock]] = defaultdict(set)
    for lock in locks:
        by_table[lock.table].add(lock)
    return [
        Hazard(LOCK, table, f"{lock.mode} {lock.held}; {BLOCKED[lock.mode]}")
        for table, taken in sorted(by_table.items())
        for lock in sorted(taken, key=lambda item: (item.mode, item.held))
        if not any(other != lock and other.mode >= lock.mode and other.held >= lock.held for other in taken)
    ]


def limit_hazards(found: Facts, wanted: Facts) -> list[Hazard]:
    """Return limits that come near: rows that may not fit a page, dropped columns that still count, many locks."""
    dropped = [locks_of(aspects) for name, aspects in found.relations.items() if name not in wanted.relations]
    hazards = []
    if sum(dropped) > LOCK_BUDGET:
        detail = (
            f"dropping {len(dropped):,} relations takes about {sum(dropped):,} locks; see max_locks_per_transaction"
        )
        hazards.append(Hazard(LIMIT, "transaction", detail))
    for name, aspects in wanted.relations.items():
        before = found.relations.get(name, {})
        if not name.startswith("table ") or aspects == before:
            continue
        table = name.removeprefix("table ")
        if (width := row_bytes(aspects)) > ROW_BYTES and width > row_bytes(before):
            detail = f"a row with every column filled takes {width:,} bytes or more; PostgreSQL stores {ROW_BYTES:,}"
            hazards.append(Hazard(LIMIT, table, detail))
        columns = {aspect for aspect in (*aspects, *before) if aspect.startswith("column ")}
        if before and len(columns) > MOST_COLUMNS:
            detail = f"{len(columns):,} columns with those that were dropped; PostgreSQL allows {MOST_COLUMNS:,}"
            hazards.append(Hazard(LIMIT, table, detail))
    return hazards


def locks_of(aspects: Mapping[str, str]) -> int:
    """Return about how many locks creating or dropping a table takes: its own, those of TOAST and of its indexes."""
    indexes = [
        name for name, value in aspects.items() if name.startswith("index ") or value.startswith(("PRIMARY", "UNIQUE"))
    ]
    return 1 + _TOAST_LOCKS + len(indexes)


def row_bytes(aspects: Mapping[str, str]) -> int:
    """Return the least that a row takes when every column of a table is filled with values too long to stay in it."""
    return sum(_width(parse_column(value).type) for name, value in aspects.items() if name.startswith("column "))


def gravity(kind: str) -> int:
    """Return where a kind stands, the gravest first; one that a person made up comes last."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def sorted_hazards(hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """Return hazards once each, the gravest kind first."""
    return tuple(sorted(set(hazards), key=lambda hazard: (gravity(hazard.kind), hazard.object, hazard.detail)))


def _width(kind: str) -> int:
    if kind.startswith("time") and not kind.endswith("]"):
        return _TIME_BYTES
    return _WIDTHS.get(kind, _POINTER_BYTES)
