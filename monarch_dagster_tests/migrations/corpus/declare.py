"""Short words for models: each returns the Python that an engineer would write in a models file. No transitions."""

from __future__ import annotations

import re
from typing import Any

# Goes in front of every body; `Base`, SQLAlchemy and its ORM are at hand already.
HEADER = """
from sqlalchemy.dialects.postgresql import (
    CIDR, ENUM, INET, INT4RANGE, INTERVAL, JSON, JSONB, TSRANGE, TSTZRANGE, TSVECTOR, ExcludeConstraint,
)
from sqlalchemy.dialects.postgresql import TIME as PG_TIME, TIMESTAMP as PG_TIMESTAMP
"""
KEY = "id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)"
_COLUMN = re.compile(r'(?:(\w+)|"([^"]+)") (.+)', re.DOTALL)


def table(name: str, *items: str, schema: str = "landing", key: str = KEY, **options: Any) -> str:
    """Return the model of a table; its class has the table's name with a capital (`T`, in staging `StagingT`).

    Args:
        name: the table's name.
        items: columns ("a Integer, nullable=False", or '"a b" Integer' for a name that is none in Python), and
            constraints and indexes as they stand in `__table_args__`.
        schema: the table's schema.
        key: the line that declares the key's column, "" for none.
        options: more of `__table_args__`, such as `comment`.
    """
    columns, arguments = [key] if key else [], []
    for item in items:
        if found := _COLUMN.fullmatch(item):
            plain, quoted, rest = found.groups()
            columns.append(f"{plain or f'column_{len(columns)}'} = mapped_column({plain or quoted!r}, {rest})")
        else:
            arguments.append(f"{item}, ")
    body = "\n    ".join(columns)
    return f"""
class {class_name(name, schema)}(Base):
    __tablename__ = {name!r}
    __table_args__ = ({"".join(arguments)}{dict(schema=schema, **options)!r})
    {body}
"""


def core(name: str, *items: str, schema: str = "landing", **options: Any) -> str:
    """Return a table as a Core `Table` of these columns and constraints, for one without a key or with odd names."""
    words = [repr(name), "Base.metadata", *items, *(f"{key}={value!r}" for key, value in options.items())]
    return f"\nTable({', '.join(words)}, schema={schema!r})\n"


def class_name(name: str, schema: str = "landing") -> str:
    """Return the name of the class that `table` declares."""
    words = name if schema == "landing" else f"{schema}_{name}"
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", words))


def view(name: str, query: str, *, schema: str = "landing", materialized: bool = False, **columns: str) -> str:
    """Return a view; `query` is SQL where `columns` (name → type) are given, else a `select` of SQLAlchemy."""
    if columns:
        named = ", ".join(f"column({column!r}, {kind})" for column, kind in columns.items())
        query = f"text({query!r}).columns({named})"
    kind = ", materialized=True" if materialized else ""
    return f"\nCreateView({query}, {name!r}, schema={schema!r}, metadata=Base.metadata{kind})\n"


def enum(*labels: str, name: str = "mood", schema: str = "landing") -> str:
    """Return a native enum type, to stand in a column: `f"a {enum('x', 'y')}"`."""
    return f"Enum({', '.join(map(repr, labels))}, name={name!r}, schema={schema!r})"


def sequence(name: str, *, schema: str = "landing", **options: Any) -> str:
    """Return a sequence of its own, bound to a variable of its name for use in a column."""
    words = "".join(f", {key}={value!r}" for key, value in options.items())
    return f"\n{name} = Sequence({name!r}, schema={schema!r}, metadata=Base.metadata{words})\n"
