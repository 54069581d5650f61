"""What every core model keeps to, whichever schema it is in."""

import importlib
import re
import subprocess
import sys
from itertools import chain

import pytest
from sqlalchemy import (
    CheckConstraint,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

from monarch_dagster.models.base import Base
from monarch_dagster_tests.models.conftest import SCHEMAS

TABLES = Base.metadata.sorted_tables
ALLOWED_REFERENCES = {
    "utilities": {"utilities"},
    "landing": {"landing", "utilities"},
    "staging": {"staging", "landing"},
    "merge_utilities": {"merge_utilities"},
}

each_table = pytest.mark.parametrize("table", TABLES, ids=str)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_declares_the_schema_of_its_name_and_no_other(schema: str) -> None:
    module = importlib.import_module(f"monarch_dagster.models.{schema}")
    declared = {m.class_.__table__ for m in Base.registry.mappers if m.class_.__module__ == module.__name__}
    assert schema == module.SCHEMA
    assert declared == {table for table in TABLES if table.schema == schema}
    assert declared


def test_every_table_stands_in_one_of_the_four_schemas() -> None:
    assert {table.schema for table in TABLES} == set(SCHEMAS)


@each_table
def test_analysts_find_a_comment_on_the_table_and_on_each_column(table: Table) -> None:
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@each_table
def test_the_comment_of_a_restricted_column_lists_every_value(table: Table) -> None:
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            restriction = re.fullmatch(r"(\w+) IN \(('.*')\)", str(constraint.sqltext))
            if restriction:
                column, values = restriction.groups()
                comment = table.columns[column].comment or ""
                assert [value for value in re.findall(r"'(\w+)'", values) if value not in comment] == []


@each_table
def test_no_default_is_known_to_python_alone(table: Table) -> None:
    hidden = [c.name for c in table.columns if c.default is not None or c.onupdate is not None]
    assert hidden == []


@each_table
def test_every_constraint_and_index_has_a_name_that_postgresql_does_not_cut(table: Table) -> None:
    preparer = postgresql.dialect().identifier_preparer
    items: list[Constraint | Index] = [*table.constraints, *table.indexes]
    for item in items:
        assert item.name is not None
        assert len(str(item.name).encode()) <= 63
        assert str(item.name) == preparer.format_constraint(item)
    for name in chain([table.name], table.columns.keys()):
        assert len(name.encode()) <= 63
    assert preparer.format_table(table) == table.fullname, "a keyword would need quotes in every query"


def test_relation_and_constraint_names_are_unique_within_a_schema() -> None:
    for schema in SCHEMAS:
        tables = [table for table in TABLES if table.schema == schema]
        names = [
            str(item.name)
            for table in tables
            for item in chain([table], table.indexes, table.constraints)
            if isinstance(item, Table | Index | PrimaryKeyConstraint | UniqueConstraint)
        ]
        assert len(names) == len(set(names))


@each_table
def test_every_table_has_a_primary_key(table: Table) -> None:
    assert table.primary_key.columns


@each_table
def test_references_go_in_the_declared_direction_and_say_what_a_deletion_does(table: Table) -> None:
    for key in table.foreign_key_constraints:
        assert key.referred_table.schema in ALLOWED_REFERENCES[str(table.schema)]
        assert key.referred_table is not table
        assert key.ondelete in {"CASCADE", "RESTRICT", "SET NULL"}
        for element in key.elements:
            assert str(element.parent.type) == str(element.column.type)


@each_table
def test_deleting_a_referred_row_finds_the_referring_ones_by_an_index(table: Table) -> None:
    leading = {column.name for column in list(table.primary_key.columns)[:1]}
    leading |= {next(iter(c.columns)).name for c in table.constraints if isinstance(c, UniqueConstraint)}
    leading |= {
        next(iter(i.columns)).name for i in table.indexes if i.dialect_options["postgresql"].get("where") is None
    }
    for key in table.foreign_key_constraints:
        assert leading & selective_columns(key), f"{key.name} has no index"


def test_importing_the_models_loads_neither_driver_nor_alembic_nor_dagster() -> None:
    modules = ", ".join(f"monarch_dagster.models.{schema}" for schema in SCHEMAS)
    code = f"import sys, {modules}; print(sorted({{'psycopg', 'psycopg2', 'alembic', 'dagster'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def selective_columns(key: ForeignKeyConstraint) -> set[str]:
    """The columns of a foreign key by which rows can be found; an entity is shared by too many of them."""
    return {column.name for column in key.columns} - {"entity"}
