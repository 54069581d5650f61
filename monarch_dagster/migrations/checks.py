"""The checks: each compares what is stored with what is expected, and names what to do.

Pure decisions over a `Situation`, which reads files, target and shadow once and only as far as a check asks. An ERROR
is where stored values, or the truth of what is stored of them, are at risk; a WARN is work that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations.chain import Chain, approved_revisions, read_chain
from monarch_dagster.migrations.drift import Drift, Finding, at_risk, find_drift
from monarch_dagster.migrations.generate import coverage
from monarch_dagster.migrations.hazards import DATA_LOSS, IRREVERSIBLE
from monarch_dagster.migrations.proofs import Prover
from monarch_dagster.migrations.replay import chain_clone, chain_facts, made_of
from monarch_dagster.migrations.revisions import BASE, Revision
from monarch_dagster.migrations.standing import Standing, look

Severity = Literal["ERROR", "WARN"]
SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What a check found; `remedy` is empty where it passed."""

    passed: bool
    stored: str
    expected: str
    remedy: str = ""
    severity: Severity = "ERROR"


@dataclass
class Situation:
    """What the checks look at: the files, what proves them, and the target (None: the checks of files alone).

    `approved` are revisions whose loss a person has accepted, "REV" or "FROM:TO".
    """

    prover: Prover
    url: URL | None
    approved: Sequence[str] = field(default=())

    @cached_property
    def chain(self) -> Chain:
        """The chain as far as it is one."""
        return read_chain(self.prover.sources.schema_dir)

    @cached_property
    def standing(self) -> Standing:
        """Where the target stands. Raises `MonarchError` when it cannot be read."""
        assert self.url is not None
        return look(self.chain, self.url)

    @cached_property
    def pending(self) -> tuple[Revision, ...]:
        """What would run; all revisions where there is no target."""
        return self.chain.revisions if self.url is None else self.standing.pending(self.chain)

    @cached_property
    def drift(self) -> Drift:
        """What drifted on the target, also beside a shadow where one can be had."""
        assert self.url is not None
        if (revision := self.standing.comparable) is None or self.chain.problems():
            return find_drift(self.url)
        try:
            shadows = self.prover.shadows()
            with chain_clone(shadows, self.chain, revision) as clone:
                expected = made_of(shadows, self.chain, chain_facts(clone))
        except MonarchError as error:
            found = find_drift(self.url)
            return replace(found, not_compared=found.not_compared or f"Not compared with a shadow: {error}")
        return find_drift(self.url, expected, shadows.major)


def revision_chain_unbroken(it: Situation) -> Outcome:
    """The files in `versions/` are one chain: each revision in one file, on the one below it, with one head."""
    heads = " and ".join(it.chain.heads) or BASE
    problems = it.chain.problems()
    if not problems:
        return Outcome(True, heads, heads)
    return Outcome(False, problems[0].message, "one chain with one head", problems[0].remedy)


def sources_covered(it: Situation) -> Outcome:
    """The revisions come to what models and object metadata declare: generating would propose nothing."""
    _refuse_broken(it.chain)
    if coverage(it.prover.sources, it.prover.shadows())[0]:
        return Outcome(True, "covered", "covered")
    remedy = "`monarch generate-migrations` proposes what is missing."
    return Outcome(False, "sources ahead of the revisions", "covered", remedy, "WARN")


def revisions_proved(it: Situation) -> Outcome:
    """Each pending revision has run up, down and up again on a shadow; what has not is proved here."""
    _refuse_broken(it.chain)
    try:
        it.prover.demand(it.chain, it.pending, ())
    except MonarchError as error:
        return Outcome(False, error.message, _each(it.pending, "proved"), error.remedy, "WARN")
    return Outcome(True, _each(it.pending, "proved"), _each(it.pending, "proved"))


def revisions_reversible(it: Situation) -> Outcome:
    """Each pending revision can be taken back, or its irreversibility was accepted."""
    return _without(it, IRREVERSIBLE, "reversible", "WARN")


def revisions_keep_data(it: Situation) -> Outcome:
    """No pending revision drops or cuts stored values, or its loss was accepted."""
    return _without(it, DATA_LOSS, "without data loss", "ERROR")


def alembic_version_at_head(it: Situation) -> Outcome:
    """The target is at the chain's head: true after every run of migrations."""
    stored, expected = _stored(it.standing), " and ".join(it.chain.heads) or BASE
    if stored == expected:
        return Outcome(True, stored, expected)
    if it.chain.problems():
        return Outcome(False, stored, expected, it.chain.problems()[0].remedy, "WARN")
    blocking = [fault for fault in it.standing.faults if fault.blocks]
    pending = f"{counted(len(it.pending), 'revision')} pending: review, then `monarch run-migrations`."
    return Outcome(False, stored, expected, blocking[0].remedy if blocking else pending, "WARN")


def alembic_version_precedes_next(it: Situation) -> Outcome:
    """The stored version is the `down_revision` of the next pending revision: true before every run.

    With nothing pending it is the head.
    """
    stored = _stored(it.standing)
    if problems := it.chain.problems():
        return Outcome(False, stored, "the down_revision of the next revision", problems[0].remedy)
    if it.standing.move is not None:
        # A rebase: what is missing runs on the target's own revisions, and the version is moved then.
        expected = it.standing.move.own[-1].revision
    elif it.pending:
        expected = it.pending[0].down_revision or BASE
    else:
        expected = it.chain.head or BASE
    if stored == expected:
        return Outcome(True, stored, expected)
    blocking = [fault for fault in it.standing.faults if fault.blocks]
    return Outcome(False, stored, expected, blocking[0].remedy if blocking else "Look at `monarch status`.")


def ledger_agrees(it: Situation) -> Outcome:
    """`alembic_version` holds one row, which the ledger's last one made, and the files have all that was applied."""
    for fault in it.standing.faults:
        if fault.kind not in ("changed", "comments"):
            return Outcome(False, fault.stored, fault.expected, f"{fault.message} {fault.remedy}")
    ledger = it.standing.target.head or BASE
    return Outcome(True, _stored(it.standing), ledger)


def applied_files_unchanged(it: Situation) -> Outcome:
    """The files of applied revisions are as they were when they were applied."""
    found = [fault for fault in it.standing.faults if fault.kind in ("changed", "comments")]
    count = counted(len(it.standing.target.entries), "applied file")
    if not found:
        return Outcome(True, f"{count} unchanged", f"{count} unchanged")
    worst = min(found, key=lambda fault: fault.kind == "comments")
    return Outcome(
        False,
        "; ".join(fault.message.removesuffix(".") for fault in found[:SHOWN]),
        f"{count} unchanged",
        worst.remedy,
        "ERROR" if worst.blocks else "WARN",
    )


def no_drift(it: Situation) -> Outcome:
    """The target's relations are as the revisions made them there."""
    found = it.drift
    if not found.looked:
        return Outcome(False, "not known", "no drift", found.not_compared, "WARN")
    note = f" ({found.not_compared})" if found.not_compared else ""
    if not found.findings:
        return Outcome(True, f"no drift{note}", "no drift")
    remedy = (
        "Undo by hand what was changed by hand. Or keep it: declare it in the sources, `monarch generate-migrations`, "
        "then `monarch adopt` records that the target has it."
    )
    severity: Severity = "ERROR" if at_risk(found.findings) else "WARN"
    return Outcome(False, _listed(found.findings) + note, "no drift", remedy, severity)


Check = Callable[[Situation], Outcome]
FILE_CHECKS: Mapping[str, Check] = {
    check.__name__: check for check in (revision_chain_unbroken, sources_covered, revisions_proved)
}
TARGET_CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        ledger_agrees,
        alembic_version_precedes_next,
        alembic_version_at_head,
        applied_files_unchanged,
        no_drift,
        revisions_reversible,
        revisions_keep_data,
    )
}
CHECKS: Mapping[str, Check] = {**FILE_CHECKS, **TARGET_CHECKS}


def run_check(check: Check, situation: Situation) -> Outcome:
    """Return what a check finds; what keeps it from looking is a failure with that as its remedy."""
    try:
        return check(situation)
    except MonarchError as error:
        return Outcome(False, f"could not be checked: {error.message}", "a readable chain and target", error.remedy)


def _refuse_broken(chain: Chain) -> None:
    for problem in chain.problems():
        raise problem


def _stored(standing: Standing) -> str:
    return " and ".join(standing.target.versions) or BASE


def _each(revisions: Sequence[Revision], state: str) -> str:
    return f"{counted(len(revisions), 'revision')} {state}" if revisions else "nothing pending"


def _without(it: Situation, kind: str, state: str, severity: Severity) -> Outcome:
    approved = approved_revisions(it.chain, it.approved)
    found = [
        f"{item.revision}: {hazard.object}, {hazard.detail}"
        for item in it.pending
        for hazard in item.hazards
        if hazard.kind == kind and item.revision not in approved
    ]
    expected = _each(it.pending, state)
    if not found:
        return Outcome(True, expected, expected)
    remedy = (
        "Read the revisions. Where it is meant, name them when they are applied, and here: --allow-data-loss REV "
        "(or FROM:TO)."
    )
    return Outcome(False, _shown(found), expected, remedy, severity)


def _listed(findings: Sequence[Finding]) -> str:
    return _shown([f"{item.relation}: {item.detail}" for item in findings])


def _shown(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more
