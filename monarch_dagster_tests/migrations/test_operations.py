"""Canonical order: one order for everyone, whatever the hash seed, and one that runs, both ways."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from alembic.operations import ops
from alembic.operations.base import Operations
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Boolean,
    Column,
    Computed,
    Connection,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.autogenerate import render_bodies
from monarch_dagster.migrations.operations import Step, canonical_steps, converts
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts, read_facts

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
        Table(name, metadata, Column("id", Integer), *parts, key, schema="s")
    return metadata


def creations(graph: Sequence[set[int]], seed: int) -> list[ops.MigrateOperation]:
    """Return the operations that create the graph, in an order that depends on `seed`."""
    found: list[ops.MigrateOperation] = []
    for table in metadata_of(graph).tables.values():
        found.append(ops.CreateTableOp.from_table(table))
        found += [ops.CreateIndexOp.from_index(index) for index in table.indexes]
    random.Random(seed).shuffle(found)
    return found


def drops(graph: Sequence[set[int]], seed: int) -> list[ops.MigrateOperation]:
    found: list[ops.MigrateOperation] = []
    for table in metadata_of(graph).tables.values():
        found.append(ops.DropTableOp.from_table(table))
        found += [ops.DropIndexOp.from_index(index) for index in table.indexes]
    random.Random(seed).shuffle(found)
    return found


def run(connection: Connection, operations: Sequence[ops.MigrateOperation]) -> None:
    running = Operations(MigrationContext.configure(connection))
    for operation in operations:
        running.invoke(operation)


def facts(connection: Connection) -> Facts:
    return read_facts(connection, ["s"])


@settings(max_examples=20, deadline=None)
@given(graph=GRAPHS, seed=st.integers())
def test_the_order_depends_on_what_is_there_and_not_on_how_it_was_found(graph: list[set[int]], seed: int) -> None:
    bodies = [
        render_bodies(canonical_steps(find(graph, number), new_schemas=[], old_schemas=[]))
        for find in (creations, drops)
        for number in (0, seed)
    ]
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=GRAPHS, seed=st.integers())
def test_any_graph_of_foreign_keys_is_created_dropped_and_restored(
    shadows: ShadowServer, graph: list[set[int]], seed: int
) -> None:
    with shadows.clone(None) as url, connect(url) as connection:
        steps = canonical_steps(creations(graph, seed), new_schemas=["s"], old_schemas=[])
        for step in steps:
            run(connection, step.up)
        built = facts(connection)
        assert len(built.tables()) == len(graph)
        for step in canonical_steps(drops(graph, seed), new_schemas=[], old_schemas=[]):
            run(connection, step.up)
        assert facts(connection).tables() == set()
        for step in reversed(canonical_steps(drops(graph, seed), new_schemas=[], old_schemas=[])):
            run(connection, step.down)
        assert facts(connection) == built
        for step in reversed(steps):
            run(connection, step.down)
        assert facts(connection).relations == {}


def test_in_a_cycle_only_the_keys_that_close_it_come_late() -> None:
    steps = canonical_steps(creations([{1}, {0}, {1}], 3), new_schemas=[], old_schemas=[])
    assert [type(step.up[0]).__name__ for step in steps] == ["CreateTableOp"] * 3 + ["CreateForeignKeyOp"]
    assert [getattr(step.up[0], "table_name", "") for step in steps[:3]] == ["t0", "t1", "t2"]


def test_an_index_goes_with_the_table_that_brings_it() -> None:
    steps = canonical_steps(creations([{0}], 1), new_schemas=["s"], old_schemas=[])
    assert [[type(item).__name__ for item in step.up] for step in steps] == [
        ["ExecuteSQLOp"],
        ["CreateTableOp", "CreateIndexOp"],
    ]
    assert [type(item).__name__ for item in steps[1].down] == ["DropTableOp"]


def test_a_schema_is_never_dropped_with_what_somebody_else_has_in_it(shadows: ShadowServer) -> None:
    (step,) = canonical_steps([], new_schemas=["s"], old_schemas=[])
    with shadows.clone(None) as url, connect(url) as connection:
        run(connection, step.up)
        run(connection, step.up)
        connection.exec_driver_sql("CREATE TABLE s.mine ()")
        with pytest.raises(Exception, match="cannot drop schema s because other objects depend on it"):
            run(connection, step.down)


def test_old_names_go_before_new_ones_come() -> None:
    metadata = MetaData()
    old, new, changed = (Table(name, metadata, Column("a", Integer), schema="s") for name in ("old", "new", "changed"))
    found = [
        ops.CreateTableOp.from_table(new),
        ops.AddColumnOp("changed", Column("z", Integer), schema="s"),
        ops.AddColumnOp("changed", Column("double", Integer, Computed("z * 2")), schema="s"),
        ops.AddColumnOp("changed", Column("y", Integer), schema="s"),
        ops.DropTableOp.from_table(old),
        ops.CreateIndexOp.from_index(Index("ix", changed.c.a)),
        ops.DropColumnOp.from_column_and_tablename("s", "changed", changed.c.a),
    ]
    steps = canonical_steps(found, new_schemas=[], old_schemas=[])
    assert [described(step) for step in steps] == [
        "DropTableOp old",
        "AddColumnOp z",
        "AddColumnOp y",
        "AddColumnOp double",
        "CreateIndexOp ix",
        "CreateTableOp new",
        "DropColumnOp a",
    ]


def described(step: Step) -> str:
    (item, *_) = step.up
    names = [getattr(item, "index_name", None), getattr(getattr(item, "column", None), "name", None)]
    names += [getattr(item, "column_name", None), getattr(item, "table_name", None)]
    return f"{type(item).__name__} {next(filter(None, names))}"


def test_an_operation_without_a_place_is_an_error_and_not_left_out() -> None:
    with pytest.raises(MonarchError, match="cannot place: RenameTableOp"):
        canonical_steps([ops.RenameTableOp("a", "b", schema="s")], new_schemas=[], old_schemas=[])


TYPES: list[tuple[TypeEngine[object], str]] = [
    (String(20), "'1'"),
    (Text(), "'1'"),
    (Integer(), "1"),
    (Numeric(10, 2), "1"),
    (Double(), "1"),
    (Boolean(), "true"),
    (Date(), "now()"),
    (DateTime(timezone=True), "now()"),
]


def test_a_change_of_type_says_how_exactly_where_postgresql_cannot_tell(shadows: ShadowServer) -> None:
    """Asked of the server for every pair of types that Salesforce's fields come to."""
    with shadows.clone(None) as url, connect(url, autocommit=True) as connection:
        for old, _ in TYPES:
            for new, _ in TYPES:
                names = [kind.compile(connection.dialect) for kind in (old, new)]
                connection.exec_driver_sql(f"CREATE TABLE t (a {names[0]})")
                try:
                    connection.exec_driver_sql(f"ALTER TABLE t ALTER a TYPE {names[1]}")
                    automatic = True
                except Exception as error:  # noqa: BLE001
                    assert "cannot be cast automatically" in str(error)
                    automatic = False
                # Saying it without need does no harm; leaving it out fails.
                assert automatic or not converts(old, new), names
                connection.exec_driver_sql("DROP TABLE t")
                item = ops.AlterColumnOp("t", "a", existing_type=old, modify_type=new)
                (step,) = canonical_steps([item], new_schemas=[], old_schemas=[])
                connection.exec_driver_sql(f"CREATE TABLE t (a {names[0]})")
                run(connection, step.up)
                run(connection, step.down)
                connection.exec_driver_sql("DROP TABLE t")


def test_the_cast_is_in_the_generated_text_and_goes_back_too() -> None:
    item = ops.AlterColumnOp("t", "order", schema="s", existing_type=Text(), modify_type=Integer())
    upgrade, downgrade = render_bodies(canonical_steps([item], new_schemas=[], old_schemas=[]))
    assert "postgresql_using='\"order\"::text::INTEGER')" in upgrade
    assert "postgresql_using" not in downgrade
    assert compile(upgrade.replace("    op.", "op.", 1), "x", "exec")


def test_text_that_holds_colons_and_percent_signs_is_rendered_as_it_is() -> None:
    item = ops.AddColumnOp("t", Column("a", Text(), server_default=text("'50% \\:x'::text")), schema="s")
    upgrade, _ = render_bodies(canonical_steps([item], new_schemas=[], old_schemas=[]))
    assert "server_default=sa.text(\"'50% \\\\:x'::text\")" in upgrade
