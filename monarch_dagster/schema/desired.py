"""The desired schema: core models and the provider's tables together, and their DDL.

Reads the sources; what the database has, and how to get there, belongs in `facts` and `migrations`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, Table, create_mock_engine, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import FILE_NAME, Object, ObjectMeta, digest, read_object_meta
from monarch_dagster.salesforce.type_mapping import column_type, has_column
from monarch_dagster.schema.core_models import load_core_models, source_digest
from monarch_dagster.schema.declared import EnumType, NamedSequence, View
from monarch_dagster.schema.naming import SYSTEM_COLUMNS, shorten, sql_name

ID_FIELD = "Id"


@dataclass(frozen=True)
class Sources:
    """Where the desired schema is declared."""

    root: Path
    schema_dir: Path
    core_models: str
    provider_schema: str

    @property
    def object_meta_path(self) -> Path:
        """The path of `object_meta.json`."""
        return self.schema_dir / FILE_NAME

    def digest(self) -> str:
        """Return the SHA-256 of all that the desired schema is made from, in hex, without importing anything.

        Raises `MonarchError` when a source cannot be read.
        """
        parts = (source_digest(self.core_models, self.root), digest(self.object_meta_path), self.provider_schema)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Desired:
    """The desired schema: all tables, the schemas that are in use, and what a person should know of the mapping.

    Views, enum types and sequences stand beside the tables; columns refer to an enum type by its name, and views follow
    those that they use.
    """

    metadata: MetaData
    schemas: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())
    views: tuple[View, ...] = field(default=())
    enums: tuple[EnumType, ...] = field(default=())
    sequences: tuple[NamedSequence, ...] = field(default=())


def build_desired(sources: Sources) -> Desired:
    """Read all sources and return the desired schema.

    Raises `MonarchError` for a source that cannot be read or contradicts itself or another one.
    """
    models = load_core_models(sources.core_models, sources.root)
    metadata = models.metadata
    meta = read_object_meta(sources.object_meta_path) or ObjectMeta()
    warnings = add_provider_tables(metadata, meta, sources.provider_schema)
    _check_references(metadata)
    others = (*models.views, *models.enums, *models.sequences)
    schemas = {str(table.schema) for table in metadata.tables.values()} | {item.schema for item in others}
    return Desired(metadata, tuple(sorted(schemas)), warnings, models.views, models.enums, models.sequences)


def add_provider_tables(metadata: MetaData, meta: ObjectMeta, schema: str) -> tuple[str, ...]:
    """Declare a table per object in `metadata`; return warnings (unknown types, shortened names).

    Raises `MonarchError` where two objects or fields share a name, or a core model has the table already.
    """
    warnings: list[str] = []
    declared: dict[str, str] = {}
    for name, item in sorted(meta.objects.items()):
        table_name = sql_name(name)
        if (other := declared.setdefault(table_name, name)) != name:
            raise _one_name(f"The objects {other} and {name}", f"table {table_name}")
        if f"{schema}.{table_name}" in metadata.tables:
            raise MonarchError(
                f"The table {schema}.{table_name} of object {name} is declared by the core models too.",
                remedy=f"Rename the core model, leave {name} out of the selection, or change MONARCH_PROVIDER_SCHEMA.",
            )
        if table_name != name.lower():
            warnings.append(f"{name}: the table name is shortened to {table_name}")
        columns = _columns(name, item, warnings)
        key = PrimaryKeyConstraint(sql_name(ID_FIELD), name=shorten(f"pk_{table_name}"))
        Table(table_name, metadata, *columns, key, schema=schema, info=_renaming(item.choices.renamed_from))
    return tuple(warnings)


def ddl(desired: Desired) -> list[str]:
    """Return the statements that build the desired schema in an empty database, in an order that works.

    Raises `MonarchError` for a declaration that SQLAlchemy has no DDL for.
    """
    statements = [f'CREATE SCHEMA IF NOT EXISTS "{name}"' for name in desired.schemas]
    statements += [kind.create_sql for kind in desired.enums] + [item.create_sql for item in desired.sequences]

    def record(element: Any, *_: Any, **__: Any) -> None:
        statements.append(str(element.compile(dialect=engine.dialect)).strip())

    # Percent signs are doubled for the driver's own parameter style, which is not in play here.
    engine = create_mock_engine("postgresql+psycopg://", record, paramstyle="named")
    try:
        desired.metadata.create_all(engine, checkfirst=False)
    except exc.SQLAlchemyError as error:
        raise MonarchError(f"The desired schema has no DDL: {error}", remedy="Correct the model.") from None
    return [*statements, *(view.create_sql for view in desired.views)]


def _check_references(metadata: MetaData) -> None:
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            try:
                key.column  # noqa: B018 - looking it up is the check
            except exc.SQLAlchemyError as error:
                raise MonarchError(
                    f"The foreign key of {table.key}.{key.parent.name} refers to nothing: {error}",
                    remedy="Declare what it refers to, or correct the reference (schema.table.column).",
                ) from None


def _renaming(api_name: str) -> dict[Any, Any]:
    return {"renamed_from": sql_name(api_name)} if api_name else {}


def _one_name(two: str, what: str) -> MonarchError:
    # Upper and lower case are told apart before; what is left is a name that is another one's shortened form.
    return MonarchError(f"{two} would share the {what}.", remedy="Rename one of the two, or remove it from the file.")


def _columns(name: str, item: Object, warnings: list[str]) -> list[Column[Any]]:
    components = {field.compoundFieldName for field in item.fields if field.compoundFieldName}
    columns: dict[str, Column[Any]] = {}
    for described in sorted(item.fields, key=lambda entry: (entry.name != ID_FIELD, entry.name)):
        if not has_column(described, components):
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
        columns[column_name] = Column(
            column_name,
            kind,
            nullable=described.name != ID_FIELD,
            comment=f"Salesforce API name: {described.name}" if shortened else None,
            info=_renaming(described.choices.renamed_from),
        )
    if sql_name(ID_FIELD) not in columns:
        raise MonarchError(
            f"The object {name} in object_meta.json has no field {ID_FIELD}, which is its table's key.",
            remedy=f"Add the field {ID_FIELD} of type id, or remove the object.",
        )
    return list(columns.values())
