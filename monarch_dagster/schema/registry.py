"""The registry: which rows of `utilities` say what a provider's tables and columns mean. Pure.

From `object_meta.json` and from what a target really has: a table or column that is pending yet is not told of, since
whoever reads the registry would query it. What that changes of the rows that are there belongs in `registry_changes`,
reading and writing them in `migrations.registry_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from monarch_dagster.postgres.quoting import storable
from monarch_dagster.salesforce.namespaces import namespace_of
from monarch_dagster.salesforce.object_meta import Object, ObjectMeta
from monarch_dagster.salesforce.renamed import declared
from monarch_dagster.salesforce.type_mapping import has_column
from monarch_dagster.schema.naming import sql_name

SCHEMA: Final = "utilities"
OBJECTS: Final = "object_registry"
FIELDS: Final = "field_registry"

_FIELD_KEYS = attrgetter(
    *("name", "label", "type", "referenceTo", "relationshipName", "calculated", "calculatedFormula", "externalId"),
    *("unique", "missing"),
)

Columns = Mapping[str, str]
"""The columns of a table, and their types as `format_type` writes them."""


class ObjectRow(NamedTuple):
    """A row of `utilities.object_registry` without its provider and its times."""

    api_name: str
    schema_name: str
    table_name: str
    label: str
    namespace: str | None
    is_custom: bool
    missing: bool

    @property
    def key(self) -> str:
        """What tells it from the provider's other objects."""
        return self.api_name


class FieldRow(NamedTuple):
    """A row of `utilities.field_registry` without its provider and its times."""

    object_name: str
    api_name: str
    column_name: str | None
    column_type: str | None
    label: str
    provider_type: str
    reference_to: list[str]
    relationship_name: str | None
    is_calculated: bool
    formula: str | None
    is_external_id: bool
    is_unique: bool
    is_custom: bool
    namespace: str | None
    missing: bool

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the provider's other fields."""
        return self.object_name, self.api_name


Row = TypeVar("Row", ObjectRow, FieldRow)
RowKind = type[ObjectRow] | type[FieldRow]

# The columns that are written, with their types as `format_type` writes them; `missing` is `missing_since` there.
_OTHERS = {"missing": "boolean", "reference_to": "text[]"}


def row_types(kind: RowKind) -> dict[str, str]:
    """Return the SQL type of each value of a row."""
    return {name: _OTHERS.get(name, "boolean" if name.startswith("is_") else "text") for name in kind._fields}


def table_types(kind: RowKind) -> dict[str, str]:
    """Return the columns, with their types, that a table must have to hold such rows."""
    times = dict.fromkeys(("missing_since", "first_seen_at", "updated_at"), "timestamp with time zone")
    return {"provider": "text"} | {name: kind for name, kind in row_types(kind).items() if name != "missing"} | times


def unfit(found: Mapping[str, Columns]) -> str:
    """Say why the tables of the schema `utilities` cannot hold the registry; "" where they can.

    They are a client's models, which may lack them, or have tables of these names for something else.
    """
    for table, kind in ((OBJECTS, ObjectRow), (FIELDS, FieldRow)):
        if table not in found:
            return f"the target has no table {SCHEMA}.{table}"
        columns = found[table]
        if other := [name for name, wanted in table_types(kind).items() if columns.get(name) != wanted]:
            return f"{SCHEMA}.{table} has not the columns of a registry ({', '.join(other)})"
    return ""


class _Name(NamedTuple):
    """What follows from an API name alone."""

    column: str
    namespace: str | None
    is_custom: bool


def _name(api_name: str) -> _Name:
    return _Name(sql_name(api_name), namespace_of(api_name), "__" in api_name)


def project(meta: ObjectMeta, schema: str, tables: Mapping[str, Columns]) -> tuple[list[ObjectRow], list[FieldRow]]:
    """Return the rows for the objects and fields of the file that the target has.

    Args:
        meta: the file.
        schema: the provider's schema.
        tables: the tables that the target has there, and their columns.

    A field that has no column by its nature, an address whose parts have them, has a row as soon as its object has one.
    The fields of a missing object are missing too: no fetch sees them. A renamed object has those of its former entry.
    """
    objects: list[ObjectRow] = []
    fields: list[FieldRow] = []
    # Id, Name and the like are in every object.
    named = lru_cache(maxsize=None)(_name)
    going_on = declared(meta).objects if any(item.choices.renamed_from for item in meta.objects.values()) else {}
    for name, item in sorted(meta.objects.items()):
        table, namespace, custom = _name(name)
        if (columns := tables.get(table)) is None:
            continue
        label = storable(item.label) or name
        objects.append(ObjectRow(name, schema, table, label, namespace, item.custom or custom, item.missing))
        fields += _fields(name, _whole(item, going_on.get(name)), columns, named)
    return objects, fields


def _whole(item: Object, going_on: Object | None) -> Object:
    """Return an entry with the fields that only the one of the object's former name has."""
    if going_on is None or not item.choices.renamed_from:
        return item
    own = {field.name for field in item.fields}
    return item.model_copy(update={"fields": (*item.fields, *(f for f in going_on.fields if f.name not in own))})


def _fields(name: str, item: Object, columns: Columns, named: Callable[[str], _Name]) -> Iterator[FieldRow]:
    components = {field.compoundFieldName for field in item.fields if field.compoundFieldName}
    for field in item.fields:
        api_name, label, kind, refers, relationship, calculated, formula, external, unique, missing = _FIELD_KEYS(field)
        column: str | None
        column, namespace, custom = named(api_name)
        if not has_column(field, components):
            column = None
        elif column not in columns:
            continue
        yield FieldRow(
            name,
            api_name,
            column,
            None if column is None else columns[column],
            storable(label) or api_name,
            storable(kind),
            [storable(target) for target in refers] if refers else [],
            relationship or None,
            calculated,
            storable(formula) or None if calculated else None,
            external,
            unique,
            custom,
            namespace,
            missing or item.missing,
        )
