"""What the constraints and indexes of core tables are called, whatever `MetaData` and convention the models use.

A name that a person or the models' own convention gave stays; what is left has one that follows from its definition,
since a constraint without a name cannot be dropped. Conventions cover neither nameless checks nor exclusions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import CheckConstraint, Column, Constraint, Index, Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import conv

from monarch_dagster.schema.naming import check_length, shorten

_PREPARER = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]
_DIGEST_LENGTH = 8
# SQLAlchemy takes a name of this class as final; `plain` takes the empty one as none.
_LATER = conv("")


def allow_nameless_checks() -> None:
    """From now on let models declare checks without a name though their convention asks for one.

    SQLAlchemy raises as soon as such a check meets its table, which is while the models are imported.
    """
    event.listen(CheckConstraint, "before_parent_attach", _name_later)


def name_by_content(prefix: str, table: Table, sql: str) -> conv:
    """Return the name of a constraint of `table` that has none, from its SQL."""
    digest = hashlib.sha256(sql.encode()).hexdigest()[:_DIGEST_LENGTH]
    return conv(shorten(f"{prefix}_{table.name}_{digest}"))


def given_name(item: Constraint | Index, table: Table) -> conv | None:
    """Return the name that a person or a convention gave, as a final one; None where there is none.

    Raises `MonarchError` for a person's that PostgreSQL would cut.
    """
    name: Any = item.name
    if name is not None and not isinstance(name, str) and not _wants_name(table):
        name = _PREPARER.format_constraint(item, _alembic_quote=False)  # a type's own, which a convention may name
        return None if name is None else conv(name)
    if not isinstance(name, str) or not name:
        return None
    if not isinstance(name, conv):
        kind = "index" if isinstance(item, Index) else "constraint"
        check_length(name, f"the {kind} {name} of core table {table.key}")
    return conv(name)


def fit_names(table: Table) -> None:
    """Shorten the names that a convention made too long, as SQLAlchemy does when it creates the table."""
    items: Iterable[Any] = (*table.constraints, *table.indexes)
    for item in items:
        if isinstance(item.name, str):
            item.name = conv(shorten(str(_PREPARER.format_constraint(item, _alembic_quote=False))))


def _name_later(check: CheckConstraint, parent: Any) -> None:
    if isinstance(parent, Column):
        event.listen(parent, "before_parent_attach", lambda _column, table: _name_later(check, table))
    elif isinstance(parent, Table) and check.name is None and _wants_name(parent):
        check.name = _LATER


def _wants_name(table: Table) -> bool:
    convention: Mapping[Any, object] = table.metadata.naming_convention
    return "%(constraint_name)s" in str(convention.get("ck") or convention.get(CheckConstraint))
