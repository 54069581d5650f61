"""Transitions of PostgreSQL schemas, and of what lies in another one."""

from __future__ import annotations

from typing import Final

from monarch_dagster_tests.migrations.corpus.declare import enum, sequence, table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

T = table("t", "a Integer")
STAGED = table("t", "a Integer", schema="staging")

SCHEMAS: Final = [
    Transition("a schema is added with its table", KEPT, KEPT + STAGED),
    Transition(
        "a schema is dropped with its last table",
        KEPT + STAGED,
        KEPT,
        rows="INSERT INTO staging.t (a) VALUES (1)",
        loses="up",
    ),
    Transition("an empty schema is dropped with its last table", KEPT + STAGED, KEPT),
    Transition(
        "a table moves to another schema, as one dropped and one added",
        KEPT + T,
        KEPT + STAGED,
        rows="INSERT INTO landing.t (a) VALUES (1)",
        loses="up",
    ),
    Transition("all tables move to another schema", KEPT + T, table("kept", schema="staging") + STAGED),
    Transition("two schemas get a table of one name", KEPT, KEPT + T + STAGED + table("kept", schema="staging")),
    Transition(
        "of two tables of one name in two schemas one changes",
        T + STAGED,
        T + table("t", "a Text, index=True", "b Integer", schema="staging"),
        rows="INSERT INTO landing.t (a) VALUES (1); INSERT INTO staging.t (a) VALUES (2)",
        keeps={"SELECT a FROM landing.t": [(1,)], "SELECT a FROM staging.t": [("2",)]},
        restores={"SELECT a FROM staging.t": [(2,)]},
    ),
    Transition(
        "a schema with a reserved name is added",
        KEPT,
        KEPT + table("t", "a Integer, index=True", schema="order"),
    ),
    Transition(
        "a schema with a name that Monarch does not manage is refused",
        KEPT,
        KEPT + table("t", "a Integer", schema="Order by"),
        refused="Order by",
    ),
    Transition(
        "tables of three schemas refer to each other",
        KEPT,
        KEPT
        + table("a", "b_id ForeignKey('staging.b.id')")
        + table("b", "c_id ForeignKey('utilities.c.id')", schema="staging")
        + table("c", "a_id ForeignKey('landing.a.id')", schema="utilities"),
    ),
    Transition(
        "a schema is dropped with its enum, its sequence and its tables",
        KEPT
        + sequence("s", schema="staging")
        + table(
            "t",
            f"a {enum('x', 'y', schema='staging')}",
            "b BigInteger, server_default=s.next_value()",
            schema="staging",
        ),
        KEPT,
    ),
]
