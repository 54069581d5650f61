"""Transitions of a column's type, alone and under what depends on it."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import enum, table, view
from monarch_dagster_tests.migrations.corpus.transition import Transition

NOT_ALL_FIT = "values do not all fit"


def retyped(old: str, new: str, *values: tuple[str, str] | str, name: str = "", **more: Any) -> Transition:
    """Return the change of a column from `old` to `new`, with its values as text before and after."""
    pairs = [(value, value) if isinstance(value, str) else value for value in values]
    rows = ", ".join(f"($v${before}$v$)" for before, _ in pairs)
    ask = "SELECT a::text FROM landing.t WHERE a IS NOT NULL ORDER BY id"
    return Transition(
        name or f"{old} becomes {new}",
        table("t", f"a {old}"),
        table("t", f"a {new}"),
        rows=f"INSERT INTO landing.t (a) VALUES {rows}, (NULL)" if rows else "INSERT INTO landing.t DEFAULT VALUES",
        keeps={ask: [(after,) for _, after in pairs], "SELECT count(*) FROM landing.t": [(len(pairs) + 1,)]},
        restores=more.pop("restores", {ask: [(before,) for before, _ in pairs]}),
        **more,
    )


def under(name: str, items: str, *, old: str = "Integer", new: str = "BigInteger", **more: Any) -> Transition:
    """Return the change of `a` of two rows, 1 and 2, under `items` of its table or what follows it."""
    before, after = (_with(items, kind) for kind in (old, new))
    return Transition(
        f"{old} becomes {new} {name}",
        before,
        after,
        rows="INSERT INTO landing.t (a) VALUES ('1'), ('2')",
        keeps={"SELECT a::text FROM landing.t ORDER BY id": [("1",), ("2",)]},
        restores={"SELECT a::text FROM landing.t ORDER BY id": [("1",), ("2",)]},
        **more,
    )


def _with(items: str, kind: str) -> str:
    column = "" if items.startswith("a ") else f"a {kind}"
    return table("t", *filter(None, [column, *items.format(kind=kind).split(" | ")]))


UUID_TEXT = "8d4cd4c8-5f0d-4c8e-9a57-1c2b9a2f3f10"
PLAIN: Final = [
    retyped("String(10)", "String(20)", "abc", "50%:x"),
    retyped("String(20)", "String(10)", "abc"),
    retyped("String(20)", "String(3)", "abcdef", name="a value too long for its new type", blocked=NOT_ALL_FIT),
    retyped("String(10)", "Text", "abc"),
    retyped("Text", "String(10)", "abc", hazards=["rewrite"]),
    retyped("String", "String(5)", "abc"),
    retyped("CHAR(5)", "String(5)", "abc", loses="any", restores={}),
    retyped("String(5)", "CHAR(5)", ("abc", "abc"), loses="any", restores={}),
    retyped("SmallInteger", "Integer", "-3", hazards=["rewrite"]),
    retyped("Integer", "BigInteger", "2147483647", hazards=["rewrite"]),
    retyped("BigInteger", "Integer", "2147483647", hazards=["rewrite"]),
    retyped("BigInteger", "Integer", "2147483648", name="a bigint too large for an integer", blocked=NOT_ALL_FIT),
    retyped("Integer", "Numeric(10, 2)", ("5", "5.00")),
    retyped("Integer", "Text", "5"),
    retyped("Numeric(10, 2)", "Integer", ("5.00", "5")),
    retyped("Numeric(10, 2)", "Integer", ("5.40", "5"), name="a fraction is cut", loses="up", restores={}),
    retyped("Numeric(10, 2)", "Numeric(12, 2)", "1.25"),
    retyped("Numeric(12, 2)", "Numeric(10, 2)", "1.25", hazards=["rewrite"]),
    retyped("Numeric(10, 2)", "Numeric(12, 4)", ("1.25", "1.2500"), hazards=["rewrite"]),
    retyped("Numeric(12, 4)", "Numeric(12, 2)", ("1.2500", "1.25"), hazards=["rewrite"]),
    retyped("Numeric(12, 4)", "Numeric(12, 2)", ("1.2345", "1.23"), name="digits are cut", loses="up", restores={}),
    retyped("Numeric(10, 2)", "Numeric", "1.25"),
    retyped("Numeric", "Numeric(10, 2)", "1.25"),
    retyped("Numeric(10, 2)", "Double", ("1.25", "1.25"), loses="any"),
    retyped("REAL", "Double", "1.5"),
    retyped("Double", "REAL", "1.5"),
    retyped("Text", "Integer", "42", "-7"),
    retyped("Text", "Integer", "42", "n/a", name="a text that is no number", blocked=NOT_ALL_FIT),
    retyped("Text", "Numeric(10, 2)", "1.25", "-3.00"),
    retyped("Text", "Date", "2024-02-29"),
    retyped("Text", "DateTime(timezone=True)", ("2024-02-29 12:00:00+00", "2024-02-29 12:00:00+00"), loses="any"),
    retyped("Text", "Boolean", "true", "false"),
    retyped("Text", "Boolean", ("yes", "true"), name="a yes becomes true", restores={}),
    retyped("Text", "Uuid", UUID_TEXT),
    retyped("Text", "JSONB", '{"a": 1}', "[]"),
    retyped("Text", "INET", "10.0.0.1/8", loses="any"),
    retyped("Text", "LargeBinary", "\\x00ff", loses="any"),
    retyped("Text", "ARRAY(Text)", "{a,b}"),
    retyped("JSON", "JSONB", '{"a": 1}', loses="any"),
    retyped("JSONB", "JSON", '{"a": 1}', loses="any"),
    retyped("JSONB", "Text", '{"a": "50%"}'),
    retyped("Date", "DateTime", ("2024-02-29", "2024-02-29 00:00:00")),
    retyped("DateTime", "Date", ("2024-02-29 00:00:00", "2024-02-29")),
    retyped("DateTime", "Date", ("2024-02-29 12:00:00", "2024-02-29"), name="a time is cut", loses="up", restores={}),
    retyped("Date", "Text", "2024-02-29"),
    retyped("DateTime", "PG_TIMESTAMP(precision=0)", "2024-02-29 12:00:00", hazards=["rewrite"]),
    retyped("Time", "PG_TIME(precision=3)", "12:00:00"),
    retyped("Time", "Text", "12:00:00"),
    retyped("Interval", "INTERVAL(precision=3)", "1 day 02:00:00"),
    retyped("INTERVAL(precision=3)", "INTERVAL(fields='DAY TO SECOND')", "1 day 02:00:00"),
    retyped("Boolean", "Integer", ("true", "1"), ("false", "0"), loses="any"),
    retyped("Integer", "Boolean", ("1", "true"), ("0", "false"), loses="any"),
    retyped("Integer", "Boolean", ("7", "true"), name="seven becomes true", loses="up", restores={}),
    retyped("Boolean", "Text", "true", "false"),
    retyped("ARRAY(Integer)", "ARRAY(BigInteger)", "{1,2}"),
    retyped("ARRAY(Text)", "ARRAY(Integer)", "{1,2}"),
    retyped("ARRAY(Text)", "Text", "{a,b}"),
    retyped("Integer", "Date", name="an integer without values becomes a date"),
    retyped("Integer", "Uuid", "5", name="an integer that is no uuid", blocked=NOT_ALL_FIT),
    retyped("INT4RANGE", "Text", "[1,5)"),
    retyped("Text", "Text(collation='C')", "b", "A"),
    retyped("Text(collation='C')", "Text", "b", "A"),
    retyped("Text(collation='C')", "Text(collation='POSIX')", "b", "A"),
    retyped("String(10)", "String(20, collation='C')", "b", "A"),
    retyped(enum("x", "y"), "Text", "x", "y", name="an enum becomes text"),
    retyped("Text", enum("x", "y"), "x", "y", name="text becomes an enum"),
    retyped("Text", enum("x", "y"), "z", name="text with another value becomes an enum", blocked=NOT_ALL_FIT),
    retyped(enum("x", "y"), enum("y", "x", name="kind"), "x", "y", name="an enum becomes another enum"),
]
STAMPS: Final = [
    Transition(
        f"a time stamp {what} its zone",
        table("t", f"a DateTime(timezone={not gains})"),
        table("t", f"a DateTime(timezone={gains})"),
        rows="INSERT INTO landing.t (a) VALUES ('2024-02-29 12:00:00')",
        keeps={"SELECT a = '2024-02-29 12:00:00' FROM landing.t": [(True,)]},
        restores={"SELECT a = '2024-02-29 12:00:00' FROM landing.t": [(True,)]},
        loses="any",
    )
    for what, gains in (("gains", True), ("loses", False))
]
VIEW = view("v", "SELECT id, a FROM landing.t WHERE a = 1", id="BigInteger", a="Integer")
BROADER = view("v", "SELECT id, a FROM landing.t WHERE a = 1", id="BigInteger", a="BigInteger")
PAIR = "INSERT INTO landing.u (code) VALUES (1), (2); INSERT INTO landing.t (a) VALUES (1), (2), (NULL)"


def pair(kind: str, other: str) -> str:
    """Return a table and one that refers to a unique column of it, each with its type."""
    return table("u", f"code {kind}, unique=True") + table("t", f"a {other}, ForeignKey('landing.u.code'), index=True")


TYPES: Final = [
    *PLAIN,
    *STAMPS,
    under("with a default", "a {kind}, server_default=text('3')"),
    under("with a default and back", "a {kind}, server_default=text('3')", old="BigInteger", new="Integer"),
    under("with a default that is no text", "a {kind}, server_default=text('3')", new="Text"),
    under("with a default that is no number", "a {kind}, server_default='3'", old="Text", new="Integer"),
    under("with an index", "Index('i', 'a')"),
    under("with an index on an expression", "Index('i', text('(a + 1)'))"),
    under("with a partial index", "Index('i', 'id', postgresql_where=text('a > 5'))"),
    under(
        "with a partial index that has to be written anew",
        "Index('i', 'id', postgresql_where=text(\"a <> '5'\"))",
        new="Text",
    ),
    under("with a check", "CheckConstraint('a > 0', name='a')"),
    under("with a check of a literal", "CheckConstraint(\"a <> '9'\", name='a')", old="Text", new="Integer"),
    under("with a unique constraint", "UniqueConstraint('a')"),
    under("with a unique constraint of two", "UniqueConstraint('a', 'id')", new="Text"),
    under("with a generated column on it", "g {kind}, Computed('a * 2', persisted=True)"),
    under(
        "with a generated column and an index on it",
        "g Text, Computed(\"a || '%'\", persisted=True), index=True",
        old="Text",
        new="String(20)",
    ),
    under(
        "with a default, a check, an index and not null",
        "a {kind}, nullable=False, server_default='3' | Index('i', 'a') | CheckConstraint(\"a <> '9'\", name='a')",
        old="Text",
        new="Integer",
    ),
    Transition(
        "a column changes its type under a view",
        table("t", "a Integer") + VIEW,
        table("t", "a BigInteger") + BROADER,
        rows="INSERT INTO landing.t (a) VALUES (1), (2)",
        keeps={"SELECT a FROM landing.v": [(1,)], "SELECT a FROM landing.t ORDER BY id": [(1,), (2,)]},
        restores={"SELECT a FROM landing.v": [(1,)]},
    ),
    Transition(
        "columns change their type on both sides of a foreign key",
        pair("Integer", "Integer"),
        pair("BigInteger", "BigInteger"),
        rows=PAIR,
        keeps={"SELECT a FROM landing.t ORDER BY id": [(1,), (2,), (None,)]},
        restores={"SELECT a FROM landing.t ORDER BY id": [(1,), (2,), (None,)]},
    ),
    Transition(
        "numbers become text on both sides of a foreign key",
        pair("Integer", "Integer"),
        pair("Text", "Text"),
        rows=PAIR,
        keeps={"SELECT a FROM landing.t ORDER BY id": [("1",), ("2",), (None,)]},
        restores={"SELECT a FROM landing.t ORDER BY id": [(1,), (2,), (None,)]},
    ),
    Transition(
        "a column changes its type on one side of a foreign key",
        pair("Integer", "Integer"),
        pair("Integer", "BigInteger"),
        rows=PAIR,
        keeps={"SELECT a FROM landing.t ORDER BY id": [(1,), (2,), (None,)]},
    ),
    Transition(
        "a foreign key whose sides cannot be compared is refused",
        pair("Integer", "Integer"),
        pair("Integer", "Text"),
        refused=r"fk_t_a_u|landing\.t",
    ),
    Transition(
        "several columns change their types at once",
        table("t", "a Integer", "b Text", "c String(5)", "d Date, nullable=False"),
        table("t", "a BigInteger", "b Integer, server_default=text('4')", "c Text", "d DateTime, nullable=False"),
        rows="INSERT INTO landing.t (a, b, c, d) VALUES (1, '2', 'c', '2024-01-01')",
        keeps={"SELECT a, b, c, d::text FROM landing.t": [(1, 2, "c", "2024-01-01 00:00:00")]},
        restores={"SELECT a, b, c, d::text FROM landing.t": [(1, "2", "c", "2024-01-01")]},
    ),
]
