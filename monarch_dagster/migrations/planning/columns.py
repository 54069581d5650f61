"""Columns of tables that stay: added, dropped, replaced, and changed in each of their parts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops

from monarch_dagster.migrations.hazards import DATA_LOSS, IRREVERSIBLE, REWRITE, SCAN, Held, exclusively
from monarch_dagster.migrations.planning import conversions
from monarch_dagster.migrations.planning.definitions import NOT_VALID, mentions, proven_column
from monarch_dagster.migrations.planning.operation import Operation, Phase, Sql, qualified, split
from monarch_dagster.migrations.planning.retyped import plan_retyped
from monarch_dagster.migrations.planning.words import Words, identity_sql, sequence_options
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier, literal
from monarch_dagster.schema.facts import Aspects, ColumnParts, parse_column

COLUMN = "column "


def columns_of(aspects: Aspects) -> dict[str, ColumnParts]:
    """Return the columns of a relation, taken apart, in their order."""
    return {
        name.removeprefix(COLUMN): parse_column(value) for name, value in aspects.items() if name.startswith(COLUMN)
    }


@dataclass(frozen=True)
class Altered:
    """The columns of a table whose change takes with it what stands on them.

    `retyped` get another type or collation, `recast` keep their type's name while the type is made anew, `converted`
    are those of both whose values are cast, and `replaced` are dropped and added, since no statement changes how they
    are generated.
    """

    dropped: frozenset[str]
    retyped: frozenset[str]
    recast: frozenset[str]
    converted: frozenset[str]
    replaced: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.dropped | self.retyped | self.recast | self.replaced


def altered_columns(found: Aspects, wanted: Aspects, recast: Collection[str] = ()) -> Altered:
    """Return what happens to the columns of a table; `recast` is told by the types that are made anew."""
    before, after = columns_of(found), columns_of(wanted)
    both = before.keys() & after.keys()
    retyped = {name for name in both if _type(before[name]) != _type(after[name])}
    converted = {name for name in retyped if not _stays_alike(before[name].type, after[name].type)}
    replaced = {name for name in both if _is_replaced(before[name], after[name])}
    moved = retyped | set(recast) | replaced
    replaced |= {
        name
        for name in both
        if before[name].generated
        and any(mentions(before[name].generated, identifier(other)) for other in moved - {name})
    }
    return Altered(
        frozenset(before.keys() - after.keys()),
        frozenset(retyped),
        frozenset(recast),
        frozenset(converted | set(recast)),
        frozenset(replaced),
    )


def _is_replaced(before: ColumnParts, after: ColumnParts) -> bool:
    changed = before.generated != after.generated
    return changed and (bool(after.generated) or not before.generated.endswith("STORED"))


def _stays_alike(old: str, new: str) -> bool:
    """Say whether a foreign key stands between a column of one type and one of the other, while both are changed."""
    return conversions.converts(old, new) and conversions.converts(new, old)


def plan_columns(relation: str, found: Aspects, wanted: Aspects, words: Words, altered: Altered) -> Iterator[Operation]:
    """Give the operations that change the columns of one table."""
    before, after = columns_of(found), columns_of(wanted)
    replaced = altered.replaced
    # PostgreSQL takes a valid check for the proof, and then reads no row to set NOT NULL.
    proven = {proven_column(value) for value in found.values() if not value.endswith(NOT_VALID)}
    for position, (name, parts) in enumerate(after.items()):
        if name not in before or name in replaced:
            yield _added(relation, name, parts, position, words)
    for name, parts in sorted(before.items()):
        if name in replaced:
            yield _dropped(relation, name, parts, Phase.DROP_REPLACED, kept=bool(parts.generated))
        elif name not in after and parts.generated:
            # First, since what it is computed from may change its type.
            yield _dropped(relation, name, parts, Phase.DROP_REPLACED, kept=True)
        elif name not in after:
            yield _dropped(relation, name, parts, Phase.DROP_COLUMN, kept=False)
        else:
            yield from _changed(relation, name, parts, after[name], words, name in altered.recast, name in proven)
    moved = sorted((altered.retyped | altered.recast) - replaced)
    yield from plan_retyped(
        relation, [(name, before[name], after[name], name in altered.recast) for name in moved], words
    )
    for name in sorted(after):
        aspect = f"comment on {COLUMN}{name}"
        known = "" if name not in before or name in replaced else found.get(aspect, "")
        if wanted.get(aspect, "") != known and not _said_in_add(relation, name, words, before, replaced):
            yield _commented(relation, name, wanted.get(aspect))


def _said_in_add(relation: str, name: str, words: Words, before: Collection[str], replaced: Collection[str]) -> bool:
    return (name not in before or name in replaced) and words.model_column(relation, name) is not None


def _type(parts: ColumnParts) -> tuple[str, str]:
    return parts.type, parts.collation


def _added(relation: str, name: str, parts: ColumnParts, position: int, words: Words) -> Operation:
    table, column = relation.partition(" ")[2], f"{relation.partition(' ')[2]}.{name}"
    rewrites = bool(parts.identity or parts.generated.endswith("STORED"))
    rewrites = rewrites or (bool(parts.default) and not conversions.is_constant(parts.default))
    hazards = [Hazard(REWRITE, column, "the table is written anew to fill the column")] if rewrites else []
    if parts.not_null and not (parts.default or parts.identity or parts.generated):
        hazards.append(Hazard(SCAN, column, "NOT NULL without a default fails where the table has rows"))
    # A computed column comes after those that it is computed from.
    phase = Phase.ADD_GENERATED if parts.generated else Phase.ADD_COLUMN
    held = Held.REWRITING if rewrites else Held.BRIEFLY
    action = words.column(relation, name)
    return Operation(phase, (relation, position), (action,), tuple(hazards), exclusively(table, held))


def _dropped(relation: str, name: str, parts: ColumnParts, phase: Phase, *, kept: bool) -> Operation:
    schema, table = split(relation)
    full = relation.partition(" ")[2]
    hazards = [Hazard(DATA_LOSS, f"{full}.{name}", "the column is dropped with its values")]
    if parts.not_null and not (parts.default or parts.identity):
        detail = "it is NOT NULL without a default, so the downgrade cannot add it to a table with rows"
        hazards.append(Hazard(IRREVERSIBLE, f"{full}.{name}", detail))
    return Operation(
        phase,
        # A computed column goes before those that it is computed from.
        (relation, not parts.generated, name),
        (ops.DropColumnOp(table, name, schema=schema),),
        () if kept else tuple(hazards),
        exclusively(full),
    )


def _changed(
    relation: str, name: str, before: ColumnParts, after: ColumnParts, words: Words, recast: bool, proven: bool
) -> Iterator[Operation]:
    full = relation.partition(" ")[2]
    schema, table = split(relation)
    model = words.model_column(relation, name)

    def alter(phase: Phase, held: Held = Held.BRIEFLY, hazards: tuple[Hazard, ...] = (), **changes: Any) -> Operation:
        action = ops.AlterColumnOp(table, name, schema=schema, **changes)
        return Operation(phase, (relation, name), (action,), hazards, exclusively(full, held))

    def run(phase: Phase, clause: str, hazards: tuple[Hazard, ...] = (), held: Held = Held.BRIEFLY) -> Operation:
        statement = f"ALTER TABLE {qualified(relation)} ALTER COLUMN {identifier(name)} {clause}"
        return Operation(phase, (relation, name), (Sql(statement),), hazards, exclusively(full, held))

    retyped = _type(before) != _type(after) or recast
    default = before.default
    if before.generated and not after.generated:
        yield run(Phase.DROP_DEFAULT, "DROP EXPRESSION")
    elif default and (not after.default or (retyped and before.type != after.type) or recast):
        # A default is not always converted with its column.
        yield alter(Phase.DROP_DEFAULT, modify_server_default=None)
        default = ""
    if before.identity and not after.identity:
        yield run(Phase.DROP_IDENTITY, "DROP IDENTITY")
    if after.default != default and after.default:
        if model is not None and model.server_default is not None:
            yield alter(Phase.SET_DEFAULT, modify_server_default=model.server_default)
        else:
            yield run(Phase.SET_DEFAULT, f"SET DEFAULT {after.default}")
    if before.not_null and not after.not_null:
        yield alter(Phase.ALTER_NULL, modify_nullable=True)
    elif after.not_null and not before.not_null:
        hazards = () if proven else (Hazard(SCAN, f"{full}.{name}", "SET NOT NULL fails where a row has no value"),)
        yield alter(Phase.ALTER_NULL, Held.BRIEFLY if proven else Held.READING, hazards, modify_nullable=False)
    if after.identity and before.identity and after.identity != before.identity:
        yield run(Phase.ADD_IDENTITY, _identity_change(before.identity, after.identity))
    elif after.identity and not before.identity:
        yield run(Phase.ADD_IDENTITY, f"ADD {identity_sql(after.identity)}")
        # It would begin at its start, among the values that are there.
        sequence = f"pg_get_serial_sequence({literal(qualified(relation))}, {literal(name)})"
        column = identifier(name)
        advance = f"SELECT setval({sequence}, max({column})) FROM {qualified(relation)} HAVING max({column}) > 0"
        yield Operation(Phase.ADD_IDENTITY, (relation, name, "then"), (Sql(advance),))


def _identity_change(before: str, after: str) -> str:
    head, _, options = after.partition(" (")
    clauses = [f"SET {head.removesuffix(' AS IDENTITY')}"] if head != before.partition(" (")[0] else []
    if options != before.partition(" (")[2]:
        given = iter(options.removesuffix(")").removesuffix(" cycle").split())
        words = {word: f"SET {sequence_options(word)} {number}" for word, number in zip(given, given, strict=True)}
        plain = {"start": "SET START WITH 1", "increment": "SET INCREMENT BY 1", "cache": "SET CACHE 1"}
        clauses += (plain | {"min": "SET NO MINVALUE", "max": "SET NO MAXVALUE"} | words).values()
        clauses.append("SET CYCLE" if options.endswith(" cycle)") else "SET NO CYCLE")
    return " ".join(clauses)


def _commented(relation: str, name: str, comment: str | None) -> Operation:
    schema, table = split(relation)
    action = ops.AlterColumnOp(table, name, schema=schema, modify_comment=comment)
    return Operation(Phase.COMMENT, (relation, "column", name), (action,))
