"""The plan: all operations from one set of facts to another, in canonical order (DESIGN rule 5). Pure.

It is symmetrical: a downgrade is the plan with the two sets exchanged. What it does not know how to change is left as
it is, and the proof then names it.
"""

from __future__ import annotations

from collections.abc import Iterator

from monarch_dagster.migrations.planning.columns import altered_columns, plan_columns
from monarch_dagster.migrations.planning.constraints import Changes, changes_of, plan_constraints, rebuild_references
from monarch_dagster.migrations.planning.operation import Operation, ordered
from monarch_dagster.migrations.planning.tables import plan_created, plan_dropped, plan_schemas, plan_table
from monarch_dagster.migrations.planning.types import (
    plan_enums,
    plan_sequences,
    printed,
    recast_columns,
    replaced_enums,
)
from monarch_dagster.migrations.planning.views import plan_views
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.postgres.quoting import identifier
from monarch_dagster.schema.facts import Facts

TABLE = "table "


def plan(found: Facts, wanted: Facts, words: Words, *, concurrent: bool = False) -> list[Operation]:
    """Return the operations that take a database from `found` to `wanted`.

    Args:
        found: the facts now, with what is carried.
        wanted: the facts to come to, with what is carried.
        words: how what is wanted is created.
        concurrent: build indexes while others write; each must then be in a revision of its own.

    Raises `MonarchError` for a change that PostgreSQL has no statement for.
    """
    return ordered(_operations(found, wanted, words, concurrent))


def _operations(found: Facts, wanted: Facts, words: Words, concurrent: bool) -> Iterator[Operation]:
    before, after = found.relations, wanted.relations
    tables = {name for name in (*before, *after) if name.startswith(TABLE)}
    kept = sorted(name for name in tables if name in before and name in after)
    enums = replaced_enums(found, wanted)
    altered = {
        name: altered_columns(
            before[name], after[name], recast_columns(before[name], enums) & recast_columns(after[name], enums)
        )
        for name in kept
        if enums or (before[name] is not after[name] and before[name] != after[name])
    }
    yield from plan_schemas(before, after)
    yield from plan_created((name for name in tables if name not in before), words)
    yield from plan_dropped((name for name in tables if name not in after), before)
    for name, columns in altered.items():
        yield from plan_table(name, before[name], after[name])
        yield from plan_columns(name, before[name], after[name], words, columns)

    # An expression on an enum holds constants of the type that is put aside.
    types = {printed(name) for name in enums}
    changes = {
        name: changes_of(name, before[name], after[name], {identifier(column) for column in columns.replaced} | types)
        for name, columns in altered.items()
    }
    cast = {f"{name}.{column}" for name, columns in altered.items() for column in columns.converted}
    if cast or any(items.drop for items in changes.values()):
        untouched = {name: Changes() for name in kept if name not in changes}
        rebuild_references(before, changes | untouched, cast)
        changes |= {name: items for name, items in untouched.items() if items.add}
    for name, items in changes.items():
        yield from plan_constraints(name, before[name], after[name], items, words, concurrent)

    used = {name for name in enums if any(recast_columns(after[table], {name}) for table in kept)}
    yield from plan_enums(found, wanted, used)
    yield from plan_sequences(found, wanted, words)
    stood_on = {(name, column) for name, columns in altered.items() for column in columns.all}
    yield from plan_views(found, wanted, words, stood_on | {(name, "") for name in tables if name not in after})
