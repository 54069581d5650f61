"""Renames are said by a person, once; what looks like one is suggested and never guessed."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.renames import Rename, find_renames, likely_renames, rename_hints
from monarch_dagster.schema.facts import Facts


def facts(**tables: dict[str, str]) -> Facts:
    """Return tables of a schema `s`, each with its columns and their types."""
    relations: dict[str, dict[str, str]] = {"schema s": {}}
    for name, columns in tables.items():
        relations[f"table s.{name}"] = {f"column {column}": kind for column, kind in columns.items()}
    return Facts(relations)


def models(**tables: dict[str, str]) -> MetaData:
    """Declare tables; a column is its name and what it was before ("" says nothing), "" is the table itself."""
    metadata = MetaData()
    for name, columns in tables.items():
        said = {"renamed_from": columns.pop("")} if "" in columns else {}
        parts = [Column(key, Integer, info={"renamed_from": old} if old else {}) for key, old in columns.items()]
        Table(name, metadata, *parts, schema="s", info=said)
    return metadata


OLD = facts(t={"a": "integer", "b": "text"})


def found(before: Facts, declared: MetaData, *made: Rename) -> tuple[Rename, ...]:
    """Find the renames that models ask for; whatever they declare is of another type than the chain has it in."""
    tables = {table.name: {column.name: "uuid" for column in table.columns} for table in declared.tables.values()}
    return find_renames(before, facts(**tables), declared, made)


def test_a_column_that_says_what_it_was_is_renamed() -> None:
    assert found(OLD, models(t={"a": "", "c": "b"})) == (Rename("s", "t", "b", "c", column=True),)


def test_a_table_goes_first_and_its_columns_are_known_by_its_new_name() -> None:
    renames = found(OLD, models(u={"": "t", "a": "", "c": "b"}))
    assert renames == (Rename("s", "u", "t", "u"), Rename("s", "u", "b", "c", column=True))
    assert rename_hints(renames) == "rename t to u, rename b to c"


def test_what_was_renamed_leaves_its_line_behind_which_says_nothing() -> None:
    made = facts(u={"a": "integer", "c": "text"})
    assert found(made, models(u={"": "t", "a": "", "c": "b"})) == ()


def test_a_line_at_a_table_that_is_new_says_nothing_of_its_columns() -> None:
    assert found(OLD, models(v={"c": "b"}, t={"a": "", "b": ""})) == ()


def test_a_name_that_a_rename_frees_may_be_taken_by_something_new_then_and_later() -> None:
    declared = models(t={"a": "", "c": "b", "b": ""})
    (rename,) = found(OLD, declared)
    assert rename.new == "c"
    made = facts(t={"a": "integer", "b": "integer", "c": "text"})
    assert found(made, declared, rename) == ()
    with pytest.raises(MonarchError, match="but both are there"):
        found(made, declared)
    tables = models(t={"a": ""}, u={"": "t", "a": "", "b": ""})
    (rename,) = found(OLD, tables)
    assert rename.new == "u"
    assert found(facts(t={"a": "integer"}, u={"a": "integer", "b": "text"}), tables, rename) == ()


def test_what_stays_as_it_is_cannot_have_become_something_else() -> None:
    stays = facts(t={"a": "integer", "b": "text", "c": "text"})
    with pytest.raises(MonarchError, match=r"table s\.t\.c says that it was b, but the models declare both"):
        find_renames(OLD, stays, models(t={"a": "", "b": "", "c": "b"}))
    both = Facts({**OLD.relations, **facts(u={"a": "integer"}).relations})
    with pytest.raises(MonarchError, match=r"table s\.u says that it was t, but the models declare both"):
        find_renames(OLD, both, models(t={"a": "", "b": ""}, u={"": "t", "a": ""}))


@pytest.mark.parametrize(
    ("before", "declared", "told"),
    [
        (OLD, models(t={"a": "b"}), r"table s\.t\.a says that it was b, but the chain has both"),
        (OLD, models(t={"a": "b", "b": "a"}), r"table s\.t\.a says that it was b, but these names are swapped"),
        (
            facts(t={"a": "integer"}, u={"a": "integer"}),
            models(u={"": "t", "a": ""}),
            r"table s\.u says that it was t, but the chain has both",
        ),
        (
            facts(t={"a": "integer"}, u={"a": "integer"}),
            models(t={"": "u", "a": ""}, u={"": "t", "a": ""}),
            r"table s\.t says that it was u, but these names are swapped",
        ),
        (OLD, models(t={"a": "", "c": "b", "d": "b"}), r"Both table s\.t\.c and table s\.t\.d say that they were b"),
        (
            OLD,
            models(u={"": "t", "a": ""}, v={"": "t", "a": ""}),
            r"Both table s\.u and table s\.v say that they were t",
        ),
        (OLD, models(t={"a": "", "c": "nope"}), r"table s\.t\.c says that it was nope, but the chain has neither"),
    ],
    ids=["both columns", "swapped columns", "both tables", "swapped tables", "two heirs", "two tables", "neither"],
)
def test_a_rename_that_cannot_be_meant_is_refused(before: Facts, declared: MetaData, told: str) -> None:
    with pytest.raises(MonarchError, match=told) as caught:
        found(before, declared)
    assert "renamed_from" in caught.value.remedy
    assert "othing was written" in str(caught.value)


def test_what_looks_like_a_rename_is_suggested_with_the_line_that_says_so() -> None:
    (column,) = likely_renames(OLD, facts(t={"a": "integer", "c": "text"}))
    assert 'info={"renamed_from": "b"} at s.t.c ' in column
    (table,) = likely_renames(OLD, facts(u={"a": "integer", "b": "text"}))
    assert 'info={"renamed_from": "t"} at s.u ' in table


@pytest.mark.parametrize(
    "wanted",
    [
        facts(t={"a": "integer", "c": "integer"}),
        facts(t={"a": "integer", "c": "text", "d": "text"}),
        facts(t={"a": "integer"}),
        facts(t={"a": "integer", "b": "text", "c": "text"}),
        facts(u={"a": "integer"}),
        facts(u={"a": "integer", "b": "text"}, v={"a": "integer", "b": "text"}),
    ],
    ids=["another type", "two candidates", "only dropped", "only added", "other columns", "two tables alike"],
)
def test_what_does_not_is_not(wanted: Facts) -> None:
    assert list(likely_renames(OLD, wanted)) == []


def test_a_table_in_another_schema_is_another_table() -> None:
    moved = Facts({"schema r": {}, "table r.t": dict(OLD.relations["table s.t"])})
    assert list(likely_renames(OLD, moved)) == []


def test_a_suggestion_at_work_is_the_rename_that_was_suggested() -> None:
    metadata = MetaData()
    Table("t", metadata, Column("a", Integer), Column("c", Text, info={"renamed_from": "b"}), schema="s")
    assert [item.new for item in found(OLD, metadata)] == ["c"]
