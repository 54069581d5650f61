"""The plan between two sets of facts: it leads there, it leads back, and it is one and the same for everyone."""

from __future__ import annotations

import random

import pytest

from monarch_dagster.migrations.hazards import REWRITE, Mode
from monarch_dagster.migrations.planning.operation import Operation
from monarch_dagster.migrations.planning.plan import plan
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.rendering import render_body
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.migrations.planning.support import CHANGES, Change, Workbench

# Of each table in the transaction: its file, and the strongest lock that the transaction holds on it.
STATE = """
SELECT n.nspname || '.' || c.relname, pg_relation_filenode(c.oid),
       (SELECT max(array_position(ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock',
          'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'],
          l.mode)) FROM pg_locks l WHERE l.relation = c.oid AND l.pid = pg_backend_pid())
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_' AND c.relkind = 'r'
"""


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_it_leads_there_and_back_and_then_there_is_nothing_to_do(bench: Workbench, change: Change) -> None:
    before, after = bench.facts(change.before), bench.facts(change.after)
    assert before != after
    bench.run("CREATE SCHEMA s; " + change.before)
    for _ in range(2):
        assert bench.go(before, after)
        assert bench.now() == after
        assert bench.go(after, before)
        assert bench.now() == before
    assert plan(after, after, Words(after)) == []


def shuffled(facts: Facts, seed: int) -> Facts:
    """Return the same facts, found in another order; that of a table's columns is a fact of its own."""
    order = random.Random(seed)
    relations = {}
    for name, aspects in order.sample(sorted(facts.relations.items()), len(facts.relations)):
        columns = {aspect: value for aspect, value in aspects.items() if aspect.startswith("column ")}
        others = sorted((aspect, value) for aspect, value in aspects.items() if aspect not in columns)
        relations[name] = dict(order.sample(others, len(others))) | columns
    return Facts(relations, facts.dependencies)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_order_in_which_facts_were_found_does_not_matter(bench: Workbench, change: Change) -> None:
    before, after = bench.facts(change.before), bench.facts(change.after)
    bodies = set()
    for seed in range(4):
        found, wanted = shuffled(before, seed), shuffled(after, seed + 9)
        bodies.add((render_body(plan(found, wanted, Words(wanted))), render_body(plan(wanted, found, Words(found)))))
    assert len(bodies) == 1


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("back", [False, True], ids=["up", "down"])
def test_what_postgresql_does_to_a_table_was_declared(bench: Workbench, change: Change, back: bool) -> None:
    """No lock is stronger than what is declared of it, and none is written anew without a hazard that says so."""
    scripts = (change.after, change.before) if back else (change.before, change.after)
    found, wanted = (bench.facts(script) for script in scripts)
    bench.run("CREATE SCHEMA s; " + scripts[0])
    was = {name: file for name, file, _ in bench.connection.exec_driver_sql(STATE)}
    # The transaction that built the tables has locked them.
    bench.connection.commit()
    try:
        operations = bench.go(found, wanted)
        now = {name: (file, lock) for name, file, lock in bench.connection.exec_driver_sql(STATE)}
    finally:
        bench.connection.rollback()
        bench.run("".join(f'DROP SCHEMA IF EXISTS "{name}" CASCADE; ' for name in ("s", "r", "Qq")))
        bench.connection.commit()
    for name in was.keys() & now.keys():
        file, lock = now[name]
        assert (lock or 0) <= strongest(operations, name), name
        if file != was[name]:
            assert rewrites(operations, name), name


def strongest(operations: list[Operation], table: str) -> int:
    # What reads a catalog or prints a definition, and what only comments, takes a weaker lock than any that is told.
    told = (lock.mode for item in operations for lock in item.locks if lock.table == table)
    return max(told, default=Mode.SHARE_UPDATE_EXCLUSIVE)


def rewrites(operations: list[Operation], table: str) -> bool:
    hazards = [hazard for item in operations for hazard in item.hazards if hazard.kind == REWRITE]
    return any(hazard.object == table or hazard.object.startswith(f"{table}.") for hazard in hazards)
