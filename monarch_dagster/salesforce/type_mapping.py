"""Salesforce field → PostgreSQL column type (DESIGN section 7). Pure; table and column names belong in `schema`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Dialect, types
from sqlalchemy.dialects import postgresql

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import Field

ID_LENGTH = 18
LONGEST_VARCHAR = 255
# PostgreSQL's own limits ("Character Types", "Numeric Types").
LONGEST_DECLARED = 10_485_760
HIGHEST_PRECISION = 1000
INTEGER_DIGITS = 9
COMPOUND_TYPES = frozenset({"address", "location"})
TEXT_TYPES = frozenset(
    {"textarea", "multipicklist", "base64", "anyType", "complexvalue", "json", "datacategorygroupreference"}
)

Type = types.TypeEngine[Any]
_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def _text(length: int, longest: int = LONGEST_VARCHAR) -> Type:
    return types.VARCHAR(length) if 1 <= length <= longest else types.TEXT()


def _number(field: Field) -> Type:
    return types.NUMERIC(field.precision, field.scale) if field.precision > 0 else types.DOUBLE_PRECISION()


_BY_TYPE: dict[str, Callable[[Field], Type]] = {
    "id": lambda _: types.VARCHAR(ID_LENGTH),
    "reference": lambda field: _text(field.length or ID_LENGTH, LONGEST_DECLARED),
    **dict.fromkeys(
        ("string", "picklist", "combobox", "email", "phone", "url", "encryptedstring"),
        lambda field: _text(field.length),
    ),
    **dict.fromkeys(TEXT_TYPES | COMPOUND_TYPES, lambda _: types.TEXT()),
    "boolean": lambda _: types.BOOLEAN(),
    "int": lambda field: types.INTEGER() if field.digits <= INTEGER_DIGITS else types.BIGINT(),
    "long": lambda _: types.BIGINT(),
    **dict.fromkeys(("currency", "percent", "double"), _number),
    "date": lambda _: types.DATE(),
    "datetime": lambda _: postgresql.TIMESTAMP(timezone=True),
    "time": lambda _: postgresql.TIME(),
}


def column_type(field: Field) -> tuple[Type, str]:
    """Return the PostgreSQL type of a field's column, and a warning ("" for none) where its type is unknown.

    Raises `MonarchError` when a person's `choices.column_type` is not a type that Monarch writes.
    """
    if field.choices.column_type:
        return parse_type(field.choices.column_type, field.name), ""
    mapped = _BY_TYPE.get(field.type)
    if mapped is None:
        return types.TEXT(), f"unknown Salesforce type {field.type!r}; stored as text"
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
    "timestamptz": lambda: postgresql.TIMESTAMP(timezone=True),
    "uuid": types.UUID,
    "jsonb": postgresql.JSONB,
    "bytea": postgresql.BYTEA,
}
# The least and the greatest value of each number that a type takes.
_PARAMETERS = {"varchar": ((1, LONGEST_DECLARED),), "numeric": ((1, HIGHEST_PRECISION), (0, HIGHEST_PRECISION))}
_TYPE_TEXT = re.compile(r"([a-z]+(?: [a-z]+)?)(?: ?\(([0-9]{1,8})(?:, ?([0-9]{1,4}))?\))?")


def parse_type(text: str, where: str) -> Type:
    """Read a PostgreSQL type that a person wrote, such as `numeric(18,2)`; `where` names the field in the message.

    Raises `MonarchError` for any other: the text would go into SQL as it stands.
    """
    match = _TYPE_TEXT.fullmatch(text.strip().lower())
    name, numbers = (match[1], [int(group) for group in match.groups()[1:] if group]) if match else ("", [])
    limits = _PARAMETERS.get(name, ())
    within = all(least <= number <= most for number, (least, most) in zip(numbers, limits, strict=False))
    if name not in _CHOSEN or len(numbers) > len(limits) or not within:
        raise MonarchError(
            f"choices.column_type of {where} is {text[:80]!r}, which is not a type that Monarch writes.",
            remedy=f"Use one of: {', '.join(sorted(_CHOSEN))}; varchar(n) and numeric(precision,scale) take numbers.",
        )
    return _CHOSEN[name](*numbers)


_WRITTEN = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}


def type_text(kind: Type) -> str:
    """Return a type as `parse_type` reads it and people write it, such as `numeric(18,2)`."""
    text = kind.compile(dialect=_DIALECT).lower().replace(", ", ",")
    return _WRITTEN.get(text, text)
