"""Hazards: what the upgrade of a revision may cost, told from its operations alone. Pure.

What depends on a target (rows, sizes) is not known here. Sources: PostgreSQL, "ALTER TABLE" (notes on rewrites and
scans) and "Explicit Locking".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Numeric, String, Text
from sqlalchemy.types import TypeEngine

from monarch_dagster.migrations.chain import Hazard
from monarch_dagster.migrations.operations import Step

DATA_LOSS = "data_loss"
REWRITE = "rewrite"
SCAN = "scan"
LOCK = "lock"


def step_hazards(steps: Iterable[Step]) -> tuple[Hazard, ...]:
    """Return the hazards of the upgrade direction of all steps, sorted."""
    found = {hazard for step in steps if not _creates_table(step) for item in step.up for hazard in _hazards(item)}
    return tuple(sorted(found, key=lambda hazard: (hazard.kind, hazard.object, hazard.detail)))


def _creates_table(step: Step) -> bool:
    return any(isinstance(item, ops.CreateTableOp) for item in step.up)


def _hazards(item: Any) -> Iterator[Hazard]:
    table = (
        f"{getattr(item, 'schema', None)}.{getattr(item, 'source_table', None) or getattr(item, 'table_name', None)}"
    )
    match item:
        case ops.DropTableOp():
            yield Hazard(DATA_LOSS, table, "the table is dropped with its rows")
        case ops.DropColumnOp():
            yield Hazard(DATA_LOSS, f"{table}.{item.column_name}", "the column is dropped with its values")
        case ops.AlterColumnOp():
            yield from _alter_hazards(item, f"{table}.{item.column_name}")
        case ops.AddColumnOp() if not item.column.nullable and item.column.server_default is None:
            yield Hazard(
                SCAN, f"{table}.{item.column.name}", "NOT NULL without a default fails where the table has rows"
            )
        case ops.CreateForeignKeyOp():
            yield Hazard(SCAN, table, f"{item.constraint_name} checks every row; writes to both tables wait")
        case ops.CreateCheckConstraintOp():
            yield Hazard(SCAN, table, f"{item.constraint_name} checks every row under an exclusive lock")
        case ops.CreateUniqueConstraintOp() | ops.CreatePrimaryKeyOp():
            yield Hazard(LOCK, table, f"{item.constraint_name} builds an index under an exclusive lock")
        case ops.CreateIndexOp():
            yield Hazard(LOCK, table, f"{item.index_name} is built while writes to the table wait")


def _alter_hazards(item: ops.AlterColumnOp, column: str) -> Iterator[Hazard]:
    if item.modify_type is not None and not widens(item.existing_type, item.modify_type):
        yield Hazard(REWRITE, column, "the type changes under an exclusive lock; values that do not fit stop it")
    if item.modify_nullable is False:
        yield Hazard(SCAN, column, "SET NOT NULL reads every row under an exclusive lock")


def widens(old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
    """Say whether every value of `old` fits `new` and PostgreSQL changes the type without touching the table."""
    if isinstance(old, String) and isinstance(new, String):
        return isinstance(new, Text) or new.length is None or (old.length is not None and new.length >= old.length)
    if isinstance(old, Numeric) and isinstance(new, Numeric) and type(old) is type(new):
        if new.precision is None:
            return True
        # A rewrite is spared only while the scale stays (PostgreSQL, numeric's length coercion).
        return old.precision is not None and old.scale == new.scale and new.precision >= old.precision
    return False
