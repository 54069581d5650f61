"""Open proposals: revisions that nobody has edited, committed or applied yet, which the next proposal supersedes.

They stand at the end of the chain. What comes in their place, and when they are deleted, is `generate`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.branches import Unit, units
from monarch_dagster.migrations.chain import Chain, read_chain
from monarch_dagster.migrations.git import tracked_files
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.revisions import Revision, said_bodies, said_proposal
from monarch_dagster.postgres.locks import apply_lock, who_migrates
from monarch_dagster.postgres.pooler import check_direct

log = logging.getLogger(__name__)

CONNECT_SECONDS = "2"
LOCK_SECONDS = 10


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


@dataclass(frozen=True)
class OpenProposals:
    """The open proposals of a chain, as git and the target at `url` say; none where one of them cannot be asked."""

    url: URL

    def find(self, chain: Chain) -> tuple[Revision, ...]:
        """Return the revisions of a chain that a new proposal supersedes; none while the target is migrated."""
        if not open_proposals(chain, (), ()):
            return ()
        try:
            if running := who_migrates(self._briefly()):
                log.warning("What was proposed before stays: %s migrates the target now, and may apply it.", running)
                return ()
            return self._find(chain)
        except MonarchError as error:
            told = "What was proposed before stays: whether it was committed or applied is not known. %s"
            log.warning(told, error.message)
            return ()

    @contextmanager
    def holding(self, items: Sequence[Revision]) -> Iterator[bool]:
        """Keep the target from being migrated, and say whether `items` are still what is open, byte for byte."""
        with ExitStack() as stack:
            try:
                check_direct(self.url)
                stack.enter_context(apply_lock(self._briefly(), log.info, wait_seconds=LOCK_SECONDS))
                now = self._find(read_chain(items[0].path.parent.parent))
                same = [(item.path, item.digest) for item in now] == [(item.path, item.digest) for item in items]
            except MonarchError as error:
                log.warning("What was proposed before is looked at again: %s", error.message)
                same = False
            yield same

    def _find(self, chain: Chain) -> tuple[Revision, ...]:
        target = read_target(self._briefly())
        applied = {*target.versions, *(entry.revision for entry in target.entries)}
        return open_proposals(chain, applied, tracked_files(chain.directory))

    def _briefly(self) -> URL:
        return self.url.update_query_dict({"connect_timeout": CONNECT_SECONDS}, append=False)


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
