"""Transitions in which a person says what was renamed; values stay, and so does what is built on them."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import KEY, table, view
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

ROWS = "INSERT INTO landing.t (a) VALUES (1), (2)"
WAS = {"SELECT a FROM landing.t ORDER BY id": [(1,), (2,)]}
NOW = {"SELECT b FROM landing.t ORDER BY id": [(1,), (2,)]}
MOVED = {"SELECT a FROM landing.u ORDER BY id": [(1,), (2,)]}
FROM_A = "info={'renamed_from': 'a'}"
FROM_T = {"info": {"renamed_from": "t"}}
SERIAL = "id: Mapped[int] = mapped_column(Integer, primary_key=True)"


def column(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return a change in which column a of table t becomes b."""
    return Transition(name, before, after, **{"rows": ROWS, "keeps": NOW, "restores": WAS, **more})


def named(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return a change in which table t becomes u."""
    return Transition(name, before, after, **{"rows": ROWS, "keeps": MOVED, "restores": WAS, **more})


def items(letter: str, more: str = "") -> tuple[str, ...]:
    """Return a column with an index, a check, a unique constraint, a partial index and a foreign key on it."""
    return (
        f"{letter} Integer, ForeignKey('landing.u.code'), index=True, unique=True{more}",
        f"CheckConstraint('{letter} > 0', name='positive')",
        f"Index('by', 'id', {letter!r}, postgresql_where=text('{letter} <> 5'))",
    )


CODED = table("u", "code Integer, unique=True")
CODED_ROWS = "INSERT INTO landing.u (code) VALUES (1), (2); " + ROWS
COLUMN: Final = [
    column("a column is renamed", table("t", "a Integer"), table("t", f"b Integer, {FROM_A}")),
    column(
        "a column is renamed to a tricky name",
        table("t", "a Integer"),
        table("t", f'"Order % :x" Integer, {FROM_A}'),
        keeps={'SELECT "Order % :x" FROM landing.t ORDER BY id': [(1,), (2,)]},
    ),
    column("a column is renamed and changes its type", table("t", "a Integer"), table("t", f"b BigInteger, {FROM_A}")),
    column(
        "a column is renamed and becomes required with a default and a comment",
        table("t", "a Integer"),
        table("t", f"b Integer, nullable=False, server_default=text('5'), comment='it', {FROM_A}"),
    ),
    column(
        "a column is renamed with all that is on it",
        CODED + table("t", *items("a")),
        CODED + table("t", *items("b", f", {FROM_A}")),
        rows=CODED_ROWS,
    ),
    column(
        "a column is renamed and another takes its name",
        table("t", "a Integer"),
        table("t", f"b Integer, {FROM_A}", "c Text"),
        keeps=NOW,
    ),
    column(
        "two columns are renamed in a row",
        table("t", "a Integer", "x Text"),
        table("t", f"b Integer, {FROM_A}", "y Text, info={'renamed_from': 'x'}"),
    ),
    column(
        "a required column is renamed",
        table("t", "a Integer, nullable=False"),
        table("t", f"b Integer, nullable=False, {FROM_A}"),
        blocked_back="contains null values",
    ),
    column(
        "a column with a serial-like default is renamed",
        table("t", "a Integer, server_default=text('7')"),
        table("t", f"b Integer, server_default=text('7'), {FROM_A}"),
    ),
    column(
        "an index on a renamed column is added", table("t", "a Integer"), table("t", f"b Integer, index=True, {FROM_A}")
    ),
    column(
        "a renamed column is dropped from a unique constraint",
        table("t", "a Integer", "UniqueConstraint('a', 'id', name='u')"),
        table("t", f"b Integer, {FROM_A}"),
    ),
    Transition(
        "a key column is renamed under what refers to it",
        table("u", key="id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)")
        + table("t", "u_id Integer, ForeignKey('landing.u.id')"),
        table(
            "u",
            key="code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False, "
            "info={'renamed_from': 'id'})",
        )
        + table("t", "u_id Integer, ForeignKey('landing.u.code')"),
        rows="INSERT INTO landing.u VALUES (5); INSERT INTO landing.t (u_id) VALUES (5)",
        keeps={"SELECT u_id FROM landing.t": [(5,)], "SELECT code FROM landing.u": [(5,)]},
        blocked_back="contains null values",
        restores={"SELECT u_id FROM landing.t": [(5,)], "SELECT id FROM landing.u": [(5,)]},
    ),
    Transition(
        "an identity key is renamed",
        table("t", "a Integer"),
        table(
            "t",
            "a Integer",
            key=KEY.replace("id:", "key:").replace("primary_key", "info={'renamed_from': 'id'}, primary_key"),
        ),
        rows=ROWS,
        keeps={"SELECT key, a FROM landing.t ORDER BY key": [(1, 1), (2, 2)]},
        works=["INSERT INTO landing.t (a) VALUES (3)"],
        works_below=["INSERT INTO landing.t (a) VALUES (3)"],
    ),
    column(
        "a column is renamed that was renamed before already",
        table("t", f"b Integer, {FROM_A}"),
        table("t", "b Integer"),
        rows="INSERT INTO landing.t (b) VALUES (1), (2)",
        restores=NOW,
        same=True,
    ),
    Transition("a new table whose column says what it was once", KEPT, KEPT + table("t", f"b Integer, {FROM_A}")),
    Transition("a new table that says what it was once", KEPT, KEPT + table("u", "a Integer", **FROM_T)),
    Transition(
        "two columns that swap their names are refused",
        table("t", "a Integer", "b Integer"),
        table("t", f"b Integer, {FROM_A}", "a Integer, info={'renamed_from': 'b'}"),
        refused=r"landing\.t",
    ),
    Transition(
        "a column that says what it was while that one stays is refused",
        table("t", "a Integer"),
        table("t", "a Integer", f"b Integer, {FROM_A}"),
        refused=r"landing\.t.*\ba\b|landing\.t.*\bb\b",
    ),
    Transition(
        "two columns that were one are refused",
        table("t", "a Integer"),
        table("t", f"b Integer, {FROM_A}", f"c Integer, {FROM_A}"),
        refused=r"landing\.t",
    ),
    Transition(
        "what looks like a rename is suggested and not guessed",
        table("t", "a Integer"),
        table("t", "b Integer"),
        rows=ROWS,
        loses="up",
        warns="renamed_from",
    ),
]
TABLE: Final = [
    named("a table is renamed", table("t", "a Integer"), table("u", "a Integer", **FROM_T)),
    named(
        "a table is renamed to a tricky name",
        table("t", "a Integer"),
        table("Order % :x", "a Integer", **FROM_T),
        keeps={'SELECT a FROM landing."Order % :x" ORDER BY id': [(1,), (2,)]},
    ),
    named(
        "a table is renamed with all that is in it",
        table(
            "t",
            "a Integer, index=True, unique=True, comment='x'",
            "CheckConstraint('a > 0', name='p')",
            "Index('i', text('(a + 1)'))",
        ),
        table(
            "u",
            "a Integer, index=True, unique=True, comment='x'",
            "CheckConstraint('a > 0', name='p')",
            "Index('i', text('(a + 1)'))",
            **FROM_T,
        ),
    ),
    named(
        "a table and a column of it are renamed at once",
        table("t", "a Integer, index=True"),
        table("u", f"b Integer, index=True, {FROM_A}", **FROM_T),
        keeps={"SELECT b FROM landing.u ORDER BY id": [(1,), (2,)]},
    ),
    named(
        "a table is renamed and gets a column",
        table("t", "a Integer"),
        table("u", "a Integer", "c Text, index=True", **FROM_T),
    ),
    named(
        "a table that others refer to is renamed",
        table("t", "a Integer") + table("w", "t_id BigInteger, ForeignKey('landing.t.id')"),
        table("u", "a Integer", **FROM_T) + table("w", "t_id BigInteger, ForeignKey('landing.u.id')"),
        rows=ROWS + "; INSERT INTO landing.w (t_id) VALUES (2)",
        keeps={**MOVED, "SELECT t_id FROM landing.w": [(2,)]},
        blocked_back="violates foreign key",
    ),
    named(
        "a table that refers to itself is renamed",
        table("t", "a Integer", "p BigInteger, ForeignKey('landing.t.id')"),
        table("u", "a Integer", "p BigInteger, ForeignKey('landing.u.id')", **FROM_T),
    ),
    named(
        "a table with a serial key is renamed",
        table("t", "a Integer", key=SERIAL),
        table("u", "a Integer", key=SERIAL, **FROM_T),
        works=["INSERT INTO landing.u (a) VALUES (3)"],
        works_below=["INSERT INTO landing.t (a) VALUES (3)"],
    ),
    named(
        "a table under a view is renamed with its column",
        table("t", "a Integer") + view("v", "SELECT a FROM landing.t", a="Integer"),
        table("u", f"b Integer, {FROM_A}", **FROM_T) + view("v", "SELECT b AS a FROM landing.u", a="Integer"),
        keeps={"SELECT a FROM landing.v ORDER BY 1": [(1,), (2,)]},
    ),
    named(
        "a table is renamed and a new one takes its name",
        table("t", "a Integer"),
        table("u", "a Integer", **FROM_T) + table("t", "other Text"),
    ),
    Transition(
        "a table that says what it was while that one stays is refused",
        table("t", "a Integer"),
        table("t", "a Integer") + table("u", "a Integer", **FROM_T),
        refused=r"landing\.[tu]",
    ),
    Transition(
        "two tables that swap their names are refused",
        table("t", "a Integer") + table("u", "b Integer"),
        table("u", "a Integer", **FROM_T) + table("t", "b Integer", info={"renamed_from": "u"}),
        refused=r"landing\.[tu]",
    ),
]
RENAMES: Final = [*COLUMN, *TABLE]
