"""What models declare beside tables: views, enum types, sequences. Plain records, and the statement that creates each.

How they are found in a client's models belongs in `gather`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql

_QUOTE = postgresql.dialect(paramstyle="named").identifier_preparer.quote  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Named:
    schema: str
    name: str

    @property
    def key(self) -> str:
        """The name with its schema, as facts write it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql_name(self) -> str:
        """The name with its schema, quoted where SQL needs it."""
        return f"{_QUOTE(self.schema)}.{_QUOTE(self.name)}"


@dataclass(frozen=True)
class View(_Named):
    """A view; `select` is PostgreSQL's text of its SELECT, without parameters and without a semicolon at its end."""

    select: str
    materialized: bool = False

    @property
    def create_sql(self) -> str:
        """The statement that creates it."""
        return f"CREATE {'MATERIALIZED ' if self.materialized else ''}VIEW {self.sql_name} AS\n{self.select}"


@dataclass(frozen=True)
class EnumType(_Named):
    """An enum type and its labels, in their order."""

    labels: tuple[str, ...]

    @property
    def create_sql(self) -> str:
        """The statement that creates it."""
        labels = ", ".join("'" + label.replace("'", "''") + "'" for label in self.labels)
        return f"CREATE TYPE {self.sql_name} AS ENUM ({labels})"


@dataclass(frozen=True)
class NamedSequence(_Named):
    """A sequence that no column owns; None stands for PostgreSQL's own default."""

    data_type: str | None = None
    start: int | None = None
    increment: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    cache: int | None = None
    cycle: bool | None = None

    @property
    def create_sql(self) -> str:
        """The statement that creates it."""
        options = {
            "AS": self.data_type,
            "START WITH": self.start,
            "INCREMENT BY": self.increment,
            "MINVALUE": self.minimum,
            "MAXVALUE": self.maximum,
            "CACHE": self.cache,
        }
        parts = [f"CREATE SEQUENCE {self.sql_name}"]
        parts += [f"{word} {value}" for word, value in options.items() if value is not None]
        return " ".join([*parts, "CYCLE"] if self.cycle else parts)


@dataclass(frozen=True)
class CoreModels:
    """All that the core models declare: tables in one `MetaData`, and the rest; views follow those that they use."""

    metadata: MetaData
    views: tuple[View, ...] = field(default=())
    enums: tuple[EnumType, ...] = field(default=())
    sequences: tuple[NamedSequence, ...] = field(default=())


def in_order(views: Iterable[View]) -> tuple[View, ...]:
    """Order views so that each follows those it names, by name where that leaves a choice."""
    waiting = sorted(views, key=lambda view: view.key)
    # Of a textual select only the text is known. A name found by chance costs no more than another order.
    used = {
        view.key: {other.key for other in waiting if other is not view and _names(other).search(view.select)}
        for view in waiting
    }
    ordered: list[View] = []
    while waiting:
        left = {view.key for view in waiting}
        chosen = next((view for view in waiting if not used[view.key] & left), waiting[0])
        waiting.remove(chosen)
        ordered.append(chosen)
    return tuple(ordered)


def _names(view: View) -> re.Pattern[str]:
    schema, name = (re.escape(part.replace('"', '""')) for part in (view.schema, view.name))
    return re.compile(rf'(?<![\w"])"?{schema}"?\s*\.\s*"?{name}"?(?![\w"])', re.IGNORECASE)
