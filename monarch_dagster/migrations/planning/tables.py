"""Tables: created and dropped in an order in which each follows those it refers to, and changed as wholes. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from alembic.operations import ops

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.hazards import DATA_LOSS, REWRITE, Held, Lock, Mode, exclusively
from monarch_dagster.migrations.planning.constraints import CONSTRAINT, comment_on
from monarch_dagster.migrations.planning.definitions import NOT_VALID, reference
from monarch_dagster.migrations.planning.operation import Action, Operation, Phase, Sql, qualified, split
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier
from monarch_dagster.schema.facts import Aspects, Facts

TABLE = "table "
# A table is made with these; no statement changes them.
_FIXED = ("partitioned by", "partition")


def table_order(targets: Mapping[str, set[str]]) -> list[tuple[str, set[str]]]:
    """Order tables so that each follows those it refers to, by name where that leaves a choice.

    `targets` has, for each table, the tables among the others that it refers to. Returned with each table are those
    that come after it all the same: in a cycle the first table by name goes first.
    """
    referrers: dict[str, list[str]] = defaultdict(list)
    for table, referred in targets.items():
        for target in referred:
            referrers[target].append(table)
    open_targets = {table: set(referred) for table, referred in targets.items()}
    ready = [table for table, referred in open_targets.items() if not referred]
    heapq.heapify(ready)
    waiting = sorted(targets, reverse=True)
    placed: list[tuple[str, set[str]]] = []
    done: set[str] = set()
    while len(done) < len(targets):
        if ready:
            table = heapq.heappop(ready)
        else:
            while waiting[-1] in done:
                waiting.pop()
            table = waiting.pop()
        if table in done:
            continue
        done.add(table)
        placed.append((table, set(open_targets[table])))
        for referrer in referrers[table]:
            open_targets[referrer].discard(table)
            if not open_targets[referrer] and referrer not in done:
                heapq.heappush(ready, referrer)
    return placed


def created_order(facts: Facts, relations: Iterable[str]) -> list[str]:
    """Return tables in the order in which they are created."""
    return [relation for relation, _ in _ordered(facts.relations, relations)]


def plan_created(relations: Iterable[str], words: Words) -> Iterator[Operation]:
    """Give the operations that create tables; foreign keys that close a cycle come when all tables are there."""
    facts = words.facts.relations
    for position, (relation, undone) in enumerate(_ordered(facts, relations)):
        keys = _keys(facts[relation])
        # PostgreSQL takes no NOT VALID while it creates a table.
        late = sorted(name for name, target in keys.items() if target in undone or _unchecked(facts[relation], name))
        comments = [
            comment_on(relation, aspect.removeprefix("comment on "), text)
            for aspect, text in sorted(facts[relation].items())
            if aspect.startswith((f"comment on {CONSTRAINT}", "comment on index "))
        ]
        # A key locks the table that it refers to; one that is made in the same revision is nobody's yet.
        locks = [Lock(target.partition(" ")[2], Mode.SHARE_ROW_EXCLUSIVE) for target in sorted(set(keys.values()))]
        actions = (*words.table(relation, late), *comments)
        yield Operation(Phase.CREATE_TABLE, (position,), actions, (), tuple(locks))
        for name in late:
            yield Operation(Phase.KEY, (relation, f"{CONSTRAINT}{name}"), (words.constraint(relation, name),))


def plan_dropped(relations: Iterable[str], found: Mapping[str, Aspects]) -> Iterator[Operation]:
    """Give the operations that drop tables, those that refer to others first."""
    for position, (relation, undone) in enumerate(reversed(_ordered(found, relations))):
        schema, table = split(relation)
        full = relation.removeprefix(TABLE)
        keys = _keys(found[relation])
        for name, target in sorted(keys.items()):
            if target in undone:
                action = ops.DropConstraintOp(name, table, type_="foreignkey", schema=schema)
                yield Operation(Phase.DROP_KEY, (relation, f"{CONSTRAINT}{name}"), (action,), (), exclusively(full))
        hazard = Hazard(DATA_LOSS, full, "the table is dropped with its rows")
        drop = ops.DropTableOp(table, schema=schema)
        # A key is dropped from both its tables.
        locks = [lock for name in sorted({relation, *keys.values()}) for lock in exclusively(name.removeprefix(TABLE))]
        yield Operation(Phase.DROP_TABLE, (position,), (drop,), (hazard,), tuple(locks))


def plan_table(relation: str, found: Aspects, wanted: Aspects) -> Iterator[Operation]:
    """Give the operations that change a table as a whole: how it is stored, and its comment.

    Raises `MonarchError` for what PostgreSQL has no statement for.
    """
    full = relation.removeprefix(TABLE)

    def run(
        clause: str, hazards: tuple[Hazard, ...] = (), held: Held = Held.BRIEFLY, phase: Phase = Phase.ALTER_TABLE
    ) -> Operation:
        statement = Sql(f"ALTER TABLE {qualified(relation)} {clause}")
        return Operation(phase, (relation, clause), (statement,), hazards, exclusively(full, held))

    for aspect in _FIXED:
        if found.get(aspect) != wanted.get(aspect):
            raise MonarchError(
                f"{relation}: {aspect} is {found.get(aspect, 'not set')}, expected {wanted.get(aspect, 'not set')}; "
                "PostgreSQL cannot change that of a table that is there. Nothing was written.",
                remedy="Declare a new table beside it, move the rows in a revision of your own (monarch "
                "generate-migrations --empty), and drop the old one afterwards.",
            )
    if (kind := wanted.get("persistence")) != found.get("persistence"):
        hazard = Hazard(REWRITE, full, "the table is written anew to the log, or out of it")
        yield run(f"SET {'UNLOGGED' if kind == 'unlogged' else 'LOGGED'}", (hazard,), Held.REWRITING)
    before, after = _options(found), _options(wanted)
    if gone := sorted(before.keys() - after.keys()):
        yield run(f"RESET ({', '.join(gone)})")
    if changed := [f"{name}={value}" for name, value in sorted(after.items()) if before.get(name) != value]:
        yield run(f"SET ({', '.join(changed)})")
    parents, now = _list(found.get("inherits")), _list(wanted.get("inherits"))
    for parent in parents:
        if parent not in now:
            yield run(f"NO INHERIT {parent}")
    for parent in now:
        if parent not in parents:
            # Its columns must be there.
            yield run(f"INHERIT {parent}", phase=Phase.CONSTRAIN)
    if (comment := wanted.get("comment")) != found.get("comment"):
        schema, table = split(relation)
        action: Action = (
            ops.DropTableCommentOp(table, schema=schema)
            if comment is None
            else ops.CreateTableCommentOp(table, comment, schema=schema)
        )
        yield Operation(Phase.COMMENT, (relation, ""), (action,))


def plan_schemas(found: Mapping[str, Aspects], wanted: Mapping[str, Aspects]) -> Iterator[Operation]:
    """Give the operations that create and drop schemas, and set their comments."""
    for relation in sorted(name for name in {*found, *wanted} if name.startswith("schema ")):
        name = identifier(relation.removeprefix("schema "))
        if relation not in found:
            create = Sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
            yield Operation(Phase.CREATE_SCHEMA, (name,), (create,))
        if relation not in wanted:
            # Without CASCADE: whatever else is in there is somebody's.
            yield Operation(Phase.DROP_SCHEMA, (name,), (Sql(f"DROP SCHEMA {name}"),))


def _ordered(facts: Mapping[str, Aspects], relations: Iterable[str]) -> list[tuple[str, set[str]]]:
    chosen = set(relations)
    return table_order({relation: (set(_keys(facts[relation]).values()) & chosen) - {relation} for relation in chosen})


def _unchecked(aspects: Aspects, name: str) -> bool:
    return aspects[f"{CONSTRAINT}{name}"].endswith(NOT_VALID)


def _keys(aspects: Aspects) -> dict[str, str]:
    """Return the foreign keys of a table: name → the relation that it refers to."""
    found = {
        aspect.removeprefix(CONSTRAINT): reference(definition)
        for aspect, definition in aspects.items()
        if aspect.startswith(CONSTRAINT)
    }
    return {name: f"{TABLE}{key.table}" for name, key in found.items() if key is not None}


def _options(aspects: Aspects) -> dict[str, str]:
    return dict(item.split("=", 1) for item in _list(aspects.get("options")))


def _list(text: str | None) -> list[str]:
    return text.split(", ") if text else []
