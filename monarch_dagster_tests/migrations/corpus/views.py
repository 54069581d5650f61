"""Transitions of views, and of tables under views."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import table, view
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

COLUMNS = ("a Integer", "b Text")
T = table("t", *COLUMNS)
ROWS = "INSERT INTO landing.t (a, b) VALUES (1, 'x'), (2, 'y')"
ASK = "SELECT * FROM landing.v"
AB = {"a": "Integer", "b": "Text"}


def changed(name: str, before: str, after: str, gives: list[tuple[Any, ...]] | None = None, **more: Any) -> Transition:
    """Return the change of what follows the table t; `gives` is what the view v gives afterwards."""
    keeps = {"SELECT a, b FROM landing.t ORDER BY id": [(1, "x"), (2, "y")], **({ASK: gives} if gives else {})}
    return Transition(name, T + before, T + after, **{"rows": ROWS, "keeps": keeps, **more})


FIRST = view("v", "SELECT a, b FROM landing.t WHERE a = 1", a="Integer", b="Text")
SECOND = view("v", "SELECT a, b FROM landing.t WHERE a = 2", a="Integer", b="Text")
ON_VIEW = view("w", "SELECT b FROM landing.v", b="Text")
STORED = view("v", "SELECT a, b FROM landing.t WHERE a = 1", materialized=True, a="Integer", b="Text")

PLAIN: Final = [
    changed("a view is added", "", FIRST, [(1, "x")]),
    changed("a view is dropped", FIRST, ""),
    changed("a view's condition changes", FIRST, SECOND, [(2, "y")]),
    changed(
        "a view by SQLAlchemy is added",
        "",
        view("v", 'select(T.a, T.b).where(T.b != "it\'s 50% :x", T.a == 1)'),
        [(1, "x")],
    ),
    changed(
        "a view by SQLAlchemy changes",
        view("v", "select(T.a).where(T.a > 1)"),
        view("v", "select(T.a).where(T.a < 2)"),
        [(1,)],
    ),
    changed("a view is written in another spelling", FIRST, view("v", "select(T.a, T.b).where(T.a == 1)"), same=True),
    changed(
        "a view gets a column at its end",
        view("v", "SELECT a FROM landing.t WHERE a = 1", a="Integer"),
        FIRST,
        [(1, "x")],
    ),
    changed(
        "a view gets a column in its middle",
        view("v", "SELECT a, b FROM landing.t WHERE a = 1", **AB),
        view("v", "SELECT a, id, b FROM landing.t WHERE a = 1", a="Integer", id="BigInteger", b="Text"),
        [(1, 1, "x")],
    ),
    changed("a view loses a column", FIRST, view("v", "SELECT b FROM landing.t WHERE a = 1", b="Text"), [("x",)]),
    changed(
        "a view's column has another type",
        FIRST,
        view("v", "SELECT CAST(a AS text) AS a, b FROM landing.t WHERE a = 1", a="Text", b="Text"),
        [("1", "x")],
    ),
    changed(
        "a view's column has another name",
        FIRST,
        view("v", "SELECT a AS c, b FROM landing.t WHERE a = 1", c="Integer", b="Text"),
        [(1, "x")],
    ),
    changed("a view is renamed, as one dropped and one added", FIRST, FIRST.replace("'v'", "'u'")),
    changed("a view of a view is added", FIRST, FIRST + ON_VIEW, [(1, "x")]),
    changed("a view of a view is dropped with it", FIRST + ON_VIEW, ""),
    changed("a view under a view changes", FIRST + ON_VIEW, SECOND + ON_VIEW, [(2, "y")]),
    changed(
        "a view under a view loses a column",
        FIRST + ON_VIEW,
        view("v", "SELECT b FROM landing.t WHERE a = 1", b="Text") + ON_VIEW,
        [("x",)],
    ),
    changed("views of views are declared from the last to the first", "", ON_VIEW + FIRST, [(1, "x")]),
    changed(
        "a view in another schema is added",
        "",
        view("v", "SELECT a FROM landing.t", schema="staging", a="Integer") + table("kept", schema="staging"),
    ),
    changed("a view is alone in its schema", "", view("v", "SELECT a FROM landing.t", schema="staging", a="Integer")),
    changed("a view goes to another schema", FIRST, FIRST.replace("schema='landing'", "schema='staging'")),
    changed("a view replaces a table of its name", table("v", "a Integer"), FIRST, [(1, "x")]),
    changed("a table replaces a view of its name", FIRST, table("v", "a Integer", "b Text"), None),
    changed(
        "a view gets a tricky name",
        "",
        FIRST.replace("'v'", "'Order % :x'").replace("'a'", "'A b'").replace("SELECT a,", 'SELECT a AS "A b",'),
    ),
]
QUERIES: Final = [
    changed(f"a view with {what} is added", "", view("v", query, **columns), gives)
    for what, query, columns, gives in (
        (
            "an aggregate",
            "SELECT count(*) AS n, max(a) AS m FROM landing.t GROUP BY a > 0 HAVING count(*) > 1",
            {"n": "BigInteger", "m": "Integer"},
            [(2, 2)],
        ),
        (
            "a common table expression",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) "
            "SELECT n FROM r JOIN landing.t ON a = n",
            {"n": "Integer"},
            [(1,), (2,)],
        ),
        (
            "a union",
            "SELECT a FROM landing.t WHERE a = 1 UNION ALL SELECT id FROM landing.t WHERE a = 1",
            {"a": "BigInteger"},
            [(1,), (1,)],
        ),
        (
            "a window function",
            "SELECT a, sum(a) OVER (ORDER BY a) AS s FROM landing.t ORDER BY a",
            {"a": "Integer", "s": "BigInteger"},
            [(1, 1), (2, 3)],
        ),
        (
            "a cast",
            "SELECT CAST(a AS numeric(10, 2)) AS a, b\\:\\:varchar(5) FROM landing.t WHERE a = 1",
            {"a": "Numeric", "b": "String"},
            None,
        ),
        (
            "awkward literals",
            "SELECT 'it''s 100% %(x)s \\:x \"q\"' AS q FROM landing.t WHERE a % 2 = 1 AND b LIKE '%'",
            {"q": "Text"},
            [('it\'s 100% %(x)s :x "q"',)],
        ),
        (
            "a subquery and a lateral join",
            "SELECT o.a, l.n FROM landing.t o, LATERAL (SELECT count(*) AS n FROM landing.t i WHERE i.a <= o.a) l "
            "WHERE o.a IN (SELECT a FROM landing.t) ORDER BY o.a",
            {"a": "Integer", "n": "BigInteger"},
            [(1, 1), (2, 2)],
        ),
        (
            "all columns",
            "SELECT * FROM landing.t",
            {"id": "BigInteger", "a": "Integer", "b": "Text"},
            [(1, 1, "x"), (2, 2, "y")],
        ),
        ("constants only", "SELECT 1 AS one, now() AS at", {"one": "Integer", "at": "DateTime"}, None),
    )
]
MATERIALIZED: Final = [
    changed("a materialised view is added", "", STORED, [(1, "x")]),
    changed("a materialised view is dropped", STORED, ""),
    changed("a materialised view changes", STORED, STORED.replace("a = 1", "a = 2"), [(2, "y")]),
    changed("a view becomes materialised", FIRST, STORED, [(1, "x")]),
    changed("a materialised view becomes a plain one", STORED, FIRST, [(1, "x")]),
    changed(
        "a view of a materialised view is added",
        STORED,
        STORED + ON_VIEW,
        [(1, "x")],
        rows=f"{ROWS}; REFRESH MATERIALIZED VIEW landing.v",
    ),
    changed(
        "a materialised view under a view changes",
        STORED + ON_VIEW,
        STORED.replace("a = 1", "a = 2") + ON_VIEW,
        [(2, "y")],
    ),
    changed(
        "a materialised view of a view, which changes",
        FIRST + ON_VIEW.replace("Base.metadata", "Base.metadata, materialized=True"),
        SECOND + ON_VIEW.replace("Base.metadata", "Base.metadata, materialized=True"),
        [(2, "y")],
    ),
]


def below(
    name: str, after: str, gives: list[tuple[Any, ...]], view_after: str = FIRST, before: str = FIRST, **more: Any
) -> Transition:
    """Return the change of the table under a view of it."""
    return Transition(
        name,
        T + before,
        after + view_after,
        **{"rows": ROWS, "keeps": {ASK: gives}, "restores": {ASK: [(1, "x")]}, **more},
    )


BELOW: Final = [
    below("a table under a view gets a column", table("t", *COLUMNS, "c Integer"), [(1, "x")]),
    below(
        "a table under a view gets a column, which the view shows",
        table("t", *COLUMNS, "c Integer, server_default=text('3')"),
        [(1, "x", 3)],
        view("v", "SELECT a, b, c FROM landing.t WHERE a = 1", a="Integer", b="Text", c="Integer"),
        loses="down",
    ),
    below(
        "a column that a view shows is dropped",
        table("t", "a Integer"),
        [(1,)],
        view("v", "SELECT a FROM landing.t WHERE a = 1", a="Integer"),
        loses="up",
        restores={},
    ),
    below(
        "a column that a view uses and does not show is dropped",
        table("t", "b Text"),
        [("x",)],
        view("v", "SELECT b FROM landing.t WHERE b = 'x'", b="Text"),
        loses="up",
        restores={},
    ),
    below(
        "a column beside those of a view changes its type",
        table(
            "t",
            "a BigInteger",
            "b Text",
        ),
        [("x",)],
        view("v", "SELECT b FROM landing.t WHERE b = 'x'", b="Text"),
        view("v", "SELECT b FROM landing.t WHERE b = 'x'", b="Text"),
        restores={ASK: [("x",)]},
    ),
    below(
        "a column under a view of a view changes its type",
        table("t", "a Integer", "b String(20)"),
        [(1, "x")],
        FIRST + ON_VIEW,
        FIRST + ON_VIEW,
    ),
    below(
        "a column under a materialised view changes its type",
        table("t", "a BigInteger", "b Text"),
        [(1, "x")],
        STORED,
        STORED,
        rows=ROWS + "; REFRESH MATERIALIZED VIEW landing.v",
    ),
    below(
        "a column under a view is renamed, the view's is not",
        table("t", "c Integer, info={'renamed_from': 'a'}", "b Text"),
        [(1, "x")],
        view("v", "SELECT c AS a, b FROM landing.t WHERE c = 1", a="Integer", b="Text"),
    ),
    below(
        "a column under a view is renamed, and the view's too",
        table("t", "c Integer, info={'renamed_from': 'a'}", "b Text"),
        [(1, "x")],
        view("v", "SELECT c, b FROM landing.t WHERE c = 1", c="Integer", b="Text"),
    ),
    below(
        "a table under a view is renamed",
        table("u", *COLUMNS, info={"renamed_from": "t"}),
        [(1, "x")],
        FIRST.replace("landing.t", "landing.u"),
    ),
    Transition(
        "a table is dropped with the views on it",
        KEPT + T + FIRST + ON_VIEW,
        KEPT,
        rows=ROWS,
        loses="up",
    ),
    Transition(
        "a table and views on it are added", KEPT, KEPT + T + FIRST + ON_VIEW, works=["SELECT * FROM landing.w"]
    ),
    Transition(
        "a view goes from one table to another, and the first is dropped",
        KEPT + T + FIRST,
        KEPT + table("u", *COLUMNS) + FIRST.replace("landing.t", "landing.u"),
        rows=ROWS,
        keeps={ASK: []},
        loses="up",
    ),
]
VIEWS: Final = [*PLAIN, *QUERIES, *MATERIALIZED, *BELOW]
