"""Constraints and indexes of tables that stay: dropped, renamed, added, validated, and built again. Pure.

What keeps its definition and its work, but not its name, is renamed. What an altered column or a dropped key takes with
it is dropped before and added after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from alembic.operations import ops

from monarch_dagster.migrations.hazards import SCAN, Held, Lock, Mode, exclusively
from monarch_dagster.migrations.planning.definitions import (
    NOT_VALID,
    index_body,
    index_of_unique,
    mentions,
    proven_column,
    reference,
    unique_columns,
)
from monarch_dagster.migrations.planning.operation import (
    Action,
    Concurrent,
    Operation,
    Phase,
    Sql,
    qualified,
    split,
)
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier, literal
from monarch_dagster.schema.facts import Aspects

CONSTRAINT = "constraint "
INDEX = "index "
_TYPES = {"FOREIGN KEY": "foreignkey", "PRIMARY KEY": "primary", "UNIQUE": "unique", "CHECK": "check"}


@dataclass
class Changes:
    """What happens to the constraints and indexes of one table, by aspect ("constraint x", "index y")."""

    drop: set[str] = field(default_factory=set)
    add: set[str] = field(default_factory=set)
    rename: dict[str, str] = field(default_factory=dict)
    validate: set[str] = field(default_factory=set)
    # Constraints that take over the index that was built for them.
    attach: set[str] = field(default_factory=set)


def changes_of(relation: str, found: Aspects, wanted: Aspects, touched: Collection[str]) -> Changes:
    """Decide what happens to one table's constraints and indexes.

    `touched` are quoted names of columns and types whose change takes with it what mentions them.
    """
    before, after = _owned(found), _owned(wanted)
    changes = Changes()
    for aspect in before.keys() | after.keys():
        old, new = before.get(aspect), after.get(aspect)
        if old == new:
            if old is not None and any(mentions(_own_part(old), name) for name in touched):
                changes.drop.add(aspect)
                changes.add.add(aspect)
        elif old is not None and new is not None and old == new + NOT_VALID:
            changes.validate.add(aspect)
        else:
            changes.drop |= {aspect} if old is not None else set()
            changes.add |= {aspect} if new is not None else set()
    _find_attached(relation, changes, before, after)
    _find_renamed(changes, before, after)
    return changes


def rebuild_references(found: Mapping[str, Aspects], changes: Mapping[str, Changes], retyped: Collection[str]) -> None:
    """Have foreign keys built again whose key is dropped under them, or one of whose columns is cast.

    `retyped` are columns as "table schema.name.column". The changes are amended in place.
    """
    dropped = {
        (relation.partition(" ")[2], frozenset(unique_columns(found[relation][aspect]) or ()))
        for relation, items in changes.items()
        for aspect in items.drop
    }
    for relation, items in changes.items():
        for aspect, definition in _owned(found[relation]).items():
            key = reference(definition)
            if key is None or aspect in items.drop or aspect in items.rename or aspect in items.validate:
                continue
            cast = {f"{relation}.{name}" for name in key.columns} | {f"table {key.table}.{n}" for n in key.referred}
            if (key.table, frozenset(key.referred)) in dropped or cast & set(retyped):
                items.drop.add(aspect)
                items.add.add(aspect)


def plan_constraints(
    relation: str, found: Aspects, wanted: Aspects, changes: Changes, words: Words, concurrent: bool
) -> Iterator[Operation]:
    """Give the operations for one table's changes; `concurrent`: indexes are built while others write."""
    table = relation.partition(" ")[2]
    for aspect in sorted(changes.drop):
        yield _dropped(relation, aspect, found[aspect], wanted)
    for old, new in sorted(changes.rename.items()):
        yield Operation(Phase.RENAME, (relation, old), (_renamed(relation, old, new),), (), exclusively(table))
    for aspect in sorted(changes.validate):
        name = aspect.removeprefix(CONSTRAINT)
        key = reference(wanted[aspect])
        locks = [Lock(table, Mode.SHARE_UPDATE_EXCLUSIVE, Held.READING)]
        hazard = Hazard(SCAN, table, f"{name} fails where a row does not satisfy it")
        action = Sql(f"ALTER TABLE {qualified(relation)} VALIDATE CONSTRAINT {identifier(name)}")
        yield Operation(Phase.VALIDATE, (key is not None, relation, name), (action,), (hazard,), tuple(locks))
    for aspect in sorted(changes.attach):
        name = identifier(aspect.removeprefix(CONSTRAINT))
        action = Sql(f"ALTER TABLE {qualified(relation)} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")
        yield Operation(Phase.CONSTRAIN, (relation, 0, aspect), (action,), (), exclusively(table))
    for aspect in sorted(changes.add):
        if aspect.startswith(INDEX):
            yield _index_added(relation, aspect, wanted[aspect], words, concurrent)
        else:
            yield _constraint_added(relation, aspect, wanted[aspect], words)
    for aspect in sorted({*found, *wanted}):
        if aspect.startswith((f"comment on {CONSTRAINT}", f"comment on {INDEX}")):
            target = aspect.removeprefix("comment on ")
            moved = {new: old for old, new in changes.rename.items()}.get(target, target)
            known = None if target in changes.add else found.get(f"comment on {moved}")
            if wanted.get(aspect) != known and target in wanted:
                yield Operation(Phase.COMMENT, (relation, aspect), (comment_on(relation, target, wanted.get(aspect)),))


def comment_on(relation: str, target: str, comment: str | None) -> Action:
    """Return what sets or drops the comment on a constraint or index of a table."""
    text = "NULL" if comment is None else literal(comment)
    if target.startswith(INDEX):
        schema, _ = split(relation)
        return Sql(f"COMMENT ON INDEX {identifier(schema)}.{identifier(target.removeprefix(INDEX))} IS {text}")
    return Sql(
        f"COMMENT ON CONSTRAINT {identifier(target.removeprefix(CONSTRAINT))} ON {qualified(relation)} IS {text}"
    )


def _owned(aspects: Aspects) -> dict[str, str]:
    return {name: value for name, value in aspects.items() if name.startswith((CONSTRAINT, INDEX))}


def _own_part(definition: str) -> str:
    """Leave out what a foreign key says of the other table, and an index of its own name."""
    return index_body(definition.partition(" REFERENCES ")[0])


def _find_attached(relation: str, changes: Changes, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    for aspect in [item for item in changes.add if item.startswith(CONSTRAINT)]:
        name = aspect.removeprefix(CONSTRAINT)
        index = index_of_unique(qualified(relation), identifier(name), after[aspect])
        if index is not None and f"{INDEX}{name}" in changes.drop and before[f"{INDEX}{name}"] == index:
            changes.add.discard(aspect)
            changes.drop.discard(f"{INDEX}{name}")
            changes.attach.add(aspect)


def _find_renamed(changes: Changes, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    def body(aspect: str, definition: str) -> tuple[str, str]:
        kind, _, _ = aspect.partition(" ")
        return kind, index_body(definition) if kind == "index" else definition

    gone = sorted(aspect for aspect in changes.drop if aspect not in after)
    for new in sorted(aspect for aspect in changes.add if aspect not in before):
        old = next((item for item in gone if body(item, before[item]) == body(new, after[new])), None)
        if old is not None:
            gone.remove(old)
            changes.rename[old] = new
    changes.drop -= changes.rename.keys()
    changes.add -= set(changes.rename.values())


def _renamed(relation: str, old: str, new: str) -> Action:
    if old.startswith(INDEX):
        schema, _ = split(relation)
        before, after = identifier(old.removeprefix(INDEX)), identifier(new.removeprefix(INDEX))
        return Sql(f"ALTER INDEX {identifier(schema)}.{before} RENAME TO {after}")
    before, after = identifier(old.removeprefix(CONSTRAINT)), identifier(new.removeprefix(CONSTRAINT))
    return Sql(f"ALTER TABLE {qualified(relation)} RENAME CONSTRAINT {before} TO {after}")


def _dropped(relation: str, aspect: str, definition: str, wanted: Aspects) -> Operation:
    schema, table = split(relation)
    full = relation.partition(" ")[2]
    if aspect.startswith(INDEX):
        action: Action = ops.DropIndexOp(aspect.removeprefix(INDEX), table, schema=schema)
        return Operation(Phase.DROP_CONSTRAINT, (relation, aspect), (action,), (), exclusively(full))
    kind = next((type_ for start, type_ in _TYPES.items() if definition.startswith(start)), None)
    action = ops.DropConstraintOp(aspect.removeprefix(CONSTRAINT), table, type_=kind, schema=schema)
    key = reference(definition)
    if key is not None:
        locks = (*exclusively(full), *exclusively(key.table))
        return Operation(Phase.DROP_KEY, (relation, aspect), (action,), (), locks)
    # It goes when SET NOT NULL has used it.
    proves = wanted.get(f"column {proven_column(definition)}", "").endswith(" NOT NULL")
    phase = Phase.DROP_PROVEN_CHECK if proves and aspect not in wanted else Phase.DROP_CONSTRAINT
    return Operation(phase, (relation, aspect), (action,), (), exclusively(full))


def _index_added(relation: str, aspect: str, definition: str, words: Words, concurrent: bool) -> Operation:
    name = aspect.removeprefix(INDEX)
    full = relation.partition(" ")[2]
    unique = definition.startswith("CREATE UNIQUE ")
    hazards = (Hazard(SCAN, full, f"{name} fails where two rows are the same"),) if unique else ()
    if concurrent:
        action: Action = Concurrent(words.index(relation, name, concurrently=True))
        locks = (Lock(full, Mode.SHARE_UPDATE_EXCLUSIVE, Held.BUILDING),)
    else:
        action, locks = words.index(relation, name), (Lock(full, Mode.SHARE, Held.BUILDING),)
    return Operation(Phase.CONSTRAIN, (relation, 1, aspect), (action,), hazards, locks)


def _constraint_added(relation: str, aspect: str, definition: str, words: Words) -> Operation:
    name = aspect.removeprefix(CONSTRAINT)
    full = relation.partition(" ")[2]
    unchecked = definition.endswith(NOT_VALID)
    action = words.constraint(relation, name, not_valid=unchecked)
    hazard = Hazard(SCAN, full, f"{name} fails where a row does not satisfy it")
    key = reference(definition)
    if key is not None:
        held = Held.BRIEFLY if unchecked else Held.READING
        locks = (Lock(full, Mode.SHARE_ROW_EXCLUSIVE, held), Lock(key.table, Mode.SHARE_ROW_EXCLUSIVE, held))
        return Operation(Phase.KEY, (relation, aspect), (action,), () if unchecked else (hazard,), locks)
    if definition.startswith("CHECK"):
        held = Held.BRIEFLY if unchecked else Held.READING
        hazards = () if unchecked else (hazard,)
    else:
        held, hazards = Held.BUILDING, (hazard,)
    return Operation(Phase.CONSTRAIN, (relation, 0, aspect), (action,), hazards, exclusively(full, held))
