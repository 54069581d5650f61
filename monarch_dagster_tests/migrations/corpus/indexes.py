"""Transitions of indexes: method, predicate, columns, operator classes, options, names."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import core, table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

COLUMNS = ("a Integer", "b Text", "c JSONB", "d TSVECTOR", "e ARRAY(Integer)")
ROWS = "INSERT INTO landing.t (a, b) VALUES (1, 'x'), (2, 'Y'), (NULL, NULL)"
KEEPS = {"SELECT a, b FROM landing.t ORDER BY id": [(1, "x"), (2, "Y"), (None, None)]}


def changed(name: str, before: str | list[str], after: str | list[str], **more: Any) -> Transition:
    """Return the change of a table's indexes, with three rows in it."""
    first, second = (([item] if isinstance(item, str) else item) for item in (before, after))
    bodies = table("t", *COLUMNS, *first), table("t", *COLUMNS, *second)
    return Transition(name, *bodies, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


def index(*parts: str, name: str = "i", **options: Any) -> str:
    """Return an index; a part is a column, or an expression where it has more than a name in it."""
    words = [repr(part) if part.isidentifier() else f"text({part!r})" for part in parts]
    for key, value in options.items():
        words.append(f"{key}=text({value!r})" if key == "postgresql_where" else f"{key}={value!r}")
    return f"Index({', '.join([repr(name), *words])})"


A = index("a")
LONG = "n" * 63
INDEXES: Final = [
    changed("an index is added", [], A, hazards=["lock"]),
    changed("an index is dropped", A, []),
    changed("an index gets a column", A, index("a", "b")),
    changed("an index loses a column", index("a", "b"), A),
    changed("an index has its columns in another order", index("a", "b"), index("b", "a")),
    changed("an index becomes unique", A, index("a", unique=True)),
    changed("an index is unique no longer", index("a", unique=True), A, works=["INSERT INTO landing.t (a) VALUES (1)"]),
    changed(
        "an index that rows do not meet becomes unique",
        A,
        index("a", unique=True),
        rows=ROWS + ", (1, 'z')",
        restores={},
        blocked="duplicat|unique",
    ),
    changed("a btree becomes a hash", A, index("a", postgresql_using="hash")),
    changed("a btree becomes a brin", A, index("a", postgresql_using="brin", postgresql_with={"pages_per_range": 16})),
    changed("a btree becomes a gin", index("e"), index("e", postgresql_using="gin")),
    changed(
        "a gin with another operator class",
        index("c", postgresql_using="gin"),
        index("c", postgresql_using="gin", postgresql_ops={"c": "jsonb_path_ops"}),
    ),
    changed("a gin on words is added", [], index("d", postgresql_using="gin", postgresql_with={"fastupdate": "off"})),
    changed("a gin becomes a gist", index("d", postgresql_using="gin"), index("d", postgresql_using="gist")),
    changed("a predicate is added", A, index("a", postgresql_where="a > 0")),
    changed(
        "a predicate changes", index("a", postgresql_where="a > 0"), index("a", postgresql_where="a > 1 AND b IS NULL")
    ),
    changed("a predicate is dropped", index("a", postgresql_where="a > 0"), A),
    changed(
        "a predicate with a percent sign, a colon and a quote",
        [],
        index("a", postgresql_where="b NOT LIKE 'it''s 100%' AND b <> '\\:x' AND a % 2 = 0"),
    ),
    changed(
        "a predicate with a percent sign changes",
        index("a", postgresql_where="b <> '%'"),
        index("a", postgresql_where="b <> '%(a)s \\:x %%'"),
    ),
    changed(
        "a predicate in another spelling",
        index("a", postgresql_where="a>0 and b in ('x')"),
        index("a", postgresql_where="((a > 0) AND (b = 'x'))"),
        same=True,
    ),
    changed("a column is included", A, index("a", postgresql_include=["b"])),
    changed("another column is included", index("a", postgresql_include=["b"]), index("a", postgresql_include=["id"])),
    changed("an operator class for patterns", index("b"), index("b", postgresql_ops={"b": "text_pattern_ops"})),
    changed("an index runs downwards", A, index("a DESC")),
    changed("an index has its nulls last", index("a DESC"), index("a DESC NULLS LAST", "b")),
    changed("an index of a descending column by SQLAlchemy", [], "Index('i', desc(column('a')), column('b').asc())"),
    changed("an index on an expression is added", [], index("lower(b)")),
    changed("an expression changes", index("lower(b)"), index("upper(b)")),
    changed("an expression joins columns", index("a"), index("a", "lower(b)", "(a + 1)")),
    changed("an expression with a percent sign and a colon", [], index("(b || '100%\\:x')", "(a % 5)")),
    changed("an index on a key of a document", [], index("(c ->> 'name')", name="ix_name")),
    changed("a unique index on an expression", index("lower(b)"), index("lower(b)", unique=True)),
    changed("an index with another collation", index("b"), index('b COLLATE "C"')),
    changed("an index gets a fill factor", A, index("a", postgresql_with={"fillfactor": 70})),
    changed(
        "an index has another fill factor",
        index("a", postgresql_with={"fillfactor": 70}),
        index("a", postgresql_with={"fillfactor": 90}),
    ),
    changed("an index is renamed", index("a", name="old"), index("a", name="new")),
    changed(
        "two indexes swap their names",
        [index("a", name="one"), index("b", name="two")],
        [index("b", name="one"), index("a", name="two")],
    ),
    changed(
        "nulls of a unique index are distinct no longer",
        index("b", unique=True),
        index("b", unique=True, postgresql_nulls_not_distinct=True),
    ),
    changed("an index with a long name is added", [], index("a", name=LONG)),
    changed("an index with a name too long is refused", [], index("a", name=LONG + "n"), refused="n{60}"),
    changed("an index with a tricky name is added", [], index("a", name='Order % it\'s :x "q"')),
    changed("an index has a name with a capital instead", index("a", name="by_a"), index("a", name="By_A")),
    changed(
        "several indexes come and go",
        [index("a", name="one"), index("b", name="two")],
        [index("b", name="three"), index("a", "b", name="four"), index("a", name="five", unique=True)],
    ),
    changed("an index takes the name of a dropped constraint", "UniqueConstraint('a', name='i')", index("b")),
    Transition(
        "an index comes with its column",
        table("t", "a Integer"),
        table("t", "a Integer", "b Text, index=True", index("a", "b", unique=True)),
        rows="INSERT INTO landing.t (a) VALUES (1)",
        keeps={"SELECT a FROM landing.t": [(1,)]},
    ),
    Transition(
        "an index goes with its column",
        table("t", "a Integer", "b Text, index=True", index("b", "a", postgresql_where="b <> ''", name="j")),
        table("t", "a Integer"),
        rows="INSERT INTO landing.t (a) VALUES (1)",
        keeps={"SELECT a FROM landing.t": [(1,)]},
    ),
    Transition(
        "an index moves to another table",
        table("t", "a Integer", index("a")) + table("u", "a Integer"),
        table("t", "a Integer") + table("u", "a Integer", index("a")),
    ),
    Transition(
        "a table with many indexes is added",
        KEPT,
        KEPT + table("t", *COLUMNS, *(index("a", name=f"ix_{number}") for number in range(12))),
    ),
    Transition(
        "an index on a partitioned table is added",
        core("t", "Column('a', Integer)", postgresql_partition_by="RANGE (a)"),
        core("t", "Column('a', Integer)", "Index('i', 'a')", postgresql_partition_by="RANGE (a)"),
    ),
]
