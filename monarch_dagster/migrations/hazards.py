"""Hazards: what the upgrade of a revision may cost. Pure; what depends on a target (rows, sizes) is not known here.

Sources: PostgreSQL, "Explicit Locking", "ALTER TABLE" (notes on rewrites and scans), "Limits", "Database Page Layout".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.migrations.row_width import ROW_BYTES, row_bytes, told_width
from monarch_dagster.postgres.types import fits_always
from monarch_dagster.schema.columns import MOST_COLUMNS
from monarch_dagster.schema.facts import Facts

DATA_LOSS = "data_loss"
CONVERSION = "conversion"
REWRITE = "rewrite"
SCAN = "scan"
LOCK = "lock"
LIMIT = "limit"
IRREVERSIBLE = "irreversible"
CARRIED = "carried"
# The gravest first: what nothing brings back; what cannot be undone, or may stop or block for long; what wants a look
# beforehand; what is over in a moment as a rule.
SEVERITIES = {
    DATA_LOSS: "critical",
    IRREVERSIBLE: "high",
    CONVERSION: "high",
    REWRITE: "high",
    SCAN: "medium",
    CARRIED: "medium",
    LIMIT: "medium",
    LOCK: "low",
}
UNRATED = "unrated"
KINDS = tuple(SEVERITIES)

# From here on it is worth a word.
MANY_COLUMNS = 1_400
# The lock pool is shared: 64 a connection, 100 connections by default. A transaction should leave room for others.
LOCK_BUDGET = 5000
_TOAST_LOCKS = 2


_CONVERSION = re.compile(r"(?:narrowed|retyped) from (.+) to (.+); [^;]+")


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
        # What is added comes behind what is there.
        placed = {column: aspects[column] for column in (*before, *aspects) if column in aspects}
        if (width := row_bytes(placed)) > ROW_BYTES and width > row_bytes(before):
            hazards.append(Hazard(LIMIT, table, told_width(width, aspects)))
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


def conversion_hazard(column: str, change: str, old: str, new: str) -> Hazard:
    """Return the hazard of a column that is narrowed or retyped, which `change` says."""
    fits = "every value fits" if fits_always(old, new) else "values that do not fit stop it"
    return Hazard(CONVERSION, column, f"{change} from {old} to {new}; {fits}")


def converted_types(hazard: Hazard) -> tuple[str, str] | None:
    """Return the types, old and new, of the column that a hazard says is converted; None for any other hazard."""
    found = _CONVERSION.fullmatch(hazard.detail) if hazard.kind == CONVERSION else None
    return (found[1], found[2]) if found else None


def gravity(kind: str) -> int:
    """Return where a kind stands, the gravest first; one that a person made up comes last."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def severity(kind: str) -> str:
    """Return how grave a kind is: "critical", "high", "medium" or "low"; "unrated" for one that a person made up."""
    return SEVERITIES.get(kind, UNRATED)


def sorted_hazards(hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """Return hazards once each, the gravest kind first."""
    return tuple(sorted(set(hazards), key=lambda hazard: (gravity(hazard.kind), hazard.object, hazard.detail)))
