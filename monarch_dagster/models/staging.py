"""Schema `staging`: how far landed records have got on their way into the typed tables of their provider's schema.

The typed rows themselves live in the provider's schema (such as `salesforce.account`), the delivered ones in `landing`;
here is the state between the two. It can be rebuilt from those, so nothing that only a person knows belongs here.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from monarch_dagster.models.base import Base, Count, IdentityKey, Now, ObjectName, Provider, SourceId, one_of
from monarch_dagster.models.landing import LoadBatch

SCHEMA: Final = "staging"


class StageStatus(StrEnum):
    """Where the staging of a batch stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RecordStatus(StrEnum):
    """Where a record stands between landing and its typed row."""

    PENDING = "pending"
    STAGED = "staged"
    FAILED = "failed"
    DELETED = "deleted"


class ConversionEffect(StrEnum):
    """What became of a value that does not fit its column."""

    VALUE_DROPPED = "value_dropped"
    RECORD_FAILED = "record_failed"


class ObjectWatermark(Base):
    """How far an object has been loaded and staged; the next incremental load starts from here."""

    __tablename__ = "object_watermark"
    __table_args__ = (
        Index(None, "last_batch_id"),
        {"schema": SCHEMA, "comment": "Where the next load of each object starts."},
    )

    provider: Mapped[Provider] = mapped_column(primary_key=True)
    object_name: Mapped[ObjectName] = mapped_column(primary_key=True)
    watermark: Mapped[datetime | None] = mapped_column(
        comment="Every record modified before this, in the provider's time, is staged. Null: a full load is due."
    )
    resume_token: Mapped[str | None] = mapped_column(
        comment="Where an interrupted load resumes, in the provider's own terms (Salesforce: the query locator)."
    )
    full_load_requested: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the next load must be full, for instance after a type change."
    )
    last_batch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="SET NULL"), comment="Load that moved the watermark last, while it is kept."
    )
    updated_at: Mapped[Now] = mapped_column(comment="When the row last changed; the writer keeps it.")


class BatchResult(Base):
    """What staging made of one landed batch: the figures by which a load is checked."""

    __tablename__ = "batch_result"
    __table_args__ = (
        one_of("status", StageStatus),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_unless_running"),
        CheckConstraint("finished_at >= started_at", name="finished_after_start"),
        CheckConstraint(
            "inserted_count >= 0 AND updated_count >= 0 AND unchanged_count >= 0"
            " AND deleted_count >= 0 AND failed_count >= 0",
            name="counts",
        ),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error_when_failed"),
        {"schema": SCHEMA, "comment": "Outcome of staging a landed batch, one row per batch."},
    )

    batch_id: Mapped[UUID] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="CASCADE"), primary_key=True, comment="The landed batch."
    )
    status: Mapped[str] = mapped_column(
        server_default=StageStatus.RUNNING.value, comment="running, succeeded or failed."
    )
    started_at: Mapped[Now] = mapped_column(comment="When staging of the batch began.")
    finished_at: Mapped[datetime | None] = mapped_column(comment="When it ended; null while it is running.")
    inserted_count: Mapped[Count] = mapped_column(comment="Typed rows inserted.")
    updated_count: Mapped[Count] = mapped_column(comment="Typed rows updated.")
    unchanged_count: Mapped[Count] = mapped_column(comment="Records skipped, since their digest had not changed.")
    deleted_count: Mapped[Count] = mapped_column(comment="Records marked deleted.")
    failed_count: Mapped[Count] = mapped_column(comment="Records that could not be converted.")
    error: Mapped[str | None] = mapped_column(comment="Message of the failure; set when and only when staging failed.")


class RecordState(Base):
    """The state of one source record across all loads."""

    __tablename__ = "record_state"
    __table_args__ = (
        one_of("status", RecordStatus),
        CheckConstraint("octet_length(payload_digest) = 32", name="payload_digest"),
        CheckConstraint("status = 'deleted' OR payload_digest IS NOT NULL", name="digest_unless_deleted"),
        Index(None, "last_batch_id"),
        # The work queue stays small beside a table in which nearly every row is staged.
        Index(
            "ix_record_state_open",
            "provider",
            "object_name",
            "changed_at",
            postgresql_where=text("status IN ('pending', 'failed')"),
        ),
        {"schema": SCHEMA, "comment": "State of every source record between landing and its typed row."},
    )

    provider: Mapped[Provider] = mapped_column(primary_key=True)
    object_name: Mapped[ObjectName] = mapped_column(primary_key=True)
    source_id: Mapped[SourceId] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(
        server_default=RecordStatus.PENDING.value,
        comment="pending: landed, not yet converted; staged: typed row is current; failed: could not be converted;"
        " deleted: gone from the provider.",
    )
    payload_digest: Mapped[bytes | None] = mapped_column(
        comment="Digest of the last landed payload (landing.raw_record); an equal one needs no new conversion."
    )
    last_batch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="SET NULL"),
        comment="Load that delivered the record last, while it is kept. A full load that did not has lost the record.",
    )
    source_modified_at: Mapped[datetime | None] = mapped_column(
        comment="When the provider last modified the record, as of the last load."
    )
    first_seen_at: Mapped[Now] = mapped_column(comment="When the record was first landed.")
    changed_at: Mapped[Now] = mapped_column(comment="When status or digest last changed; the writer keeps it.")


class ConversionError(Base):
    """A value of a source record that does not fit the column it is meant for."""

    __tablename__ = "conversion_error"
    __table_args__ = (
        ForeignKeyConstraint(
            ["provider", "object_name", "source_id"],
            [RecordState.provider, RecordState.object_name, RecordState.source_id],
            # The convention's name would take all 63 bytes that PostgreSQL has for one.
            name="fk_conversion_error_record_state",
            ondelete="CASCADE",
        ),
        one_of("effect", ConversionEffect),
        CheckConstraint("resolved_at >= occurred_at", name="resolved_after_occurred"),
        # A field is wrong once, however often its record is loaded again.
        Index(
            "ix_conversion_error_open",
            "provider",
            "object_name",
            "source_id",
            "field_name",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "provider", "object_name", "source_id"),
        Index(None, "batch_id"),
        {"schema": SCHEMA, "comment": "Values that do not fit their column, one row per record and field."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Number of the row, without meaning outside this table.")
    provider: Mapped[Provider]
    object_name: Mapped[ObjectName]
    source_id: Mapped[SourceId]
    field_name: Mapped[str] = mapped_column(comment="API name of the field in its object.")
    batch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="SET NULL"), comment="Load that delivered the value, while it is kept."
    )
    column_type: Mapped[str] = mapped_column(comment="PostgreSQL type that the value does not fit.")
    source_value: Mapped[str | None] = mapped_column(comment="The value as delivered, as text; may be cut.")
    message: Mapped[str] = mapped_column(comment="What was found and what was expected.")
    effect: Mapped[str] = mapped_column(
        comment="value_dropped: the column is null in the typed row; record_failed: the typed row was not written."
    )
    occurred_at: Mapped[Now] = mapped_column(comment="When the value was first refused.")
    resolved_at: Mapped[datetime | None] = mapped_column(
        comment="When the value fitted, or somebody closed the error; null while it is open."
    )
