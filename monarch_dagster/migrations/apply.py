"""Apply and revert: from the chain to the target, through `env.py` (DESIGN rules 7 and 8)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import BASE, Chain, Revision, approved_revisions
from monarch_dagster.migrations.environment import LOCK_TIMEOUT_SECONDS, Options
from monarch_dagster.migrations.proofs import Prover
from monarch_dagster.migrations.sizes import Sizes, read_sizes
from monarch_dagster.postgres.engines import display

log = logging.getLogger(__name__)


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


def database_revision(chain: Chain, url: URL) -> str | None:
    """Return the revision that the target is at, None for base.

    Raises `MonarchError` when the target holds several, or one that the chain does not have.
    """
    versions = runner.read_versions(url)
    if len(versions) > 1:
        raise MonarchError(
            f"{display(url)} holds {len(versions)} rows in alembic.alembic_version ({', '.join(versions)}), expected "
            "one.",
            remedy="Someone stamped it by hand: find out which revision its schema is at and delete the other rows.",
        )
    version = versions[0] if versions else None
    if version is not None and all(item.revision != version for item in chain.revisions):
        raise MonarchError(
            f"{display(url)} is at revision {version}, which is not in {chain.directory}.",
            remedy="Bring its file back with git (a branch that was not merged?), or check MONARCH_DATABASE_URL.",
        )
    return version


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

    Raises `MonarchError` where a revision fails or is refused; those before it stay applied.
    """
    if lock_timeout_seconds < 1:
        # PostgreSQL takes 0 as "for ever".
        raise MonarchError("The lock timeout must be a second or more.", remedy=f"Use {LOCK_TIMEOUT_SECONDS}.")
    goal = chain.resolve(to)
    before = database_revision(chain, url)
    _check_expected(chain, before, expected_version)
    if goal is None or (before is not None and chain.position(goal) < chain.position(before)):
        if to == "head" and goal is None:
            return ApplyResult(before, before)
        raise MonarchError(
            f"The target is at {before or BASE}, and {to} lies before that; run-migrations goes upwards only.",
            remedy=f"To go back, use `monarch revert --to {to}`.",
        )
    if dry_run:
        sql = "" if goal == before else runner.upgrade_sql([chain.directory], before, goal, Options(url))
        pending = chain.after(before)
        return ApplyResult(before, before, pending=pending, sql=sql, sizes=read_sizes(url, pending))
    pending = chain.upto(goal)[len(chain.upto(before)) :]
    unproved = prover.demand(chain, pending, approved_revisions(chain, allow_unproved))
    for name in unproved:
        log.warning("%s is applied without a proof, as it was named", name)
    applied: list[Applied] = []

    def start(revisions: Sequence[str]) -> None:
        # Another run may have migrated while this one waited for the lock.
        nonlocal before
        before = next(iter(revisions), None)
        _check_expected(chain, before, expected_version)

    options = Options(
        url,
        lock_timeout_seconds=lock_timeout_seconds,
        approved=approved_revisions(chain, allow_data_loss),
        on_start=start,
        on_step=lambda revision, seconds: _note(applied, Applied(revision, "upgrade", seconds)),
    )
    if goal != before:
        with _telling_how_far(chain, applied):
            runner.upgrade([chain.directory], goal, options)
    after = database_revision(chain, url)
    return _result(before, after, applied, chain, url, unproved)


def revert_revisions(chain: Chain, url: URL, *, to: str, allow_data_loss: Iterable[str] = ()) -> ApplyResult:
    """Take the target down to `to` ("base" for nothing), each revision in a transaction of its own.

    Raises `MonarchError` where `to` is empty or lies above the target's revision, and as `apply_revisions` does.
    """
    if not to:
        raise MonarchError(
            "Reverting needs to know where to: no revision was named.", remedy="Name one, or base to empty."
        )
    chain.check_linear()
    goal = chain.resolve(to)
    before = database_revision(chain, url)
    if goal is not None and (before is None or chain.position(goal) > chain.position(before)):
        raise MonarchError(
            f"The target is at {before or BASE}, and {to} lies behind that; revert goes downwards only.",
            remedy=f"To go up, use `monarch run-migrations --to {to}`.",
        )
    applied: list[Applied] = []
    options = Options(
        url,
        approved=approved_revisions(chain, allow_data_loss),
        on_step=lambda revision, seconds: _note(applied, Applied(revision, "downgrade", seconds)),
    )
    if goal != before:
        with _telling_how_far(chain, applied):
            runner.downgrade([chain.directory], goal or BASE, options)
    after = database_revision(chain, url)
    return _result(before, after, applied, chain, url)


def _result(
    before: str | None,
    after: str | None,
    applied: Iterable[Applied],
    chain: Chain,
    url: URL,
    unproved: tuple[str, ...] = (),
) -> ApplyResult:
    pending = chain.after(after)
    return ApplyResult(before, after, tuple(applied), pending, unproved=unproved, sizes=read_sizes(url, pending))


@contextmanager
def _telling_how_far(chain: Chain, applied: Sequence[Applied]) -> Iterator[None]:
    """Add to an error what had run before it, and where the target stands now."""
    try:
        yield
    except MonarchError as error:
        if not applied:
            raise
        last = applied[-1]
        place = chain.position(last.revision)
        now = last.revision if last.direction == "upgrade" else chain.revisions[place].down_revision
        verb = "applied" if last.direction == "upgrade" else "reverted"
        raise MonarchError(
            f"{error.message}\n{counted(len(applied), 'revision')} before it {verb}; "
            f"the target is now at {now or BASE}.",
            remedy=error.remedy,
        ) from None


def _note(applied: list[Applied], item: Applied) -> None:
    applied.append(item)
    verb = "Applied" if item.direction == "upgrade" else "Reverted"
    log.info("%s %s in %.1f s", verb, item.revision, item.seconds)


def _check_expected(chain: Chain, before: str | None, expected: str) -> None:
    if expected and chain.resolve(expected) != before:
        raise MonarchError(
            f"The target is at {before or BASE}, expected {expected}.",
            remedy="Somebody else migrated in the meantime: look at `monarch status`, then run again.",
        )
