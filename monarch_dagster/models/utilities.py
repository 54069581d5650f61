"""Schema `utilities`: what the platform knows about itself, namely its runs, its parameters and what its columns mean.

Client data does not belong here, nor secrets (a parameter is readable by whoever may read the schema), nor anything
about single loads (see `landing`) or records (see `staging`).

The two registries are a projection of `object_meta.json` for analysts. Monarch rewrites them after an apply, so no
other table may refer to them: a foreign key would turn a stale description into a failed load.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from monarch_dagster.models.base import Base, Now, ObjectName, Provider, Who, one_of

SCHEMA: Final = "utilities"


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class ParameterScope(StrEnum):
    """What a parameter applies to, from the widest to the narrowest."""

    GLOBAL = "global"
    PROVIDER = "provider"
    OBJECT = "object"
    JOB = "job"


class ParameterType(StrEnum):
    """The type that a parameter's value must have."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    JSON = "json"


class RunLog(Base):
    """One Dagster run that wrote to the warehouse: what ran, for whom, and how it ended.

    It outlives Dagster's own storage, which is another database and is pruned.
    """

    __tablename__ = "run_log"
    __table_args__ = (
        one_of("status", RunStatus),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_unless_running"),
        CheckConstraint("finished_at >= started_at", name="finished_after_start"),
        CheckConstraint("jsonb_typeof(config) = 'object'", name="config_is_object"),
        CheckConstraint("jsonb_typeof(tags) = 'object'", name="tags_is_object"),
        CheckConstraint("error IS NULL OR status IN ('failed', 'canceled')", name="error_only_when_not_succeeded"),
        Index(None, "job_name", "started_at"),
        Index("ix_run_log_running", "started_at", postgresql_where=text("status = 'running'")),
        {"schema": SCHEMA, "comment": "Dagster runs that wrote to the warehouse, one row per run."},
    )

    run_id: Mapped[str] = mapped_column(primary_key=True, comment="Run id as Dagster shows it.")
    job_name: Mapped[str] = mapped_column(comment="Name of the Dagster job.")
    status: Mapped[str] = mapped_column(
        server_default=RunStatus.RUNNING.value,
        comment="running, succeeded, failed or canceled. A killed run stays running until someone marks it.",
    )
    started_at: Mapped[Now] = mapped_column(comment="When the run began its work.")
    finished_at: Mapped[datetime | None] = mapped_column(comment="When the run ended; null while it is running.")
    launched_by: Mapped[Who] = mapped_column(
        comment="Person, schedule or sensor that launched the run; the database role where nobody said."
    )
    code_version: Mapped[str | None] = mapped_column(comment="Version of the code that ran, such as a git commit.")
    config: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="Run configuration as given, without secrets."
    )
    tags: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="Dagster run tags worth keeping, such as the host."
    )
    error: Mapped[str | None] = mapped_column(comment="Message of the failure that ended the run.")


class Parameter(Base):
    """A setting that changes without a deployment, typed, for one scope.

    A reader asks from the narrowest scope to the widest and takes the first answer.
    """

    __tablename__ = "parameter"
    __table_args__ = (
        one_of("scope", ParameterScope),
        one_of("value_type", ParameterType),
        CheckConstraint("(scope = 'global') = (scope_name = '')", name="scope_name_unless_global"),
        CheckConstraint(
            # CASE, because a row must not be judged by the branch of another type. The dates are checked by
            # form only: a cast to date depends on the session and may not stand in a constraint.
            "CASE value_type"
            " WHEN 'text' THEN jsonb_typeof(value) = 'string'"
            " WHEN 'integer' THEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]+$'"
            " WHEN 'number' THEN jsonb_typeof(value) = 'number'"
            " WHEN 'boolean' THEN jsonb_typeof(value) = 'boolean'"
            " WHEN 'date' THEN value::text ~ '^\"[0-9]{4}-[0-9]{2}-[0-9]{2}\"$'"
            " ELSE true END",
            name="value_of_type",
        ),
        {"schema": SCHEMA, "comment": "Typed settings by scope; the narrowest scope that has a name wins. No secrets."},
    )

    scope: Mapped[str] = mapped_column(
        primary_key=True,
        server_default=ParameterScope.GLOBAL.value,
        comment="What the parameter applies to: global, provider, object or job.",
    )
    # Empty and not null, so that it can stand in the primary key.
    scope_name: Mapped[str] = mapped_column(
        primary_key=True,
        server_default="",
        comment="Which provider, object (provider.Object) or job; empty for the global scope.",
    )
    name: Mapped[str] = mapped_column(primary_key=True, comment="Name of the parameter, unique within its scope.")
    value_type: Mapped[str] = mapped_column(comment="Type of the value: text, integer, number, boolean, date or json.")
    value: Mapped[Any] = mapped_column(JSONB, comment="The value, as JSON.")
    description: Mapped[str | None] = mapped_column(comment="What the parameter does and which values make sense.")
    updated_at: Mapped[Now] = mapped_column(comment="When the value was last set; the writer keeps it.")
    updated_by: Mapped[Who] = mapped_column(comment="Who last set the value.")


class ObjectRegistry(Base):
    """An object of a provider and the table that mirrors it."""

    __tablename__ = "object_registry"
    __table_args__ = (
        UniqueConstraint("schema_name", "table_name"),
        Index(None, "namespace", postgresql_where=text("namespace IS NOT NULL")),
        Index("ix_object_registry_missing", "missing_since", postgresql_where=text("missing_since IS NOT NULL")),
        {
            "schema": SCHEMA,
            "comment": "Objects of the providers and the tables that mirror them. Rewritten by Monarch after an apply.",
        },
    )

    provider: Mapped[Provider] = mapped_column(primary_key=True)
    api_name: Mapped[str] = mapped_column(
        primary_key=True, comment="API name of the object in its provider, such as Account."
    )
    schema_name: Mapped[str] = mapped_column(comment="PostgreSQL schema of the table that mirrors the object.")
    table_name: Mapped[str] = mapped_column(comment="PostgreSQL table that mirrors the object.")
    label: Mapped[str] = mapped_column(comment="Name that users see; the API name where the provider gives none.")
    namespace: Mapped[str | None] = mapped_column(
        comment="Namespace of the managed package that brought the object; null for standard objects and the org's own."
    )
    is_custom: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the object was added to the provider's standard data model."
    )
    missing_since: Mapped[datetime | None] = mapped_column(
        comment="Since when fetches no longer see the object; its table and rows are kept. Null while it is seen."
    )
    first_seen_at: Mapped[Now] = mapped_column(comment="When the object was first registered.")
    updated_at: Mapped[Now] = mapped_column(comment="When the description last changed; the writer keeps it.")


class FieldRegistry(Base):
    """A field of a provider's object and the column that mirrors it: the analysts' data dictionary."""

    __tablename__ = "field_registry"
    __table_args__ = (
        ForeignKeyConstraint(
            ["provider", "object_name"],
            [ObjectRegistry.provider, ObjectRegistry.api_name],
            ondelete="CASCADE",
        ),
        UniqueConstraint("provider", "object_name", "column_name"),
        CheckConstraint("(column_name IS NULL) = (column_type IS NULL)", name="column_name_and_type"),
        CheckConstraint("formula IS NULL OR is_calculated", name="formula_only_when_calculated"),
        # Answers "which fields point at this object", `reference_to @> ARRAY['Account']`.
        Index(None, "reference_to", postgresql_using="gin"),
        Index(None, "namespace", postgresql_where=text("namespace IS NOT NULL")),
        Index("ix_field_registry_missing", "missing_since", postgresql_where=text("missing_since IS NOT NULL")),
        {
            "schema": SCHEMA,
            "comment": "Fields of the providers' objects: what each column of a mirrored table means."
            " Rewritten by Monarch after an apply.",
        },
    )

    provider: Mapped[Provider] = mapped_column(primary_key=True)
    object_name: Mapped[ObjectName] = mapped_column(primary_key=True)
    api_name: Mapped[str] = mapped_column(
        primary_key=True, comment="API name of the field in its object, such as AnnualRevenue."
    )
    column_name: Mapped[str | None] = mapped_column(
        comment="Column that mirrors the field; null for compound fields, whose parts have the columns."
    )
    column_type: Mapped[str | None] = mapped_column(comment="PostgreSQL type of the column, as format_type writes it.")
    label: Mapped[str] = mapped_column(comment="Name that users see; the API name where the provider gives none.")
    provider_type: Mapped[str] = mapped_column(comment="Type of the field in its provider, such as picklist.")
    reference_to: Mapped[list[str]] = mapped_column(
        ARRAY(Text),
        server_default=text("'{}'::text[]"),
        comment="Objects that a lookup may point to, by API name; more than one for polymorphic lookups.",
    )
    relationship_name: Mapped[str | None] = mapped_column(comment="Name by which provider queries follow the lookup.")
    is_calculated: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="Whether the provider computes the value. Such a value can change without the record being modified.",
    )
    formula: Mapped[str | None] = mapped_column(comment="Formula of a calculated field, where the provider shows it.")
    is_external_id: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the field holds the record's id in another system."
    )
    is_unique: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the provider keeps the values unique."
    )
    is_custom: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the field was added to the provider's standard data model."
    )
    namespace: Mapped[str | None] = mapped_column(
        comment="Namespace of the managed package that brought the field; null for standard fields and the org's own."
    )
    missing_since: Mapped[datetime | None] = mapped_column(
        comment="Since when fetches no longer see the field; its column and values are kept. Null while it is seen."
    )
    first_seen_at: Mapped[Now] = mapped_column(comment="When the field was first registered.")
    updated_at: Mapped[Now] = mapped_column(comment="When the description last changed; the writer keeps it.")
