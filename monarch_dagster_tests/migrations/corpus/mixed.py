"""Transitions of many kinds at once, as a day's work brings them."""

from __future__ import annotations

from typing import Final

from monarch_dagster_tests.migrations.corpus.declare import enum, sequence, table, view
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition
from monarch_dagster_tests.support import account

MIXED: Final = [
    Transition(
        "ten kinds change at once",
        table(
            "t", "a Integer", "b Text, server_default='x'", "c Integer, index=True", f"d {enum('x', 'y')}", "gone Text"
        )
        + table("u", "code Integer, unique=True")
        + table("old", "x Integer")
        + view("v", "SELECT id, a FROM landing.t", id="BigInteger", a="Integer"),
        sequence("s")
        + table(
            "t",
            "a BigInteger, nullable=False, comment='wider'",
            "b Text, server_default='y'",
            "c Integer, ForeignKey('landing.u.code')",
            f"d {enum('x', 'y', 'z')}",
            "n BigInteger, server_default=s.next_value()",
            "g BigInteger, Computed('a * 2', persisted=True)",
            "CheckConstraint('a > 0', name='a')",
            "Index('i', 'b', postgresql_where=text(\"b <> 'q'\"))",
        )
        + table("u", "code Integer, unique=True", "label Text")
        + table("new", "x Integer, unique=True")
        + view("v", "SELECT id, a, g FROM landing.t", id="BigInteger", a="BigInteger", g="BigInteger"),
        rows="INSERT INTO landing.u (code) VALUES (5); "
        "INSERT INTO landing.t (a, c, d) VALUES (1, 5, 'x'), (2, NULL, 'y')",
        keeps={
            "SELECT a, b, c, d::text, g FROM landing.t ORDER BY id": [(1, "x", 5, "x", 2), (2, "x", None, "y", 4)],
            "SELECT id, a, g FROM landing.v ORDER BY id": [(1, 1, 2), (2, 2, 4)],
        },
        restores={"SELECT a, b, c, d::text FROM landing.t ORDER BY id": [(1, "x", 5, "x"), (2, "x", None, "y")]},
        loses="any",
    ),
    Transition(
        "a table is split in two",
        table("person", "name Text", "street Text", "city Text"),
        table("person", "name Text", "address_id BigInteger, ForeignKey('landing.address.id'), index=True")
        + table("address", "street Text", "city Text", "UniqueConstraint('street', 'city')"),
        rows="INSERT INTO landing.person (name, street) VALUES ('x', 's')",
        keeps={"SELECT name FROM landing.person": [("x",)]},
        loses="up",
    ),
    Transition(
        "two tables become one",
        table("person", "name Text", "address_id BigInteger, ForeignKey('landing.address.id'), index=True")
        + table("address", "street Text"),
        table("person", "name Text", "street Text"),
        rows="INSERT INTO landing.address (street) VALUES ('s'); "
        "INSERT INTO landing.person (name, address_id) VALUES ('x', 1)",
        keeps={"SELECT name FROM landing.person": [("x",)]},
        loses="up",
    ),
    Transition(
        "a foreign key and the unique constraint that it needs are added together",
        table("u", "code Integer") + table("t", "u_code Integer"),
        table("u", "code Integer, unique=True") + table("t", "u_code Integer, ForeignKey('landing.u.code')"),
        rows="INSERT INTO landing.u (code) VALUES (5); INSERT INTO landing.t (u_code) VALUES (5), (NULL)",
        keeps={"SELECT u_code FROM landing.t ORDER BY id": [(5,), (None,)]},
    ),
    Transition(
        "a column changes its type, its default, its null and its index",
        table("t", "a String(10), server_default='1', index=True"),
        table("t", "a Integer, server_default=text('2'), nullable=False", "Index('ix_t_a', 'a', unique=True)"),
        rows="INSERT INTO landing.t (a) VALUES ('5'), ('6')",
        keeps={"SELECT a FROM landing.t ORDER BY id": [(5,), (6,)]},
        restores={"SELECT a FROM landing.t ORDER BY id": [("5",), ("6",)]},
    ),
    Transition(
        "a key becomes a uuid with all that refers to it new",
        table("u", "x Integer") + table("t", "u_id BigInteger, ForeignKey('landing.u.id')"),
        table(
            "u",
            "x Integer",
            key="key = mapped_column(Uuid, primary_key=True, server_default=text('gen_random_uuid()'))",
        )
        + table("t", "u_key Uuid, ForeignKey('landing.u.key')"),
        rows="INSERT INTO landing.u (x) VALUES (1), (2); INSERT INTO landing.t DEFAULT VALUES",
        keeps={"SELECT x FROM landing.u ORDER BY x": [(1,), (2,)]},
        loses="both",
    ),
    Transition(
        "models and an org change at once",
        table("t", "a Integer"),
        table("t", "a BigInteger, index=True") + view("v", "SELECT a FROM landing.t", a="BigInteger"),
        meta_before=account(Name={"type": "string", "length": 40}),
        meta_after=account(Name={"type": "string", "length": 80}, Tier__c={"type": "picklist", "length": 40}),
        rows="INSERT INTO landing.t (a) VALUES (1); INSERT INTO salesforce.account (id, name) VALUES ('001', 'x')",
        keeps={"SELECT a FROM landing.v": [(1,)], "SELECT name FROM salesforce.account": [("x",)]},
    ),
    Transition(
        "everything is dropped but one table",
        KEPT
        + sequence("s")
        + table(
            "t",
            f"a {enum('x', 'y')}, index=True",
            "u_id ForeignKey('staging.u.id')",
            "n BigInteger, server_default=s.next_value()",
        )
        + table(
            "u",
            "t_id ForeignKey('landing.t.id', use_alter=True)",
            "g Integer, Computed('1 + 1', persisted=True)",
            schema="staging",
        )
        + view("v", "SELECT a FROM landing.t", a="Text")
        + view("w", "SELECT a FROM landing.v", schema="staging", materialized=True, a="Text"),
        KEPT,
    ),
    Transition(
        "names go round: an index, a table and a column take each other's",
        table("t", "a Integer", "Index('b', 'a')") + table("c", "x Integer"),
        table("t", "b Integer", "Index('c', 'b')") + table("a", "x Integer", "Index('b', 'x')"),
    ),
    Transition(
        "a renamed column changes its type under a view, with a new label and a new key",
        table("t", "a Integer", f"m {enum('x')}") + view("v", "SELECT a, m FROM landing.t", a="Integer", m="Text"),
        table("t", "b BigInteger, unique=True, info={'renamed_from': 'a'}", f"m {enum('x', 'y')}, server_default='y'")
        + table("u", "t_b BigInteger, ForeignKey('landing.t.b')")
        + view("v", "SELECT b, m FROM landing.t", b="BigInteger", m="Text"),
        rows="INSERT INTO landing.t (a, m) VALUES (1, 'x')",
        keeps={"SELECT b, m::text FROM landing.v": [(1, "x")]},
        restores={"SELECT a, m::text FROM landing.v": [(1, "x")]},
    ),
]
