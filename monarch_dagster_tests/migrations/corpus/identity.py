"""Transitions of identity columns; the next insert must never meet a value that is there."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import core, table
from monarch_dagster_tests.migrations.corpus.transition import Transition

ROWS = "INSERT INTO landing.t (id, a) OVERRIDING SYSTEM VALUE VALUES (5, 1), (7, 2)"
KEEPS = {"SELECT id, a FROM landing.t ORDER BY id": [(5, 1), (7, 2)]}
NEXT = ["INSERT INTO landing.t (a) VALUES (8)"]
MANY = ["; ".join(NEXT * 9)]


def changed(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return the change of how a key counts, in a table with the keys 5 and 7."""
    bodies = (
        table("t", "a Integer", key=f"id: Mapped[int] = mapped_column({kind}, primary_key=True)")
        for kind in (before, after)
    )
    return Transition(name, *bodies, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


NONE = "BigInteger, autoincrement=False"
COUNTED = "; SELECT setval(pg_get_serial_sequence('landing.t', 'id'), 7)"

IDENTITY: Final = [
    changed("an identity is added to a key with rows", NONE, "BigInteger, Identity()", works=MANY),
    changed("an identity that is always given is added", NONE, "BigInteger, Identity(always=True)", works=MANY),
    changed("an identity is dropped", "BigInteger, Identity()", NONE, rows=ROWS + COUNTED, works_below=MANY),
    changed(
        "an identity is always given",
        "BigInteger, Identity()",
        "BigInteger, Identity(always=True)",
        rows=ROWS + COUNTED,
        works=MANY,
        works_below=MANY,
    ),
    changed(
        "an identity is given by default",
        "BigInteger, Identity(always=True)",
        "BigInteger, Identity()",
        rows=ROWS + COUNTED,
        works=MANY,
        works_below=MANY,
    ),
    changed(
        "an identity has another start",
        "BigInteger, Identity()",
        "BigInteger, Identity(start=100)",
        rows=ROWS + COUNTED,
        works=MANY,
    ),
    changed(
        "an identity counts in other steps",
        "BigInteger, Identity()",
        "BigInteger, Identity(increment=10)",
        rows=ROWS + COUNTED,
        works=MANY,
    ),
    changed(
        "an identity has every option",
        "BigInteger, Identity()",
        "BigInteger, Identity(always=True, start=50, increment=2, minvalue=1, maxvalue=1000, cycle=True, cache=5)",
        rows=ROWS + COUNTED,
        works=MANY,
    ),
    changed(
        "an identity loses its options",
        "BigInteger, Identity(start=50, increment=2, maxvalue=1000, cache=5)",
        "BigInteger, Identity()",
        rows=ROWS + COUNTED,
        works=MANY,
    ),
    changed(
        "an identity becomes big",
        "Integer, Identity()",
        "BigInteger, Identity()",
        rows=ROWS + COUNTED,
        works=MANY,
        works_below=MANY,
    ),
    changed(
        "an identity becomes small",
        "BigInteger, Identity()",
        "Integer, Identity()",
        rows=ROWS + COUNTED,
        works=MANY,
        works_below=MANY,
    ),
    Transition(
        "an identity column is added to a table with rows",
        core("t", "Column('a', Integer)"),
        core("t", "Column('a', Integer)", "Column('id', BigInteger, Identity(), primary_key=True)"),
        rows="INSERT INTO landing.t (a) VALUES (1), (2)",
        keeps={"SELECT id, a FROM landing.t ORDER BY a": [(1, 1), (2, 2)]},
        works=NEXT,
        loses="down",
    ),
    Transition(
        "an identity column beside the key is dropped",
        core("t", "Column('a', Integer, primary_key=True)", "Column('n', Integer, Identity(start=5), nullable=False)"),
        core("t", "Column('a', Integer, primary_key=True)"),
        rows="INSERT INTO landing.t (a) VALUES (1), (2)",
        keeps={"SELECT a FROM landing.t ORDER BY a": [(1,), (2,)]},
        loses="up",
    ),
    Transition(
        "a default gives way to an identity",
        core("t", "Column('a', Integer)", "Column('id', Integer, nullable=False, server_default=text('1'))"),
        core("t", "Column('a', Integer)", "Column('id', Integer, Identity(), nullable=False)"),
        rows="INSERT INTO landing.t (a, id) VALUES (1, 1)",
        keeps={"SELECT a, id FROM landing.t": [(1, 1)]},
        restores={"SELECT a, id FROM landing.t": [(1, 1)]},
        works=NEXT,
        works_below=NEXT,
    ),
]
