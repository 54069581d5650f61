"""Adopting a target: version and ledger are set to the revision that its schema equals, and nothing else is touched.

For a database that another system set up, and for one whose `alembic_version` or ledger was changed by hand. Facts
decide; a version that is stored there is believed only between revisions of equal facts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.drift import schemas_of
from monarch_dagster.migrations.ledger import (
    Target,
    add_row,
    end_rows,
    read_hashes,
    record_facts,
    set_version,
    target_of,
)
from monarch_dagster.migrations.ledger_tables import SCHEMA, make_tables
from monarch_dagster.migrations.options import LOCK_TIMEOUT_SECONDS, Options
from monarch_dagster.migrations.recording import row_of_file
from monarch_dagster.migrations.replay import chain_clone, chain_facts, made_of
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.postgres.engines import connect, display, first_line, reading, server_major
from monarch_dagster.postgres.locks import apply_lock, lock_revision
from monarch_dagster.postgres.pooler import check_direct
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Difference, Facts, combined_hash, differences, read_facts, user_schemas

log = logging.getLogger(__name__)

SHOWN_DIFFERENCES = 10


@dataclass(frozen=True)
class Adoption:
    """What a target was adopted as, or would be: before and after, and the relations there that no revision makes.

    `written` says whether anything was changed: not in a dry run, and not where version and ledger said so already.
    """

    before: str | None
    after: str | None
    foreign: tuple[str, ...] = ()
    written: bool = False


def adopt(chain: Chain, url: URL, shadows: ShadowServer, *, dry_run: bool = False, run: str = "monarch") -> Adoption:
    """Find the last revision of the chain whose facts the target's equal, and record that the target is at it.

    Where several have equal facts, such as before and after one that only moves data, and ledger or version name one of
    them, it is that one.

    Args:
        chain: the revisions; it must be linear and not empty.
        url: the target.
        shadows: where the chain is built, on a server of the target's major version.
        dry_run: only tell.
        run: what asked for it, for the ledger.

    Raises `MonarchError` that tells what differs from the nearest revision, where the target equals none, and where
    version and ledger could not be written.
    """
    chain.check_linear()
    if not chain.revisions:
        raise MonarchError(
            f"There is no revision in {chain.directory} that the target could be at.",
            remedy="Generate one that comes to its schema: `monarch generate-migrations`, then adopt.",
        )
    check_direct(url)
    with apply_lock(url, log.info):
        _check_major(url, shadows)
        target, ours, foreign, revision = _nearest(chain, url, shadows)
        with connect(url) as connection, _writing(url):
            recorded = target.kept and read_hashes(connection) == ours.hashes
            if dry_run or (recorded and _says(target, chain.upto(revision))):
                return Adoption(target.said, revision, foreign)
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
            lock_revision(connection)
            if target_of(connection) != target:
                raise MonarchError(
                    "Another run migrated the target meanwhile.", remedy="Look at `monarch status`, then adopt again."
                )
            make_tables(connection)
            _write(connection, chain.upto(revision), target, ours, run)
            connection.commit()
    return Adoption(target.said, revision, foreign, written=True)


def _check_major(url: URL, shadows: ShadowServer) -> None:
    with reading(url) as connection:
        major = server_major(connection)
    if major != shadows.major:
        raise MonarchError(
            f"The target was not compared: it is PostgreSQL {major}, the shadow {shadows.major}, and they print facts "
            "differently.",
            remedy=f"Set MONARCH_SHADOW_URL to a server of version {major}, then adopt again.",
        )


@contextmanager
def _writing(url: URL) -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise MonarchError(
            f"Version and ledger of {display(url)} could not be written: {first_line(error)}. Nothing was changed.",
            remedy=f"Check that the role may write the tables of the schema {SCHEMA}, and that no other run is at work "
            "there, then adopt again.",
        ) from None


def _nearest(chain: Chain, url: URL, shadows: ShadowServer) -> tuple[Target, Facts, tuple[str, ...], str]:
    """Return what the target says, its facts of what revisions make, the foreign relations, and the revision it equals.

    Raises `MonarchError` where it equals none.
    """
    with chain_clone(shadows, chain, chain.head) as clone:
        head = made_of(shadows, chain, chain_facts(clone))
    text = "\n".join(item.path.read_text() for item in chain.revisions)
    with reading(url) as connection:
        target = target_of(connection)
        # Also those that a revision drops again, or that are there before the first one.
        schemas = schemas_of(head.relations) | {name for name in user_schemas(connection) if name in text}
        found = read_facts(connection, sorted(schemas))
    compared = [_compare(str(chain.head), head, found)]
    stored = target.versions if len(target.versions) == 1 else ()
    named = [item.revision for name in (target.head, *stored) for item in chain.only([str(name)])]
    if compared[0].left or found.relations.keys() - head.relations.keys() or set(named) - {chain.head}:
        below = _facts_below_head(chain, shadows)
        compared[:0] = [_compare(revision, facts, found) for revision, facts in below]
    made = frozenset().union(*(item.relations for item in compared))
    # What another revision makes is no stranger: a target that has it, is not at this one. But for schemas, which may
    # have been made for the one who may not: revisions make them IF NOT EXISTS.
    relations = {name for name in made if not name.startswith("schema ")}
    differing = {
        item.revision: [*item.left, *differences(Facts({}), found.only(relations - item.relations.keys()))]
        for item in compared
    }
    equal = [revision for revision, left in differing.items() if not left]
    if not equal:
        nearest = _nearest_of(compared, differing, found)
        raise _equals_none(differing[nearest], nearest, url)
    revision = next((name for name in named if name in equal), equal[-1])
    managed = schemas_of(made)
    strangers = {name for name in found.relations.keys() - made if not name.startswith("schema ")}
    foreign = sorted(name for name in strangers if schemas_of([name]) <= managed)
    ours = next(item.relations for item in compared if item.revision == revision)
    return target, found.only(ours), tuple(foreign), revision


@dataclass(frozen=True)
class _Compared:
    """A revision, the relations that it has with their number of aspects, and in what the target has them otherwise."""

    revision: str
    relations: Mapping[str, int]
    left: tuple[Difference, ...]


def _compare(revision: str, facts: Facts, found: Facts) -> _Compared:
    sizes = {name: len(aspects) for name, aspects in facts.relations.items()}
    return _Compared(revision, sizes, tuple(differences(facts, found.only(sizes))))


def _nearest_of(compared: Sequence[_Compared], differing: Mapping[str, Sequence[Difference]], found: Facts) -> str:
    """Return the revision that the target differs from least; of equal ones the last.

    A whole table is as many differences as it has aspects, else dropping it would seem less than changing two columns.
    """

    def weight(item: _Compared) -> int:
        sizes = {name: len(aspects) for name, aspects in found.relations.items()} | dict(item.relations)
        return sum(max(sizes[left.relation], 1) if left.whole else 1 for left in differing[item.revision])

    return min(reversed(compared), key=weight).revision


def _facts_below_head(chain: Chain, shadows: ShadowServer) -> Iterator[tuple[str, Facts]]:
    """Give the facts of each revision below the head, from base on."""
    with chain_clone(shadows, chain, None) as clone:
        there_before = chain_facts(clone).relations.keys()
        for number, item in enumerate(chain.revisions[:-1], 1):
            runner.upgrade([chain.directory], item.revision, Options(clone, shadow=True))
            progress = {"progress": (number, len(chain.revisions)), "task": "Comparing with revisions"}
            log.info("Comparing with %s", item.path.name, extra=progress)
            facts = chain_facts(clone)
            yield item.revision, facts.only(facts.relations.keys() - there_before)


def _says(target: Target, revisions: Sequence[Revision]) -> bool:
    """Say whether version and ledger are those of a target with these revisions applied."""
    applied = [(entry.revision, entry.down_revision, entry.digest, entry.server_version) for entry in target.entries]
    expected = [(item.revision, item.down_revision, item.digest, target.major) for item in revisions]
    return target.versions == (revisions[-1].revision,) and applied == expected


def _write(connection: Connection, revisions: Sequence[Revision], target: Target, ours: Facts, run: str) -> None:
    """Set version, ledger and recorded facts; rows that are right already stay."""
    right = {
        (entry.revision, entry.down_revision, entry.digest)
        for entry in target.entries
        if entry.server_version == target.major
    }
    wanted = {(item.revision, item.down_revision, item.digest) for item in revisions}
    end_rows(
        connection,
        [
            entry.revision
            for entry in target.entries
            if (key := (entry.revision, entry.down_revision, entry.digest)) not in wanted or key not in right
        ],
    )
    before, started_at = read_hashes(connection), datetime.now(UTC)
    for item in revisions:
        if (item.revision, item.down_revision, item.digest) in right:
            continue
        last = item is revisions[-1]
        # What it came to when it was applied is not known of those before.
        known = {"facts_before": combined_hash(before), "facts_after": ours.hash} if last else {}
        add_row(connection, row_of_file(item, "adopt", run, started_at, **known))
    record_facts(connection, dict.fromkeys(before.keys() - ours.relations.keys()) | dict(ours.relations))
    set_version(connection, revisions[-1].revision)


def _equals_none(left: Sequence[Difference], revision: str, url: URL) -> MonarchError:
    lines = [f"  {item}" for item in left[:SHOWN_DIFFERENCES]]
    more = [f"  … and {len(left) - SHOWN_DIFFERENCES} more"] if len(left) > SHOWN_DIFFERENCES else []
    return MonarchError(
        f"The schema of {display(url)} equals no revision. The nearest is {revision}, with "
        f"{counted(len(left), 'difference')}:\n" + "\n".join(lines + more),
        remedy="Declare in the sources what the target has and generate, or change the target by hand to what the "
        "revision makes; then adopt. Nothing was changed.",
    )
