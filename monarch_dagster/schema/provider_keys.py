"""Indexes and foreign keys of the provider's tables: which a field has by rule, and which a person asks for.

Sources: Salesforce, "Custom Field Attributes" (External ID, Unique) and "Object Reference" (`SystemModstamp`, which
changes with every change of a record, `IsDeleted`); PostgreSQL, "CREATE INDEX" and "Deferrable constraints".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ForeignKeyConstraint, Index, LargeBinary, String, Table, func, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import Field
from monarch_dagster.salesforce.renamed import Declared
from monarch_dagster.salesforce.type_mapping import ID_LENGTH
from monarch_dagster.schema.naming import digested, shorten

ID_COLUMN = "id"
DELETED_COLUMN = "isdeleted"
CHANGED_FIELD = "SystemModstamp"
SHOWN_TARGETS = 5
# A B-tree takes 2,704 bytes an entry, of which 12 are not the value's; a character takes up to four.
MOST_INDEXED_CHARACTERS = (2704 - 12) // 4


@dataclass(frozen=True)
class ProviderTable:
    """The table of an object, and its fields by the names of their columns."""

    object: str
    table: Table
    fields: Mapping[str, Field]


class Names:
    """Names of tables and indexes of one schema; one that is taken already gets a digest of what it is for."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)
        # Whether two wanted the same name.
        self.collided = False

    def take(self, names: Iterable[str]) -> None:
        """Take names that were given before."""
        for name in names:
            self.collided |= name in self._taken
            self._taken.add(name)

    def free(self, name: str, path: str) -> str:
        """Return `name`, shortened where it is too long, and take it; `path` is what is called so."""
        found = shorten(name)
        if found in self._taken:
            self.collided = True
            found = digested(name, path)
        self._taken.add(found)
        return found


def add_indexes(found: ProviderTable, names: Names) -> Iterator[str]:
    """Declare the indexes of a table; give warnings.

    A unique one says what Salesforce does: upper and lower case are one unless the field is case-sensitive, and a
    deleted record takes no value. Raises `MonarchError` for one that a person asks for and no value would fit in.
    """
    for name, field in found.fields.items():
        if name == ID_COLUMN or not _has_index(field):
            continue
        column = found.table.columns[name]
        if not _fits_index(column.type):
            told = f"{found.object}.{field.name}: {column.type} may hold values that are longer than an index takes"
            if field.choices.index:
                raise MonarchError(
                    f"{told}, so its choices.index cannot be had.",
                    remedy=f'Remove it, or add "column_type": "varchar(n)" with n up to {MOST_INDEXED_CHARACTERS}.',
                )
            yield f"{told}; its external id has no index"
            continue
        unique = field.externalId and field.unique
        folded = unique and not field.caseSensitive and isinstance(column.type, String)
        free = names.free(f"{'uq' if unique else 'ix'}_{found.table.name}_{name}", f"{found.object}.{field.name}")
        deleted = found.table.columns.get(DELETED_COLUMN)
        where: dict[str, Any] = {}
        if unique and deleted is not None and isinstance(deleted.type, Boolean):
            where["postgresql_where"] = deleted.is_not(true())
        Index(free, func.lower(column) if folded else column, unique=unique, **where)


def add_keys(found: ProviderTable, tables: Mapping[str, ProviderTable], objects: Declared, file: str) -> None:
    """Declare the foreign keys that `choices` ask for; `tables` has all tables by their objects, in lower case.

    They are checked at the end of a transaction, so that records may be loaded in any order, and not for rows that are
    there already. Raises `MonarchError`, naming object, field and targets, for one that cannot be had.
    """
    for name, field in found.fields.items():
        if not field.choices.foreign_key:
            continue
        target = tables.get(objects.heir(field.referenceTo[0])) if len(field.referenceTo) == 1 else None
        if (reason := _no_key(field, found.table.columns[name].type, target)) or target is None:
            raise MonarchError(
                f"{found.object}.{field.name} in {file} has choices.foreign_key, but {reason}.",
                remedy="Remove foreign_key there"
                + (
                    f", or fetch {field.referenceTo[0]} too (it must be in the selection)."
                    if len(field.referenceTo) == 1 and target is None
                    else "."
                ),
            )
        key = ForeignKeyConstraint(
            [name],
            [target.table.columns[ID_COLUMN]],
            name=shorten(f"fk_{found.table.name}_{name}_{target.table.name}"),
            deferrable=True,
            initially="DEFERRED",
            # PostgreSQL ignores NOT VALID in CREATE TABLE.
            use_alter=True,
            postgresql_not_valid=True,
        )
        found.table.append_constraint(key)


def _has_index(field: Field) -> bool:
    if field.choices.index is not None:
        return field.choices.index
    # Without one, PostgreSQL reads the whole table for each record that goes.
    return field.externalId or field.name == CHANGED_FIELD or field.choices.foreign_key


def _fits_index(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, String):
        return kind.length is not None and kind.length <= MOST_INDEXED_CHARACTERS
    return not isinstance(kind, LargeBinary | JSONB)


def _no_key(field: Field, kind: TypeEngine[Any], target: ProviderTable | None) -> str:
    """Return why a field cannot have a foreign key, "" where it can."""
    if field.type != "reference" or not field.referenceTo:
        return f"it is no lookup to an object (its type is {field.type or 'not known'})"
    if len(field.referenceTo) > 1:
        listed = ", ".join(field.referenceTo[:SHOWN_TARGETS])
        more = ", …" if len(field.referenceTo) > SHOWN_TARGETS else ""
        return (
            f"it refers to one of {len(field.referenceTo)} objects ({listed}{more}), and a foreign key has one target"
        )
    if (field.length or ID_LENGTH) != ID_LENGTH:
        return f"it refers to {field.referenceTo[0]} by a key of {field.length} characters and not by its Id"
    if target is None:
        return f"it refers to {field.referenceTo[0]}, which is not in the file"
    if not isinstance(kind, String) or not isinstance(target.table.columns[ID_COLUMN].type, String):
        return f"its type is {kind}, and that of {target.object}.Id {target.table.columns[ID_COLUMN].type}"
    return ""
