"""Transitions of native enum types and of the columns, checks, indexes and views that use them."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import enum, table, view
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

ROWS = "INSERT INTO landing.t (a) VALUES ('x'), ('y'), (NULL)"
ASK = "SELECT a::text FROM landing.t ORDER BY id"
KEEPS = {ASK: [("x",), ("y",), (None,)]}


def moody(*labels: str, more: str = "", items: tuple[str, ...] = ()) -> str:
    """Return a table with a column `a` of the enum of these labels."""
    return table("t", f"a {enum(*labels)}{more}", *items)


def relabelled(
    name: str, before: tuple[str, ...], after: tuple[str, ...], items: tuple[str, ...] = (), **more: Any
) -> Transition:
    """Return the change of an enum's labels in a table with the rows x, y and null."""
    bodies = moody(*before, items=items), moody(*after, items=items)
    return Transition(name, *bodies, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


QUOTE = 'it\'s "q"'
XY, XYZ = ("x", "y"), ("x", "y", "z")
Z = ["INSERT INTO landing.t (a) VALUES ('z')"]
ALONE = "\nmood = Enum('x', 'y', name='mood', schema='landing', metadata=Base.metadata)\n"
VIEW = view("v", "SELECT id, a FROM landing.t WHERE a = 'x'", id="BigInteger", a="Text")

ENUMS: Final = [
    Transition("an enum is created with its column", table("t"), moody("x", "it's 50% :x")),
    Transition("an enum is created with its table", KEPT, KEPT + moody("x", "y")),
    Transition("an enum is created before it is used", KEPT, KEPT + ALONE),
    Transition("an enum that was there is used from now on", table("t") + ALONE, ALONE + table("t", "a mood")),
    Transition("an enum that nothing uses is dropped", KEPT + ALONE, KEPT),
    Transition(
        "an enum is dropped with its column",
        moody("x", "y"),
        table("t"),
        rows=ROWS,
        keeps={"SELECT count(*) FROM landing.t": [(3,)]},
        loses="up",
    ),
    Transition("an enum is dropped with its table", KEPT + moody("x", "y"), KEPT, rows=ROWS, loses="up"),
    relabelled("a label is appended", XY, XYZ, works=Z),
    relabelled("a label is put first", XY, ("z", "x", "y"), works=Z),
    relabelled("a label is put in between", XY, ("x", "z", "y"), works=Z),
    relabelled("several labels are added everywhere", XY, ("0", "1", "x", "50%", "it's :x", "y", "Ü", "z"), works=Z),
    relabelled("a label that no row has is removed", XYZ, XY),
    relabelled("a label that rows have is removed", XY, ("x", "z"), blocked="values do not all fit"),
    relabelled("all labels but those in use are replaced", ("o", "x", "p", "y"), ("y", "q", "x")),
    relabelled("labels are put in another order", XYZ, ("z", "y", "x")),
    relabelled(
        "a label is appended under an index", XY, XYZ, ("Index('i', 'a')", "UniqueConstraint('a', 'id')"), works=Z
    ),
    relabelled("a label is removed under an index", XYZ, XY, ("Index('i', 'a')", "UniqueConstraint('a', 'id')")),
    relabelled("a label is removed under a check", XYZ, XY, ("CheckConstraint(\"a IN ('x', 'y')\", name='a')",)),
    relabelled(
        "labels are put in another order under a predicate",
        XY,
        ("y", "x"),
        ("Index('i', 'id', postgresql_where=text(\"a = 'x'\"))",),
    ),
    relabelled(
        "a label is removed under a generated column",
        XYZ,
        XY,
        ("g Boolean, Computed(\"a = 'x'\", persisted=True)",),
    ),
    Transition(
        "a label is appended and is the default at once",
        moody("x", "y", more=", server_default='x'"),
        moody("x", "y", "z", more=", server_default='z'"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "a label is appended and a check, a predicate and a view use it at once",
        moody("x", "y"),
        moody(
            "x",
            "y",
            "z",
            items=(
                "CheckConstraint(\"a <> 'z' OR id > 0\", name='a')",
                "Index('i', 'id', postgresql_where=text(\"a = 'z'\"))",
            ),
        )
        + view("v", "SELECT id FROM landing.t WHERE a = 'z'", id="BigInteger"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "a label is removed under a default that stays",
        moody("x", "y", "z", more=", nullable=False, server_default='x'"),
        moody("x", "y", more=", nullable=False, server_default='x'"),
        rows="INSERT INTO landing.t DEFAULT VALUES; INSERT INTO landing.t (a) VALUES ('y')",
        keeps={ASK: [("x",), ("y",)]},
        restores={ASK: [("x",), ("y",)]},
    ),
    Transition(
        "a default that is a removed label changes with it",
        moody("x", "y", "z", more=", server_default='z'"),
        moody("x", "y", more=", server_default='y'"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "an enum gets another name",
        moody("x", "y"),
        table("t", f"a {enum('x', 'y', name='kind')}"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "an enum goes to another schema",
        moody("x", "y"),
        table("t", f"a {enum('x', 'y', schema='staging')}") + table("kept", schema="staging"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "an enum that two tables use gets a label and loses one",
        table("t", f"a {enum('x', 'y', 'z')}") + table("u", f"a {enum('x', 'y', 'z')}, index=True", schema="staging"),
        table("t", f"a {enum('y', 'w', 'x')}") + table("u", f"a {enum('y', 'w', 'x')}, index=True", schema="staging"),
        rows=ROWS + "; INSERT INTO staging.u (a) VALUES ('y')",
        keeps={**KEEPS, "SELECT a::text FROM staging.u": [("y",)]},
        restores={**KEEPS, "SELECT a::text FROM staging.u": [("y",)]},
    ),
    Transition(
        "one of two columns gives an enum up",
        table("t", f"a {enum('x', 'y')}", f"b {enum('x', 'y')}"),
        table("t", "a Text", f"b {enum('x', 'y')}"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "an enum in an array gets a label",
        table("t", f"a ARRAY({enum('x', 'y')})"),
        table("t", f"a ARRAY({enum('x', 'y', 'z')})"),
        rows="INSERT INTO landing.t (a) VALUES ('{x,y}')",
        keeps={ASK: [("{x,y}",)]},
        works=["INSERT INTO landing.t (a) VALUES ('{z}')"],
    ),
    Transition(
        "an enum in an array loses a label",
        table("t", f"a ARRAY({enum('x', 'y', 'z')})"),
        table("t", f"a ARRAY({enum('x', 'y')})"),
        rows="INSERT INTO landing.t (a) VALUES ('{x,y}')",
        keeps={ASK: [("{x,y}",)]},
        restores={ASK: [("{x,y}",)]},
    ),
    Transition(
        "an enum loses a label under a view",
        moody("x", "y", "z") + VIEW,
        moody("x", "y") + VIEW,
        rows=ROWS,
        keeps={**KEEPS, "SELECT a::text FROM landing.v": [("x",)]},
        restores={**KEEPS, "SELECT a::text FROM landing.v": [("x",)]},
    ),
    Transition(
        "an enum gets a label under a view",
        moody("x", "y") + VIEW,
        moody("x", "y", "z") + VIEW,
        rows=ROWS,
        keeps={**KEEPS, "SELECT a::text FROM landing.v": [("x",)]},
    ),
    Transition(
        "an enum of Python gets a member",
        "import enum\nclass Colour(enum.Enum):\n    RED = 'r'\n    BLUE = 'b'\n"
        + table("t", "a Enum(Colour, name='colour', schema='landing')"),
        "import enum\nclass Colour(enum.Enum):\n    RED = 'r'\n    BLUE = 'b'\n    GREEN = 'g'\n"
        + table("t", "a Enum(Colour, name='colour', schema='landing')"),
        rows="INSERT INTO landing.t (a) VALUES ('RED')",
        keeps={ASK: [("RED",)]},
        works=["INSERT INTO landing.t (a) VALUES ('GREEN')"],
    ),
    Transition(
        "an enum with awkward names and labels is added and grows",
        table("t", f"a {enum(QUOTE, '50% :x', name='Mood %s')}"),
        table("t", f"a {enum(QUOTE, '50% :x', 'new', name='Mood %s')}"),
    ),
]
