"""Which statements are read as conversions, and what of them."""

from __future__ import annotations

import pytest

from monarch_dagster.migrations.alter_type import Conversion, Conversions, names_in, read_conversions


@pytest.mark.parametrize(
    ("statement", "table", "columns"),
    [
        ("ALTER TABLE s.t ALTER COLUMN a TYPE VARCHAR(10)", "s.t", [("a", "VARCHAR(10)", "")]),
        ("alter table t alter A set data type numeric(10, 2);", "t", [("a", "numeric(10, 2)", "")]),
        (
            'ALTER TABLE IF EXISTS "S, x"."T ""y" * ALTER "A;b" TYPE text COLLATE "C" USING f(\'a, ;\', "A;b")',
            '"S, x"."T ""y"',
            [("A;b", "text", "f('a, ;', \"A;b\")")],
        ),
        (
            "ALTER TABLE t -- TYPE, ;\n ALTER a TYPE integer USING (a)::integer, ADD x int, /* , */ ALTER b TYPE int[]",
            "t",
            [("a", "integer", "(a)::integer"), ("b", "int[]", "")],
        ),
        (
            "ALTER TABLE t ALTER a DROP DEFAULT, "
            "ALTER a TYPE timestamp(3) with time zone USING $x$,$x$ || E'\\',' || a",
            "t",
            [("a", "timestamp(3) with time zone", "$x$,$x$ || E'\\',' || a")],
        ),
    ],
)
def test_columns_types_and_expressions_are_read(
    statement: str, table: str, columns: list[tuple[str, str, str]]
) -> None:
    assert read_conversions(statement) == Conversions(table, False, tuple(Conversion(*item) for item in columns))


def test_a_parent_alone_is_told() -> None:
    assert read_conversions("ALTER TABLE ONLY t ALTER a TYPE text") == Conversions(
        "t", True, (Conversion("a", "text"),)
    )


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'ALTER TABLE t ALTER a TYPE text'",
        "ALTER TABLE t ADD type text",
        "ALTER TABLE t ALTER a SET DEFAULT 'TYPE'",
        "ALTER TABLE t RENAME a TO type",
        "ALTER TABLE t ALTER a TYPE text; DROP TABLE t",
        "DO $$ BEGIN ALTER TABLE t ALTER a TYPE text; END $$",
        "ALTER TYPE t ALTER ATTRIBUTE a TYPE text",
        "ALTER TABLE ALTER TYPE",
        "ALTER TABLE t ALTER a TYPE USING",
    ],
)
def test_anything_else_is_none(statement: str) -> None:
    assert read_conversions(statement) is None


def test_names_in_texts_and_comments_are_none() -> None:
    assert names_in("""coalesce("A b", t.C, 'd', $$e$$ /* f */)::text""") == {"coalesce", "A b", "t", "c", "text"}
