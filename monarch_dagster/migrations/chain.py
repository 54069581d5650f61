"""The revision chain: the files in `versions/`, in the order in which they follow each other.

What one file says of itself is read by `revisions`. A chain that is broken can be looked at all the same: its faults
are told, and whoever needs it whole refuses them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.revisions import BASE, Revision, read_revision, said_id

VERSIONS = "versions"


@dataclass(frozen=True)
class Chain:
    """All revision files of a schema folder. `revisions` runs from base to head where the chain is linear."""

    directory: Path
    revisions: tuple[Revision, ...]
    heads: tuple[str, ...]
    # What keeps the files from being a chain, each with its remedy; and the files that are left out of it for that.
    faults: tuple[MonarchError, ...] = ()
    left_out: tuple[Revision, ...] = ()
    # The ids of files that cannot be read as revisions, as far as they say them.
    unreadable: frozenset[str] = frozenset()
    # Whether the schema folder is there at all.
    there: bool = True

    @property
    def head(self) -> str | None:
        """The last revision's id, None for an empty chain. Raises `MonarchError` where there are several heads."""
        self.check_linear()
        return self.revisions[-1].revision if self.revisions else None

    def no_folder(self) -> MonarchError | None:
        """Return the error of a schema folder that is not there, None where it is."""
        return (
            None
            if self.there
            else MonarchError(
                f"The schema folder {self.directory.parent} does not exist, so nothing is known of the revisions.",
                remedy="Set MONARCH_SCHEMA_DIR to the right folder, relative to the project's, or bring it back with "
                "git. On the first setup `monarch generate-migrations` makes it.",
            )
        )

    def problems(self) -> tuple[MonarchError, ...]:
        """Return all that keeps the files from being one chain: its faults, and several heads."""
        if len(self.heads) < 2:
            return self.faults
        by_id = {item.revision: item for item in self.revisions}
        if len(roots := [item for item in self.revisions if item.down_revision is None]) > 1:
            first = MonarchError(
                f"{len(roots)} revisions stand on nothing, expected one: {_names(item.path for item in roots)}.",
                remedy="Only the first revision has the down_revision None: let the other one name what it stands on.",
            )
            return (*self.faults, first)
        files = "\n".join(f"  {by_id[head].path.name} (revises {by_id[head].down_revision})" for head in self.heads)
        several = MonarchError(
            f"The chain has {len(self.heads)} heads, expected one:\n{files}",
            remedy="After a merge of two branches `monarch rebase` puts this branch's revisions behind the other head.",
        )
        return (*self.faults, several)

    def check_linear(self) -> None:
        """Raise `MonarchError`, naming the files, when the chain has a fault or more than one head."""
        for problem in self.problems():
            raise problem

    def key(self, upto: str | None) -> str:
        """Return a hash of the contents of all files from base to `upto` (None: of no file), in hex."""
        digest = hashlib.sha256()
        for item in self.upto(upto):
            digest.update(f"{item.revision} {item.digest}\n".encode())
        return digest.hexdigest()

    def upto(self, revision: str | None) -> tuple[Revision, ...]:
        """Return the revisions from base to `revision`, both included; none for None."""
        return () if revision is None else self.revisions[: self.position(revision) + 1]

    def after(self, revision: str | None) -> tuple[Revision, ...]:
        """Return the revisions behind `revision` (None: all)."""
        return self.revisions if revision is None else self.revisions[self.position(revision) + 1 :]

    def only(self, names: Iterable[str]) -> tuple[Revision, ...]:
        """Return the revisions that have one of `names` as id."""
        wanted = set(names)
        return tuple(item for item in self.revisions if item.revision in wanted)

    def without(self, held: Iterable[Revision]) -> Chain:
        """Return the chain in front of the first of `held`. Raises `MonarchError` where there are several heads."""
        self.check_linear()
        places = [self.position(item.revision) for item in held]
        return self._with(self.revisions[: min(places, default=len(self.revisions))])

    def extended(self, *revisions: Revision) -> Chain:
        """Return the chain with `revisions` behind its head. Raises `MonarchError` where there are several heads."""
        self.check_linear()
        return self._with((*self.revisions, *revisions))

    def line(self, revision: str | None) -> Chain:
        """Return what `revision` stands on, itself included, as a chain of its own; other heads do not count.

        Raises `MonarchError` when the chain does not have it.
        """
        by_id = {item.revision: item for item in self.revisions}
        found: list[Revision] = []
        while revision is not None:
            item = by_id.get(revision) or self.revisions[self.position(revision)]
            found.append(item)
            revision = item.down_revision
        return self._with(tuple(reversed(found)))

    def less(self, names: Collection[str]) -> Chain:
        """Return the chain as it is without the files of `names`, on which no others may stand."""
        revisions = tuple(item for item in self.revisions if item.revision not in names)
        below = {item.down_revision for item in revisions}
        heads = tuple(sorted(item.revision for item in revisions if item.revision not in below))
        return Chain(self.directory, revisions, heads)

    def _with(self, revisions: tuple[Revision, ...]) -> Chain:
        return Chain(self.directory, revisions, (revisions[-1].revision,) if revisions else ())

    def position(self, revision: str) -> int:
        """Return where `revision` stands. Raises `MonarchError` when the chain does not have it."""
        for number, item in enumerate(self.revisions):
            if item.revision == revision:
                return number
        raise MonarchError(
            f"There is no revision {revision} in {self.directory}.",
            remedy=f"Bring its file back with git (`git log --all -- '*{revision}*'`), or name one that a file has.",
        )

    def resolve(self, name: str) -> str | None:
        """Return the revision that `name` means: "head", "base" (None), an id or the unique start of one.

        Raises `MonarchError` when it means none or several.
        """
        if name == "head":
            return self.head
        if name == BASE:
            return None
        found = [item.revision for item in self.revisions if name and item.revision.startswith(name)]
        if name in found:
            return name
        if not found:
            raise MonarchError(
                f"There is no revision {name!r} in {self.directory}.",
                remedy="Name one by its id, or the start of it, as the files' names there have it; or head, or base.",
            )
        if len(found) > 1:
            raise MonarchError(
                f"The revision {name} could be any of {', '.join(found)}.", remedy="Write more of its id."
            )
        return found[0]


def load_chain(schema_dir: Path) -> Chain:
    """Read `versions/` under `schema_dir`; no folder is an empty chain.

    Several heads are a state that `check_linear` refuses. Raises `MonarchError`, naming the files, for a file that is
    not Python or says no revision, one id in two files, a missing down revision, or a ring.
    """
    chain = read_chain(schema_dir)
    for fault in chain.faults:
        raise fault
    return chain


def read_chain(schema_dir: Path, *, without: Collection[Path] = (), follow: bool = False) -> Chain:
    """Read `versions/` under `schema_dir` as far as its files are a chain; what keeps the others out are its faults.

    Files in `without` count as deleted. With `follow`, a revision on one that a rebase replaced stands on what came in
    its place.
    """
    directory = schema_dir / VERSIONS
    faults: list[MonarchError] = []
    unreadable: set[str] = set()
    by_id: dict[str, Revision] = {}
    twins: dict[str, list[Revision]] = defaultdict(list)
    # Alembic passes over the same ones; editors keep locks and copies there.
    paths = (path for path in directory.glob("*.py") if not path.name.startswith((".", "__init__")))
    for path in sorted(path for path in paths if path not in without):
        try:
            item = read_revision(path)
        except MonarchError as error:
            faults.append(error)
            unreadable |= _ids_said(path)
            continue
        if item.revision in by_id:
            twins[item.revision].append(item)
        else:
            by_id[item.revision] = item
    faults += [_twins(name, [by_id[name], *others]) for name, others in sorted(twins.items())]
    heirs = _heirs(by_id.values())
    children: dict[str | None, list[Revision]] = defaultdict(list)
    for name, item in by_id.items():
        down = item.down_revision
        if down is not None and down not in by_id:
            heir = heirs.get(down)
            if heir and follow:
                down = heir
                by_id[name] = replace(item, down_revision=heir)
            else:
                faults.append(_dangling(item, heir, directory))
        children[down].append(by_id[name])
    ordered = _walk(children)
    known = {item.revision for item in ordered}
    lost = [item for item in by_id.values() if item.revision not in known]
    if lost and not any(item.down_revision not in by_id for item in lost):
        faults.append(
            MonarchError(
                "These revisions lead back to themselves and not to a first one: "
                f"{_names(item.path for item in lost)}.",
                remedy="Correct their down_revision; the first revision has None.",
            )
        )
    heads = tuple(sorted(item.revision for item in ordered if not children[item.revision]))
    left_out = (*(item for others in twins.values() for item in others), *lost)
    return Chain(
        directory, tuple(ordered), heads, tuple(faults), left_out, frozenset(unreadable), there=schema_dir.is_dir()
    )


def approved_revisions(chain: Chain, names: Iterable[str]) -> frozenset[str]:
    """Return the revisions that a person named, each as "REV", or as "FROM:TO" for all between the two, in any order.

    Of a range the end nearer to base is not meant: neither an upgrade from it nor a downgrade to it runs it.
    Raises `MonarchError` for a name that the chain does not have.
    """
    found: set[str] = set()
    for name in names:
        start, colon, end = name.strip().partition(":")
        if not colon:
            found.update(filter(None, [chain.resolve(start)]))
            continue
        places = [-1 if place is None else chain.position(place) for place in map(chain.resolve, (start, end))]
        found.update(item.revision for item in chain.revisions[min(places) + 1 : max(places) + 1])
    return frozenset(found)


def _ids_said(path: Path) -> set[str]:
    """Return the ids that a file which is no revision says in its name and in its text."""
    found = {path.stem.partition("-")[2].partition("_")[0]}
    with suppress(OSError):
        found.add(said_id(path.read_bytes()))
    return found - {""}


def _walk(children: dict[str | None, list[Revision]]) -> list[Revision]:
    """Return the revisions from base on, each behind the one it revises."""
    ordered: list[Revision] = []
    waiting = sorted(children[None], key=lambda item: item.revision, reverse=True)
    while waiting:
        item = waiting.pop()
        ordered.append(item)
        waiting += sorted(children[item.revision], key=lambda child: child.revision, reverse=True)
    return ordered


def _twins(revision: str, items: Sequence[Revision]) -> MonarchError:
    return MonarchError(
        f"The revision {revision} stands in {len(items)} files: {_names(item.path for item in items)}.",
        remedy="The same change was generated twice: `monarch rebase` deletes all but one of them.",
    )


def _heirs(items: Iterable[Revision]) -> dict[str, str]:
    """Return what came in the place of each revision that a rebase replaced; of several, the last one."""
    places: dict[str, list[Revision]] = defaultdict(list)
    for item in items:
        for old in frozenset[str]().union(*item.replaces):
            places[old].append(item)
    below = {old: {item.down_revision for item in found} for old, found in places.items()}
    return {old: item.revision for old, found in places.items() for item in found if item.revision not in below[old]}


def _dangling(item: Revision, heir: str | None, directory: Path) -> MonarchError:
    return MonarchError(
        f"{item.path} revises {item.down_revision}, but no file in {directory} has that revision.",
        remedy=f"A rebase put {heir} in its place: `monarch rebase` puts this one behind it."
        if heir
        else "Bring the missing file back with git (a branch not merged yet?), or correct down_revision.",
    )


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(sorted(path.name for path in paths))
