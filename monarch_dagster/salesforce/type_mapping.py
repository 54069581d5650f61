"""Salesforce field → PostgreSQL column type (DESIGN section 7). Pure; table and column names belong in `schema`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from sqlalchemy import Dialect, types
from sqlalchemy.dialects import postgresql

from monarch_dagster.salesforce.choices import LONGEST_DECLARED, read_type
from monarch_dagster.salesforce.object_meta import Field

ID_LENGTH = 18
LONGEST_VARCHAR = 255
INTEGER_DIGITS = 9
COMPOUND_TYPES = frozenset({"address", "location"})
TEXT_TYPES = frozenset(
    {"textarea", "multipicklist", "base64", "anyType", "complexvalue", "json", "datacategorygroupreference"}
)

Type = types.TypeEngine[Any]
_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


@cache
def _type(kind: Callable[..., Type], *arguments: Any) -> Type:
    # One for all columns that have it: with a type SQLAlchemy keeps what it finds out about it.
    return kind(*arguments)


def _text(length: int, longest: int = LONGEST_VARCHAR) -> Type:
    return _type(types.VARCHAR, length) if 1 <= length <= longest else _type(types.TEXT)


def _number(field: Field) -> Type:
    return _type(types.NUMERIC, field.precision, field.scale) if field.precision > 0 else _type(types.DOUBLE_PRECISION)


_BY_TYPE: dict[str, Callable[[Field], Type]] = {
    "id": lambda _: _type(types.VARCHAR, ID_LENGTH),
    "reference": lambda field: _text(field.length or ID_LENGTH, LONGEST_DECLARED),
    **dict.fromkeys(
        ("string", "picklist", "combobox", "email", "phone", "url", "encryptedstring"),
        lambda field: _text(field.length),
    ),
    **dict.fromkeys(TEXT_TYPES | COMPOUND_TYPES, lambda _: _type(types.TEXT)),
    "boolean": lambda _: _type(types.BOOLEAN),
    "int": lambda field: _type(types.INTEGER) if field.digits <= INTEGER_DIGITS else _type(types.BIGINT),
    "long": lambda _: _type(types.BIGINT),
    **dict.fromkeys(("currency", "percent", "double"), _number),
    "date": lambda _: _type(types.DATE),
    "datetime": lambda _: _type(postgresql.TIMESTAMP, True),
    "time": lambda _: _type(postgresql.TIME),
}


def column_type(field: Field) -> tuple[Type, str]:
    """Return the PostgreSQL type of a field's column, and a warning ("" for none) where its type is unknown.

    A type that a person chose is one, since the file was read.
    """
    if chosen := parse_type(field.choices.column_type):
        return chosen, ""
    mapped = _BY_TYPE.get(field.type)
    if mapped is None:
        return _type(types.TEXT), f"unknown Salesforce type {field.type!r}; stored as text"
    return mapped(field), ""


def has_column(field: Field, components: Iterable[str]) -> bool:
    """Say whether a field has a column of its own; `components` are the compound names that fields of the object give.

    An address or location has none while its component fields stand in the same describe. `Name` is a string that is
    composed of others, and keeps its column, and so does a field whose type was chosen.
    """
    chosen = bool(field.choices.column_type)
    return chosen or field.type not in COMPOUND_TYPES or field.name not in components


_CHOSEN: dict[str, Callable[..., Type]] = {
    "text": types.TEXT,
    "varchar": types.VARCHAR,
    "boolean": types.BOOLEAN,
    "smallint": types.SMALLINT,
    "integer": types.INTEGER,
    "bigint": types.BIGINT,
    "numeric": types.NUMERIC,
    "real": types.REAL,
    "double precision": types.DOUBLE_PRECISION,
    "date": types.DATE,
    "time": postgresql.TIME,
    "timestamp": postgresql.TIMESTAMP,
    "timestamptz": partial(postgresql.TIMESTAMP, timezone=True),
    "uuid": types.UUID,
    "jsonb": postgresql.JSONB,
    "bytea": postgresql.BYTEA,
}


def parse_type(text: str) -> Type | None:
    """Return the PostgreSQL type that a person wrote, such as `numeric(18,2)`; None for what is none of `choices`."""
    found = read_type(text)
    return _type(_CHOSEN[found[0]], *found[1]) if found else None


_WRITTEN = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}


def type_text(kind: Type) -> str:
    """Return a type as `parse_type` reads it and people write it, such as `numeric(18,2)`."""
    text = kind.compile(dialect=_DIALECT).lower().replace(", ", ",")
    return _WRITTEN.get(text, text)
