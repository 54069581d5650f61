"""Schema `landing`: what a provider delivered, as it was delivered, and which load brought it.

Rows are written once by the loaders and removed by retention, a batch at a time. Converted values, the state of a
record across loads and anything else that changes after the load belong in `staging`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from monarch_dagster.models.base import Base, Count, IdentityKey, Now, ObjectName, Provider, SourceId, UuidKey, one_of
from monarch_dagster.models.utilities import RunLog

SCHEMA: Final = "landing"


class LoadMode(StrEnum):
    """How much of an object a load asks for."""

    FULL = "full"
    INCREMENTAL = "incremental"


class LoadStatus(StrEnum):
    """Where a load stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RejectionReason(StrEnum):
    """Why a delivered record could not be landed."""

    MALFORMED = "malformed"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    TOO_LARGE = "too_large"


class LoadBatch(Base):
    """One load of one object: what was asked for, how far it got, what it brought.

    The loader may choose the id, so a retry of the same load meets its own batch and not a second one.
    """

    __tablename__ = "load_batch"
    __table_args__ = (
        one_of("mode", LoadMode),
        one_of("status", LoadStatus),
        CheckConstraint("(mode = 'full') = (modified_from IS NULL)", name="modified_from_unless_full"),
        CheckConstraint("modified_from < modified_until", name="window_not_empty"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_unless_running"),
        CheckConstraint("finished_at >= started_at", name="finished_after_start"),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error_when_failed"),
        CheckConstraint("source_count >= 0", name="source_count"),
        CheckConstraint(
            "landed_count >= 0 AND rejected_count >= 0 AND landed_count + rejected_count <= read_count",
            name="counts_add_up",
        ),
        # Two loads of one object at a time would race for its watermark.
        Index(
            "ix_load_batch_one_running",
            "provider",
            "object_name",
            unique=True,
            postgresql_where=text("status = 'running'"),
        ),
        Index(None, "provider", "object_name", "started_at"),
        Index(None, "run_id"),
        {"schema": SCHEMA, "comment": "Loads from the providers, one row per object and attempt."},
    )

    id: Mapped[UuidKey] = mapped_column(comment="Id of the load; the loader may choose it.")
    provider: Mapped[Provider]
    object_name: Mapped[ObjectName]
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey(RunLog.run_id, ondelete="SET NULL"),
        comment="Dagster run that made the load; null once the run log is pruned, or for a load by hand.",
    )
    mode: Mapped[str] = mapped_column(comment="full: every record; incremental: records modified within the window.")
    status: Mapped[str] = mapped_column(
        server_default=LoadStatus.RUNNING.value,
        comment="running, succeeded or failed. One running load per object: mark a killed one failed to go on.",
    )
    started_at: Mapped[Now] = mapped_column(comment="When the load began.")
    finished_at: Mapped[datetime | None] = mapped_column(comment="When the load ended; null while it is running.")
    modified_from: Mapped[datetime | None] = mapped_column(
        comment="Lower bound of the window, included, in the provider's modification time; null for a full load."
    )
    modified_until: Mapped[datetime] = mapped_column(
        comment="Watermark of the load: upper bound of the window, excluded, fixed before the first record is read."
    )
    source_count: Mapped[int | None] = mapped_column(
        BigInteger, comment="Records that the provider said it would deliver; null where it does not say."
    )
    read_count: Mapped[Count] = mapped_column(comment="Records read from the provider.")
    landed_count: Mapped[Count] = mapped_column(comment="Records written to raw_record.")
    rejected_count: Mapped[Count] = mapped_column(comment="Records written to rejected_record.")
    error: Mapped[str | None] = mapped_column(comment="Message of the failure; set when and only when the load failed.")


class RawRecord(Base):
    """A record as the provider delivered it in one batch."""

    __tablename__ = "raw_record"
    __table_args__ = (
        UniqueConstraint("batch_id", "source_id"),
        CheckConstraint("source_id <> ''", name="source_id"),
        CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_is_object"),
        CheckConstraint("is_deleted OR payload IS NOT NULL", name="payload_unless_deleted"),
        Index(None, "source_id", "extracted_at"),
        Index("ix_raw_record_deleted", "batch_id", postgresql_where=text("is_deleted")),
        {"schema": SCHEMA, "comment": "Records as delivered, one row per record and batch. Written once."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Number of the row, without meaning outside this table.")
    batch_id: Mapped[UUID] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="CASCADE"),
        comment="Load that brought the record; the record goes when retention removes the load.",
    )
    source_id: Mapped[SourceId]
    payload: Mapped[dict[str, Any] | None] = mapped_column(
        comment="The record as a JSON object; null where the provider reports a deletion by id only.",
    )
    # Computed here, so that every loader's digest means the same. A generated column must be immutable, which
    # convert_to() is not; the cast to bytea is, and takes every byte as it is once backslashes (92) are doubled.
    # Written as PostgreSQL prints it back, since Alembic compares the text.
    payload_digest: Mapped[bytes | None] = mapped_column(
        Computed("sha256((replace((payload)::text, chr(92), repeat(chr(92), 2)))::bytea)", persisted=True),
        comment="SHA-256 of the payload in jsonb's own form: equal digests, equal records, whatever the key order.",
    )
    is_deleted: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the provider reports the record as deleted."
    )
    source_modified_at: Mapped[datetime | None] = mapped_column(
        comment="When the provider last modified the record (Salesforce: SystemModstamp)."
    )
    extracted_at: Mapped[Now] = mapped_column(comment="When the record was read from the provider.")


class RejectedRecord(Base):
    """A delivered record that could not be landed, kept as bytes so that somebody can look at it."""

    __tablename__ = "rejected_record"
    __table_args__ = (
        one_of("reason", RejectionReason),
        UniqueConstraint("batch_id", "ordinal"),
        CheckConstraint("ordinal >= 0", name="ordinal"),
        {"schema": SCHEMA, "comment": "Delivered records that could not be landed, with the reason."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Number of the row, without meaning outside this table.")
    batch_id: Mapped[UUID] = mapped_column(
        ForeignKey(LoadBatch.id, ondelete="CASCADE"), comment="Load in which the record was delivered."
    )
    ordinal: Mapped[int] = mapped_column(
        BigInteger, comment="Place of the record in the load, from 0: a retry rejects the same record once."
    )
    source_id: Mapped[str | None] = mapped_column(comment="Id of the record in its provider, where one could be read.")
    content: Mapped[bytes] = mapped_column(
        comment="The record as received. Bytes, since what is rejected need not be valid text; may be cut."
    )
    reason: Mapped[str] = mapped_column(comment="malformed, missing_id, duplicate_id or too_large.")
    detail: Mapped[str] = mapped_column(comment="What was found and what was expected.")
    rejected_at: Mapped[Now] = mapped_column(comment="When the record was rejected.")
