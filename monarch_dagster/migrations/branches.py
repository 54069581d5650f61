"""Branches that meet in one chain: which files are one too many, which revisions stay, and which go behind them. Pure.

What git says is handed in; what is written anew behind the others is `regenerate`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.revisions import Revision, same_code

Unit = tuple[Revision, ...]


@dataclass(frozen=True)
class Split:
    """A chain of several heads, taken apart.

    `whole` is all of it, `kept` the line that stays. `units` are to be put behind that, in this order: each a generated
    change with all its revisions, or one edited revision. `done` are those that an earlier rebase has put there
    already, and `begun`, which `whole` is without, what it wrote of a change before it was interrupted. `branch` is the
    git branch that decided, "" for a person.
    """

    whole: Chain
    kept: Chain
    units: tuple[Unit, ...]
    done: tuple[Revision, ...]
    begun: tuple[Revision, ...]
    branch: str


def spare_twins(chain: Chain, shared: Collection[str]) -> tuple[Path, ...]:
    """Return the files to delete where several have one revision; `shared` are the names of files that others have.

    Raises `MonarchError`, naming the files, where they do not do the same.
    """
    files: dict[str, list[Revision]] = defaultdict(list)
    for item in (*chain.revisions, *chain.left_out):
        files[item.revision].append(item)
    spare: list[Path] = []
    for revision, items in sorted(files.items()):
        # A file that says more of what it stands for is of more use to a target that has that.
        first, *others = sorted(
            items, key=lambda item: (-len(item.replaces), item.path.name not in shared, item.path.name)
        )
        for other in others:
            if not _same(first, other):
                raise MonarchError(
                    f"{first.path.name} and {other.path.name} both are revision {revision}, and do not do the same: "
                    "one of them was edited. Nothing was changed.",
                    remedy="Put what is wanted of both into one, delete the other, then run `monarch rebase` again.",
                )
            spare.append(other.path)
    return tuple(spare)


def split(
    chain: Chain,
    strays: Collection[str],
    shared: Sequence[tuple[str, Collection[str]]],
    onto: str,
    unknown: str = "",
) -> Split | None:
    """Say which revisions stay and which are to be put behind them; None where the chain is one line.

    Args:
        chain: the files, which are a chain but for its heads.
        strays: revisions whose file names another down revision, which is gone; they are moved in any case.
        shared: branches that others share, each with its revisions, the one whose word counts most first.
        onto: the head that stays, where a person named it.
        unknown: why git could not be asked, for the message.

    Raises `MonarchError`, naming the heads, where `onto` is none of them, or nobody says which of them stays.
    """
    begun = _begun(chain)
    whole = chain.less({item.revision for item in begun})
    done = _done(whole)
    rest = whole
    # What an earlier rebase has done already is no head any more.
    while len(rest.heads) > 1 and (over := [head for head in rest.heads if head in done]):
        rest = rest.less(over[:1])
    if len(rest.heads) < 2 and not (strays or done):
        if onto:
            chain.resolve(onto)  # a name that no revision has is told also where there is nothing to do
        return None
    kept, branch = _kept_line(rest.less(strays), shared, onto, unknown)
    there = {item.revision for item in kept.revisions}
    moving = [item for item in rest.revisions if item.revision not in there | done]
    gone = tuple(item for item in whole.revisions if item.revision in done - there)
    return Split(whole, kept, units(moving), gone, begun, branch)


def units(items: Sequence[Revision]) -> tuple[Unit, ...]:
    """Group revisions: the generated ones of one proposal that follow each other, and each other one by itself."""
    found: list[list[Revision]] = []
    for item in items:
        last = found[-1][-1] if found else None
        if (
            last is not None
            and item.proposal
            and not (item.edited or last.edited)
            and (item.proposal, item.down_revision) == (last.proposal, last.revision)
        ):
            found[-1].append(item)
        else:
            found.append([item])
    return tuple(map(tuple, found))


def replaced_sets(old: Sequence[Revision], *, together: bool) -> list[frozenset[str]]:
    """Return what a revision stands for that comes in the place of `old`, the newest set first.

    `together`: it is one of those that take the place of all of `old` as one; else `old` is just one.
    """
    sets = [frozenset(item.revision for item in old)]
    if not together:
        return [*sets, *old[0].replaces]
    return [*sets, *(frozenset().union(*names) for names in zip(*(item.replaces for item in old), strict=False))]


def _same(item: Revision, other: Revision) -> bool:
    if item.digest == other.digest or not (item.edited or other.edited):
        return True
    return same_code(item.path.read_text(), other.path.read_text())


def _begun(chain: Chain) -> tuple[Revision, ...]:
    """Return the revisions of a proposal that a rebase began to write; all that they replace is still there."""
    there = {item.revision for item in chain.revisions}
    for head in chain.heads:
        line = chain.line(head).revisions
        last = line[-1]
        same = (bool(item.replaces) and item.proposal == last.proposal for item in reversed(line))
        count = sum(1 for _ in takewhile(bool, same))
        part = line[len(line) - count :]
        replaced = frozenset[str]().union(*(item.replaces[0] for item in part))
        below = {item.revision for item in line}
        if 0 < count < last.proposal_size and not last.edited and replaced <= there - below:
            return part
    return ()


def _done(chain: Chain) -> set[str]:
    """Return the revisions that another one, which does not stand on them, says that it replaces."""
    there = {item.revision for item in chain.revisions}
    found: set[str] = set()
    for item in chain.revisions:
        if item.replaces:
            below = {other.revision for other in chain.line(item.revision).revisions}
            found |= frozenset[str]().union(*item.replaces) & there - below
    return found


def _kept_line(
    chain: Chain, shared: Sequence[tuple[str, Collection[str]]], onto: str, unknown: str
) -> tuple[Chain, str]:
    if len(chain.heads) < 2 and not onto:
        return chain, ""
    if onto:
        name = chain.resolve(onto) if onto != "head" else None
        known = chain.line(name)
        line = _line_of(chain, {item.revision for item in known.revisions})
        # What an interrupted rebase has put behind that head already belongs to it.
        if line is None or not all(item.replaces for item in line.revisions[len(known.revisions) :]):
            raise _which(chain, f"{onto} is none of them.")
        return line, ""
    for branch, revisions in shared:
        if (line := _line_of(chain, revisions)) is not None:
            return line, branch
    counts = [f"{branch} has {len(set(chain.heads) & set(revisions))} of them" for branch, revisions in shared]
    raise _which(chain, f"git does not tell which of them stays: {', '.join(counts) or unknown}.")


def _line_of(chain: Chain, names: Collection[str]) -> Chain | None:
    """Return the line of the revisions `names`, with what stands behind it already; None where that is not one line."""
    known = [item for item in chain.revisions if item.revision in names]
    below = {item.down_revision for item in known}
    tips = [item.revision for item in known if item.revision not in below]
    if len(tips) != 1:
        return None
    above: Mapping[str | None, list[str]] = defaultdict(list)
    for item in chain.revisions:
        above[item.down_revision].append(item.revision)
    tip = tips[0]
    while len(above[tip]) == 1:
        tip = above[tip][0]
    return None if above[tip] else chain.line(tip)


def _which(chain: Chain, told: str) -> MonarchError:
    by_id = {item.revision: item for item in chain.revisions}
    heads = "\n".join(f"  {head}: {by_id[head].path.name}" for head in chain.heads)
    return MonarchError(
        f"The chain has {len(chain.heads)} heads, and {told} Nothing was changed.\n{heads}",
        remedy="Name the one that stays, with all that it stands on; the others are put behind it: "
        f"`monarch rebase --onto {chain.heads[0]}`, or another one of them.",
    )
