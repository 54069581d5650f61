"""Transitions of comments, on tables, columns and constraints."""

from __future__ import annotations

from typing import Final

from monarch_dagster_tests.migrations.corpus.declare import table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

AWKWARD = 'it\'s "100%" :x %(a)s %s \\ \\n {} \n second line\tÜ 語 🦋'
T = table("t", "a Integer")
ROWS = "INSERT INTO landing.t (a) VALUES (1)"
KEEPS = {"SELECT a FROM landing.t": [(1,)]}


def on_column(comment: str | None) -> str:
    """Return the table with this comment on its column."""
    return table("t", f"a Integer, comment={comment!r}")


COMMENTS: Final = [
    Transition(f"a comment on {what} is {how}", before, after, rows=ROWS, keeps=KEEPS, restores=KEEPS)
    for what, how, before, after in (
        ("a table", "set", T, table("t", "a Integer", comment="one")),
        ("a table", "changed", table("t", "a Integer", comment="one"), table("t", "a Integer", comment="two")),
        ("a table", "dropped", table("t", "a Integer", comment="one"), T),
        ("a table", "made awkward", table("t", "a Integer", comment="one"), table("t", "a Integer", comment=AWKWARD)),
        ("a table", "awkward no longer", table("t", "a Integer", comment=AWKWARD), T),
        ("a column", "set", T, on_column("one")),
        ("a column", "changed", on_column("one"), on_column("two")),
        ("a column", "dropped", on_column("one"), T),
        ("a column", "made awkward", on_column("one"), on_column(AWKWARD)),
        ("a column", "awkward no longer", on_column(AWKWARD), on_column("one")),
        ("a column", "changed with its type", on_column("one"), table("t", "a BigInteger, comment='two'")),
        ("a column and its table", "set at once", T, table("t", "a Integer, comment='a'", comment="t")),
        (
            "a check",
            "set",
            table("t", "a Integer", "CheckConstraint('a > 0', name='a')"),
            table("t", "a Integer", "CheckConstraint('a > 0', name='a', comment=\"it's 100% :x\")"),
        ),
        (
            "a primary key",
            "changed",
            table(
                "t",
                "a Integer",
                "PrimaryKeyConstraint('id', comment='one')",
                key="id = mapped_column(BigInteger, Identity())",
            ),
            table(
                "t",
                "a Integer",
                "PrimaryKeyConstraint('id', comment='two')",
                key="id = mapped_column(BigInteger, Identity())",
            ),
        ),
    )
] + [
    Transition("an empty comment is none", T, on_column(""), same=True),
    Transition(
        "a table with awkward comments is added",
        KEPT,
        KEPT + table("t", f"a Text, comment={AWKWARD!r}", comment=AWKWARD),
    ),
    Transition(
        "a column with an awkward comment is added", table("t"), table("t", f"a Text, comment={AWKWARD!r}, index=True")
    ),
]
