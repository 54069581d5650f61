"""Transitions of whole tables: added, dropped, of another persistence, with options, with names of every kind."""

from __future__ import annotations

from typing import Final

from monarch_dagster_tests.migrations.corpus.declare import core, table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

REFERS = "ForeignKey('landing.{}.id')"
T = table("t", "a Integer")
ONE_ROW = "INSERT INTO landing.t (a) VALUES (1)"
ONE = {"SELECT a FROM landing.t": [(1,)]}
CYCLE_2 = table("a", f"to_b {REFERS.format('b')}") + table("b", f"to_a {REFERS.format('a')}")
CYCLE_3 = (
    table("a", f"to_b {REFERS.format('b')}, nullable=False")
    + table("b", f"to_c {REFERS.format('c')}")
    + table("c", f"to_a {REFERS.format('a')}", f"self {REFERS.format('c')}")
)
FAMILY = (
    table("z", "x Text, unique=True")
    + table("a", f"z_id {REFERS.format('z')}, index=True", "x Text, CheckConstraint(\"x <> ''\", name='x')")
    + table("m", f"a_id {REFERS.format('a')}, nullable=False", "z_x Text, ForeignKey('landing.z.x')")
)

TABLES: Final = [
    Transition("a table is added", KEPT, KEPT + T, rows="INSERT INTO landing.kept DEFAULT VALUES"),
    Transition("a table with rows is dropped", KEPT + T, KEPT, rows=ONE_ROW, loses="up", hazards=["data_loss"]),
    Transition("a table without rows is dropped", KEPT + T, KEPT, hazards=["data_loss"]),
    Transition(
        "a table without a key is added and gets one",
        KEPT + core("t", "Column('a', Integer)"),
        KEPT + core("t", "Column('a', Integer, primary_key=True, autoincrement=False)"),
        rows=ONE_ROW,
        keeps=ONE,
    ),
    Transition("tables that refer to each other are added", KEPT, KEPT + FAMILY),
    Transition(
        "tables that refer to each other are dropped",
        KEPT + FAMILY,
        KEPT,
        rows="INSERT INTO landing.z (x) VALUES ('z'); INSERT INTO landing.a (z_id, x) VALUES (1, 'a'); "
        "INSERT INTO landing.m (a_id, z_x) VALUES (1, 'z')",
        loses="up",
    ),
    Transition(
        "of tables that refer to each other the one at the end is dropped",
        KEPT + FAMILY,
        KEPT + table("z", "x Text, unique=True") + table("a", f"z_id {REFERS.format('z')}", "x Text"),
        rows="INSERT INTO landing.z (x) VALUES ('z'); INSERT INTO landing.a (z_id, x) VALUES (1, 'a')",
        keeps={"SELECT z_id, x FROM landing.a": [(1, "a")]},
    ),
    Transition("a cycle of two tables is added", KEPT, KEPT + CYCLE_2),
    Transition(
        "a cycle of two tables with rows is dropped",
        KEPT + CYCLE_2,
        KEPT,
        rows="INSERT INTO landing.a DEFAULT VALUES; INSERT INTO landing.b (to_a) VALUES (1); "
        "UPDATE landing.a SET to_b = 1",
        loses="up",
    ),
    Transition("a cycle of three tables is added", KEPT, KEPT + CYCLE_3),
    Transition("a cycle of three tables becomes one of two others", KEPT + CYCLE_3, KEPT + CYCLE_2),
    Transition(
        "a table that refers to itself is added", KEPT, KEPT + table("t", f"parent {REFERS.format('t')}, index=True")
    ),
    Transition(
        "a table that refers to itself is dropped with rows",
        KEPT + table("t", f"parent {REFERS.format('t')}, index=True"),
        KEPT,
        rows="INSERT INTO landing.t (parent) VALUES (NULL), (1), (2)",
        loses="up",
    ),
    Transition(
        "a logged table becomes unlogged",
        T,
        table("t", "a Integer", prefixes=["UNLOGGED"]),
        rows=ONE_ROW,
        keeps=ONE,
        hazards=["rewrite"],
    ),
    Transition(
        "an unlogged table becomes logged",
        table("t", "a Integer", prefixes=["UNLOGGED"]),
        T,
        rows=ONE_ROW,
        keeps=ONE,
        hazards=["rewrite"],
    ),
    Transition(
        "an unlogged table with indexes and keys becomes logged",
        table("t", "a Integer, unique=True", f"p {REFERS.format('t')}, index=True", prefixes=["UNLOGGED"]),
        table("t", "a Integer, unique=True", f"p {REFERS.format('t')}, index=True"),
        rows=ONE_ROW,
        keeps=ONE,
    ),
    Transition(
        "storage options are set",
        T,
        table("t", "a Integer", postgresql_with={"fillfactor": 70, "autovacuum_enabled": "false"}),
        rows=ONE_ROW,
        keeps=ONE,
    ),
    Transition(
        "storage options are changed and dropped",
        table("t", "a Integer", postgresql_with={"fillfactor": 70, "autovacuum_enabled": "false"}),
        table("t", "a Integer", postgresql_with={"fillfactor": 90, "toast.autovacuum_enabled": "false"}),
        rows=ONE_ROW,
        keeps=ONE,
    ),
    Transition(
        "a partitioned table is added",
        KEPT,
        KEPT + core("t", "Column('a', Integer)", postgresql_partition_by="RANGE (a)"),
    ),
    Transition(
        "a table becomes partitioned",
        core("t", "Column('a', Integer)"),
        core("t", "Column('a', Integer)", postgresql_partition_by="RANGE (a)"),
        refused=r"table landing\.t\b.*partition",
    ),
    Transition(
        "a table is partitioned by another key",
        core("t", "Column('a', Integer)", "Column('b', Integer)", postgresql_partition_by="RANGE (a)"),
        core("t", "Column('a', Integer)", "Column('b', Integer)", postgresql_partition_by="LIST (b)"),
        refused=r"table landing\.t\b.*partition",
    ),
    Transition(
        "a partitioned table gets a column and an index",
        core("t", "Column('a', Integer)", postgresql_partition_by="RANGE (a)"),
        core("t", "Column('a', Integer)", "Column('b', Text)", "Index('i', 'b')", postgresql_partition_by="RANGE (a)"),
    ),
    Transition("a table with a mixed name is added", KEPT, KEPT + table("MixedCase", "CamelCase Integer, index=True")),
    Transition(
        "a table with a reserved name is added",
        KEPT,
        KEPT + core("user", "Column('select', Integer, primary_key=True)", "Column('table', Text, unique=True)"),
    ),
    Transition(
        "a table with a percent sign, a colon and quotes in its names is added",
        KEPT,
        KEPT
        + core(
            '100% it\'s :x "q" %(a)s',
            "Column('a%b :c', Integer, primary_key=True, comment='a%')",
            "Column('it\\'s \"d\"', Text, index=True)",
            "CheckConstraint('\"a%b \\\\:c\" > 0', name='c%d :e')",
        ),
    ),
    Transition(
        "a table with names of 63 bytes is added",
        KEPT,
        KEPT + core("t" * 63, f"Column({'c' * 63!r}, Integer, primary_key=True)", "Column('a', Integer, unique=True)"),
    ),
    Transition(
        "a table whose name is too long is refused",
        KEPT,
        KEPT + core("t" * 64, "Column('a', Integer, primary_key=True)"),
        refused="t{60}.*(63|long)|(63|long).*t{60}",
    ),
    Transition(
        "two tables whose names differ in case are added",
        KEPT,
        KEPT + core("twin", "Column('a', Integer)") + core("Twin", "Column('a', Integer)", "Column('A', Text)"),
    ),
    Transition("an empty table without columns is added", KEPT, KEPT + core("bare")),
    Transition(
        "a table with a dot in its name is added", KEPT, KEPT + core("a.b", "Column('c.d', Integer, primary_key=True)")
    ),
]
