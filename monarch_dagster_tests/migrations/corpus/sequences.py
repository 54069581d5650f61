"""Transitions of sequences of their own and of serial columns."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import core, sequence, table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

SERIAL = "id: Mapped[int] = mapped_column(Integer, primary_key=True)"
BIG_SERIAL = "id: Mapped[int] = mapped_column(BigInteger, primary_key=True)"
IDENTITY = "id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)"
NO_DEFAULT = "id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)"
ROWS = "INSERT INTO landing.t (a) VALUES (1), (2), (3)"
KEEPS = {"SELECT id, a FROM landing.t ORDER BY id": [(1, 1), (2, 2), (3, 3)]}
NEXT = ["INSERT INTO landing.t (a) VALUES (4)"]


def changed(name: str, before: dict[str, Any], after: dict[str, Any], **more: Any) -> Transition:
    """Return the change of a sequence's options, after it gave two numbers."""
    # What it gave is no schema: it must go on from there, neither begin again nor jump.
    return Transition(
        name,
        KEPT + sequence("s", **before),
        KEPT + sequence("s", **after),
        **{
            "rows": "SELECT nextval('landing.s'), nextval('landing.s')",
            "keeps": {"SELECT is_called FROM landing.s": [(True,)]},
            **more,
        },
    )


SEQUENCES: Final = [
    Transition("a sequence is added", KEPT, KEPT + sequence("s"), works=["SELECT nextval('landing.s')"]),
    Transition("a sequence is dropped", KEPT + sequence("s"), KEPT),
    Transition(
        "a sequence with every option is added",
        KEPT,
        KEPT + sequence("s", start=10, increment=5, minvalue=10, maxvalue=100, cycle=True, cache=3),
    ),
    Transition(
        "a sequence of a smaller type is added",
        KEPT,
        KEPT + sequence("s").replace("metadata=", "data_type=Integer(), metadata="),
    ),
    Transition(
        "a sequence gets another type",
        KEPT + sequence("s").replace("metadata=", "data_type=Integer(), metadata="),
        KEPT + sequence("s"),
    ),
    changed(
        "a sequence counts in other steps", {}, {"increment": 10}, keeps={"SELECT last_value FROM landing.s": [(2,)]}
    ),
    changed("a sequence has another start", {}, {"start": 100}, keeps={"SELECT last_value FROM landing.s": [(2,)]}),
    changed("a sequence gets a greatest value", {}, {"maxvalue": 1000}),
    changed("a sequence loses its greatest value", {"maxvalue": 1000}, {}),
    changed("a sequence cycles", {"maxvalue": 9}, {"maxvalue": 9, "cycle": True}),
    changed("a sequence keeps more at hand", {}, {"cache": 20}),
    changed(
        "a sequence counts downwards",
        {"minvalue": -100, "maxvalue": 100, "start": 1},
        {"minvalue": -100, "maxvalue": 100, "start": 1, "increment": -1},
    ),
    Transition(
        "a sequence becomes the default of a column",
        sequence("s", start=100) + table("t", "a Integer"),
        sequence("s", start=100) + table("t", "a Integer, server_default=s.next_value()"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "a sequence is added with the column whose default it is",
        table("t", "a Integer"),
        sequence("s") + table("t", "a Integer", "n BigInteger, nullable=False, server_default=s.next_value()"),
        rows=ROWS,
        keeps={"SELECT id, a, n FROM landing.t ORDER BY id": [(1, 1, 1), (2, 2, 2), (3, 3, 3)]},
        loses="down",
    ),
    Transition(
        "a sequence is dropped, its column counts no more",
        sequence("s") + table("t", "a Integer, server_default=s.next_value()"),
        table("t", "a Integer"),
        rows=ROWS,
        keeps=KEEPS,
    ),
    Transition(
        "a sequence gets a tricky name",
        KEPT + sequence("s").replace("'s'", "'It\\'s 50% :x'"),
        KEPT + sequence("s").replace("'s'", "'Order'"),
    ),
    Transition(
        "a serial key is added to a table with rows",
        core("t", "Column('a', Integer)"),
        table("t", "a Integer", key=SERIAL),
        rows=ROWS,
        keeps=KEEPS,
        works=NEXT,
        loses="down",
    ),
    Transition(
        "a serial key is dropped",
        table("t", "a Integer", key=SERIAL),
        core("t", "Column('a', Integer)"),
        rows=ROWS,
        keeps={"SELECT a FROM landing.t ORDER BY a": [(1,), (2,), (3,)]},
        loses="up",
    ),
    Transition(
        "a table with a serial key is dropped", KEPT + table("t", "a Integer", key=SERIAL), KEPT, rows=ROWS, loses="up"
    ),
    Transition(
        "a serial key becomes an identity",
        table("t", "a Integer", key=SERIAL),
        table("t", "a Integer", key=IDENTITY),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
        works=NEXT,
        works_below=NEXT,
    ),
    Transition(
        "an identity becomes a serial key",
        table("t", "a Integer", key=IDENTITY),
        table("t", "a Integer", key=SERIAL),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
        works=NEXT,
        works_below=NEXT,
    ),
    Transition(
        "a serial key becomes big",
        table("t", "a Integer", key=SERIAL),
        table("t", "a Integer", key=BIG_SERIAL),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
        works=NEXT,
        works_below=NEXT,
    ),
    Transition(
        "a serial key counts by itself no longer",
        table("t", "a Integer", key=SERIAL),
        table("t", "a Integer", key=NO_DEFAULT),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
        works_below=NEXT,
    ),
    Transition(
        "a key counts by itself from now on",
        table("t", "a Integer", key=NO_DEFAULT),
        table("t", "a Integer", key=SERIAL),
        rows="INSERT INTO landing.t (id, a) VALUES (1, 1), (2, 2), (3, 3)",
        keeps=KEEPS,
        restores=KEEPS,
        works=NEXT,
    ),
]
