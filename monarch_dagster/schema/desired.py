"""The desired schema: core models and the provider's tables together, and their DDL.

Reads the sources; what the database has, and how to get there, belongs in `facts` and `migrations`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_mock_engine, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.memory import take_apart, uncollected
from monarch_dagster.salesforce.object_meta import FILE_NAME, ObjectMeta, digest, read_object_meta
from monarch_dagster.schema.core_models import importing, read_core_models, source_digest
from monarch_dagster.schema.declared import CoreModels, EnumType, NamedSequence, View
from monarch_dagster.schema.provider import Known, ProviderTables, add_provider_tables
from monarch_dagster.streaming import streamed


@dataclass(frozen=True)
class Sources:
    """Where the desired schema is declared."""

    root: Path
    schema_dir: Path
    core_models: str
    provider_schema: str
    # Where what is found out about revisions made from them is kept.
    memo: Memo = field(default_factory=Memo, compare=False)

    @property
    def object_meta_path(self) -> Path:
        """The path of `object_meta.json`."""
        return self.schema_dir / FILE_NAME

    @contextmanager
    def taking(self) -> Iterator[Taken]:
        """See which content `object_meta.json` has, and begin to import the core models.

        Raises `MonarchError` where the file cannot be read.
        """
        with importing(self.core_models, self.root) as imported:
            yield Taken(imported, digest(self.object_meta_path), self.provider_schema)

    def digests(self) -> SourceDigests:
        """Return digests of all that the desired schema is made from, without importing anything.

        Raises `MonarchError` when a source cannot be read.
        """
        core_models, object_meta = source_digest(self.core_models, self.root), digest(self.object_meta_path)
        parts = (core_models, object_meta, self.provider_schema)
        return SourceDigests(core_models, object_meta, hashlib.sha256("\n".join(parts).encode()).hexdigest())


@dataclass(frozen=True)
class Taken:
    """The sources at a moment: the core models, which are imported meanwhile, and the digest of `object_meta.json`."""

    imported: Callable[[], bytes]
    object_meta: str
    provider_schema: str

    @cached_property
    def models(self) -> str:
        """A digest, in hex, of what the core models declare; it is waited for. Raises `MonarchError` as `importing`."""
        return hashlib.sha256(self.imported()).hexdigest()


@dataclass(frozen=True)
class SourceDigests:
    """SHA-256 in hex of the core models' files and of `object_meta.json` ("" for none), and of all sources together."""

    core_models: str
    object_meta: str
    all: str


@dataclass(frozen=True)
class Desired:
    """The desired schema: all tables, the schemas that are in use, and what came of the provider's objects.

    Views, enum types and sequences stand beside the tables; columns refer to an enum type by its name, and views follow
    those that they use.
    """

    metadata: MetaData
    schemas: tuple[str, ...]
    # Of the provider's tables, those that are known are not in the metadata.
    provider: ProviderTables = field(default_factory=ProviderTables)
    views: tuple[View, ...] = field(default=())
    enums: tuple[EnumType, ...] = field(default=())
    sequences: tuple[NamedSequence, ...] = field(default=())
    # What the provider's tables came from.
    meta: ObjectMeta = field(default_factory=ObjectMeta)
    # All that it follows from; None where that changed meanwhile, or is not known.
    taken: Taken | None = field(default=None, compare=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the mapping."""
        return self.provider.warnings

    def close(self) -> None:
        """Free the tables; they are not to be used any more."""
        take_apart(self.metadata.tables.values())


@uncollected()
def build_desired(sources: Sources, taken: Taken | None = None, known: Mapping[str, Known] | None = None) -> Desired:
    """Read all sources and return the desired schema.

    The core models are those that were `taken`, if any; the provider's tables that are `known`, by the digests of their
    entries, are not declared again. Raises `MonarchError` for a source that cannot be read or contradicts itself or
    another one.
    """
    if taken is None:
        with sources.taking() as now:
            return build_desired(sources, now, known)
    meta = read_object_meta(sources.object_meta_path) or ObjectMeta()
    models = read_core_models(taken.imported())
    metadata = models.metadata
    if _in_the_way(models, sources.provider_schema):
        known = {}
    provider = add_provider_tables(metadata, meta, sources.provider_schema, str(sources.object_meta_path), known)
    _check_references(metadata)
    others = (*models.views, *models.enums, *models.sequences)
    schemas = {str(table.schema) for table in metadata.tables.values()} | {item.schema for item in others}
    schemas |= {sources.provider_schema} if provider.known else set()
    is_same = taken.object_meta == digest(sources.object_meta_path)
    declared = models.views, models.enums, models.sequences
    return Desired(metadata, tuple(sorted(schemas)), provider, *declared, meta, taken if is_same else None)


def ddl(desired: Desired) -> Iterator[str]:
    """Give the statements that build the desired schema in an empty database, in an order that works.

    Raises `MonarchError` for a declaration that SQLAlchemy has no DDL for.
    """
    yield from (f'CREATE SCHEMA IF NOT EXISTS "{name}"' for name in desired.schemas)
    yield from (kind.create_sql for kind in desired.enums)
    yield from (item.create_sql for item in desired.sequences)
    yield from streamed(partial(_create_tables, desired.metadata))
    yield from (view.create_sql for view in desired.views)


@uncollected()
def _create_tables(metadata: MetaData, send: Callable[[str], None]) -> None:
    def record(element: Any, *_: Any, **__: Any) -> None:
        send(str(element.compile(dialect=engine.dialect)).strip())

    # Percent signs are doubled for the driver's own parameter style, which is not in play here.
    engine = create_mock_engine("postgresql+psycopg://", record, paramstyle="named")
    try:
        metadata.create_all(engine, checkfirst=False)
    except exc.SQLAlchemyError as error:
        raise MonarchError(f"The desired schema has no DDL: {error}", remedy="Correct the model.") from None


def _in_the_way(models: CoreModels, schema: str) -> bool:
    """Say whether core models may use or take names of the provider's schema; what a view selects from is text."""
    used = {table.schema for table in models.metadata.tables.values()}
    used |= {item.schema for item in (*models.views, *models.enums, *models.sequences)}
    return schema in used or any(schema.lower() in view.select.lower() for view in models.views)


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
