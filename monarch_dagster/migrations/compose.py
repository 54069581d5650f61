"""Composing a proposal: from the way between two sets of facts to the text of its revisions. Pure.

Whether they do what they say is for the proof to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from monarch_dagster.errors import counted
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations.changes import count_columns
from monarch_dagster.migrations.hazards import limit_hazards, lock_hazards, sorted_hazards
from monarch_dagster.migrations.planning.operation import Operation, Phase
from monarch_dagster.migrations.planning.path import Leg, path
from monarch_dagster.migrations.planning.plan import plan
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.renames import Rename, rename_hints
from monarch_dagster.migrations.rendering import render_body, render_revision
from monarch_dagster.migrations.revisions import BASE, Hazard, revision_id, short_hash
from monarch_dagster.schema.desired import Desired
from monarch_dagster.schema.facts import Difference, Facts


@dataclass(frozen=True)
class Draft:
    """A revision that is written and not yet proved: its text, and the facts that it is to end at."""

    revision: str
    down_revision: str | None
    text: str
    hazards: tuple[Hazard, ...]
    end: Facts
    # What the revisions of one proposal share, and which of them this is; `part` is "" for the only one.
    proposal: str
    number: int
    part: str


@dataclass(frozen=True)
class Way:
    """Where a proposal begins and ends: the chain's facts, those after the renames, and those that are wanted."""

    before: Facts
    renamed: Facts
    wanted: Facts
    renames: tuple[Rename, ...]


@uncollected()
def compose(
    head: str | None,
    way: Way,
    desired: Desired,
    message: str,
    unsaid: frozenset[tuple[str, str]] = frozenset(),
) -> list[Draft]:
    """Return the revisions of a proposal behind `head`, in chain order.

    Args:
        head: the revision that the first one revises.
        way: where the proposal begins and ends.
        desired: the models, for the words of the upgrades.
        message: the revisions' message.
        unsaid: what the models do not say as it is wanted at the end of the way, as `Words` has it.
    """
    legs = path(way.renamed, way.wanted)
    if not legs or legs[0].concurrent:
        # What renames runs in a transaction, and an index is built outside of one.
        legs = [*([Leg((way.renamed,))] if way.renames else []), *legs]
    bodies = []
    here = way.renamed
    for position, leg in enumerate(legs):
        first = position == 0
        ups = [item.operation() for item in way.renames] if first else []
        downs = plan(leg.end, here, Words(here))
        # A table's new name is what its columns' renames know it by.
        downs += [item.operation(back=True) for item in reversed(way.renames)] if first else []
        start = here
        for facts in leg.through:
            words = Words(facts, desired.metadata, desired.views, unsaid)
            ups += plan(here, facts, words, concurrent=leg.concurrent)
            here = facts
        named = [hazard for item in way.renames for hazard in item.hazards(way.before)] if first else []
        bodies.append((render_body(ups), render_body(downs), sorted_hazards([*named, *_hazards(ups, start, here)])))
    proposal = proposal_id(head, bodies)
    several = len(bodies) > 1
    drafts = []
    for number, (leg, (upgrades, downgrades, hazards)) in enumerate(zip(legs, bodies, strict=True), 1):
        revision = revision_id(head, upgrades, downgrades)
        part = f"({number} of {len(bodies)})" if several else ""
        text = render_revision(
            revision=revision,
            down_revision=head,
            message=f"{message} {part}".strip(),
            hazards=hazards,
            proposal=f"{proposal} {part}" if part else "",
            upgrades=upgrades,
            downgrades=downgrades,
        )
        drafts.append(Draft(revision, head, text, hazards, leg.end, proposal, number, part))
        head = revision
    return drafts


def proposal_id(head: str | None, bodies: Sequence[tuple[str, str, object]]) -> str:
    """Return the id that the revisions of one proposal share."""
    return short_hash(head or BASE, *(text for upgrades, downgrades, _ in bodies for text in (upgrades, downgrades)))


def summarise(changes: Sequence[Difference], renames: Sequence[Rename] = ()) -> str:
    """Return what a proposal does in a line, for the docstring of one without a message."""
    new: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    altered = set()
    for change in changes:
        kind = change.relation.rpartition(".")[0].rpartition(" ")[0] or change.relation.partition(" ")[0]
        if not change.whole:
            altered.add(change.relation)
        elif change.found:
            gone[kind] += 1
        else:
            new[kind] += 1
    parts = [
        f"{verb} {counted(count, kind)}"
        for verb, kinds in (("add", new), ("drop", gone))
        for kind, count in sorted(kinds.items())
    ]
    if altered:
        columns = count_columns(changes)
        parts.append(f"change {counted(len(altered), 'relation')}" + (f" ({columns})" if columns else ""))
    if renames:
        parts.append(rename_hints(renames))
    return ", ".join(parts)


def _hazards(operations: Sequence[Operation], start: Facts, end: Facts) -> list[Hazard]:
    there = start.tables()
    locks = [
        lock
        for operation in operations
        for lock in operation.locks
        # What is made in this revision is nobody's yet; a renamed table goes by either name.
        if lock.table in there or operation.phase == Phase.RENAME
    ]
    hazards = [hazard for operation in operations for hazard in operation.hazards]
    return [*hazards, *lock_hazards(locks), *limit_hazards(start, end)]
