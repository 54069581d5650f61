"""The provider's tables: a table per object of `object_meta.json`, a column per field (DESIGN section 7).

What indexes and foreign keys they get belongs in `provider_keys`; what a former name comes to, in `salesforce.renamed`
and `migrations.renames`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import FILE_NAME, Field, Object, ObjectMeta, render_field
from monarch_dagster.salesforce.renamed import Declared, declared
from monarch_dagster.salesforce.type_mapping import column_type, has_column
from monarch_dagster.schema.columns import MOST_COLUMNS
from monarch_dagster.schema.facts import Aspects
from monarch_dagster.schema.naming import SYSTEM_COLUMNS, sql_name
from monarch_dagster.schema.provider_keys import Names, ProviderTable, add_indexes, add_keys

ID_FIELD = "Id"
# In `info` of a table or column: what it was called before, and which entry of the file it comes from.
RENAMED_FROM = "renamed_from"
ENTRY = "entry"


@dataclass(frozen=True)
class Entry:
    """An entry of `object_meta.json`, in the words of that file: an object, or a field of one."""

    file: str
    object: str
    choices: Any
    field: Field | None = None

    def __str__(self) -> str:
        return self.object if self.field is None else f"{self.object}.{self.field.name}"

    @property
    def renamed_from(self) -> str:
        """What a person says that it was called before, "" for nothing."""
        return str(self.choices.renamed_from)

    def line(self, renamed_from: str, **choices: Any) -> str:
        """Return the line that says so: of a field the whole one, of an object the one above its fields."""
        said = self.choices.model_copy(update={**choices, "renamed_from": renamed_from})
        if self.field is not None:
            return render_field(self.field.model_copy(update={"choices": said}))
        return f'"choices": {{"renamed_from": "{renamed_from}"}},'


@dataclass(frozen=True)
class Part:
    """What a table that stands alone adds to the whole: its entry's digest, the names that it takes, its warnings."""

    digest: str
    names: tuple[str, ...]
    # Of the table and its columns, and of its indexes.
    warnings: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Known:
    """A table that was declared before, from the very same entry, and the facts that it came to."""

    part: Part
    facts: Aspects


@dataclass(frozen=True)
class ProviderTables:
    """What came of declaring the provider's tables.

    `known` are those, by their keys in a metadata, that were not declared again; `parts` has those that may be known
    next time.
    """

    warnings: tuple[str, ...] = ()
    known: Mapping[str, Known] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)


def add_provider_tables(
    metadata: MetaData, meta: ObjectMeta, schema: str, file: str = FILE_NAME, known: Mapping[str, Known] | None = None
) -> ProviderTables:
    """Declare a table per object in `metadata`; the warnings are of unknown types and shortened names.

    Args:
        metadata: the core models.
        meta: the objects.
        schema: the schema of the tables.
        file: where `meta` was read, for messages.
        known: what need not be declared again, by the digests of entries.

    Raises `MonarchError` where two objects or fields share a name, where a core model has the table already, and for
    choices that cannot be had.
    """
    objects = declared(meta)
    alone = _alone(metadata, objects, schema)
    tables: dict[str, ProviderTable | Known] = {}
    digests: dict[str, str] = {}
    told: dict[str, tuple[list[str], list[str]]] = {}
    taken: dict[str, str] = {}
    for name, item in sorted(objects.objects.items()):
        table_name = sql_name(name)
        if (other := taken.setdefault(table_name, name)) != name:
            raise _one_name(f"The objects {other} and {name}", f"table {table_name}")
        if f"{schema}.{table_name}" in metadata.tables:
            raise MonarchError(
                f"The table {schema}.{table_name} of object {name} is declared by the core models too.",
                remedy=f"Rename the core model, leave {name} out of the selection, or change MONARCH_PROVIDER_SCHEMA.",
            )
        key = name.lower()
        if key in alone:
            digests[key] = hashlib.sha256(f"{schema}\0{name}\0{item.model_dump_json()}".encode()).hexdigest()
        if (before := (known or {}).get(digests.get(key, ""))) is not None:
            tables[key] = before
            told[key] = (list(before.part.warnings[0]), list(before.part.warnings[1]))
            continue
        told[key] = ([], [])
        if table_name != key:
            told[key][0].append(f"{name}: the table name is shortened to {table_name}")
        fields, columns = _columns(Entry(file, name, item.choices), item, told[key][0])
        table = Table(table_name, metadata, *columns, schema=schema, info=_info(Entry(file, name, item.choices)))
        tables[key] = ProviderTable(name, table, fields)
    made = {key: found for key, found in tables.items() if isinstance(found, ProviderTable)}
    # Tables and indexes share their names within a schema.
    names = Names({*taken, *(table.name for table in metadata.tables.values() if table.schema == schema)})
    for found in tables.values():
        if isinstance(found, Known):
            names.take(found.part.names)
    for found in made.values():
        name = names.free(f"pk_{found.table.name}", found.object)
        found.table.append_constraint(PrimaryKeyConstraint(sql_name(ID_FIELD), name=name))
    for key, found in made.items():
        told[key][1].extend(add_indexes(found, names))
        add_keys(found, made, objects, file)
    if names.collided and len(made) < len(tables):
        # Who comes first gets the name, so that each depends on all.
        for found in made.values():
            metadata.remove(found.table)
        return add_provider_tables(metadata, meta, schema, file)
    parts = {
        found.table.key: Part(digests[key], _names(found.table), (tuple(told[key][0]), tuple(told[key][1])))
        for key, found in made.items()
        if key in digests and not names.collided
    }
    warnings = [line for part in (0, 1) for lines in told.values() for line in lines[part]]
    kept = {f"{schema}.{sql_name(key)}": found for key, found in tables.items() if isinstance(found, Known)}
    return ProviderTables(tuple(warnings), kept, parts)


def _alone(metadata: MetaData, objects: Declared, schema: str) -> set[str]:
    """Return the objects, in lower case, whose tables follow from their own entries, and which no other refers to."""
    apart: set[str] = set()
    targets = {
        key.target_fullname.rpartition(".")[0] for table in metadata.tables.values() for key in table.foreign_keys
    }
    for name, item in objects.objects.items():
        keys = [field for field in item.fields if field.choices.foreign_key]
        targets |= {f"{schema}.{sql_name(objects.heir(target))}" for field in keys for target in field.referenceTo}
        renamed = item.choices.renamed_from or any(field.choices.renamed_from for field in item.fields)
        if not (keys or renamed):
            apart.add(name.lower())
    return {name for name in apart if f"{schema}.{sql_name(name)}" not in targets}


def _names(table: Table) -> tuple[str, ...]:
    return (str(table.primary_key.name), *sorted(str(index.name) for index in table.indexes))


def _columns(entry: Entry, item: Object, warnings: list[str]) -> tuple[dict[str, Field], list[Column[Any]]]:
    """Return the fields that have columns, by the names of these, and the columns."""
    name = entry.object
    components = {field.compoundFieldName for field in item.fields if field.compoundFieldName}
    columns: dict[str, Column[Any]] = {}
    fields: dict[str, Field] = {}
    for described in sorted(item.fields, key=lambda field: (field.name != ID_FIELD, field.name)):
        if not has_column(described, components):
            asked = described.choices
            if asked.renamed_from or asked.index or asked.foreign_key:
                raise MonarchError(
                    f"{name}.{described.name} in {entry.file} has choices, and no column that they could be about: "
                    f"the fields that it is composed of have theirs.",
                    remedy="Say it at one of those fields, and remove it here.",
                )
            continue
        column_name = sql_name(described.name)
        if column_name in SYSTEM_COLUMNS:
            raise MonarchError(
                f"{name}.{described.name}: {column_name} is a system column of PostgreSQL; no table can have it.",
                remedy="Remove that field from object_meta.json.",
            )
        if column_name in columns:
            raise _one_name(f"Two fields of {name}, one of them {described.name},", f"column {column_name}")
        kind, warning = column_type(described)
        shortened = column_name != described.name.lower()
        if warning:
            warnings.append(f"{name}.{described.name}: {warning}")
        if shortened:
            warnings.append(f"{name}.{described.name}: the column name is shortened to {column_name}")
        is_key = column_name == sql_name(ID_FIELD)
        fields[column_name] = described
        columns[column_name] = Column(
            column_name,
            kind,
            nullable=not is_key,
            # Its values come from the org; SQLAlchemy would make a key of numbers a serial.
            autoincrement=False if is_key and not isinstance(kind, String) else "auto",
            comment=f"Salesforce API name: {described.name}" if shortened else None,
            info=_info(Entry(entry.file, name, described.choices, described)),
        )
    if sql_name(ID_FIELD) not in columns:
        raise MonarchError(
            f"The object {name} in object_meta.json has no field {ID_FIELD}, which is its table's key.",
            remedy=f"Add the field {ID_FIELD} of type id, or remove the object.",
        )
    if len(columns) > MOST_COLUMNS:
        raise MonarchError(
            f"The object {name} in {entry.file} has {len(columns):,} fields with columns of their own; PostgreSQL "
            f"allows {MOST_COLUMNS:,} a table.",
            remedy=f'Leave fields of it out ("selection" → "exclude": "{name}.Field__c", and remove their entries), or '
            f'the whole of it ("{name}").',
        )
    return fields, list(columns.values())


def _info(entry: Entry) -> dict[Any, Any]:
    former = {RENAMED_FROM: sql_name(entry.renamed_from)} if entry.renamed_from else {}
    return {ENTRY: entry, **former}


def _one_name(two: str, what: str) -> MonarchError:
    # Upper and lower case are told apart before; what is left is a name that is another one's shortened form.
    return MonarchError(f"{two} would share the {what}.", remedy="Rename one of the two, or remove it from the file.")
