"""Canonical operations: what autogenerate found, in one order that is the same for everyone and works (rule 5).

Pure. Autogenerate walks sets, so its order varies by hash seed and may drop a table before what refers to it. Here each
change becomes a step that knows both its directions; the downgrade is the steps backwards.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from alembic.operations import ops
from sqlalchemy import Date, DateTime, ForeignKeyConstraint, Integer, Numeric, String
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from monarch_dagster.errors import MonarchError

Table = tuple[str, str]
USING = "postgresql_using"
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_FAMILIES = ((Integer, Numeric), (Date, DateTime))

# What goes first makes room for the names of what comes, and a foreign key finds the key that it refers to.
(
    _CREATE_SCHEMA,
    _DROP_KEYS,
    _DROP,
    _DROP_OTHERS,
    _ADD,
    _ALTER,
    _CONSTRAIN,
    _CREATE,
    _KEYS,
    _DROP_COLUMNS,
    _DROP_SCHEMA,
) = range(11)
_PHASES: dict[type[ops.MigrateOperation], int] = {
    ops.DropIndexOp: _DROP_OTHERS,
    ops.AddColumnOp: _ADD,
    ops.AlterColumnOp: _ALTER,
    ops.CreateTableCommentOp: _ALTER,
    ops.DropTableCommentOp: _ALTER,
    ops.CreateUniqueConstraintOp: _CONSTRAIN,
    ops.CreateCheckConstraintOp: _CONSTRAIN,
    ops.CreatePrimaryKeyOp: _CONSTRAIN,
    ops.CreateIndexOp: _CONSTRAIN,
    ops.CreateForeignKeyOp: _KEYS,
    ops.DropColumnOp: _DROP_COLUMNS,
}


@dataclass(frozen=True)
class Step:
    """One change with both its directions; the operations of a direction run in their order."""

    up: tuple[ops.MigrateOperation, ...]
    down: tuple[ops.MigrateOperation, ...]


@dataclass
class _Block:
    """A table with its indexes, and the foreign keys that wait until all tables are there."""

    create: ops.CreateTableOp
    indexes: list[ops.CreateIndexOp] = field(default_factory=list)
    late: list[ops.CreateForeignKeyOp] = field(default_factory=list)


def canonical_steps(
    found: Iterable[ops.MigrateOperation], *, new_schemas: Iterable[str], old_schemas: Iterable[str]
) -> list[Step]:
    """Put operations into canonical order.

    Args:
        found: what autogenerate produced, for any number of schemas, in any order.
        new_schemas: schemas to create before anything else.
        old_schemas: schemas to drop when all else is done; PostgreSQL refuses where something is left in them.

    Raises `MonarchError` for a kind of operation that has no place in the order.
    """
    flat = list(_flatten(found))
    created = _blocks(item for item in flat if isinstance(item, ops.CreateTableOp))
    dropped = _blocks(_created(item.reverse()) for item in flat if isinstance(item, ops.DropTableOp))
    phases: dict[int, list[Step]] = defaultdict(list)
    rest: list[tuple[Any, ops.MigrateOperation]] = []
    for position, item in enumerate(flat):
        if isinstance(item, ops.CreateTableOp | ops.DropTableOp):
            continue
        table = _table_of(item)
        if isinstance(item, ops.CreateIndexOp) and table in created:
            created[table].indexes.append(item)
        elif isinstance(item, ops.DropIndexOp) and table in dropped:
            dropped[table].indexes.append(item.reverse())
        elif isinstance(item, ops.DropConstraintOp) and table in dropped:
            continue  # goes with its table, and comes back with it
        else:
            rest.append(((_phase(item), *table, *_place(item, position)), item))
    for key, item in sorted(rest, key=lambda entry: entry[0]):
        phases[key[0]].append(Step((_casting(item),), (_casting(item.reverse()),)))
    for block in _ordered(created):
        phases[_CREATE].append(_creation(block))
        phases[_KEYS] += [Step((late,), (late.reverse(),)) for late in block.late]
    for block in reversed(_ordered(dropped)):
        step = _creation(block)
        phases[_DROP].append(Step(step.down, step.up))
        phases[_DROP_KEYS] += [Step((late.reverse(),), (late,)) for late in block.late]
    phases[_CREATE_SCHEMA] = [_schema_step(name) for name in sorted(new_schemas)]
    for step in map(_schema_step, sorted(old_schemas)):
        phases[_DROP_SCHEMA].append(Step(step.down, step.up))
    return [step for phase in sorted(phases) for step in phases[phase]]


def _flatten(found: Iterable[ops.MigrateOperation]) -> Iterable[ops.MigrateOperation]:
    for item in found:
        if isinstance(item, ops.OpContainer):
            yield from _flatten(item.ops)
        else:
            yield item


def _created(item: ops.MigrateOperation) -> ops.CreateTableOp:
    assert isinstance(item, ops.CreateTableOp)
    return item


def _blocks(creations: Iterable[ops.CreateTableOp]) -> dict[Table, _Block]:
    return {(str(item.schema), str(item.table_name)): _Block(item) for item in creations}


def _ordered(blocks: dict[Table, _Block]) -> list[_Block]:
    """Order tables so that each follows those it refers to, by name where that leaves a choice.

    In a cycle the first table by name goes first, and its keys into the rest of the cycle are added at the end.
    """
    targets = {table: _targets(block) & blocks.keys() - {table} for table, block in blocks.items()}
    referrers: dict[Table, list[Table]] = defaultdict(list)
    for table, referred in targets.items():
        for target in referred:
            referrers[target].append(table)
    open_targets = {table: set(referred) for table, referred in targets.items()}
    ready = [table for table, referred in open_targets.items() if not referred]
    heapq.heapify(ready)
    waiting = sorted(blocks, reverse=True)
    ordered: list[_Block] = []
    done: set[Table] = set()
    while len(done) < len(blocks):
        if ready:
            table = heapq.heappop(ready)
        else:
            while waiting[-1] in done:
                waiting.pop()
            table = waiting.pop()
            _postpone_keys(blocks[table], open_targets[table])
        if table in done:
            continue
        done.add(table)
        ordered.append(blocks[table])
        for referrer in referrers[table]:
            open_targets[referrer].discard(table)
            if not open_targets[referrer] and referrer not in done:
                heapq.heappush(ready, referrer)
    return ordered


def _targets(block: _Block) -> set[Table]:
    return {_target(item) for item in block.create.columns if isinstance(item, ForeignKeyConstraint)}


def _target(key: ForeignKeyConstraint) -> Table:
    schema, table, _ = key.elements[0].target_fullname.rsplit(".", 2)
    return schema, table


def _postpone_keys(block: _Block, undone: set[Table]) -> None:
    def is_late(item: Any) -> bool:
        return isinstance(item, ForeignKeyConstraint) and _target(item) in undone

    late: Iterable[Any] = filter(is_late, block.create.columns)
    block.late = sorted((ops.CreateForeignKeyOp.from_constraint(item) for item in late), key=_name)
    block.create.columns = [item for item in block.create.columns if not is_late(item)]


def _creation(block: _Block) -> Step:
    table = block.create
    return Step((table, *sorted(block.indexes, key=_name)), (table.reverse(),))


def _schema_step(name: str) -> Step:
    # Without CASCADE: whatever else is in there is somebody's.
    return Step(
        (ops.ExecuteSQLOp(f'CREATE SCHEMA IF NOT EXISTS "{name}"'),), (ops.ExecuteSQLOp(f'DROP SCHEMA "{name}"'),)
    )


def _casting(item: ops.MigrateOperation) -> ops.MigrateOperation:
    """Say how values become the new type where PostgreSQL does not convert them by itself."""
    if isinstance(item, ops.AlterColumnOp):
        item.kw.pop(USING, None)
        old, new = item.existing_type, item.modify_type
        if old is not None and new is not None and not converts(old, new):
            column = _DIALECT.identifier_preparer.quote(str(item.column_name))
            item.kw[USING] = f"{column}::text::{new.compile(_DIALECT)}"
    return item


def converts(old: TypeEngine[Any], new: TypeEngine[Any]) -> bool:
    """Say whether PostgreSQL assigns a value of `old` to a column of `new`: within a family, and anything to text."""
    if isinstance(new, String) or old._type_affinity is new._type_affinity:
        return True
    return any(isinstance(old, family) and isinstance(new, family) for family in _FAMILIES)


def _phase(item: ops.MigrateOperation) -> int:
    if isinstance(item, ops.DropConstraintOp):
        return _DROP_KEYS if item.constraint_type == "foreignkey" else _DROP_OTHERS
    try:
        return _PHASES[type(item)]
    except KeyError:
        raise MonarchError(
            f"Autogenerate proposes an operation that Monarch cannot place: {type(item).__name__}.",
            remedy="Write this revision by hand (generate-migrations --empty) and report it.",
        ) from None


def _table_of(item: Any) -> Table:
    return str(getattr(item, "schema", "")), str(getattr(item, "source_table", None) or item.table_name)


def _place(item: Any, position: int) -> tuple[str, int, str]:
    """Sort by kind and name; new columns keep the order in which the model declares them.

    A computed column comes after those that it is computed from, and goes before them.
    """
    if isinstance(item, ops.AddColumnOp):
        return "" if item.column.computed is None else "computed", position, ""
    if isinstance(item, ops.DropColumnOp) and item.to_column().computed is not None:
        return "", 0, _name(item)
    return type(item).__name__, 0, _name(item)


def _name(item: Any) -> str:
    for attribute in ("constraint_name", "index_name", "column_name"):
        if value := getattr(item, attribute, None):
            return str(value)
    return ""
