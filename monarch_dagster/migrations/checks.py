"""The checks: each compares what is stored with what is expected, and names what to do.

Pure decisions over a `Situation`. An ERROR is where stored values, or the truth of what is stored of them, are at risk;
a WARN is work that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations import undeclared
from monarch_dagster.migrations.chain import Chain, approved_revisions
from monarch_dagster.migrations.converting import CORRECT_OR_KEEP
from monarch_dagster.migrations.coverage import coverage
from monarch_dagster.migrations.drift import Finding, at_risk
from monarch_dagster.migrations.hazards import DATA_LOSS, IRREVERSIBLE, LIMIT, MANY_COLUMNS
from monarch_dagster.migrations.limits import chain_columns, crowded_tables, used_columns, wide_rows
from monarch_dagster.migrations.preview import preview_conversions
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.migrations.revisions import BASE, Revision
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.standing import Standing
from monarch_dagster.postgres.engines import connect, reading

Severity = Literal["ERROR", "WARN"]
SHOWN = 5
_FAR = "no table near a limit"
_WITHIN = "room for more columns, and nothing pending that makes rows too wide"


@dataclass(frozen=True)
class Outcome:
    """What a check found; `remedy` is empty where it passed."""

    passed: bool
    stored: str
    expected: str
    remedy: str = ""
    severity: Severity = "ERROR"


def revision_chain_unbroken(it: Situation) -> Outcome:
    """The files in `versions/` are one chain: each revision in one file, on the one below it, with one head."""
    heads = " and ".join(it.chain.heads) or BASE
    if error := it.chain.no_folder():
        return Outcome(False, error.message, "a folder with a chain", error.remedy)
    problems = it.chain.problems()
    if not problems:
        return Outcome(True, heads, heads)
    return Outcome(False, problems[0].message, "one chain with one head", problems[0].remedy)


def sources_covered(it: Situation) -> Outcome:
    """The revisions come to what models and object metadata declare: generating would propose nothing."""
    _refuse_broken(it.chain)
    found = coverage(it.prover.sources, it.prover.shadows())
    if found.covered:
        return Outcome(True, "covered", "covered")
    if it.url is not None and (fault := it.standing.of_files):
        # What is proposed beside the wrong files is a wrong revision.
        return Outcome(False, "not what the target's revisions were made for", "covered", str(fault.error()), "WARN")
    if found.undeclared:
        return Outcome(False, "revisions ahead of the sources", "covered", undeclared.remedy(found.undeclared), "WARN")
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


def tables_within_limits(it: Situation) -> Outcome:
    """Tables have room for more columns, and no pending revision makes rows so wide that they may not fit.

    Rows that may not fit are a finding while it can still be decided otherwise: as long as the revision that makes them
    is pending on the target, with a `limit` hazard. Without a target, and afterwards, they are told and pass.
    """
    _refuse_broken(it.chain)
    shadows = it.prover.shadows()
    with chain_clone(shadows, it.chain, it.chain.head) as clone, connect(clone) as connection:
        facts, used = chain_facts(clone), used_columns(connection)
    if max(used.values(), default=0) >= MANY_COLUMNS:
        used = chain_columns(shadows, it.chain, it.chain.head)  # proofs drop columns too
    pending: Sequence[Revision] = ()
    if it.url is not None:
        pending = it.pending
        with reading(it.url) as connection:
            there = used_columns(connection, MANY_COLUMNS)
        used = {**used, **{name: max(count, used.get(name, 0)) for name, count in there.items()}}
    wide, crowded = wide_rows(facts, used), crowded_tables(used)
    to_come = {hazard.object for item in pending for hazard in item.hazards if hazard.kind == LIMIT}
    told = _shown([*crowded, *(wide[table] for table in sorted(wide, key=lambda name: name not in to_come))]) or _FAR
    remedies = []
    if crowded:
        remedies.append("The columns run out: move the rows into a new table, in a revision of your own.")
    if wide.keys() & to_come:
        remedies.append(
            "A row that does not fit is refused when it is inserted; empty fields take nothing. Give fields that hold "
            "numbers, dates or flags a choices.column_type in object_meta.json that says so, or leave fields out of "
            "the selection, and generate anew. Or apply the revision: from then on this is told, and fails no check."
        )
    return Outcome(not remedies, told, _FAR if told == _FAR else _WITHIN, " ".join(remedies), "WARN")


def revisions_reversible(it: Situation) -> Outcome:
    """Each pending revision can be taken back, or its irreversibility was accepted."""
    return _without(it, IRREVERSIBLE, "reversible", "WARN")


def revisions_keep_data(it: Situation) -> Outcome:
    """No pending revision drops or cuts stored values, or its loss was accepted; what it converts can be converted."""
    assert it.url is not None
    approved = approved_revisions(it.chain, it.approved)
    previews = preview_conversions(it.url, it.pending)
    if stuck := [str(item) for item in previews if item.outcome and item.outcome.failing]:
        return Outcome(False, _shown(stuck), _each(it.pending, "without data loss"), CORRECT_OR_KEEP)
    cut = [str(item) for item in previews if item.outcome and item.outcome.cut and item.revision not in approved]
    return _without(it, DATA_LOSS, "without data loss", "ERROR", cut)


def alembic_version_at_head(it: Situation) -> Outcome:
    """The target is at the chain's head: true after every run of migrations."""
    stored, expected = _stored(it.standing), " and ".join(it.chain.heads) or BASE
    if stored == expected:
        return Outcome(True, stored, expected)
    if it.chain.problems():
        return Outcome(False, stored, expected, it.chain.problems()[0].remedy, "WARN")
    if error := it.in_the_way:
        return Outcome(False, stored, expected, error.remedy, "WARN")
    pending = f"{counted(len(it.pending), 'revision')} pending: review, then `monarch run-migrations`."
    return Outcome(False, stored, expected, pending, "WARN")


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
    return Outcome(False, stored, expected, it.in_the_way.remedy if it.in_the_way else "Look at `monarch status`.")


def ledger_agrees(it: Situation) -> Outcome:
    """`alembic_version` holds one row, which the ledger's last one made, and the files have all that was applied."""
    for fault in it.standing.faults:
        if fault.kind not in ("changed", "comments"):
            return Outcome(False, fault.stored, fault.expected, f"{fault.message} {fault.remedy}")
    if it.standing.move and it.in_the_way:
        return Outcome(False, _stored(it.standing), "revisions that the chain comes to", str(it.in_the_way))
    if not it.standing.target.version and (error := it.set_up_already):
        return Outcome(False, BASE, "the revision that its schema equals", str(error))
    ledger = it.standing.target.head or BASE
    return Outcome(True, _stored(it.standing), ledger)


def applied_files_unchanged(it: Situation) -> Outcome:
    """The files of applied revisions are as they were when they were applied."""
    found = [fault for fault in it.standing.faults if fault.kind in ("changed", "comments")]
    files = it.chain.only(entry.revision for entry in it.standing.target.entries)
    count = counted(len(files), "applied file")
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
    ahead = found.set_up_already(it.standing.target.version)
    if ahead and not found.besides_ahead():
        severity: Severity = "WARN" if it.standing.target.version else "ERROR"
        return Outcome(False, ahead.message.rstrip(".") + note, "no drift", ahead.remedy, severity)
    if not found.findings:
        return Outcome(True, f"no drift{note}", "no drift")
    remedy = (
        "Undo by hand what was changed by hand. Or keep it: declare it in the sources, `monarch generate-migrations`, "
        "then `monarch adopt` records that the target has it."
    )
    severity = "ERROR" if at_risk(found.findings) else "WARN"
    return Outcome(False, _listed(found.findings) + note, "no drift", remedy, severity)


Check = Callable[[Situation], Outcome]
FILE_CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (revision_chain_unbroken, sources_covered, revisions_proved, tables_within_limits)
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
    for problem in filter(None, (chain.no_folder(), *chain.problems())):
        raise problem


def _stored(standing: Standing) -> str:
    return " and ".join(standing.target.versions) or BASE


def _each(revisions: Sequence[Revision], state: str) -> str:
    return f"{counted(len(revisions), 'revision')} {state}" if revisions else "nothing pending"


def _without(it: Situation, kind: str, state: str, severity: Severity, more: Sequence[str] = ()) -> Outcome:
    approved = approved_revisions(it.chain, it.approved)
    found = [
        f"{item.revision}: {hazard.object}, {hazard.detail}"
        for item in it.pending
        for hazard in item.hazards
        if hazard.kind == kind and item.revision not in approved
    ]
    found += more
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
