"""Checks of `alembic_version`: what is stored, what is expected, what to do. Pure; reading it is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from monarch_dagster.errors import counted
from monarch_dagster.migrations.chain import BASE, Chain


@dataclass(frozen=True)
class Outcome:
    """What a check found; `remedy` is empty where it passed."""

    passed: bool
    stored: str
    expected: str
    remedy: str = ""


def version_at_head(versions: Sequence[str], chain: Chain) -> Outcome:
    """Say whether the target is at the chain's head: true after every run of migrations."""
    stored, expected = _stored(versions), " and ".join(chain.heads) or BASE
    if remedy := _broken(versions, chain):
        return Outcome(False, stored, expected, remedy)
    if stored == expected:
        return Outcome(True, stored, expected)
    pending = len(chain.after(versions[0] if versions else None))
    return Outcome(
        False, stored, expected, f"{counted(pending, 'revision')} pending: review, then `monarch run-migrations`."
    )


def version_precedes_next(versions: Sequence[str], chain: Chain) -> Outcome:
    """Say whether the target is at the `down_revision` of the next pending revision: true before every run.

    With nothing pending it must be at the head.
    """
    stored = _stored(versions)
    if remedy := _broken(versions, chain):
        return Outcome(False, stored, "a revision of the chain", remedy)
    pending = chain.after(versions[0] if versions else None)
    expected = (pending[0].down_revision or BASE) if pending else (chain.head or BASE)
    return Outcome(
        stored == expected, stored, expected, "" if stored == expected else "Look at `monarch status`: the chain broke."
    )


CHECKS: Mapping[str, Callable[[Sequence[str], Chain], Outcome]] = {
    "alembic_version_at_head": version_at_head,
    "alembic_version_precedes_next": version_precedes_next,
}


def _stored(versions: Sequence[str]) -> str:
    return " and ".join(versions) or BASE


def _broken(versions: Sequence[str], chain: Chain) -> str:
    """Return the remedy where stored version and chain cannot be compared, "" where they can."""
    if len(chain.heads) > 1:
        return f"The chain has {len(chain.heads)} heads ({', '.join(chain.heads)}): set one behind the other."
    if len(versions) > 1:
        return "alembic.alembic_version holds several rows: find out which is right and delete the others."
    known = {item.revision for item in chain.revisions}
    if versions and versions[0] not in known:
        return f"No file has revision {versions[0]}: bring it back with git, or check MONARCH_DATABASE_URL."
    return ""
