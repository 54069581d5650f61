"""Reducing tables to plain SQLAlchemy, so that they can leave the process that imported them and be rendered.

A client's models may use types, defaults and rules of their own; what is left of them here is the DDL that they come to
on PostgreSQL. What cannot be written as such is an error that names the column.
"""

from __future__ import annotations

import copy
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DefaultClause,
    Enum,
    ForeignKeyConstraint,
    Identity,
    String,
    Table,
    TypeDecorator,
    exc,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ClauseElement, TextClause, conv
from sqlalchemy.types import NullType, TypeEngine

from monarch_dagster.errors import MonarchError

# What a person may say in `info=` of a table or column; anything else may not survive the way between processes.
INFO_KEYS = frozenset({"renamed_from"})
# For a driver's own parameter style the compiler doubles percent signs.
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def make_plain(table: Table) -> None:
    """Change `table` so that it says no more than its DDL, in SQLAlchemy's own words.

    Raises `MonarchError` for a column whose type or default PostgreSQL has no words for.
    """
    table.info = _plain_info(table.info)
    for column in table.columns:
        column.default = column.onupdate = column.server_onupdate = None
        column.info = _plain_info(column.info)
        try:
            _make_default_plain(column)
            column.type = _plain_type(column.type)
        except (exc.SQLAlchemyError, AttributeError, TypeError) as error:
            raise MonarchError(
                f"The column {table.key}.{column.name} of the core models cannot be written in a revision: {error}",
                remedy="Use a type and a default of SQLAlchemy's own there, or a TypeDecorator around one.",
            ) from None
    compiler = _DIALECT.ddl_compiler(_DIALECT, None)  # type: ignore[arg-type]
    for constraint in list(table.constraints):
        if isinstance(constraint, CheckConstraint):
            # A type's own constraint may be for other databases; it would be made anew from the type, which is gone.
            table.constraints.discard(constraint)
            if constraint._should_create_for_compiler(compiler):
                table.append_constraint(CheckConstraint(_plain_sql(constraint.sqltext), name=constraint.name))
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            constraint.use_alter = False  # what comes late is the canonical order's decision
        if isinstance(constraint.name, str):
            # Final: the naming convention is for those that have none.
            constraint.name = conv(constraint.name)


def _plain_info(info: dict[Any, Any]) -> dict[Any, Any]:
    return {key: str(value) for key, value in info.items() if key in INFO_KEYS}


def _make_default_plain(column: Column[Any]) -> None:
    default = column.server_default
    if isinstance(default, DefaultClause):
        # A plain string as a default loses a quote at its end when Alembic renders it.
        default.arg = _plain_sql(literal(default.arg) if isinstance(default.arg, str) else default.arg)
    elif isinstance(default, Computed):
        default.sqltext = _plain_sql(default.sqltext)
    elif not isinstance(default, Identity):
        column.server_default = None  # it says that the database fills the column, and not how


def _plain_sql(clause: ClauseElement) -> TextClause:
    if isinstance(clause, TextClause):
        return clause
    compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False})
    return text(str(compiled).replace(":", "\\:"))  # in text() a colon begins a parameter


def _plain_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(kind, NullType):
        return kind  # a foreign key's column takes the type of what it refers to
    plain = _reduced(kind)
    if (wanted := _ddl(kind)) != (found := _ddl(plain)):
        raise TypeError(f"its type is {wanted}, which would become {found}")
    return plain


def _reduced(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    kind = kind._variant_mapping.get("postgresql", kind)
    if isinstance(kind, TypeDecorator):
        return _reduced(kind.load_dialect_impl(_DIALECT))
    if isinstance(kind, Enum):
        if not kind.native_enum:
            return String(kind.length)
        return Enum(*kind.enums, name=kind.name, schema=kind.schema, inherit_schema=kind.inherit_schema)
    if isinstance(kind, Boolean):
        return Boolean()
    if isinstance(kind, ARRAY):
        array = copy.copy(kind)
        array.item_type = _reduced(kind.item_type)
        kind = array
    own = type(kind)
    public = next(base for base in own.__mro__ if _is_public(base))
    return kind if public is own else kind.adapt(public)


def _is_public(kind: type) -> bool:
    return kind.__module__.startswith("sqlalchemy.") and not kind.__name__.startswith("_")


def _ddl(kind: TypeEngine[Any]) -> str:
    return str(_DIALECT.type_compiler_instance.process(kind))
