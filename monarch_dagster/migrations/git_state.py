"""What git says of the schema files: which are not committed, and which revisions other branches have. Decided purely.

`git` asks; here its answers are parsed and judged. Nothing is fetched, and what git does not tell is no error: whoever
has no repository, or no git, works without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations.chain import VERSIONS, Chain
from monarch_dagster.migrations.git import GitError, Listing, read_changes, unmerged_branches, work_tree
from monarch_dagster.salesforce.object_meta import FILE_NAME
from monarch_dagster.schema.core_models import source_places
from monarch_dagster.schema.desired import Sources

LISTED_NAMES = 5
# What a revision's file name says: Monarch's own template, and Alembic's.
_ID = re.compile(r"(?:^|-)([0-9a-f]{12})(?:_|\.py$)")


@dataclass(frozen=True)
class Uncommitted:
    """A file that differs from what is committed: its path in the work tree, what it is, and how it differs."""

    path: str
    kind: str
    state: str


@dataclass(frozen=True)
class Lacking:
    """A revision that a branch has and the chain lacks; the id is "" where the file's name does not say it."""

    branch: str
    revision: str
    file: str


@dataclass(frozen=True)
class GitState:
    """Where the schema files stand in git.

    `work_tree` is "" where they are in none, and the rest is empty then. `upstream` is the branch that `git pull`
    merges, "" for none. `unknown` says why git could not be asked.
    """

    work_tree: str = ""
    uncommitted: tuple[Uncommitted, ...] = ()
    lacking: tuple[Lacking, ...] = ()
    upstream: str = ""
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what stands under `git` in `monarch status --json`."""
        return {
            "work_tree": self.work_tree or None,
            "uncommitted": [asdict(item) for item in self.uncommitted],
            "lacking": [asdict(item) for item in self.lacking],
            "advice": self.merge,
            "unknown": self.unknown,
        }

    @property
    def merge(self) -> str:
        """What to do about revisions of other branches that the chain lacks, "" where there are none."""
        if not self.lacking:
            return ""
        branches = dict.fromkeys(item.branch for item in self.lacking)
        has = " and ".join(branches) + (" has" if len(branches) == 1 else " have")
        commands = ["git pull" if name == self.upstream else f"git merge {name}" for name in branches]
        names = _listed(item.revision or shown(item.file) for item in self.lacking)
        return (
            f"{has}, as last fetched, {counted(len(self.lacking), 'revision')} that this chain lacks: {names}. "
            f"Before you generate: `{' && '.join(commands)}`, then `monarch rebase` if the chain has two heads."
        )

    @property
    def commit(self) -> str:
        """Say in one line what is not committed, "" where all is."""
        if not self.uncommitted:
            return ""
        return f"Not committed to git: {_listed(f'{shown(item.path)} ({item.state})' for item in self.uncommitted)}."


@dataclass(frozen=True)
class Places:
    """Where the schema files are, by paths from the work tree: object_meta.json, `versions/`, and files and folders."""

    meta: str
    versions: str
    models: tuple[str, ...] = ()

    def kind(self, path: str) -> str:
        """Return what a file is, "" where Monarch does not read it."""
        if path == self.meta:
            return "object metadata"
        if str(PurePosixPath(path).parent) == self.versions and _is_revision(PurePosixPath(path).name):
            return "revision"
        for place in self.models:
            if path == place or (path.endswith(".py") and PurePosixPath(path).is_relative_to(place)):
                return "models"
        return ""


@dataclass
class Changes:
    """What git status says: files and how they differ, what is ignored, the branch and its upstream."""

    files: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    head: str = ""
    upstream: str = ""
    initial: bool = False


def parse_changes(output: bytes) -> Changes:
    """Parse `git status --porcelain=v2 -z --branch`. Source: git-status(1), "Porcelain Format Version 2"."""
    found = Changes()
    entries = iter(os.fsdecode(output).split("\0"))
    for entry in entries:
        sign, _, rest = entry.partition(" ")
        if sign == "#":
            name, _, value = rest.partition(" ")
            found.initial |= (name, value) == ("branch.oid", "(initial)")
            found.head = value if name == "branch.head" else found.head
            found.upstream = value if name == "branch.upstream" else found.upstream
        elif sign == "1":
            found.files[entry.split(" ", 8)[8]] = _state(rest[:2])
        elif sign == "2":
            found.files[entry.split(" ", 9)[9]] = _state(rest[:2])
            next(entries, "")  # the path that it had
        elif sign == "u":
            found.files[entry.split(" ", 10)[10]] = "in conflict"
        elif sign == "?":
            # Taken out of the index, and still there: git tells it twice.
            found.files[rest] = "untracked"
        elif sign == "!":
            found.ignored.append(rest)
    return found


def judge(
    top: str,
    changes: Changes,
    branches: Iterable[Listing],
    places: Places,
    names: Collection[str],
    revisions: Collection[str],
) -> GitState:
    """Say what is not committed and what the chain lacks.

    Args:
        top: the work tree, for the answer.
        changes: what git status says.
        branches: what other branches have in `versions/`, the one whose word counts most first.
        places: where the schema files are.
        names: the files that are in `versions/`.
        revisions: the ids that the chain has or has replaced.
    """
    uncommitted = tuple(
        Uncommitted(path, kind, state)
        for path, state in sorted(changes.files.items())
        if (kind := places.kind(path)) and not (state == "deleted" and _is_ignored(path, changes.ignored))
    )
    deleted = {PurePosixPath(path).name for path, state in changes.files.items() if state == "deleted"}
    lacking: dict[str, Lacking] = {}
    for branch in branches:
        for name in sorted(branch.files - set(names) - deleted):
            match = _ID.search(name)
            revision = match[1] if match else ""
            if _is_revision(name) and revision not in revisions:
                lacking.setdefault(revision or name, Lacking(branch.name, revision, name))
    return GitState(top, uncommitted, tuple(lacking.values()), changes.upstream)


def read_git(sources: Sources, chain: Chain) -> GitState:
    """Ask git, by three calls at most, where the schema files stand; whatever fails is only told."""
    top = work_tree(sources.schema_dir)
    if top is None:
        return GitState()
    places = _places(sources, top)
    try:
        changes = parse_changes(read_changes(top, [places.meta, places.versions, *places.models]))
    except GitError as error:
        return GitState(str(top), unknown=error.message)
    branches: list[Listing] = []
    unknown = ""
    # Where no branch is checked out, nobody works on one: a release, or CI.
    if not changes.initial and changes.head != "(detached)":
        try:
            branches = unmerged_branches(top, places.versions, changes.upstream)
        except GitError as error:
            unknown = error.message
    known = {item.revision for item in (*chain.revisions, *chain.left_out)} | chain.unreadable
    known = known.union(*(item for revision in chain.revisions for item in revision.replaces))
    names = {path.name for path in chain.directory.glob("*.py")}
    found = judge(str(top), changes, branches, places, names, known)
    return replace(found, unknown=unknown)


def shown(path: str) -> str:
    """Return a path in one line that any terminal can print."""
    return path if path.isprintable() else ascii(path)


def _places(sources: Sources, top: Path) -> Places:
    folder = sources.schema_dir.resolve()
    try:
        models = source_places(sources.core_models, sources.root)
    except MonarchError:
        models = []
    # An installed package is in no work tree, and a submodule in one of its own.
    own = [path for path in (place.resolve() for place in models) if work_tree(path) == top]
    return Places(
        meta=_inside(folder / FILE_NAME, top),
        versions=_inside(folder / VERSIONS, top),
        models=tuple(_inside(path, top) for path in own),
    )


def _inside(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix()


def _state(states: str) -> str:
    """Name two states, of the index against the commit and of the work tree against the index."""
    if "D" in states:
        return "deleted"
    return "added" if "A" in states else "modified"


def _is_revision(name: str) -> bool:
    # What the chain reads, too.
    return name.endswith(".py") and not name.startswith((".", "__init__"))


def _is_ignored(path: str, ignored: Sequence[str]) -> bool:
    """Say whether a file that git says is gone is in fact one that it was told not to look at any more."""
    return any(path == item or (item.endswith("/") and path.startswith(item)) for item in ignored)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return ", ".join(names[:LISTED_NAMES]) + more
