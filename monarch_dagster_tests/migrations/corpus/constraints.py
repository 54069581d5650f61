"""Transitions of checks, unique constraints and exclusion constraints."""

from __future__ import annotations

from typing import Final

from monarch_dagster_tests.migrations.corpus.declare import core, table
from monarch_dagster_tests.migrations.corpus.transition import Transition

COLUMNS = ("a Integer", "b Text", "c Boolean")
PLAIN_BASE = "\nclass Plain(DeclarativeBase):\n    metadata = MetaData()\n"
NONE = table("t", *COLUMNS)
ROWS = "INSERT INTO landing.t (a, b, c) VALUES (1, 'x', true), (2, 'y', false), (NULL, NULL, NULL)"
KEEPS = {"SELECT a, b, c FROM landing.t ORDER BY id": [(1, "x", True), (2, "y", False), (None, None, None)]}


def check(expression: str, name: str | None = "rule", more: str = "") -> str:
    """Return a check; its text is as a person writes it in `text()`."""
    return f"CheckConstraint({expression!r}{f', name={name!r}' if name else ''}{more})"


def changed(name: str, before: str | list[str], after: str | list[str], **more: object) -> Transition:
    """Return the change of a table's constraints, with three rows in it."""
    first, second = (([item] if isinstance(item, str) else item) for item in (before, after))
    return Transition(
        name,
        table("t", *COLUMNS, *first),
        table("t", *COLUMNS, *second),
        **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more},  # type: ignore[arg-type]
    )


UNIQUE_B = "UniqueConstraint('b')"
CHECKS: Final = [
    changed("a check is added to a table with rows", [], check("a > 0"), hazards=["scan"]),
    changed("a check that rows do not meet is added", [], check("a > 1"), blocked="violated by some row"),
    changed("a check is dropped", check("a > 0"), []),
    changed("a check's expression changes", check("a > 0"), check("a > 0 AND a < 100")),
    changed("a check's expression changes so that rows fail", check("a > 0"), check("a > 1"), blocked="violated"),
    changed("a check is renamed", check("a > 0", "old"), check("a > 0", "new")),
    changed(
        "a check without a name, where the convention asks for one, gets one that follows from its text",
        [],
        check("a > 0", None),
    ),
    Transition(
        "constraints without names, where no convention names them, are added",
        PLAIN_BASE + table("t", *COLUMNS).replace("(Base)", "(Plain)"),
        PLAIN_BASE + table("t", *COLUMNS, check("a > 0", None), "UniqueConstraint('b')").replace("(Base)", "(Plain)"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    Transition(
        "a check without a name changes",
        PLAIN_BASE + table("t", *COLUMNS, check("a > 0", None)).replace("(Base)", "(Plain)"),
        PLAIN_BASE + table("t", *COLUMNS, check("a >= 0", None)).replace("(Base)", "(Plain)"),
        rows=ROWS,
        keeps=KEEPS,
        restores=KEEPS,
    ),
    changed("a second check is added", check("a > 0", "one"), [check("a > 0", "one"), check("b <> ''", "two")]),
    changed(
        "of two checks one changes",
        [check("a > 0", "one"), check("b <> ''", "two")],
        [check("a > 0", "one"), check("b <> 'z'", "two")],
    ),
    changed(
        "two checks swap their expressions",
        [check("a > 0", "one"), check("b <> ''", "two")],
        [check("b <> ''", "one"), check("a > 0", "two")],
    ),
    changed("a check on booleans is added", [], check("c OR b = 'y' OR NOT c")),
    changed(
        "a check of a boolean alone changes", check("c IS NOT NULL OR a IS NULL"), check("(c IS NULL) = (a IS NULL)")
    ),
    changed(
        "a list of values grows",
        check("b IN ('x', 'y')"),
        check("b IN ('x', 'y', 'z')"),
        works=["INSERT INTO landing.t (b) VALUES ('z')"],
    ),
    changed("a list of values shrinks", check("b IN ('x', 'y', 'z')"), check("b IN ('x', 'y')")),
    changed(
        "a list of values shrinks below the rows", check("b IN ('x', 'y')"), check("b IN ('x')"), blocked="violated"
    ),
    changed("a check with a percent sign and a colon is added", [], check("b NOT LIKE '100%' AND b <> '\\:x%(b)s'")),
    changed("a check with a percent sign changes", check("b NOT LIKE '100%'"), check("b NOT LIKE '50%' AND a % 7 < 5")),
    changed("a check with a cast is added", [], check("b\\:\\:varchar(5) <> 'q'")),
    changed("a check with a quote is added", [], check("b <> 'it''s \"q\"'")),
    changed(
        "a check is written in another spelling",
        check("a > 0 and b in ('x', 'y')"),
        check("((a > 0) AND (b = ANY (ARRAY['x', 'y'])))"),
        same=True,
    ),
    changed(
        "a check of an expression of SQLAlchemy is added",
        [],
        "CheckConstraint(and_(column('a') % 7 < 5, column('b') != \"it's %s :x\"), name='rule')",
    ),
    changed("a check is replaced by one with another name", check("a > 0", "old"), check("a >= 0", "new")),
    Transition(
        "a checked enum without a type of its own gets a value",
        table("t", "a Enum('x', 'y', native_enum=False, length=5, create_constraint=True, name='kind')"),
        table("t", "a Enum('x', 'y', 'z', native_enum=False, length=5, create_constraint=True, name='kind')"),
        rows="INSERT INTO landing.t (a) VALUES ('x')",
        keeps={"SELECT a FROM landing.t": [("x",)]},
        works=["INSERT INTO landing.t (a) VALUES ('z')"],
    ),
    Transition(
        "a check comes with the column that it is about",
        NONE,
        table("t", *COLUMNS, "d Integer, server_default=text('1')", check("d > 0 AND a > 0")),
        rows=ROWS,
        keeps={"SELECT DISTINCT d FROM landing.t": [(1,)]},
        loses="down",
    ),
    Transition(
        "a column is dropped with the check and the index on it",
        table("t", *COLUMNS, "d Integer, index=True", check("d > 0 OR a > 0"), "UniqueConstraint('d', 'a')"),
        NONE,
        rows="INSERT INTO landing.t (a) VALUES (1)",
        keeps={"SELECT a FROM landing.t": [(1,)]},
    ),
]
UNIQUES: Final = [
    changed("a unique constraint is added", [], UNIQUE_B, hazards=["lock"]),
    changed(
        "a unique constraint that rows do not meet is added",
        [],
        UNIQUE_B,
        rows=ROWS + ", (3, 'x', NULL)",
        keeps={},
        restores={"SELECT count(*) FROM landing.t": [(4,)]},
        blocked="duplicate",
    ),
    changed("a unique constraint is dropped", UNIQUE_B, []),
    changed(
        "a unique constraint gets a column", "UniqueConstraint('b', name='u')", "UniqueConstraint('b', 'a', name='u')"
    ),
    changed("a unique constraint loses a column", "UniqueConstraint('b', 'a')", UNIQUE_B),
    changed(
        "a unique constraint has its columns in another order",
        "UniqueConstraint('b', 'a', name='u')",
        "UniqueConstraint('a', 'b', name='u')",
    ),
    changed(
        "nulls are distinct no longer",
        "UniqueConstraint('b', name='u')",
        "UniqueConstraint('b', name='u', postgresql_nulls_not_distinct=True)",
    ),
    changed(
        "nulls are distinct again",
        "UniqueConstraint('b', postgresql_nulls_not_distinct=True)",
        UNIQUE_B,
        works=["INSERT INTO landing.t DEFAULT VALUES"],
    ),
    changed(
        "a unique constraint becomes deferrable",
        UNIQUE_B,
        "UniqueConstraint('b', deferrable=True, initially='DEFERRED')",
        works=["INSERT INTO landing.t (b) VALUES ('x'); DELETE FROM landing.t WHERE b = 'x'"],
    ),
    changed("a unique constraint is deferrable no longer", "UniqueConstraint('b', deferrable=True)", UNIQUE_B),
    changed("a unique constraint is renamed", "UniqueConstraint('b', name='old')", "UniqueConstraint('b', name='new')"),
    changed(
        "a unique constraint includes a column",
        "UniqueConstraint('b', name='u')",
        "UniqueConstraint('b', name='u', postgresql_include=['a'])",
    ),
    changed(
        "a unique constraint includes another column",
        "UniqueConstraint('b', name='u', postgresql_include=['a'])",
        "UniqueConstraint('b', name='u', postgresql_include=['c'])",
    ),
    changed(
        "a unique constraint becomes a unique index", "UniqueConstraint('b', name='u')", "Index('u', 'b', unique=True)"
    ),
    changed(
        "two unique constraints swap their names",
        ["UniqueConstraint('a', name='one')", "UniqueConstraint('b', name='two')"],
        ["UniqueConstraint('b', name='one')", "UniqueConstraint('a', name='two')"],
    ),
    Transition(
        "a column becomes unique by its own declaration",
        NONE,
        table("t", "a Integer, unique=True", "b Text, unique=True, nullable=False", "c Boolean"),
        rows="INSERT INTO landing.t (a, b) VALUES (1, 'x')",
        keeps={"SELECT a, b FROM landing.t": [(1, "x")]},
    ),
    Transition(
        "a unique constraint gets a comment",
        table("t", *COLUMNS, UNIQUE_B),
        table("t", *COLUMNS, "UniqueConstraint('b', comment=\"it's 100% :x\")"),
    ),
    Transition(
        "a unique constraint of many long columns is added",
        table("t", *(f"{letter * 30} Integer" for letter in "abcd")),
        table(
            "t",
            *(f"{letter * 30} Integer" for letter in "abcd"),
            f"UniqueConstraint({', '.join(repr(letter * 30) for letter in 'abcd')})",
        ),
    ),
]
SPAN = ("Column('span', INT4RANGE, nullable=False)", "Column('other', INT4RANGE)")


def excluded(*more: str) -> str:
    """Return a table of ranges, which the types' own operator classes can exclude."""
    return core("t", *SPAN, *more)


EXCLUSIONS: Final = [
    Transition(
        "an exclusion constraint is added",
        excluded(),
        excluded("ExcludeConstraint(('span', '&&'), name='e')"),
        rows="INSERT INTO landing.t VALUES ('[1,3)'), ('[3,5)')",
        keeps={"SELECT count(*) FROM landing.t": [(2,)]},
    ),
    Transition(
        "an exclusion constraint that rows do not meet is added",
        excluded(),
        excluded("ExcludeConstraint(('span', '&&'), name='e')"),
        rows="INSERT INTO landing.t VALUES ('[1,3)'), ('[2,5)')",
        blocked="conflicts|exclusion",
    ),
    Transition(
        "an exclusion constraint is dropped", excluded("ExcludeConstraint(('span', '&&'), name='e')"), excluded()
    ),
    Transition(
        "an exclusion constraint changes",
        excluded("ExcludeConstraint(('span', '&&'), name='e')"),
        excluded("ExcludeConstraint(('other', '&&'), name='e', where=text(\"span <> '[1,2)'\"))"),
        rows="INSERT INTO landing.t VALUES ('[1,3)', '[1,3)'), ('[3,5)', NULL)",
        keeps={"SELECT count(*) FROM landing.t": [(2,)]},
    ),
    Transition(
        "an exclusion constraint becomes deferrable",
        excluded("ExcludeConstraint(('span', '&&'), name='e')"),
        excluded("ExcludeConstraint(('span', '&&'), name='e', deferrable=True, initially='DEFERRED')"),
    ),
    Transition(
        "a table with an exclusion constraint is added",
        core("u", *SPAN),
        core("u", *SPAN) + excluded("ExcludeConstraint(('span', '&&'), name='e', using='gist')"),
    ),
]
CONSTRAINTS: Final = [*CHECKS, *UNIQUES, *EXCLUSIONS]
