"""Reducing tables to plain SQLAlchemy, so that they can leave the process that imported them and be rendered.

A client's models may use types, defaults and rules of their own; what is left of them here is the DDL that they come to
on PostgreSQL. What cannot be written as such is an error that names the column.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
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
    Interval,
    Sequence,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    exc,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ClauseElement, TextClause
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.types import NullType, TypeEngine

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.constraints import given_name, name_by_content

# What a person may say in `info=` of a table or column; anything else may not survive the way between processes.
INFO_KEYS = frozenset({"renamed_from"})
# For a driver's own parameter style the compiler doubles percent signs.
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_COMPILER = _DIALECT.ddl_compiler(_DIALECT, None)  # type: ignore[arg-type]


def make_plain(table: Table) -> None:
    """Change `table` so that it says no more than its DDL, in SQLAlchemy's own words.

    Raises `MonarchError` for a column whose type or default PostgreSQL has no words for, and for SQL with a parameter
    that has no value.
    """
    _check_parameters(table)
    table.info = _plain_info(table.info)
    for column in table.columns:
        if isinstance(column.default, Sequence) and not column.default.optional:
            column.autoincrement = False  # else, without that default, it would become a serial
        column.default = column.onupdate = column.server_onupdate = None
        column.info = _plain_info(column.info)
        try:
            _make_default_plain(column)
            column.type = plain_type(column.type, table.schema)
        except (exc.SQLAlchemyError, AttributeError, TypeError) as error:
            raise MonarchError(
                f"The column {table.key}.{column.name} of the core models cannot be written in a revision: {error}",
                remedy="Use a type and a default of SQLAlchemy's own there, or a TypeDecorator around one.",
            ) from None
        # By these flags, a copy of the table would make their index and constraint anew.
        column.index = column.unique = None
    _make_checks_plain(table)
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            constraint.use_alter = False  # what comes late is the canonical order's decision
        elif isinstance(constraint, UniqueConstraint):
            constraint._column_flag = False
        name = given_name(constraint, table)
        if name is None and isinstance(constraint, postgresql.ExcludeConstraint):
            constraint.name = None
            name = name_by_content("ex", table, _COMPILER.process(constraint))
        constraint.name = name
    for index in table.indexes:
        index._column_flag = False
        index.name = given_name(index, table)


def _check_parameters(table: Table) -> None:
    for what, clause in _clauses(table):
        # SQLAlchemy makes a string a text() too, but only when it writes the DDL.
        parts = visitors.iterate(text(clause) if isinstance(clause, str) else clause)
        if words := sorted({part.key for part in parts if isinstance(part, BindParameter) and part.required}):
            shown = ", ".join(f":{word}" for word in words)
            raise MonarchError(
                f"SQLAlchemy takes {shown} in {what} of core table {table.key} for a parameter, which has no value.",
                remedy=f"Write \\\\:{words[0]} there (a backslash before the colon, doubled in a Python string).",
            )


def _clauses(table: Table) -> Iterator[tuple[str, ClauseElement | str]]:
    for column in table.columns:
        default = column.server_default
        if isinstance(default, Computed):
            yield f"the computed column {column.name}", default.sqltext
        elif isinstance(default, DefaultClause) and not isinstance(default.arg, str):
            yield f"the default of column {column.name}", default.arg
    for check in _checks(table):
        yield f"the check constraint {given_name(check, table) or '(without a name)'}", check.sqltext
    for constraint in table._sorted_constraints:
        if isinstance(constraint, postgresql.ExcludeConstraint):
            what = f"the exclusion constraint {given_name(constraint, table) or '(without a name)'}"
            yield from ((what, expression) for expression, _, _ in constraint._render_exprs)
            if constraint.where is not None:
                yield what, constraint.where
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        what = f"the index {given_name(index, table) or '(without a name)'}"
        yield from ((what, expression) for expression in index.expressions)
        if (where := index.dialect_options["postgresql"]["where"]) is not None:
            yield what, where


def _checks(table: Table) -> list[CheckConstraint]:
    checks = [item for item in table._sorted_constraints if isinstance(item, CheckConstraint)]
    for column in table.columns:
        checks += [item for item in column.constraints if isinstance(item, CheckConstraint)]
    return checks


def _make_checks_plain(table: Table) -> None:
    checks = _checks(table)
    for column in table.columns:
        column.constraints = set()  # by themselves they can be compared and dropped
    names: set[str] = set()
    for check in checks:
        # A type's own constraint may be for other databases; it would be made anew from the type, which is gone.
        table.constraints.discard(check)
        if not check._should_create_for_compiler(_COMPILER):
            continue
        sql = _sql(check.sqltext)
        given = given_name(check, table)
        name = given or name_by_content("ck", table, sql)
        if given or name not in names:  # said twice without a name, it is one
            kept = {"comment": check.comment, **check.dialect_kwargs}
            table.append_constraint(CheckConstraint(_text(sql), name=name, **kept))
        names.add(name)


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
    return clause if isinstance(clause, TextClause) else _text(_sql(clause))


def _sql(clause: ClauseElement) -> str:
    return str(clause.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False}))


def _text(sql: str) -> TextClause:
    return text(sql.replace(":", "\\:"))  # in text() a colon begins a parameter


def plain_select(table: Table, selectable: SelectBase) -> str:
    """Return PostgreSQL's text of a view's SELECT; `table` is the view.

    Raises `MonarchError` for one that SQLAlchemy cannot write without parameters.
    """
    try:
        binds = selectable.compile(dialect=_DIALECT).binds
        if open_ones := sorted(name for name, bind in binds.items() if bind.required):
            raise TypeError(f"it has parameters without a value: {', '.join(open_ones)}")
        compiled = selectable.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    except (exc.SQLAlchemyError, AttributeError, NotImplementedError, TypeError) as error:
        raise MonarchError(
            f"The SELECT of the core view {table.key} cannot be written in a revision: {error}",
            remedy="Give each parameter a value that SQL can spell, or use text().columns() with the SELECT itself.",
        ) from None
    return str(compiled).strip().removesuffix(";").rstrip()


def plain_type(kind: TypeEngine[Any], schema: str | None) -> TypeEngine[Any]:
    """Return `kind` in SQLAlchemy's own words; an enum type without a schema is in `schema`.

    Raises `TypeError` or an error of SQLAlchemy's for a type that PostgreSQL has no words for.
    """
    if isinstance(kind, NullType):
        return kind  # a foreign key's column takes the type of what it refers to
    plain = _reduced(kind, None)
    if (wanted := type_sql(kind)) != (found := type_sql(plain)):
        raise TypeError(f"its type is {wanted}, which would become {found}")
    return _reduced(kind, schema)


def type_sql(kind: TypeEngine[Any]) -> str:
    """Return PostgreSQL's text of a type."""
    return str(_DIALECT.type_compiler_instance.process(kind))


def _reduced(kind: TypeEngine[Any], schema: str | None) -> TypeEngine[Any]:
    kind = kind._variant_mapping.get("postgresql", kind)
    if isinstance(kind, Interval):
        # To SQLAlchemy it is a date and time elsewhere.
        return postgresql.INTERVAL(precision=kind.second_precision)
    if isinstance(kind, TypeDecorator):
        return _reduced(kind.load_dialect_impl(_DIALECT), schema)
    if isinstance(kind, postgresql.DOMAIN):
        raise TypeError("its type is a domain; use the type below it, and a CHECK of the table's own")
    if isinstance(kind, Enum):
        if not kind.native_enum:
            return String(kind.length)
        # Not with the table: several may use it, so it is created by itself.
        return postgresql.ENUM(*kind.enums, name=kind.name, schema=kind.schema or schema, create_type=False)
    if isinstance(kind, Boolean):
        return Boolean()
    if isinstance(kind, ARRAY):
        array = copy.copy(kind)
        array.item_type = _reduced(kind.item_type, schema)
        kind = array
    own = type(kind)
    public = next(base for base in own.__mro__ if _is_public(base))
    plain = copy.copy(kind) if public is own else kind.adapt(public)
    plain.__dict__.pop("_expression_adaptations", None)  # kept of expressions it was used in, and no part of it
    return plain


def _is_public(kind: type) -> bool:
    return kind.__module__.startswith("sqlalchemy.") and not kind.__name__.startswith("_")
