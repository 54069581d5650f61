"""Columns that get another type. Pure.

PostgreSQL writes a table anew once for all columns of one statement, so those that need it are changed in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops

from monarch_dagster.migrations.hazards import REWRITE, Held, conversion_hazard, exclusively
from monarch_dagster.migrations.planning import conversions
from monarch_dagster.migrations.planning.operation import Action, Operation, Phase, Sql, qualified, split
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier
from monarch_dagster.postgres.types import change_of, keeps_values
from monarch_dagster.schema.facts import ColumnParts


@dataclass(frozen=True)
class _Change:
    """One column's change; `recast` tells that its type is made anew under the same name."""

    relation: str
    name: str
    before: ColumnParts
    after: ColumnParts
    recast: bool

    @property
    def column(self) -> str:
        return f"{self.relation.partition(' ')[2]}.{self.name}"

    @property
    def rewrites(self) -> bool:
        return self.recast or not keeps_values(self.before.type, self.after.type)

    @property
    def using(self) -> str:
        column = identifier(self.name)
        if not self.recast:
            return conversions.using(column, self.before.type, self.after.type)
        return f"{column}::text{'[]' if self.after.type.endswith('[]') else ''}::{self.after.type}"

    @property
    def clause(self) -> str:
        collation = f" COLLATE {self.after.collation}" if self.after.collation else ""
        using = f" USING {self.using}" if self.using else ""
        return f"ALTER COLUMN {identifier(self.name)} TYPE {self.after.type}{collation}{using}"

    def hazards(self) -> Iterator[Hazard]:
        old, new = self.before.type, self.after.type
        if self.rewrites:
            yield Hazard(REWRITE, self.column, f"from {old} to {new}")
        if not self.recast and (change := change_of(old, new)) in ("narrowed", "retyped"):
            yield conversion_hazard(self.column, change, old, new)


def plan_retyped(
    relation: str, columns: Sequence[tuple[str, ColumnParts, ColumnParts, bool]], words: Words
) -> Iterator[Operation]:
    """Give the operations that change the types of columns of one table: name, before, after, whether it is recast."""
    changes = [_Change(relation, *item) for item in columns]
    together = [item for item in changes if item.rewrites]
    if len(together) > 1:
        clauses = ",\n    ".join(item.clause for item in together)
        action = Sql(f"ALTER TABLE {qualified(relation)}\n    {clauses}")
        yield _operation(together, action, Held.REWRITING)
        changes = [item for item in changes if not item.rewrites]
    for item in changes:
        collated = item.before.collation != item.after.collation
        held = Held.REWRITING if item.rewrites else Held.BUILDING if collated else Held.BRIEFLY
        yield _operation([item], _action(item, words), held)


def _operation(changes: Sequence[_Change], action: Action, held: Held) -> Operation:
    first = changes[0]
    hazards = tuple(hazard for item in changes for hazard in item.hazards())
    table = first.relation.partition(" ")[2]
    return Operation(Phase.ALTER_TYPE, (first.relation, first.name), (action,), hazards, exclusively(table, held))


def _action(item: _Change, words: Words) -> Action:
    schema, table = split(item.relation)
    model = words.model_column(item.relation, item.name)
    if model is None or item.recast:
        return Sql(f"ALTER TABLE {qualified(item.relation)} {item.clause}")
    arguments: dict[str, Any] = {"postgresql_using": item.using} if item.using else {}
    return ops.AlterColumnOp(table, item.name, schema=schema, modify_type=model.type, **arguments)
