"""Moving a target behind a rebase: it has revisions applied that the chain now has behind others (DESIGN rule 7).

The others, which it lacks, are applied on top. Then its facts must be those that the chain comes to there, and version
and ledger are moved in one transaction. Whether that will be so is tried on a shadow first. A run that is killed in
between leaves a target that says what it has; the next one goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import URL, Connection

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.ledger import (
    add_row,
    end_rows,
    read_bodies,
    read_hashes,
    set_version,
    target_of,
)
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.recording import row_of_file
from monarch_dagster.migrations.replay import chain_clone, chain_facts, made_of
from monarch_dagster.migrations.revisions import BASE
from monarch_dagster.migrations.scripts import script_folder, stacked
from monarch_dagster.migrations.standing import Move, Standing, judge, look
from monarch_dagster.postgres.engines import connect, reading
from monarch_dagster.postgres.locks import apply_lock, lock_revision
from monarch_dagster.postgres.pooler import check_direct
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts, combined_hash, differences

log = logging.getLogger(__name__)

SHOWN_DIFFERENCES = 10


def catch_up(chain: Chain, shadows: Callable[[], ShadowServer], options: Options) -> None:
    """Apply what a rebase put below a target's own revisions, and move its version and ledger to the chain.

    Raises `MonarchError`, with nothing done, where that does not come to the facts of the chain: what to revert first.
    """
    check_direct(options.url)
    with apply_lock(options.url, log.info), options.stopping():
        standing = look(chain, options.url)
        standing.check()
        move = standing.move
        if move is None:
            return  # another run was first
        version, goal = standing.target.version, move.goal[-1].revision
        log.info("%s: rebased since. Moving the target from %s to %s", _names(move), version, goal)
        wanted = rehearse(chain, move, standing, shadows(), options.url)
        if move.missing:
            contents = [(item.revision, item.path.read_bytes()) for item in move.missing]
            with script_folder(stacked(version, contents)) as folders:
                here = replace(options, locked=True, originals=dict(contents))
                runner.upgrade(folders, contents[-1][0], here)
        _move(chain, wanted, options)
        log.info("The target is now at %s", goal)


def rehearse(chain: Chain, move: Move, standing: Standing, shadows: ShadowServer, url: URL) -> Facts:
    """Run the target's own way on a shadow, and return the facts that it then shares with the chain's.

    Raises `MonarchError` that says what to revert where it would not come to them.
    """
    if standing.target.major != shadows.major:
        raise MonarchError(
            f"The target has {_names(move)} applied, which a rebase put behind other revisions. Whether it comes to "
            f"the same was not compared: it is PostgreSQL {standing.target.major}, the shadow {shadows.major}.",
            remedy=f"Set MONARCH_SHADOW_URL to a server of version {standing.target.major}, then run again.",
        )
    with reading(url) as connection:
        bodies = read_bodies(connection, move.own)
    way = [(entry.revision, bodies[entry.revision]) for entry in move.own]
    way += [(item.revision, item.path.read_bytes()) for item in move.missing]
    with chain_clone(shadows, chain, move.goal[-1].revision) as clone:
        wanted = made_of(shadows, chain, chain_facts(clone))
    with chain_clone(shadows, chain, move.common) as clone, script_folder(stacked(move.common, way)) as folders:
        try:
            runner.upgrade(folders, way[-1][0], Options(clone, shadow=True))
        except MonarchError as error:
            raise _revert_first(move, error.message) from None
        found = made_of(shadows, chain, chain_facts(clone))
    left = [f"  {item}" for item in differences(wanted, found)]
    if left:
        raise _revert_first(
            move, "It would not come to what the chain comes to:\n" + "\n".join(left[:SHOWN_DIFFERENCES])
        )
    return wanted


def _move(chain: Chain, wanted: Facts, options: Options) -> None:
    """Move version and ledger in one transaction, where the recorded facts are those `wanted`."""
    with connect(options.url) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{options.lock_timeout_seconds}s'")
        lock_revision(connection)
        move = judge(chain, target_of(connection), {}).move
        if move is None or move.missing:
            raise MonarchError(
                "Another run migrated the target meanwhile.", remedy="Look at `monarch status`, then run again."
            )
        hashes = read_hashes(connection)
        differing = sorted(name for name, _ in set(hashes.items()) ^ set(wanted.hashes.items()))
        if differing:
            names = ", ".join(dict.fromkeys(differing[:SHOWN_DIFFERENCES]))
            raise _revert_first(move, f"It did not come to what the chain comes to: {names}")
        _rewrite(connection, move, hashes, options.run)
        connection.commit()


def _rewrite(connection: Connection, move: Move, hashes: dict[str, str], run: str) -> None:
    clock, started_at = time.monotonic(), datetime.now(UTC)
    end_rows(connection, [entry.revision for entry in move.own])
    for item in move.goal:
        row = row_of_file(
            item,
            "rebase",
            run,
            started_at,
            seconds=time.monotonic() - clock,
            facts_before=combined_hash(hashes),
            facts_after=combined_hash(hashes),
        )
        add_row(connection, row)
    set_version(connection, move.goal[-1].revision)


def _names(move: Move) -> str:
    return ", ".join(entry.revision for entry in move.own)


def _revert_first(move: Move, reason: str) -> MonarchError:
    return MonarchError(
        f"The target has {counted(len(move.own), 'revision')} applied ({_names(move)}) that a rebase put behind "
        f"others, and it cannot be moved as it is. {reason}",
        remedy=f"Take them back first, their text is in the ledger: `monarch revert --to {move.common or BASE}`, then "
        "`monarch run-migrations`.",
    )
