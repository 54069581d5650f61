"""Rules: what is asked of the rows of a table.

How they are read is `reading`'s; which rows come of them, `search`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """A column: its type below any domain, and what it may be given; `required` says that NULL will not do."""

    name: str
    type: str
    values: tuple[str, ...]
    required: bool
    default: str | None
    retyped: bool = False


@dataclass(frozen=True)
class Check:
    """A condition on a row; `planned` where only the table to come has it."""

    name: str
    expression: str
    columns: tuple[str, ...]
    planned: bool = False


@dataclass(frozen=True)
class Key:
    """Columns whose values, taken together, occur once; `planned` where only the table to come has it.

    A deferrable key is not watched while triggers are off.
    """

    name: str
    columns: tuple[str, ...]
    nulls_differ: bool = True
    deferrable: bool = False
    planned: bool = False


@dataclass(frozen=True)
class Reference:
    """A foreign key; `planned` where only the table to come has it, with table 0 for one that does not exist yet.

    `whole` (MATCH FULL) says that its columns are null together.
    """

    columns: tuple[str, ...]
    table: int
    referred: tuple[str, ...]
    whole: bool = False
    planned: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Table:
    """What is asked of the rows of a table; `columns` are those that PostgreSQL does not fill by itself."""

    oid: int
    name: str
    quoted: str
    fillable: bool
    parts: tuple[int, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    keys: tuple[Key, ...] = ()
    references: tuple[Reference, ...] = ()

    def has_plans(self) -> bool:
        """Say whether the table to come asks for more than the table does now."""
        planned = (*(item.planned for item in self.checks), *(item.planned for item in self.keys))
        return any(planned) or any(item.planned for item in self.references)

    def needs(self) -> set[int]:
        """Return the tables that have to have rows before this one, or together with it."""
        return {*self.parts, *(item.table for item in self.references if item.table)}
