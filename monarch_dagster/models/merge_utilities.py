"""Schema `merge_utilities`: which source records are one thing in the world, who said so, and by which rule.

Every source record that takes part is linked to a golden record in the crosswalk, at first to one of its own. Rules
propose pairs of golden records, a decision makes one of them the survivor, and the crosswalk is moved to it.

The golden records' attributes do not belong here: they are derived from the typed tables by the survivorship rules.
Nor does anything refer to `landing` or `staging`: ids that were given away must outlive the retention of loads.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from monarch_dagster.models.base import (
    Base,
    IdentityKey,
    Now,
    ObjectName,
    Provider,
    Score,
    SourceId,
    UuidKey,
    Who,
    one_of,
)

SCHEMA: Final = "merge_utilities"


class CandidateStatus(StrEnum):
    """What became of a proposed pair."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    OBSOLETE = "obsolete"


class Decision(StrEnum):
    """What was decided about a pair."""

    MERGE = "merge"
    KEEP_APART = "keep_apart"
    UNMERGE = "unmerge"


class SurvivorshipStrategy(StrEnum):
    """How the value of an attribute is chosen among the source records of a golden record."""

    MOST_RECENT = "most_recent"
    LONGEST = "longest"
    MOST_FREQUENT = "most_frequent"
    PREFER_PROVIDER = "prefer_provider"


class MatchRule(Base):
    """How pairs are found and scored.

    A rule that has proposed pairs is not edited but followed by a new version, so that every score stays explainable.
    """

    __tablename__ = "match_rule"
    __table_args__ = (
        UniqueConstraint("entity", "name", "version"),
        # Target of the candidates' foreign key, which holds rule and pair to one entity.
        UniqueConstraint("entity", "id"),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("jsonb_typeof(definition) = 'object'", name="definition_is_object"),
        CheckConstraint(
            "propose_from >= 0 AND propose_from <= 1 AND accept_from >= propose_from AND accept_from <= 1",
            name="thresholds",
        ),
        Index(
            "ix_match_rule_one_enabled",
            "entity",
            "name",
            unique=True,
            postgresql_where=text("is_enabled"),
        ),
        {"schema": SCHEMA, "comment": "Rules that find and score pairs of golden records, by version."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Id of this version of the rule.")
    entity: Mapped[str] = mapped_column(comment="What the rule compares, such as person or organisation.")
    name: Mapped[str] = mapped_column(comment="Name of the rule, the same for all its versions.")
    version: Mapped[int] = mapped_column(server_default=text("1"), comment="Version of the rule, from 1.")
    definition: Mapped[dict[str, Any]] = mapped_column(
        comment="Blocking keys, comparisons and weights, in the terms of the matcher that runs the rule."
    )
    propose_from: Mapped[Score] = mapped_column(comment="Score from which a pair is proposed, 0 to 1.")
    accept_from: Mapped[Score | None] = mapped_column(
        comment="Score from which a pair is merged without a person; null: never."
    )
    is_enabled: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether the rule runs; at most one version of it does."
    )
    created_at: Mapped[Now] = mapped_column(comment="When this version was written.")
    created_by: Mapped[Who] = mapped_column(comment="Who wrote this version.")


class GoldenRecord(Base):
    """One thing in the world, by the id that the warehouse gives it. Ids are never used again."""

    __tablename__ = "golden_record"
    __table_args__ = (
        # Target of the foreign keys that hold both sides of a pair to one entity.
        UniqueConstraint("entity", "id"),
        CheckConstraint("retired_at >= created_at", name="retired_after_created"),
        {"schema": SCHEMA, "comment": "Things in the world that the source records stand for, one row per golden id."},
    )

    id: Mapped[UuidKey] = mapped_column(comment="Golden id: the id to use outside the warehouse.")
    entity: Mapped[str] = mapped_column(comment="What the record is, such as person or organisation.")
    created_at: Mapped[Now] = mapped_column(comment="When the golden id was given.")
    retired_at: Mapped[datetime | None] = mapped_column(
        comment="When the record was merged into another (see merge_decision); null while the id is in use."
    )


class MatchCandidate(Base):
    """A pair of golden records that a rule holds for one.

    A pair is stored once per rule, smaller id first. PostgreSQL and Python order UUIDs alike, so either may sort it.
    """

    __tablename__ = "match_candidate"
    __table_args__ = (
        ForeignKeyConstraint(["entity", "rule_id"], [MatchRule.entity, MatchRule.id], ondelete="RESTRICT"),
        ForeignKeyConstraint(["entity", "left_id"], [GoldenRecord.entity, GoldenRecord.id], ondelete="CASCADE"),
        ForeignKeyConstraint(["entity", "right_id"], [GoldenRecord.entity, GoldenRecord.id], ondelete="CASCADE"),
        UniqueConstraint("left_id", "right_id", "rule_id"),
        one_of("status", CandidateStatus),
        CheckConstraint("left_id < right_id", name="pair_in_order"),
        CheckConstraint("score >= 0 AND score <= 1", name="score"),
        CheckConstraint("jsonb_typeof(evidence) = 'object'", name="evidence_is_object"),
        Index(None, "right_id"),
        Index(None, "rule_id"),
        # The review queue, best pairs first.
        Index("ix_match_candidate_open", "entity", "score", postgresql_where=text("status = 'open'")),
        {"schema": SCHEMA, "comment": "Pairs of golden records that a rule holds for one, smaller id first."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Number of the proposal.")
    entity: Mapped[str] = mapped_column(comment="What rule and both records are about; the keys hold all three to it.")
    rule_id: Mapped[int] = mapped_column(BigInteger, comment="Rule version that proposed the pair.")
    left_id: Mapped[UUID] = mapped_column(comment="Golden record of the pair with the smaller id.")
    right_id: Mapped[UUID] = mapped_column(comment="Golden record of the pair with the greater id.")
    score: Mapped[Score] = mapped_column(comment="How sure the rule is, 0 to 1.")
    evidence: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="What the score consists of, by comparison."
    )
    status: Mapped[str] = mapped_column(
        server_default=CandidateStatus.OPEN.value,
        comment="open, accepted, rejected, or obsolete (the records no longer match, or one of them is retired).",
    )
    proposed_at: Mapped[Now] = mapped_column(comment="When the pair was proposed, or last scored.")


class MergeDecision(Base):
    """A decision about a pair: who made it, when, and which record survives. Written once; a later one overrules."""

    __tablename__ = "merge_decision"
    __table_args__ = (
        # RESTRICT: a golden record cannot vanish while the reason for its merge is kept.
        ForeignKeyConstraint(["entity", "left_id"], [GoldenRecord.entity, GoldenRecord.id], ondelete="RESTRICT"),
        ForeignKeyConstraint(["entity", "right_id"], [GoldenRecord.entity, GoldenRecord.id], ondelete="RESTRICT"),
        one_of("decision", Decision),
        CheckConstraint("left_id < right_id", name="pair_in_order"),
        CheckConstraint("(decision = 'merge') = (survivor_id IS NOT NULL)", name="survivor_when_merged"),
        CheckConstraint("survivor_id IN (left_id, right_id)", name="survivor_of_pair"),
        Index(None, "left_id", "right_id", "decided_at"),
        Index(None, "right_id"),
        Index(None, "candidate_id"),
        {"schema": SCHEMA, "comment": "Decisions about pairs; of several about one pair the last one counts."},
    )

    id: Mapped[IdentityKey] = mapped_column(comment="Number of the decision, ascending in time.")
    entity: Mapped[str] = mapped_column(comment="What both records are.")
    left_id: Mapped[UUID] = mapped_column(comment="Golden record of the pair with the smaller id.")
    right_id: Mapped[UUID] = mapped_column(comment="Golden record of the pair with the greater id.")
    decision: Mapped[str] = mapped_column(
        comment="merge: they are one; keep_apart: they are not, never propose them again; unmerge: undo a merge."
    )
    survivor_id: Mapped[UUID | None] = mapped_column(
        comment="Record of the pair that lives on, the other is retired; set when and only when they were merged."
    )
    candidate_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey(MatchCandidate.id, ondelete="SET NULL"),
        comment="Proposal that was decided; null where a person found the pair.",
    )
    decided_by: Mapped[Who] = mapped_column(comment="Person who decided, or the rule that accepted on its score.")
    decided_at: Mapped[Now] = mapped_column(comment="When it was decided.")
    reason: Mapped[str | None] = mapped_column(comment="Why, in the words of whoever decided.")


class IdCrosswalk(Base):
    """Which golden record a source record stands for.

    The entity is part of the key: one source record may stand for two things, as a lead does for person and company.
    """

    __tablename__ = "id_crosswalk"
    __table_args__ = (
        ForeignKeyConstraint(["entity", "golden_id"], [GoldenRecord.entity, GoldenRecord.id], ondelete="RESTRICT"),
        Index(None, "golden_id"),
        Index(None, "decision_id"),
        {"schema": SCHEMA, "comment": "Source id to golden id, one row per source record and entity."},
    )

    entity: Mapped[str] = mapped_column(
        primary_key=True, comment="What the source record stands for, such as person or organisation."
    )
    provider: Mapped[Provider] = mapped_column(primary_key=True)
    object_name: Mapped[ObjectName] = mapped_column(primary_key=True)
    source_id: Mapped[SourceId] = mapped_column(primary_key=True)
    golden_id: Mapped[UUID] = mapped_column(comment="Golden record that the source record stands for.")
    decision_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey(MergeDecision.id, ondelete="SET NULL"),
        comment="Decision that moved the source record here; null while it has the golden record it began with.",
    )
    linked_at: Mapped[Now] = mapped_column(comment="When the link was made or moved.")


class SurvivorshipRule(Base):
    """How one attribute of a golden record is chosen; the first rule by rank that yields a value decides."""

    __tablename__ = "survivorship_rule"
    __table_args__ = (
        one_of("strategy", SurvivorshipStrategy),
        CheckConstraint("rank > 0", name="rank"),
        CheckConstraint(
            "(strategy = 'prefer_provider') = (preferred_provider IS NOT NULL)", name="provider_when_preferred"
        ),
        {"schema": SCHEMA, "comment": "How the attributes of golden records are chosen among their source records."},
    )

    entity: Mapped[str] = mapped_column(primary_key=True, comment="What the rule is about, such as person.")
    attribute: Mapped[str] = mapped_column(primary_key=True, comment="Attribute of the golden record.")
    rank: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, server_default=text("1"), comment="Order in which rules are tried."
    )
    strategy: Mapped[str] = mapped_column(comment="most_recent, longest, most_frequent or prefer_provider.")
    preferred_provider: Mapped[str | None] = mapped_column(
        comment="Provider whose value is taken, set when and only when the strategy is prefer_provider."
    )
