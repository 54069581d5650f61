"""Applied revisions that no file has, because another revision of the chain does the very same.

Two branches made one change, each behind another revision; a rebase found that nothing was left of one of them, and its
file went. A target that has that one applied is known here by what it did: facts decide, on a shadow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.ledger import read_bodies
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.migrations.revisions import parse_revision
from monarch_dagster.migrations.scripts import script_folder, stacked
from monarch_dagster.migrations.standing import Standing, look
from monarch_dagster.postgres.engines import reading
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts

log = logging.getLogger(__name__)

# Relation and aspect, before and after.
Change = frozenset[tuple[str, str, str, str]]


def recognised(
    chain: Chain, standing: Standing, shadows: Callable[[], ShadowServer], url: URL
) -> tuple[Chain, Standing]:
    """Return chain and standing, where revisions of the chain stand also for applied ones that do the very same.

    Both as they are where every applied revision has a file, and where the shadow cannot tell.
    """
    if not standing.lost or chain.problems():
        return chain, standing
    try:
        twins = _find(chain, standing, shadows(), url)
    except MonarchError as error:
        log.debug("What is applied without a file was not compared with the chain: %s", error)
        return chain, standing
    if not twins:
        return chain, standing
    revisions = tuple(
        replace(item, replaces=(*item.replaces, frozenset({twins[item.revision]}))) if item.revision in twins else item
        for item in chain.revisions
    )
    chain = replace(chain, revisions=revisions)
    return chain, look(chain, url)


def _find(chain: Chain, standing: Standing, shadows: ShadowServer, url: URL) -> dict[str, str]:
    """Return the applied revision without a file for each revision of the chain that does the same."""
    with reading(url) as connection:
        bodies = read_bodies(connection, standing.own)
    own = [(entry.revision, bodies[entry.revision]) for entry in standing.own]
    lost = {entry.revision for entry in standing.lost}
    done = {change: name for name, change in _changes(chain, standing.common, own, shadows) if name in lost}
    later = [(item.revision, item.path.read_bytes()) for item in chain.after(standing.common)]
    there = {entry.revision for entry in standing.own}
    found: dict[str, str] = {}
    for name, change in _changes(chain, standing.common, later, shadows):
        if name not in there and change in done:
            found[name] = done.pop(change)
    return found


def _changes(
    chain: Chain, common: str | None, steps: Sequence[tuple[str, bytes]], shadows: ShadowServer
) -> Iterator[tuple[str, Change]]:
    """Give what each generated one of `steps` does behind `common`; what a person wrote may do more than facts show."""
    with chain_clone(shadows, chain, common) as clone, script_folder(stacked(common, steps)) as folders:
        before = chain_facts(clone)
        for name, content in steps:
            runner.upgrade(folders, name, Options(clone, shadow=True))
            after = chain_facts(clone)
            change = _change(before, after)
            if change and not parse_revision(chain.directory / f"{name}.py", content).edited:
                yield name, change
            before = after


def _change(before: Facts, after: Facts) -> Change:
    was, now = _flat(before), _flat(after)
    changed = (key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    return frozenset((*key, was.get(key, ""), now.get(key, "")) for key in changed)


def _flat(facts: Facts) -> dict[tuple[str, str], str]:
    return {(name, aspect): value for name, aspects in facts.relations.items() for aspect, value in aspects.items()}
