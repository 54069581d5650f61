"""Every type to every other, with rows in the table: converted, or refused with counts, and never a raw error."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.types import change_of
from monarch_dagster_tests.migrations.type_matrix import VALUES, Cell, Counts, Failing, Matrix
from monarch_dagster_tests.postgres.debian import database_on
from monarch_dagster_tests.support import Project

DOCS = Path(__file__).parents[2] / "docs" / "types.md"
# One of each kind; these are in the docs.
KINDS: Final = (
    "text",
    "varchar(40)",
    "boolean",
    "integer",
    "numeric(18,2)",
    "double precision",
    "date",
    "time",
    "timestamptz",
    "uuid",
    "jsonb",
    "bytea",
)
# What a person expects of a value that is converted.
BECOMES: Final[dict[Cell, dict[str, str]]] = {
    ("text", "numeric(18,2)"): {"12.50": "12.50", "7": "7.00"},
    ("text", "numeric"): {"12.50": "12.50", "7": "7"},
    ("text", "double precision"): {"12.50": "12.5"},
    ("text", "integer"): {"7": "7"},
    ("text", "boolean"): {"true": "true"},
    ("text", "date"): {"2024-02-29": "2024-02-29"},
    ("text", "timestamptz"): {
        "2024-02-29": "2024-02-29 00:00:00+00",
        "2024-02-29T23:30:00.000+0100": "2024-02-29 22:30:00+00",
    },
    ("text", "time"): {"10:15:00.000Z": "10:15:00"},
    ("varchar", "boolean"): {"no": "false"},
    ("varchar", "jsonb"): {'{"a": 1}': '{"a": 1}'},
    ("boolean", "text"): {"true": "true", "false": "false"},
    ("boolean", "integer"): {"true": "1", "false": "0"},
    ("boolean", "numeric(18,2)"): {"true": "1.00"},
    ("boolean", "jsonb"): {"true": "true"},
    ("integer", "boolean"): {"0": "false", "1": "true"},
    ("integer", "text"): {"-2147483648": "-2147483648"},
    ("integer", "numeric(18,2)"): {"1": "1.00", "2147483647": "2147483647.00"},
    ("numeric(18,2)", "text"): {"12.34": "12.34", "1.00": "1.00"},
    ("numeric(18,2)", "integer"): {"1.00": "1"},
    ("numeric(18,2)", "jsonb"): {"12.34": "12.34"},
    ("double precision", "text"): {"0.1": "0.1", "123456.789": "123456.789"},
    ("double precision", "numeric(18,2)"): {"123456.789": "123456.79"},
    ("date", "text"): {"2024-02-29": "2024-02-29"},
    ("date", "timestamptz"): {"2024-02-29": "2024-02-29 00:00:00+00"},
    ("date", "timestamp"): {"2024-02-29": "2024-02-29 00:00:00"},
    ("date", "jsonb"): {"2024-02-29": '"2024-02-29"'},
    ("timestamptz", "date"): {"2024-02-29 23:30:00+00": "2024-02-29"},
    ("timestamptz", "timestamp"): {"2024-02-29 23:30:00+00": "2024-02-29 23:30:00"},
    ("timestamptz", "time"): {"2024-02-29 23:30:00+00": "23:30:00"},
    ("timestamptz", "text"): {"2024-02-29 23:30:00+00": "2024-02-29 23:30:00+00"},
    ("timestamp", "timestamptz"): {"2024-02-29 23:30:00": "2024-02-29 23:30:00+00"},
    ("time", "text"): {"10:15:00": "10:15:00"},
    ("jsonb", "text"): {'"text"': '"text"', '{"a": [1, 2]}': '{"a": [1, 2]}'},
    ("jsonb", "date"): {'"2024-02-29"': "2024-02-29"},
    ("jsonb", "integer"): {"7": "7"},
    ("uuid", "text"): {"0f8fad5b-d9cb-469f-a165-70867728950e": "0f8fad5b-d9cb-469f-a165-70867728950e"},
    ("bytea", "uuid"): {"\\x0f8fad5bd9cb469fa16570867728950e": "0f8fad5b-d9cb-469f-a165-70867728950e"},
    ("bytea", "text"): {"\\x00ff": "\\x00ff"},
}


@pytest.fixture(autouse=True)
def trusted(project: Project) -> None:
    """What is generated here is proved by generating it."""
    project.trusting = True


def test_kinds_that_occur_most_come_to_each_other_and_back(project: Project) -> None:
    there_and_back(Matrix(project, ("text", "boolean", "integer", "numeric(18,2)", "date", "timestamptz")))


@pytest.mark.soak
def test_one_of_each_kind_comes_to_every_other_and_back_as_the_docs_say(project: Project) -> None:
    matrix = Matrix(project, KINDS)
    cut, failing = there_and_back(matrix)
    assert table(matrix, cut, failing) in DOCS.read_text()


@pytest.mark.soak
def test_every_type_comes_to_every_other_and_back(project: Project) -> None:
    there_and_back(Matrix(project, tuple(VALUES)))


@pytest.mark.soak
def test_one_of_each_kind_comes_to_every_other_and_back_on_another_major(project: Project, debian: URL) -> None:
    with database_on(debian) as target:
        there_and_back(Matrix(replace(project, target=target), KINDS))


def there_and_back(matrix: Matrix) -> tuple[Counts, Failing]:
    """Convert and take back; return how many values each cell cut, and which it refused."""
    project = matrix.project
    before = project.facts()
    original = matrix.values()
    failing = matrix.find_failing(original)
    revision = matrix.convert()

    # What cannot become the new type is refused with the count of each column, whoever names the revision.
    for options in ({}, {"allow_data_loss": [revision]}):
        with pytest.raises(MonarchError, match="whose values do not all fit") as caught:
            project.apply(**options)
        assert matrix.counts(str(caught.value)) == {cell: len(rows) for cell, rows in failing.items()}
        assert not [value for value in ("Müller", "xxx", "0f8fad5b") if value in str(caught.value)]
    assert matrix.values() == original
    assert project.facts() == before

    # What would be cut needs the revision's name.
    matrix.clear(failing)
    original = matrix.values()
    with pytest.raises(MonarchError, match="would lose stored values") as caught:
        project.apply()
    cut = matrix.counts(str(caught.value), ["lost"])
    assert matrix.values() == original
    # Looked at one by one, columns whose values all fit are told by another query.
    assert matrix.count_each() == cut
    project.apply(allow_data_loss=[revision])
    converted = matrix.values()
    assert not [cell for cell in original if len(original[cell]) - len(converted[cell]) > cut.get(cell, 0)]
    for cell, becomes in BECOMES.items():
        if cell in converted:
            told = {value: converted[cell][row] for row, value in original[cell].items() if value in becomes}
            assert told == becomes, cell

    # The way back is refused in the same way.
    stuck = matrix.find_failing(converted, back=True)
    for options in ({}, {"allow_data_loss": [revision]}):
        with pytest.raises(MonarchError, match="whose values do not all fit") as caught:
            project.revert(project.chain().revisions[0].revision, **options)
        assert matrix.counts(str(caught.value)) == {cell: len(rows) for cell, rows in stuck.items()}
    matrix.clear(stuck)
    project.revert(project.chain().revisions[0].revision, allow_data_loss=[revision])
    assert project.facts() == before

    # A value that was not counted as cut is what it was, but for how a text spells it.
    changed = matrix.find_changed(original, matrix.values())
    for cell in matrix.cells:
        spelt = cell[0].startswith(("text", "varchar")) and change_of(*cell) == "retyped"
        assert changed.get(cell, 0) == cut.get(cell, 0) or (spelt and changed.get(cell, 0) > cut.get(cell, 0)), cell
    return cut, failing


def table(matrix: Matrix, cut: Counts, failing: Failing) -> str:
    """Return the matrix as the docs have it."""
    names = [re.sub(r"double precision", "double", kind) for kind in matrix.types]
    lines = [f"| from \\ to | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for name, old in zip(names, matrix.types, strict=True):
        outcomes = []
        for new in matrix.types:
            lost, stopped = cut.get((old, new), 0), len(failing.get((old, new), ()))
            fine = len(VALUES[old]) - lost - stopped
            change = change_of(old, new)
            outcomes.append(
                "="
                if change == "same"
                else "widen"
                if change == "widened"
                else "all"
                if not lost + stopped
                else "fit"
                if fine
                else "named"
                if lost
                else "no"
            )
        lines.append(f"| {name} | {' | '.join(outcomes)} |")
    return "\n".join(lines) + "\n"
