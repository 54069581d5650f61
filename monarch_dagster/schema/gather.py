"""Gathering what a client's `MetaData` declare: tables, views, enum types and sequences, united and plain.

Runs in the process that imported the models. What is left of a table is `plain`'s; the import itself is `core_models`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from sqlalchemy import ARRAY, Enum, MetaData, Sequence, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.ddl import CreateView
from sqlalchemy.types import TypeEngine

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.constraints import fit_names
from monarch_dagster.schema.declared import CoreModels, EnumType, NamedSequence, View, in_order
from monarch_dagster.schema.naming import check_length, check_schema_name
from monarch_dagster.schema.plain import make_plain, plain_select, plain_type, type_sql

_Declared = TypeVar("_Declared", EnumType, NamedSequence)


def gather(found: Iterable[MetaData]) -> CoreModels:
    """Unite what several `MetaData` declare; their tables are made plain on the way.

    Raises `MonarchError` for what is declared twice, names no schema or one that Monarch does not manage, or cannot be
    written as DDL.
    """
    found = list(found)
    tables = [table for metadata in found for table in metadata.tables.values()]
    _check_places(tables)
    # Before the tables are made plain: a type may have a say in how its column is selected.
    views = in_order(_view(table, table._creator_ddl) for table in tables if isinstance(table._creator_ddl, CreateView))
    tables = [table for table in tables if table._creator_ddl is None]
    sequences = _united("sequence", (item for metadata in found for item in _sequences(metadata)))
    for table in tables:
        make_plain(table)
    enums = _united("enum type", _enums(found, tables))
    _check_relations(tables, views, sequences)
    return CoreModels(unite(tables), views, enums, sequences)


def unite(tables: Iterable[Table]) -> MetaData:
    """Copy tables into one `MetaData`, which names what has no name."""
    from monarch_dagster.models.base import NAMING_CONVENTION

    united = MetaData(naming_convention=NAMING_CONVENTION)
    for table in tables:
        copied = table.to_metadata(united)
        copied._prefixes = list(table._prefixes)  # such as UNLOGGED; copying forgets them
        for column in table.columns:
            copied.columns[column.key].type = column.type  # copying puts enum types into the table's schema
        fit_names(copied)
    return united


def _check_places(tables: Iterable[Table]) -> None:
    declared: set[str] = set()
    for table in tables:
        kind = "view" if table.is_view else "table"
        if table.key in declared:
            raise _twice(f"{kind} {table.key}")
        declared.add(table.key)
        if table._creator_ddl is not None and not table.is_view:
            raise MonarchError(
                f"The core table {table.key} is declared by a statement of its own, which Monarch cannot compare.",
                remedy="Declare its columns instead.",
            )
        if table.schema is None:
            raise MonarchError(
                f"The core model of {kind} {table.name} names no schema.",
                remedy=f'Add __table_args__ = {{"schema": "…"}} to {table.name}.'
                if kind == "table"
                else f'Add schema="…" to its CreateView {table.name}.',
            )
        _check_schema(table.schema, f"core {kind} {table.name}")
        check_length(table.name, f"core {kind} {table.key}")
        for column in table.columns:
            check_length(column.name, f"the column {column.name} of core {kind} {table.key}")


def _view(table: Table, creation: CreateView) -> View:
    if creation.temporary or creation.dialect_kwargs or table.indexes or table.comment:
        raise MonarchError(
            f"The core view {table.key} has options, an index or a comment, or is temporary; Monarch generates views "
            "without.",
            remedy="Declare the SELECT alone; add the rest in a revision of its own (generate-migrations --empty).",
        )
    return View(str(table.schema), str(table.name), plain_select(table, creation.selectable), creation.materialized)


def _enums(found: Iterable[MetaData], tables: Iterable[Table]) -> Iterator[tuple[EnumType, str]]:
    used: set[str] = set()
    for table in tables:
        for column in table.columns:
            if (kind := _enum_in(column.type)) is not None:
                used.add(str(kind.name))
                yield _enum(kind, f"{table.key}.{column.name}")
    for item in (item for metadata in found for item in metadata._objects if isinstance(item, Enum) and item.name):
        kind = _enum_in(plain_type(item, None))
        if kind is None or (kind.schema is None and kind.name in used):
            continue  # text with a check, or a column's, which has its table's schema
        yield _enum(kind, "a MetaData")


def _enum_in(kind: TypeEngine[object]) -> Enum | None:
    while isinstance(kind, ARRAY):
        kind = kind.item_type
    return kind if isinstance(kind, postgresql.ENUM) else None


def _enum(kind: Enum, place: str) -> tuple[EnumType, str]:
    schema = _schema("enum type", str(kind.name), kind.schema)
    return EnumType(schema, str(kind.name), tuple(map(str, kind.enums))), place


def _sequences(metadata: MetaData) -> Iterator[tuple[NamedSequence, str]]:
    for item in metadata._sequences.values():
        if not item.optional:
            yield _sequence(item), "a MetaData"
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.default, Sequence) and not column.default.optional:
                yield _sequence(column.default), f"{table.key}.{column.name}"


def _sequence(item: Sequence) -> NamedSequence:
    return NamedSequence(
        _schema("sequence", item.name, item.schema),
        str(item.name),
        type_sql(item.data_type) if item.data_type is not None else None,
        item.start,
        item.increment,
        item.minvalue,
        item.maxvalue,
        item.cache,
        item.cycle,
    )


def _schema(kind: str, name: str, schema: str | None) -> str:
    if schema is None:
        raise MonarchError(f"The {kind} {name} of the core models names no schema.", remedy='Add schema="…" to it.')
    check_length(name, f"core {kind} {schema}.{name}")
    return _check_schema(schema, f"core {kind} {name}")


def _check_schema(schema: str, what: str) -> str:
    check_length(schema, f"the schema {schema} of {what}")
    return str(check_schema_name(schema, f"The schema of {what}"))


def _united(kind: str, found: Iterable[tuple[_Declared, str]]) -> tuple[_Declared, ...]:
    """Sort what was found by name; one that is found twice must be the same both times."""
    declared: dict[str, tuple[_Declared, str]] = {}
    for item, place in found:
        known, where = declared.setdefault(item.key, (item, place))
        if known != item:
            raise MonarchError(
                f"The {kind} {item.key} is declared in two ways: as {known.create_sql} by {where}, "
                f"as {item.create_sql} by {place}.",
                remedy="Declare it once and use it in both places, or rename one of the two.",
            )
    return tuple(item for _, (item, _) in sorted(declared.items()))


def _check_relations(tables: Iterable[Table], views: Iterable[View], sequences: Iterable[NamedSequence]) -> None:
    names = {table.key for table in tables} | {view.key for view in views}
    for sequence in sequences:
        if sequence.key in names:
            raise _twice(f"name {sequence.key}")


def _twice(what: str) -> MonarchError:
    return MonarchError(
        f"The {what} is declared twice in the core models.", remedy="Keep one of the two, or rename one."
    )
