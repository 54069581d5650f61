"""Where a target stands beside the chain: what version, ledger and files say of each other. Pure, but for `look`.

Each way in which they can disagree is a fault of its own kind, with its own remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.ledger import Entry, Target, read_bodies, target_of
from monarch_dagster.migrations.revisions import BASE, Revision, same_but_message, same_code
from monarch_dagster.postgres.engines import display, reading

# What is wrong: there is no schema folder for what is applied; several rows in alembic_version; a version without a
# ledger; a version that is not the ledger's; an applied revision that no file has; applied files in another order; an
# applied file that does something else now, or that only reads differently.
Kind = Literal["no folder", "rows", "no ledger", "stamped", "unknown", "order", "changed", "comments"]


@dataclass(frozen=True)
class Fault:
    """One disagreement: what is stored, what was expected, and what to do."""

    kind: Kind
    message: str
    stored: str
    expected: str
    remedy: str

    @property
    def blocks(self) -> bool:
        """Whether nothing may be applied before it is mended."""
        return self.kind != "comments"

    @property
    def misleads(self) -> bool:
        """Whether what the target says of itself cannot be gone by, not even to take something back."""
        return self.kind in ("no folder", "rows", "no ledger", "stamped")

    def error(self) -> MonarchError:
        """Return it as the error that a person reads."""
        return MonarchError(self.message, remedy=self.remedy)


@dataclass(frozen=True)
class Move:
    """A target whose applied revisions were put behind others by a rebase.

    `common` is the last revision that both have, `own` what the ledger has beyond it. `goal` are the chain's revisions
    that come to the same, in order; of these `missing` have not run yet.
    """

    common: str | None
    own: tuple[Entry, ...]
    goal: tuple[Revision, ...]
    missing: tuple[Revision, ...]


@dataclass(frozen=True)
class Standing:
    """What a target says, what is wrong with it, and the move that a rebase asks for.

    `common` is the last revision up to which ledger and files agree, and `own` what the ledger has beyond it; of these
    nothing in the chain stands for `lost`.
    """

    target: Target
    faults: tuple[Fault, ...] = ()
    move: Move | None = None
    common: str | None = None
    own: tuple[Entry, ...] = ()
    lost: tuple[Entry, ...] = ()

    def pending(self, chain: Chain, upto: str | None = None) -> tuple[Revision, ...]:
        """Return the revisions that would run, in order, up to `upto` (None: the head); none for a broken chain."""
        if chain.faults or len(chain.heads) > 1:
            return ()
        if self.move is not None:
            pending = (*self.move.missing, *chain.after(self.move.goal[-1].revision))
        elif self.target.version is None or any(item.revision == self.target.version for item in chain.revisions):
            pending = chain.after(self.target.version)
        else:
            return ()
        kept = chain.revisions if upto is None else chain.upto(upto)
        return tuple(item for item in pending if item in kept)

    @property
    def blocked_by(self) -> Fault | None:
        """The first fault that keeps revisions from being applied."""
        return next((fault for fault in self.faults if fault.blocks), None)

    @property
    def of_files(self) -> Fault | None:
        """The first fault that is to be mended in the files, before anything is generated beside them."""
        return next((fault for fault in self.faults if fault.kind in ("no folder", "unknown", "changed")), None)

    def check(self, *, back: bool = False) -> None:
        """Raise `MonarchError` for the first fault that keeps revisions from being applied, or taken `back`."""
        for fault in self.faults:
            if fault.misleads or (fault.blocks and not back):
                raise fault.error()


def look(chain: Chain, url: URL) -> Standing:
    """Look at a target. Raises `MonarchError` when it cannot be reached or read."""
    with reading(url) as connection:
        target = target_of(connection)
        digests = _digests(chain)
        changed = [entry for entry in target.entries if entry.digest not in digests.get(entry.revision, {entry.digest})]
        bodies = read_bodies(connection, changed) if changed else {}
    return judge(chain, target, bodies, display(url))


def judge(chain: Chain, target: Target, bodies: Mapping[str, bytes], name: str = "The target") -> Standing:
    """Say how a target stands to the chain.

    Args:
        chain: the files.
        target: what the target says of itself.
        bodies: the applied text of each applied revision whose file has another digest now.
        name: what the target is called in messages.
    """
    if target.versions and (error := chain.no_folder()):
        # A mistyped folder is not an empty one: nothing is to be taken back for that.
        return Standing(target, (_no_folder(target, error, name),))
    if len(target.versions) > 1:
        return Standing(target, (_several(target, name),))
    if target.version != target.head:
        return Standing(target, (_not_the_ledgers(chain, target, name),))
    faults = _changed_files(chain, target.entries, bodies)
    common, own = _split(chain, target.entries)
    linear = not chain.problems()
    move = plan_move(chain, common, own) if own and linear else None
    if move is not None or not own:
        return Standing(target, tuple(faults), move)
    lost = _without_file(chain, own)
    if lost:
        faults.insert(0, _unknown(chain, own, lost, _movable(chain, common, own, lost) if linear else common, name))
    elif linear:
        faults.insert(0, _order(own, common, name))
    return Standing(target, tuple(faults), None, common, own, lost)


def plan_move(chain: Chain, common: str | None, own: Sequence[Entry]) -> Move | None:
    """Return the move that takes what a target has beyond `common` to the chain, None where it is not all in there."""
    applied = {entry.revision for entry in own}
    later = chain.after(common)
    covered = [_covered(item, applied) for item in later]
    if applied - set().union(*covered):
        return None
    goal = later[: max(place for place, names in enumerate(covered) if names) + 1]
    missing = tuple(item for item, names in zip(goal, covered, strict=False) if not names)
    return Move(common, tuple(own), goal, missing)


def _covered(item: Revision, applied: Collection[str]) -> set[str]:
    """Return the applied revisions that a revision of the chain stands for."""
    found = {item.revision} & set(applied)
    return found.union(*(names for names in item.replaces if names <= set(applied)))


def _split(chain: Chain, entries: Sequence[Entry]) -> tuple[str | None, tuple[Entry, ...]]:
    """Return the last applied revision up to which ledger and files agree, and the entries beyond it."""
    below = {item.revision: item.down_revision for item in chain.revisions}
    for place, entry in enumerate(entries):
        if below.get(entry.revision, entry) != entry.down_revision:
            return entries[place - 1].revision if place else None, tuple(entries[place:])
    return (entries[-1].revision if entries else None), ()


def _digests(chain: Chain) -> dict[str, set[str]]:
    digests: dict[str, set[str]] = {}
    for item in (*chain.revisions, *chain.left_out):
        digests.setdefault(item.revision, set()).add(item.digest)
    return digests


def _no_folder(target: Target, error: MonarchError, name: str) -> Fault:
    return Fault(
        "no folder",
        f"{error.message} {name} is at {target.version}.",
        str(target.version),
        "the folder of its revisions",
        error.remedy.partition(" On the first setup")[0],
    )


def _several(target: Target, name: str) -> Fault:
    return Fault(
        "rows",
        f"{name} holds {len(target.versions)} rows in alembic.alembic_version ({', '.join(target.versions)}), expected "
        "one.",
        " and ".join(target.versions),
        target.head or "one row",
        "Someone stamped it by hand. `monarch adopt` finds out which revision its schema is at, and leaves that row.",
    )


def _not_the_ledgers(chain: Chain, target: Target, name: str) -> Fault:
    version, head = target.version or BASE, target.head or BASE
    if not target.entries:
        known = any(item.revision == target.version for item in chain.revisions)
        unknown = "" if known else f", which is not in {chain.directory}"
        return Fault(
            "no ledger",
            f"{name} is at revision {version}{unknown}, and its ledger says nothing of how it came there.",
            version,
            "a revision that the ledger has",
            "Was it set up by another system, or stamped by hand? `monarch adopt` compares its schema with the "
            "revisions, and records the one that it equals. Or MONARCH_DATABASE_URL leads to another database.",
        )
    return Fault(
        "stamped",
        f"{name} says in alembic.alembic_version that it is at {version}, but its ledger ends at {head}.",
        version,
        head,
        "Someone stamped or updated alembic_version by hand. `monarch adopt` sets it to the revision that the schema "
        "equals; `monarch adopt --dry-run` tells which.",
    )


def _without_file(chain: Chain, own: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries that no file has, and no file stands for."""
    applied = {entry.revision for entry in own}
    known = _digests(chain).keys() | chain.unreadable
    for item in chain.revisions:
        known |= _covered(item, applied)
    return tuple(entry for entry in own if entry.revision not in known)


def _movable(chain: Chain, common: str | None, own: Sequence[Entry], lost: Sequence[Entry]) -> str | None:
    """Return the last applied revision from which a target can go on with the chain: nothing above is to be kept."""
    below = own[: own.index(lost[0])]
    return below[-1].revision if below and plan_move(chain, common, below) else common


def _unknown(chain: Chain, own: Sequence[Entry], lost: Sequence[Entry], below: str | None, name: str) -> Fault:
    names = ", ".join(entry.revision for entry in lost)
    first = lost[0]
    back = (
        f"Or take back what it did, its text is in the ledger: `monarch revert --to {below or BASE}`."
        if below or len(lost) < len(own)
        else "Nothing that is applied has a file: do MONARCH_SCHEMA_DIR and MONARCH_DATABASE_URL belong together?"
    )
    return Fault(
        "unknown",
        f"{name} has {counted(len(lost), 'revision')} applied that no file in {chain.directory} has: {names} "
        f"({f'{first.revision} ' if len(lost) > 1 else ''}by {first.applied_by}, "
        f"{first.started_at:%Y-%m-%d %H:%M}).",
        own[-1].revision,
        "a revision of the chain",
        f"Bring the file back with git (a branch that is not merged here?). {back}",
    )


def _order(own: Sequence[Entry], common: str | None, name: str) -> Fault:
    entry = own[0]
    return Fault(
        "order",
        f"{name} had {entry.revision} applied on {entry.down_revision or BASE}, where the files do not have it now.",
        f"{entry.revision} on {entry.down_revision or BASE}",
        "the order of the files",
        f"Bring the files' order back with git, or take it back first: `monarch revert --to {common or BASE}`, then "
        "`monarch run-migrations`.",
    )


def _changed_files(chain: Chain, entries: Sequence[Entry], bodies: Mapping[str, bytes]) -> list[Fault]:
    files = {item.revision: item for item in chain.revisions}
    faults = []
    for entry in entries:
        if entry.revision not in bodies or entry.revision not in files:
            continue
        path = files[entry.revision].path
        text, applied = path.read_text(), bodies[entry.revision].decode()
        if same_but_message(text, applied):
            continue  # two people who make one change name it as they like
        same = same_code(text, applied)
        what = "its comments or its header were" if same else "what it does was"
        faults.append(
            Fault(
                "comments" if same else "changed",
                f"{path.name} was changed after it was applied ({entry.started_at:%Y-%m-%d %H:%M}): {what} edited.",
                f"{entry.revision} with digest {entry.digest[:12]}",
                f"the same as in the file, {files[entry.revision].digest[:12]}",
                f"Bring back what was applied with git: `git log --all -- '*{entry.revision}*'`. A change belongs into "
                "a revision of its own. If the schema is as the changed file has it, `monarch adopt` records that.",
            )
        )
    return faults
