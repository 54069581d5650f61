"""Rebase: after a merge of two branches, put the revisions of one behind the other's head. Files only; no target.

`branches` says which revisions stay, `regenerate` writes the others anew and proves them. Here it is decided what git
is asked and how files change: nothing before all is proved, then new files in chain order, then the old ones from the
last to the first, so that what an interruption leaves is what the next rebase mends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monarch_dagster.files import delete_file, folder_lock, replace_file
from monarch_dagster.migrations.branches import Split, spare_twins, split
from monarch_dagster.migrations.chain import VERSIONS, Chain, read_chain
from monarch_dagster.migrations.coverage import checked_sources
from monarch_dagster.migrations.git import Branch, GitError, default_branches, upstream_branch
from monarch_dagster.migrations.proofs import Proofs
from monarch_dagster.migrations.replay import desired_facts, replayed
from monarch_dagster.migrations.revisions import Revision, said_id
from monarch_dagster.migrations.undeclared import undeclared
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.facts import carry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moved:
    """A revision that was put behind the other head, as it stands now, and those in whose place it is."""

    revision: Revision
    replaces: tuple[str, ...]


@dataclass(frozen=True)
class Rebased:
    """What a rebase came to.

    `onto` is the head that stayed (None: there was one head), and `branch` the git branch that has it ("" where a
    person named it). `vanished` are revisions with nothing left to do, `done` those that an earlier rebase had put
    behind the other head, `deleted` files of a revision that another file has too. `sources_covered` is None where
    nothing was moved.
    """

    head: str | None
    onto: str | None = None
    branch: str = ""
    moved: tuple[Moved, ...] = ()
    vanished: tuple[Revision, ...] = ()
    done: tuple[Revision, ...] = ()
    deleted: tuple[Path, ...] = ()
    sources_covered: bool | None = None
    undeclared: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object of `monarch rebase --json`."""
        return {
            "onto": self.onto,
            "branch": self.branch,
            "moved": [
                {"revision": item.revision.revision, "replaces": list(item.replaces), "path": str(item.revision.path)}
                for item in self.moved
            ],
            "vanished": [item.revision for item in self.vanished],
            "done": [item.revision for item in self.done],
            "deleted": [str(path) for path in self.deleted],
            "head": self.head,
            "sources_covered": self.sources_covered,
            "undeclared": list(self.undeclared),
        }


@dataclass(frozen=True)
class _New:
    """What comes about: the chain, each new revision and its text, and whether the chain comes to the sources."""

    chain: Chain
    moved: tuple[Moved, ...] = ()
    contents: tuple[bytes, ...] = ()
    vanished: tuple[Revision, ...] = ()
    covered: bool | None = None
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Shared:
    """A branch that others have, or several as one: its revisions, and the names of their files."""

    name: str
    revisions: frozenset[str]
    files: frozenset[str]


def rebase(
    sources: Sources, shadows: ShadowServer, proofs: Proofs, *, onto: str = "", dry_run: bool = False
) -> Rebased:
    """Put this branch's revisions behind the other head, and delete all but one file of a revision.

    Args:
        sources: the schema folder with the chain, and what is desired.
        shadows: where revisions are replayed and proved.
        proofs: where it is kept that they were proved.
        onto: the head that stays; "": the one that the default branches of git's remotes have, else the upstream one.
        dry_run: prove, but change no file.

    Raises `MonarchError`, with no file changed, for files that are no chain, where nobody says which head stays, and
    for a revision that cannot be put behind it.
    """
    with folder_lock(sources.schema_dir, write=False):
        shared, unknown = _shared_branches(sources.schema_dir / VERSIONS)
        chain = read_chain(sources.schema_dir)
        spare = spare_twins(chain, {name for branch in shared for name in branch.files})
        strays = {item.revision for item in chain.left_out} - {item.revision for item in chain.revisions}
        if spare or strays:
            chain = read_chain(sources.schema_dir, without=spare, follow=True)
        for fault in chain.faults:
            raise fault
        known = [(branch.name, branch.revisions) for branch in shared]
        found = split(chain, strays, known, onto, unknown)
        new = _New(chain) if found is None else _written_anew(sources, shadows, found)
        if not dry_run:
            _delete(spare)
            if found is not None:
                _publish(found, new)
                _keep_proofs(proofs, new, shadows.major)
    return Rebased(
        new.chain.head,
        onto=found.kept.head if found else None,
        branch=found.branch if found else "",
        moved=new.moved,
        vanished=new.vanished,
        done=found.done if found else (),
        deleted=spare,
        sources_covered=new.covered,
        undeclared=new.undeclared,
    )


def _shared_branches(versions: Path) -> tuple[list[_Shared], str]:
    """Return what others share, the default branches of all remotes as one, then the upstream; else why there is none.

    A branch that was pushed is its own upstream, and what it merged in since is not the one to be moved: so the default
    branch is asked first.
    """
    try:
        found = [_united(default_branches(versions)), _united(filter(None, [upstream_branch(versions)]))]
    except GitError as error:
        return [], error.message.rstrip(".")
    shared = list({branch.name: branch for branch in found if branch.name}.values())
    return shared, "no branch of a remote was fetched"


def _united(branches: Iterable[Branch]) -> _Shared:
    branches = list(branches)
    return _Shared(
        " and ".join(branch.name for branch in branches),
        frozenset(filter(None, (said_id(content) for branch in branches for content in branch.files.values()))),
        frozenset(name for branch in branches for name in branch.files),
    )


def _written_anew(sources: Sources, shadows: ShadowServer, found: Split) -> _New:
    """Write and prove all that is to be moved, in a folder of its own."""
    if not found.units:
        return _New(found.kept)
    from monarch_dagster.migrations.regenerate import Behind, bench, histories

    directory = found.whole.directory
    moved: list[Moved] = []
    contents: list[bytes] = []
    vanished: list[Revision] = []
    with bench(found.whole) as whole:
        kept = whole.line(found.kept.head)
        with replayed(shadows, kept) as behind_it:
            desired = checked_sources(sources, behind_it.facts)
        declared = desired_facts(shadows, kept, desired)
        names = {item.revision: item.path.name for item in found.begun}
        behind = Behind(shadows, desired, declared, kept, datetime.now(UTC), names)
        units = [whole.only(item.revision for item in unit) for unit in found.units]
        for history in histories(whole, units, shadows):
            unit = ", ".join(item.revision for item in history.unit)
            new = behind.put(history)
            for item in new:
                contents.append(item.path.read_bytes())
                replaced = sorted(item.replaces[0], key=whole.position)
                moved.append(Moved(replace(item, path=directory / item.path.name), tuple(replaced)))
            vanished += [] if new else history.unit
            log.info(
                "%s", f"{unit} → {', '.join(item.revision for item in new)}" if new else f"{unit}: nothing is left"
            )
        here = behind.facts()
        wanted = carry(here, declared)
        left = undeclared(behind.chain, wanted, here)
        chain = replace(behind.chain, directory=directory)
    return _New(chain, tuple(moved), tuple(contents), tuple(vanished), wanted == here, left)


def _publish(found: Split, new: _New) -> None:
    for item, content in zip(new.moved, new.contents, strict=True):
        path = item.revision.path
        if not path.exists() or path.read_bytes() != content:
            replace_file(path, content)
            log.info("Wrote %s", path)
    written = {item.revision.path for item in new.moved}
    gone = {item.revision for unit in found.units for item in unit} | {item.revision for item in found.done}
    old = [
        *(item.path for item in found.whole.revisions if item.revision in gone),
        *(item.path for item in found.begun),
    ]
    _delete([path for path in reversed(old) if path not in written])


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        delete_file(path)


def _keep_proofs(proofs: Proofs, new: _New, major: int) -> None:
    for item in new.moved:
        # What a person wrote is also judged by the models before it is applied; covered, there is nothing to judge.
        if not item.revision.edited or (new.covered and not item.revision.empty):
            proofs.keep(new.chain, item.revision.revision, major)
