"""Open proposals: revisions that nobody has edited, committed or applied yet, which the next proposal supersedes.

They stand at the end of the chain. What comes in their place, and when they are deleted, is `generate`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.branches import Unit, units
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.git import tracked_files
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.revisions import Revision, said_bodies, said_proposal
from monarch_dagster.postgres.locks import who_migrates

log = logging.getLogger(__name__)

CONNECT_SECONDS = "2"


def open_proposals(chain: Chain, applied: Collection[str], committed: Collection[str]) -> tuple[Revision, ...]:
    """Return the revisions at the end of a chain that belong to whole proposals which nobody has taken up.

    Args:
        chain: the revisions; of several heads none is open.
        applied: the ids of revisions that the target has.
        committed: the names of files that git tracks.
    """
    if chain.problems():
        return ()

    def is_open(unit: Unit) -> bool:
        return len(unit) == unit[0].proposal_size and not any(
            item.revision in applied or item.path.name in committed or item.replaces or not is_as_generated(item)
            for item in unit
        )

    found: list[Revision] = []
    for unit in reversed(units(chain.revisions)):
        if not is_open(unit):
            break
        found = [*unit, *found]
    return tuple(found)


def find_open_proposals(chain: Chain, url: URL) -> tuple[Revision, ...]:
    """Return the open proposals of a chain, as git and the target at `url` say; none where one cannot be asked."""
    if not open_proposals(chain, (), ()):
        return ()
    try:
        committed = tracked_files(chain.directory)
        url = url.update_query_dict({"connect_timeout": CONNECT_SECONDS}, append=False)
        target, running = read_target(url), who_migrates(url)
    except MonarchError as error:
        log.warning(
            "What was proposed before stays: whether it was committed or applied is not known. %s", error.message
        )
        return ()
    if running:
        log.warning("What was proposed before stays: %s migrates the target now, and may be applying it.", running)
        return ()
    return open_proposals(chain, {*target.versions, *(entry.revision for entry in target.entries)}, committed)


def is_as_generated(item: Revision) -> bool:
    """Say whether a revision's file is, but for its name, what generating wrote, comments and docstring included."""
    from monarch_dagster.migrations.rendering import render_revision

    if item.edited or item.empty:
        return False
    text = item.path.read_text()
    if (bodies := said_bodies(text)) is None:
        return False
    written = render_revision(
        revision=item.revision,
        down_revision=item.down_revision,
        message=item.message,
        hazards=item.hazards,
        proposal=said_proposal(text),
        upgrades=bodies[0],
        downgrades=bodies[1],
    )
    return text == written
