"""Drift: where a target's facts are not those that its ledger recorded on that very server (DESIGN rule 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import URL, Connection

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.ledger import read_hashes, read_recorded, target_of
from monarch_dagster.postgres.engines import reading
from monarch_dagster.schema.facts import Difference, Facts, differences, read_facts, relation_hash

Kind = Literal["extra", "missing", "changed"]
SHOWN_AHEAD = 5


@dataclass(frozen=True)
class Finding:
    """One aspect of one relation that is not as it was recorded, or not as its revisions make it elsewhere."""

    kind: Kind
    relation: str
    detail: str


@dataclass(frozen=True)
class Drift:
    """What was found on a target; `foreign` lists the relations in managed schemas that no revision made.

    `not_compared` says why a comparison was not made, and what to do for it; "" where it was. `looked` is False where
    not even the ledger's record could be compared with. `ahead` lists what pending revisions do, and the target has
    already: relations, and aspects as "table landing.note: column x".
    """

    findings: tuple[Finding, ...] = ()
    foreign: tuple[str, ...] = ()
    not_compared: str = ""
    looked: bool = True
    ahead: tuple[str, ...] = ()

    def set_up_already(self, version: str | None) -> MonarchError | None:
        """Return what to do where a target at `version` has already what pending revisions do, None where not."""
        if not self.ahead:
            return None
        more = f" and {len(self.ahead) - SHOWN_AHEAD} more" if len(self.ahead) > SHOWN_AHEAD else ""
        names = ", ".join(self.ahead[:SHOWN_AHEAD]) + more
        return MonarchError(
            f"The target is at {version}, and has already what pending revisions make: {names}."
            if version
            else "The target looks set up already: it has no version, and what pending revisions make is there: "
            f"{names}.",
            remedy="`monarch adopt` records the revision that its schema equals (`--dry-run` only tells). Else rename "
            "or drop what is in the way, then `monarch run-migrations`.",
        )

    def besides_ahead(self) -> tuple[Finding, ...]:
        """Return the findings that pending revisions do not explain."""
        there = tuple(f"{name} is " for name in self.ahead)
        return tuple(item for item in self.findings if not f"{item.relation}: {item.detail}".startswith(there))


def find_drift(url: URL, expected: Facts | None = None, major: int = 0) -> Drift:
    """Compare a target's facts with those that its ledger recorded.

    Args:
        url: the target.
        expected: where given, the facts that its revisions come to on a shadow; what differs from them is found too.
        major: the shadow's version; servers of two versions print facts differently, and are not compared.
    """
    with reading(url) as connection:
        target = target_of(connection)
        if not target.entries:
            return Drift()
        # After an upgrade of the server, what revisions touch since is recorded as it prints now, the rest is not.
        if others := {entry.server_version for entry in target.entries} - {target.major}:
            return Drift(not_compared=_other_server(max(others), target.major), looked=False)
        hashes = read_hashes(connection)
        made = set(hashes) if expected is None or major != target.major else hashes.keys() | expected.relations.keys()
        found = read_facts(connection, sorted(schemas_of(made)))
        findings = _from_record(connection, hashes, found)
    # A schema that was there before is no stranger where revisions put relations into it.
    foreign = tuple(sorted(name for name in found.relations.keys() - made if not name.startswith("schema ")))
    if expected is None:
        return Drift(findings, foreign)
    if major != target.major:
        return Drift(findings, foreign, _other_shadow(target.major, major))
    drifted = {(item.relation, item.detail) for item in findings}
    seen = _told(differences(expected, found.only(made)), " (other than its revisions make it on a shadow)")
    more = tuple(item for item in seen if (item.relation, item.detail.rpartition(" (other")[0]) not in drifted)
    return Drift((*findings, *more), foreign)


def live_version(url: URL) -> tuple[str, Drift]:
    """Return a digest of what a target says of itself, its revisions and how it drifted; and the latter.

    While nobody but Monarch changes its schema, it changes with the stored version alone; relations that no revision
    made do not count. Raises `MonarchError` when the target cannot be read.
    """
    drift = find_drift(url)
    with reading(url) as connection:
        target = target_of(connection)
    parts = (*target.versions, "", *(f"{item.relation}: {item.detail}" for item in drift.findings))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), drift


def find_ahead(url: URL, at: Facts, goal: Facts, *, comparable: bool) -> tuple[str, ...]:
    """Return what leads from the facts `at` a target's version to `goal`, and is on the target already.

    A schema is not counted: revisions make it IF NOT EXISTS. Where the shadow that the facts are of is of another
    version, and not `comparable`, only whole relations are looked at.
    """
    changes = [item for item in differences(goal, at) if not item.relation.startswith("schema ")]
    if not changes:
        return ()
    with reading(url) as connection:
        there = read_facts(connection, sorted(schemas_of(item.relation for item in changes))).relations
    found = []
    for item in changes:
        if item.whole:
            if (item.relation in there) == bool(item.expected):
                found.append(item.relation)
        elif comparable and there.get(item.relation, {item.aspect: None}).get(item.aspect, "") == item.expected:
            found.append(f"{item.relation}: {item.aspect}")
    return tuple(found)


def schemas_of(relations: Iterable[str]) -> set[str]:
    """Return the schemas that relations are in: of "table landing.note" and of "schema landing" it is landing."""
    return {name.partition(".")[0].rpartition(" ")[2].strip('"') for name in relations}


def _from_record(connection: Connection, hashes: Mapping[str, str], found: Facts) -> tuple[Finding, ...]:
    now = {name: relation_hash(found.relations[name]) for name in hashes if name in found.relations}
    changed = [name for name, recorded in hashes.items() if now.get(name) != recorded]
    return _told(differences(Facts(read_recorded(connection, changed)), found.only(changed)))


def _told(items: Iterable[Difference], more: str = "") -> tuple[Finding, ...]:
    return tuple(Finding(_kind(item), item.relation, str(item).partition(": ")[2] + more) for item in items)


def _kind(item: Difference) -> Kind:
    if not item.found:
        return "missing"
    return "changed" if item.expected else "extra"


def _other_server(recorded_on: int, major: int) -> str:
    return (
        f"Drift was not looked for: the ledger's facts are PostgreSQL {recorded_on}'s, the server is {major} now, and "
        f"prints them differently. `monarch adopt` records them anew, where they equal the revision's."
    )


def _other_shadow(major: int, shadow: int) -> str:
    return (
        f"The target was not compared with a shadow: it is PostgreSQL {major}, the shadow {shadow}. Set "
        f"MONARCH_SHADOW_URL to a server of version {major} for that."
    )


def at_risk(findings: Sequence[Finding]) -> bool:
    """Say whether something that revisions made is gone or another; what was only added takes nothing away."""
    return any(item.kind != "extra" for item in findings)
