"""Transitions of generated columns."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

ROWS = "INSERT INTO landing.t (a) VALUES (1), (2)"
KEEPS = {"SELECT a FROM landing.t ORDER BY id": [(1,), (2,)]}
ASK = "SELECT a, g FROM landing.t ORDER BY id"


def stored(expression: str, kind: str = "Integer", more: str = "") -> str:
    """Return a stored generated column."""
    return f"g {kind}, Computed({expression!r}, persisted=True){more}"


def virtual(expression: str, kind: str = "Integer") -> str:
    """Return a virtual generated column; PostgreSQL 18 has them."""
    return f"g {kind}, Computed({expression!r}, persisted=False)"


def changed(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return the change of the column g ("" for none) beside a, with two rows."""
    bodies = (table("t", "a Integer", *filter(None, [item])) for item in (before, after))
    return Transition(name, *bodies, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


DOUBLE = [(1, 2), (2, 4)]
TRIPLE = [(1, 3), (2, 6)]

# A generated value can be had again from its expression, so dropping one loses nothing that counts; today's guard
# cannot know that ("any").
GENERATED: Final = [
    changed("a generated column is added", "", stored("a * 2"), keeps={ASK: DOUBLE}, loses="any", hazards=["rewrite"]),
    changed("a generated column is dropped", stored("a * 2"), "", restores={ASK: DOUBLE}, loses="any"),
    changed(
        "a generated expression changes",
        stored("a * 2"),
        stored("a * 3"),
        keeps={ASK: TRIPLE},
        restores={ASK: DOUBLE},
        loses="any",
        hazards=["rewrite"],
    ),
    changed(
        "a generated expression changes with its type",
        stored("a * 2"),
        stored("(a * 3)\\:\\:text", "Text"),
        keeps={ASK: [(1, "3"), (2, "6")]},
        restores={ASK: DOUBLE},
        loses="any",
    ),
    changed(
        "a generated expression changes under an index and a check",
        stored("a * 2", more=", index=True"),
        stored("a * 3", more=", index=True"),
        keeps={ASK: TRIPLE},
        restores={ASK: DOUBLE},
        loses="any",
    ),
    changed("a generated expression in another spelling", stored("a * 2"), stored("(a*2)"), same=True),
    changed(
        "a generated column becomes a plain one",
        stored("a * 2"),
        "g Integer",
        keeps={ASK: DOUBLE},
        restores={ASK: DOUBLE},
        loses="any",
        works=["UPDATE landing.t SET g = 5"],
    ),
    changed(
        "a plain column with other values becomes a generated one",
        "g Integer",
        stored("a * 2"),
        rows="INSERT INTO landing.t (a, g) VALUES (1, 7), (2, 8)",
        keeps={ASK: DOUBLE},
        loses="up",
    ),
    changed(
        "a plain column without values becomes a generated one",
        "g Integer",
        stored("a * 2"),
        keeps={ASK: DOUBLE},
        loses="any",
    ),
    changed(
        "a generated column becomes one with a default",
        stored("a * 2"),
        "g Integer, server_default=text('9')",
        keeps={ASK: DOUBLE},
        loses="any",
    ),
    changed(
        "a generated column becomes required",
        stored("a * 2"),
        stored("a * 2", more=", nullable=False"),
        keeps={ASK: DOUBLE},
    ),
    changed(
        "a generated column gets a comment",
        stored("a * 2"),
        stored("a * 2", more=", comment='twice'"),
        keeps={ASK: DOUBLE},
    ),
    changed(
        "a generated expression with a percent sign, a colon and a quote",
        "",
        stored("'it''s 100%\\:' || (a % 2)\\:\\:text", "Text"),
        keeps={ASK: [(1, "it's 100%:1"), (2, "it's 100%:0")]},
        loses="any",
    ),
    changed("a virtual column is added", "", virtual("a * 2"), keeps={ASK: DOUBLE}, loses="any", majors=(18,)),
    changed("a virtual column is dropped", virtual("a * 2"), "", restores={ASK: DOUBLE}, loses="any", majors=(18,)),
    changed(
        "a virtual expression changes",
        virtual("a * 2"),
        virtual("a * 3"),
        keeps={ASK: TRIPLE},
        restores={ASK: DOUBLE},
        loses="any",
        majors=(18,),
    ),
    changed(
        "a stored column becomes virtual",
        stored("a * 2"),
        virtual("a * 2"),
        keeps={ASK: DOUBLE},
        restores={ASK: DOUBLE},
        loses="any",
        majors=(18,),
    ),
    changed(
        "a virtual column becomes a plain one",
        virtual("a * 2"),
        "g Integer",
        restores={ASK: DOUBLE},
        loses="any",
        majors=(18,),
    ),
    Transition(
        "the column behind a generated one changes its type",
        table("t", "a Integer", stored("a * 2", "BigInteger"), "Index('i', 'g')"),
        table("t", "a BigInteger", stored("a * 2", "BigInteger"), "Index('i', 'g')"),
        rows=ROWS,
        keeps={ASK: DOUBLE},
        restores={ASK: DOUBLE},
        loses="any",
    ),
    Transition(
        "the column behind a generated one is dropped with it",
        table("t", "a Integer", "b Integer", "g Integer, Computed('b + 1', persisted=True)"),
        table("t", "a Integer"),
        rows="INSERT INTO landing.t (a, b) VALUES (1, 5), (2, 6)",
        keeps=KEEPS,
        loses="up",
    ),
    Transition(
        "a generated column is computed from another column",
        table("t", "a Integer", "b Integer", "g Integer, Computed('b + 1', persisted=True)"),
        table("t", "a Integer", "g Integer, Computed('a + 1', persisted=True)"),
        rows=ROWS,
        keeps={ASK: [(1, 2), (2, 3)]},
        loses="any",
    ),
    Transition(
        "the column behind a generated one is renamed",
        table("t", "a Integer", stored("a * 2")),
        table("t", "b Integer, info={'renamed_from': 'a'}", stored("b * 2")),
        rows=ROWS,
        keeps={"SELECT b, g FROM landing.t ORDER BY id": DOUBLE},
        restores={ASK: DOUBLE},
    ),
    Transition(
        "a generated column is renamed",
        table("t", "a Integer", stored("a * 2")),
        table("t", "a Integer", "h Integer, Computed('a * 2', persisted=True), info={'renamed_from': 'g'}"),
        rows=ROWS,
        keeps={"SELECT a, h FROM landing.t ORDER BY id": DOUBLE},
        restores={ASK: DOUBLE},
    ),
    Transition(
        "a table with a generated column is added",
        KEPT,
        KEPT + table("t", stored("a * 2"), "a Integer", "h Integer, Computed('abs(a)', persisted=True), unique=True"),
    ),
]
