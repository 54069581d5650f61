"""Proof: revisions, run up, down and up again on a clone of the shadow that holds rows (DESIGN rules 4 and 6).

Holds what a proof shows, and the errors for what it finds. How a revision comes about is `compose`'s, what rows there
are is `rows`'.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection

from monarch_dagster.errors import IrreversibleRevision, MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.compose import Draft
from monarch_dagster.migrations.failures import RefusedError
from monarch_dagster.migrations.hazards import CONVERSION, DATA_LOSS, REWRITE, SCAN
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.planning.operation import qualified
from monarch_dagster.migrations.replay import SHADOW_SQL, chain_facts
from monarch_dagster.migrations.revisions import BASE, Hazard, Revision, moved_text, parse_revision
from monarch_dagster.migrations.rows import Snapshot, fill, least, lost, rewritten, take
from monarch_dagster.migrations.scripts import STUB, write_stub
from monarch_dagster.migrations.transcribe import transcript
from monarch_dagster.migrations.transcript import Transcript
from monarch_dagster.postgres.engines import connect, reading, run_script
from monarch_dagster.schema.facts import Facts, differences, read_facts, user_schemas

SHOWN_DIFFERENCES = 10
# Tables whose rows stop a revision are emptied one after the other; then all are.
TRIES = 5
# Classes 22 and 23 (PostgreSQL, "Error Codes"): data that does not fit, constraints that it does not satisfy.
DATA_ERRORS = ("22", "23")
PROPOSED = "proposed.py"
BY_HAND = (
    "No file was written. Write these changes by hand in a revision of their own (monarch generate-migrations --empty) "
    "or undo them in the model."
)


@dataclass(frozen=True)
class _Subject:
    """A revision under proof: its text and hazards, where it should end (None: wherever it does), what to say of it."""

    revision: str
    down_revision: str | None
    text: str
    hazards: tuple[Hazard, ...]
    end: Facts | None
    called: str
    remedy: str
    transcript: Transcript | None


@dataclass(frozen=True)
class Proved:
    """What the proof of a draft shows: the SQL of its two ways, how long they took up, down and up, and the facts then.

    The time is in seconds.
    """

    upgrade_sql: str
    downgrade_sql: str
    seconds: float
    facts: Facts


def prove_drafts(url: URL, drafts: Sequence[Draft], before: Facts, memo: Memo) -> list[Proved]:
    """Prove drafts on a clone that is at the first one's down revision; `memo` keeps what they send.

    Raises `MonarchError` for a difference that remains, rows that do not survive, a table that is written anew without
    a hazard that says so, or a step that PostgreSQL refuses.
    """
    found = []
    for draft in drafts:
        called = "The generated revision"
        ends = draft.revision, draft.down_revision
        sent = transcript(parse_revision(Path(PROPOSED), draft.text.encode()), draft.text, memo)
        subject = _Subject(*ends, draft.text, draft.hazards, draft.end, called, BY_HAND, sent)
        with _files(subject) as versions:
            started = time.monotonic()
            before = _prove(url, versions, subject, before)
            seconds = time.monotonic() - started
            found.append(Proved(_sql(subject, "upgrade"), _sql(subject, "downgrade"), seconds, before))
    return found


def _sql(subject: _Subject, function: Literal["upgrade", "downgrade"]) -> str:
    sent = getattr(subject.transcript, function) if subject.transcript else runner.statements(subject.text, function)
    return "".join(f"{statement};\n\n" for statement in sent)


def prove_file(url: URL, item: Revision, before: Facts, memo: Memo, *, proved: bool) -> Facts:
    """Prove a revision file on a clone at its down revision, or only run it where it is `proved`; return the facts.

    What it should come to is not known; its downgrade must restore what was before, and its second upgrade come to the
    same as the first. Raises `MonarchError` as `prove_drafts` does.
    """
    remedy = (
        f"Correct {item.path.name}, or take out what it should not do; nothing was applied. Roles and the like that it "
        f"needs belong in {SHADOW_SQL}."
    )
    text = item.path.read_bytes().decode()
    ends = item.revision, item.down_revision
    sent = transcript(parse_revision(item.path, text.encode()), text, memo)
    subject = _Subject(*ends, text, item.hazards, None, item.path.name, remedy, sent)
    with _files(subject) as versions:
        if proved:
            _run(url, versions, subject, "upgrade")
            return chain_facts(url)
        return _prove(url, versions, subject, before)


@dataclass(frozen=True)
class _Clone:
    """The clone that a proof runs on, and a connection that looks at it between the legs, at rest meanwhile.

    Its catalog is not read anew into a new connection each time.
    """

    url: URL
    looking: Connection

    def facts(self, only: Collection[str] | None = None) -> Facts:
        """Read the facts of all schemas, or of the relations that are named in `only`."""
        with self._at_rest():
            found = read_facts(self.looking, user_schemas(self.looking), only)
        return found if only is None else found.only(only)

    def rows(self, tables: Sequence[str]) -> Snapshot:
        """Read what tables hold."""
        with self._at_rest():
            return take(self.looking, tables)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        yield
        self.looking.rollback()


@contextmanager
def _files(subject: _Subject) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="monarch-proof-") as folder:
        text = subject.text
        if subject.transcript is not None:
            text = moved_text(STUB.decode(), subject.revision, subject.down_revision)
        (Path(folder) / PROPOSED).write_text(text)
        if subject.down_revision is not None:
            # It stands for the chain, which is on the clone already and need not be loaded.
            write_stub(Path(folder), subject.down_revision)
        yield [Path(folder)]


def _prove(url: URL, versions: Sequence[Path], subject: _Subject, before: Facts) -> Facts:
    with reading(url) as looking:
        return _prove_legs(_Clone(url, looking), versions, subject, before)


def _prove_legs(clone: _Clone, versions: Sequence[Path], subject: _Subject, before: Facts) -> Facts:
    # What changes is looked at behind each leg, all else at the end: a leg that should leave it alone left it for good.
    # Where nobody says what will change, everything may.
    changed = None if subject.end is None else {change.relation for change in differences(subject.end, before)}
    # The tables that may change by the names that they have now, and by those that they get.
    names = sorted(
        name.removeprefix("table ")
        for name in (before.relations if changed is None else changed)
        if name.startswith("table ")
    )
    there = before.tables()
    rows = _upgrade_with_rows(clone, versions, subject, [table for table in names if table in there])
    after = clone.facts(changed)
    _check(subject, "upgrade", _of(subject.end or after, changed), after)
    now = clone.rows(names)
    _check_rows(subject, "upgrade", rows, now)
    _check_rewrites(subject, rewritten(rows, now))
    try:
        with _telling_the_cause(subject, "upgrade", subject.end, clone):
            now = _run_or_empty(clone, versions, subject, "downgrade", names, now)
    except IrreversibleRevision:
        return after if changed is None else clone.facts()
    _check(subject, "downgrade", _of(before, changed), clone.facts(changed))
    # What an upgrade by hand put in, its downgrade may take out again.
    kept = now if subject.end else least(rows, now)
    _check_rows(subject, "downgrade", kept, clone.rows(names))
    with _telling_the_cause(subject, "downgrade", before if subject.end else None, clone):
        _run_or_empty(clone, versions, subject, "second upgrade", names, now)
    again = clone.facts()
    _check(subject, "second upgrade", subject.end or after, again)
    return again


@contextmanager
def _telling_the_cause(subject: _Subject, leg: str, expected: Facts | None, clone: _Clone) -> Iterator[None]:
    """Where a leg does not run, tell what the one before it, `leg`, left otherwise than `expected`, if anything."""
    try:
        yield
    except IrreversibleRevision:
        raise
    except MonarchError:
        if expected is not None:
            _check(subject, leg, expected, clone.facts())
        raise


def _of(facts: Facts, names: Collection[str] | None) -> Facts:
    return facts if names is None else facts.only(names)


def _upgrade_with_rows(clone: _Clone, versions: Sequence[Path], subject: _Subject, tables: Sequence[str]) -> Snapshot:
    """Fill the tables and upgrade; where rows stop it, as its hazards say they may, go on without those rows."""
    without: set[str] = set()
    for _ in range(TRIES):
        filled = [table for table in tables if table not in without]
        _fill(clone.url, filled, subject.end)
        rows = clone.rows(tables)
        try:
            _run(clone.url, versions, subject, "upgrade")
        except RefusedError as error:
            if not filled or not _may_fail(subject, error):
                raise
            _empty(clone.url, tables)
            without |= {error.table} if error.table in filled else set(filled)
        else:
            return rows
    rows = clone.rows(tables)
    _run(clone.url, versions, subject, "upgrade")
    return rows


def _run_or_empty(
    clone: _Clone, versions: Sequence[Path], subject: _Subject, leg: str, tables: Sequence[str], rows: Snapshot
) -> Snapshot:
    """Run a leg, without rows where they stop it: a column that was dropped comes back without its values."""
    try:
        _run(clone.url, versions, subject, leg)
    except RefusedError as error:
        if not _may_fail(subject, error):
            raise
        _empty(clone.url, tables)
        rows = clone.rows(tables)
        _run(clone.url, versions, subject, leg)
    return rows


def _run(url: URL, versions: Sequence[Path], subject: _Subject, leg: str) -> None:
    transcripts = {subject.revision: subject.transcript} if subject.transcript else {}
    options = Options(url, shadow=True, transcripts=transcripts)
    try:
        if leg == "downgrade":
            runner.downgrade(versions, subject.down_revision or BASE, options)
        else:
            runner.upgrade(versions, subject.revision, options)
    except IrreversibleRevision:
        raise
    except MonarchError as error:
        message = error.message.replace(str(versions[0] / PROPOSED), subject.called)
        error.message = f"{subject.called} does not run on a shadow (its {leg}). {message}"
        error.remedy = subject.remedy
        raise


def _may_fail(subject: _Subject, error: RefusedError) -> bool:
    """Say whether rows may stop the revision: what a person wrote may, what was generated where a hazard says so."""
    declared = any(hazard.kind in (CONVERSION, REWRITE, SCAN, DATA_LOSS) for hazard in subject.hazards)
    return error.sqlstate[:2] in DATA_ERRORS and (subject.end is None or declared)


def _fill(url: URL, tables: Sequence[str], wanted: Facts | None) -> None:
    if tables:
        with connect(url) as connection:
            fill(connection, tables, wanted)
            connection.commit()


def _empty(url: URL, tables: Sequence[str]) -> None:
    with connect(url) as connection:
        # A table may have been dropped or renamed meanwhile; then it holds no rows that matter.
        there = [
            name
            for name in map(qualified, tables)
            if connection.exec_driver_sql("SELECT to_regclass(%s)", (name,)).scalar_one() is not None
        ]
        if there:
            run_script(connection, f"TRUNCATE {', '.join(there)} CASCADE")
        connection.commit()


def _check(subject: _Subject, leg: str, expected: Facts, found: Facts) -> None:
    left = list(differences(expected, found))
    if left:
        told = "does not do all that the sources ask for" if leg != "downgrade" else "does not restore what was before"
        raise _failed(subject, f"{told}; after its {leg} on a shadow", map(str, left))


def _check_rows(subject: _Subject, leg: str, before: Snapshot, after: Snapshot) -> None:
    declared = tuple(f"{item.object}{end}" for item in subject.hazards if item.kind == DATA_LOSS for end in ":.")
    by_hand = subject.end is None
    # A data fix is there to change values.
    left = [line for line in lost(before, after, fixed=by_hand) if not line.startswith(declared)]
    if left:
        if by_hand:
            left.append(f"If it is meant, say so in its header: Hazard: {DATA_LOSS} {left[0].partition(':')[0]}: why")
        raise _failed(subject, f"loses rows or values of what it keeps; after its {leg} on a shadow", left)


def _check_rewrites(subject: _Subject, tables: Iterable[str]) -> None:
    declared = {hazard.object for hazard in subject.hazards if hazard.kind == REWRITE}
    lines = [
        f"Hazard: {REWRITE} {table}: the table is written anew"
        for table in sorted(tables)
        if not any(item == table or item.startswith(f"{table}.") for item in declared)
    ]
    if lines:
        raise _failed(
            subject, "writes tables anew, which takes long and blocks them, and its header does not say", lines
        )


def _failed(subject: _Subject, told: str, lines: Iterable[str]) -> MonarchError:
    found = [f"  {line}" for line in lines]
    if len(found) > SHOWN_DIFFERENCES:
        found[SHOWN_DIFFERENCES:] = [f"  … and {len(found) - SHOWN_DIFFERENCES} more"]
    return MonarchError(f"{subject.called} {told}:\n" + "\n".join(found), remedy=subject.remedy)
