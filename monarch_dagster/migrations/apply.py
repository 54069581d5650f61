"""Apply and revert: from the chain to the target, through `env.py` (DESIGN rules 7 and 8)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain, approved_revisions
from monarch_dagster.migrations.ledger import Target, read_bodies, read_past, read_target
from monarch_dagster.migrations.ledger_tables import VERSION_TABLE
from monarch_dagster.migrations.limits import check_target
from monarch_dagster.migrations.moving import catch_up, rehearse
from monarch_dagster.migrations.options import LOCK_TIMEOUT_SECONDS, Options
from monarch_dagster.migrations.preview import Preview, preview_conversions
from monarch_dagster.migrations.proofs import Prover
from monarch_dagster.migrations.registering import Registered, Registrar
from monarch_dagster.migrations.revisions import BASE, Revision, check_unchanged, parse_revision
from monarch_dagster.migrations.scripts import script_folder, stacked
from monarch_dagster.migrations.sizes import Sizes, read_sizes
from monarch_dagster.migrations.standing import Standing, look
from monarch_dagster.migrations.transcribe import transcribed
from monarch_dagster.migrations.twins import recognised
from monarch_dagster.postgres.engines import reading
from monarch_dagster.postgres.pooler import check_direct
from monarch_dagster.postgres.quoting import literal
from monarch_dagster.schema.desired import Sources

log = logging.getLogger(__name__)

COMMAND = "monarch"
SHOWN_APPLIED = 5


@dataclass(frozen=True)
class Applied:
    """One revision that ran on the target, and how long it took in seconds."""

    revision: str
    direction: Literal["upgrade", "downgrade"]
    seconds: float


@dataclass(frozen=True)
class ApplyResult:
    """The target's revision before and after, and what ran in between; `sql` is filled by a dry run."""

    before: str | None
    after: str | None
    applied: tuple[Applied, ...] = ()
    pending: tuple[Revision, ...] = field(default=())
    sql: str = ""
    # Applied without a proof, since a person named them.
    unproved: tuple[str, ...] = ()
    # Of the tables that the hazards of `pending` name.
    sizes: Sizes = field(default_factory=dict)
    # What conversions of `pending` would do to values, in a dry run.
    conversions: tuple[Preview, ...] = ()
    # What stands in the registry of objects and fields; None where it was not looked at.
    registry: Registered | None = None


@uncollected()
def apply_revisions(
    chain: Chain,
    url: URL,
    prover: Prover,
    *,
    to: str = "head",
    expected_version: str = "",
    allow_data_loss: Iterable[str] = (),
    allow_unproved: Iterable[str] = (),
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS,
    dry_run: bool = False,
    run: str = COMMAND,
) -> ApplyResult:
    """Apply the pending revisions up to `to`, each in a transaction of its own; nothing pending is no error.

    Args:
        chain: the revisions.
        url: the target.
        prover: proves what is pending and has not been proved here.
        to: "head", a revision's id or the start of one.
        expected_version: where given ("base" or an id), the target must be at it.
        allow_data_loss: revisions that may lose stored values, "REV" or "FROM:TO".
        allow_unproved: revisions that may run without a proof, "REV" or "FROM:TO".
        lock_timeout_seconds: how long a statement waits for a lock before the revision is rolled back and tried again.
        dry_run: return the SQL and run nothing.
        run: what asked for it, for the ledger: the id of a Dagster run.

    Raises `MonarchError` where a revision fails or is refused; those before it stay applied.
    """
    if lock_timeout_seconds < 1:
        # PostgreSQL takes 0 as "for ever".
        raise MonarchError("The lock timeout must be a second or more.", remedy=f"Use {LOCK_TIMEOUT_SECONDS}.")
    chain.check_linear()
    if error := chain.no_folder():
        log.warning("%s", error)
    goal = chain.resolve(to)
    chain, standing = recognised(chain, look(chain, url), prover.shadows, url)
    standing.check()
    for fault in standing.faults:
        log.warning("%s", fault.message)
    before = standing.target.version
    _check_expected(chain, before, expected_version)
    here = standing.move.goal[-1].revision if standing.move else before
    if goal is None or (here is not None and chain.position(goal) < chain.position(here)):
        if to == "head" and goal is None:
            return ApplyResult(before, before)
        raise MonarchError(
            f"The target is at {here or BASE}, and {to} lies before that; run-migrations goes upwards only.",
            remedy=f"To go back, use `monarch revert --to {to}`.",
        )
    if dry_run:
        if standing.move:
            rehearse(chain, standing.move, standing, prover.shadows(), url)
        return _dry_run(chain, url, standing, goal)
    # Asked again under the lock; here, so that nobody waits for proofs before it is refused.
    check_direct(url)
    pending = standing.pending(chain, goal)
    check_target(chain, url, here, goal, prover.shadows)
    unproved = prover.demand(chain, pending, approved_revisions(chain, allow_unproved))
    for name in unproved:
        log.warning("%s is applied without a proof, as it was named", name)
    applied: list[Applied] = []
    registrar = Registrar(prover.sources, url, applied)

    def start(_revisions: Sequence[str]) -> None:
        # Another run may have migrated while this one waited for the lock.
        nonlocal before
        now = look(chain, url)
        now.check()
        check_unchanged(pending)
        before = now.target.version
        _check_expected(chain, before, expected_version)

    options = Options(
        url,
        lock_timeout_seconds=lock_timeout_seconds,
        approved=approved_revisions(chain, allow_data_loss),
        unproved=frozenset(unproved),
        run=run,
        on_step=lambda revision, seconds: _note(applied, Applied(revision, "upgrade", seconds)),
        on_end=registrar.register,
        on_stop=registrar.stopped,
    )
    with _telling_how_far(url, applied):
        if standing.move:
            catch_up(chain, prover.shadows, options)
        if goal != here:
            options = options if standing.move else replace(options, on_start=start)
            later = chain.upto(goal)[len(chain.upto(here)) :]
            with transcribed(chain.directory, here, later, options, prover.sources.memo) as (folders, options):
                runner.upgrade(folders, goal, options)
    return replace(_result(before, applied, chain, url, unproved), registry=registrar.settled())


def revert_revisions(
    chain: Chain, url: URL, sources: Sources, *, to: str, allow_data_loss: Iterable[str] = (), run: str = COMMAND
) -> ApplyResult:
    """Take the target down to `to` ("base" for nothing), each revision in a transaction of its own.

    What the ledger has and no file, is taken back by the text that the ledger keeps; of `sources` the registry is kept.
    Raises `MonarchError` where `to` is empty or lies above the target's revision, and as `apply_revisions` does.
    """
    if not to:
        raise MonarchError(
            "Reverting needs to know where to: no revision was named.", remedy="Name one, or base to empty."
        )
    standing = look(chain, url)
    standing.check(back=True)
    there, contents, past = _as_applied(chain, standing.target, url)
    if to != BASE and any(item.revision.startswith(to) for item in chain.revisions if item not in there.revisions):
        raise MonarchError(
            f"The target is at {there.head or BASE}, and {to} lies behind that; revert goes downwards only.",
            remedy=f"To go up, use `monarch run-migrations --to {to}`.",
        )
    if to not in (BASE, "head") and not any(item.revision.startswith(to) for item in there.revisions):
        raise MonarchError(
            f"The target has no revision {to!r} applied; it has "
            f"{', '.join(item.revision for item in there.revisions[-SHOWN_APPLIED:]) or 'none'}"
            f"{' (the last ones)' if len(there.revisions) > SHOWN_APPLIED else ''}.",
            remedy="Name one of those that it has, or base to empty.",
        )
    goal = there.resolve(to)
    applied_ids = {item.revision for item in there.revisions}
    known = there.extended(*(item for item in chain.revisions if item.revision not in applied_ids))
    undone = [(item.revision, contents[item.revision]) for item in there.after(goal)]
    applied: list[Applied] = []
    registrar = Registrar(sources, url, applied)
    options = Options(
        url,
        approved=approved_revisions(known, _named_again(allow_data_loss, known, past, there.head)),
        run=run,
        originals=dict(undone),
        on_step=lambda revision, seconds: _note(applied, Applied(revision, "downgrade", seconds)),
        on_end=registrar.register,
        on_stop=registrar.stopped,
    )
    if undone:
        with _telling_how_far(url, applied), script_folder(stacked(goal, undone)) as folders:
            runner.downgrade(folders, goal or BASE, options)
    return replace(_result(there.head, applied, chain, url), registry=registrar.settled())


def _named_again(names: Iterable[str], known: Chain, past: Collection[str], head: str | None) -> Iterator[str]:
    """Give the names of approved revisions without those that are gone, file and all.

    A run that was refused half-way may name again what it has taken back by then.
    """

    def is_gone(name: str) -> bool:
        is_known = any(item.revision.startswith(name) for item in known.revisions)
        return bool(name) and not is_known and any(item.startswith(name) for item in past)

    for name in names:
        ends = [end.strip() for end in name.split(":")]
        if not all(map(is_gone, ends)):
            # What is gone stood above all that is left.
            yield ":".join((head or BASE) if is_gone(end) else end for end in ends)


def _as_applied(chain: Chain, target: Target, url: URL) -> tuple[Chain, dict[str, bytes], frozenset[str]]:
    """Return what a target has as a chain of its own, each revision's text, and all revisions that it ever had.

    The text is the file's, else the ledger's.
    """
    files = {item.revision: item.path for item in (*chain.left_out, *chain.revisions)}
    entries = target.entries
    with reading(url) as connection:
        past = read_past(connection) if target.kept else frozenset()
        contents = read_bodies(connection, [entry for entry in entries if entry.revision not in files])
    contents |= {entry.revision: files[entry.revision].read_bytes() for entry in entries if entry.revision in files}
    revisions = tuple(
        replace(parse_revision(path, contents[entry.revision]), down_revision=entry.down_revision)
        for entry in entries
        for path in [files.get(entry.revision, chain.directory / f"{entry.revision}.py")]
    )
    return Chain(chain.directory, revisions, (revisions[-1].revision,) if revisions else ()), contents, past


def _dry_run(chain: Chain, url: URL, standing: Standing, goal: str) -> ApplyResult:
    """Return the SQL that an apply would run, and what is pending."""
    before, sql = standing.target.version, ""
    start = before
    if standing.move:
        start = standing.move.goal[-1].revision
        contents = [(item.revision, item.path.read_bytes()) for item in standing.move.missing]
        if contents:
            with script_folder(stacked(before, contents)) as folders:
                sql = runner.upgrade_sql(folders, before, contents[-1][0], Options(url))
        sql += (
            f"\n-- Rebased since: version and ledger move to the chain's revisions, where the facts are equal.\n"
            f"UPDATE {VERSION_TABLE} SET version_num={literal(start)};\n\n"
        )
    if goal != start:
        sql += runner.upgrade_sql([chain.directory], start, goal, Options(url))
    pending = standing.pending(chain, goal)
    sizes, conversions = read_sizes(url, pending), preview_conversions(url, pending)
    return ApplyResult(before, before, pending=pending, sql=sql, sizes=sizes, conversions=conversions)


def _result(
    before: str | None, applied: Iterable[Applied], chain: Chain, url: URL, unproved: tuple[str, ...] = ()
) -> ApplyResult:
    standing = look(chain, url)
    pending = standing.pending(chain)
    return ApplyResult(
        before, standing.target.version, tuple(applied), pending, unproved=unproved, sizes=read_sizes(url, pending)
    )


@contextmanager
def _telling_how_far(url: URL, applied: Sequence[Applied]) -> Iterator[None]:
    """Add to an error what had run before it, and where the target stands now."""
    try:
        yield
    except MonarchError as error:
        if applied:
            verb = "applied" if applied[-1].direction == "upgrade" else "reverted"
            error.message += f"\n{counted(len(applied), 'revision')} before it {verb}"
            with suppress(MonarchError):  # the server may be gone
                error.message += f"; the target is now at {read_target(url).version or BASE}"
            error.message += "."
        raise


def _note(applied: list[Applied], item: Applied) -> None:
    applied.append(item)
    verb = "Applied" if item.direction == "upgrade" else "Reverted"
    log.info("%s %s in %.1f s", verb, item.revision, item.seconds)


def _check_expected(chain: Chain, before: str | None, expected: str) -> None:
    if expected and expected != before and chain.resolve(expected) != before:
        raise MonarchError(
            f"The target is at {before or BASE}, expected {expected}.",
            remedy="Somebody else migrated in the meantime: look at `monarch status`, then run again.",
        )
