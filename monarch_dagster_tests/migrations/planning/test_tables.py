"""Tables come and go in an order that PostgreSQL takes, whatever refers to what."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    exc,
)

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.planning.operation import Sql
from monarch_dagster.migrations.planning.plan import plan
from monarch_dagster.migrations.planning.tables import table_order
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.migrations.planning.support import NOTHING, Workbench

# For each table, the tables that it refers to; itself and cycles included.
GRAPHS = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size)
)


def metadata_of(graph: Sequence[set[int]]) -> MetaData:
    """Declare a table per node, with a foreign key per edge and an index on each."""
    metadata = MetaData()
    for number, targets in enumerate(graph):
        name = f"t{number}"
        parts: list[Column[int] | ForeignKeyConstraint | Index] = []
        for target in sorted(targets):
            column = f"to{target}"
            parts.append(Column(column, Integer))
            parts.append(ForeignKeyConstraint([column], [f"s.t{target}.id"], name=f"fk_{name}_{target}"))
            parts.append(Index(f"ix_{name}_{target}", column))
        key = PrimaryKeyConstraint("id", name=f"pk_{name}")
        Table(name, metadata, Column("id", Integer, autoincrement=False), *parts, key, schema="s")
    return metadata


def built(bench: Workbench, metadata: MetaData) -> Facts:
    """Return the facts of the tables as SQLAlchemy creates them."""
    with bench.trying():
        bench.run("CREATE SCHEMA s")
        metadata.create_all(bench.connection)
        return bench.now()


@given(graph=GRAPHS)
def test_each_table_follows_those_it_refers_to_but_for_what_is_named(graph: list[set[int]]) -> None:
    targets = {f"t{number}": {f"t{target}" for target in found - {number}} for number, found in enumerate(graph)}
    placed = table_order(targets)
    assert sorted(name for name, _ in placed) == sorted(targets)
    assert table_order(dict(reversed(targets.items()))) == placed
    before: set[str] = set()
    for name, late in placed:
        assert targets[name] - before == late
        before.add(name)
    # Who refers to none, or only to such, breaks no cycle.
    settled = {name for name in targets if not targets[name]}
    while more := {name for name in targets if targets[name] <= settled} - settled:
        settled |= more
    assert not any(late for name, late in placed if name in settled)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=GRAPHS)
def test_any_graph_of_foreign_keys_is_created_dropped_and_restored(bench: Workbench, graph: list[set[int]]) -> None:
    metadata = metadata_of(graph)
    wanted = built(bench, metadata)
    assert len(wanted.tables()) == len(graph)
    with bench.trying():
        bench.perform(plan(NOTHING, wanted, Words(wanted, metadata)))
        assert bench.now() == wanted
        bench.go(wanted, NOTHING)
        assert bench.now() == NOTHING
        # Without the models: in PostgreSQL's own words.
        bench.go(NOTHING, wanted)
        assert bench.now() == wanted


def test_in_a_cycle_only_the_keys_that_close_it_come_late_and_go_early(bench: Workbench) -> None:
    facts = built(bench, metadata_of([{1}, {0}, {1}]))
    up, down = plan(NOTHING, facts, Words(facts)), plan(facts, NOTHING, Words(NOTHING))
    assert [item.phase.name for item in up] == ["CREATE_SCHEMA", *["CREATE_TABLE"] * 3, "KEY"]
    assert [item.phase.name for item in down] == ["DROP_KEY", *["DROP_TABLE"] * 3, "DROP_SCHEMA"]
    assert up[-1].key == ("table s.t0", "constraint fk_t0_1")


def test_an_index_goes_with_the_table_that_brings_it(bench: Workbench) -> None:
    facts = built(bench, metadata_of([{0}]))
    _, table = plan(NOTHING, facts, Words(facts, metadata_of([{0}])))
    assert [type(item).__name__ for item in table.actions] == ["CreateTableOp", "CreateIndexOp"]
    assert [type(item).__name__ for item in plan(facts, NOTHING, Words(NOTHING))[0].actions] == ["DropTableOp"]


def test_old_names_go_before_new_ones_come(bench: Workbench) -> None:
    found = bench.facts("CREATE TABLE s.old (a int); CREATE INDEX i ON s.old (a); CREATE TABLE s.t (a int, x int)")
    wanted = bench.facts(
        "CREATE TABLE s.new (a int); CREATE INDEX i ON s.new (a);"
        "CREATE TABLE s.t (z int, double int GENERATED ALWAYS AS (z * 2) STORED, y int, x int)"
    )
    operations = plan(found, wanted, Words(wanted))
    assert [item.phase.name for item in operations] == [
        "DROP_TABLE",
        "ADD_COLUMN",
        "ADD_COLUMN",
        "ADD_GENERATED",
        "CREATE_TABLE",
        "DROP_COLUMN",
    ]
    added = [item.actions[0].text for item in operations[1:4] if isinstance(item.actions[0], Sql)]
    assert [text.rpartition("ADD COLUMN ")[2].split()[0] for text in added] == ["z", "y", "double"]


def test_a_schema_is_never_dropped_with_what_somebody_else_has_in_it(bench: Workbench) -> None:
    schema = bench.facts("")
    with bench.trying():
        bench.go(NOTHING, schema)
        bench.go(NOTHING, schema)
        bench.run("CREATE TABLE s.mine ()")
        with pytest.raises(exc.DBAPIError, match="cannot drop schema s because other objects depend on it"):
            bench.go(schema, NOTHING)


@pytest.mark.parametrize(
    ("before", "after", "aspect"),
    [
        ("", "PARTITION BY RANGE (a)", "partitioned by"),
        ("PARTITION BY LIST (a)", "PARTITION BY HASH (a)", "partitioned by"),
    ],
)
def test_what_no_statement_changes_of_a_table_is_refused_by_name(
    bench: Workbench, before: str, after: str, aspect: str
) -> None:
    found, wanted = (bench.facts(f"CREATE TABLE s.t (a int) {how}") for how in (before, after))
    with pytest.raises(MonarchError, match=f"table s.t: {aspect} is .*othing was written") as caught:
        plan(found, wanted, Words(wanted))
    assert "--empty" in caught.value.remedy
