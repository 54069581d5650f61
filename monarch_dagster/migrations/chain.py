"""The revision chain: the files in `versions/`, read without running them.

Holds what the files say of themselves (revision, down revision, hazards) and the linear order that follows. What is in
`upgrade` and `downgrade` is Alembic's to run.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monarch_dagster.errors import MonarchError

VERSIONS = "versions"
BASE = "base"
_ASSIGNMENT = re.compile(r"^(revision|down_revision)\s*(?::[^=\n]+)?=\s*(.+?)\s*(?:#.*)?$", re.MULTILINE)
_BODIES = re.compile(
    r"^def upgrade\(\) -> None:\n    (.*)\n\n\ndef downgrade\(\) -> None:\n    (.*)\n\Z", re.MULTILINE | re.DOTALL
)
# Alembic's own length; version_num is VARCHAR(32).
REVISION_LENGTH = 12
_HAZARD = re.compile(r"^Hazard: (\w+) (.+?): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Hazard:
    """What a revision may cost: its kind (data_loss, rewrite, … as `hazards` has them), the object, and why."""

    kind: str
    object: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.object}: {self.detail}"


@dataclass(frozen=True)
class Revision:
    """One revision file."""

    revision: str
    down_revision: str | None
    path: Path
    digest: str
    message: str
    hazards: tuple[Hazard, ...] = ()
    # Whether its operations are no longer those that its id was made from, and whether there are any.
    edited: bool = False
    empty: bool = False


@dataclass(frozen=True)
class Chain:
    """All revision files of a schema folder. `revisions` runs from base to head where the chain is linear."""

    directory: Path
    revisions: tuple[Revision, ...]
    heads: tuple[str, ...]

    @property
    def head(self) -> str | None:
        """The last revision's id, None for an empty chain. Raises `MonarchError` where there are several heads."""
        self.check_linear()
        return self.revisions[-1].revision if self.revisions else None

    def check_linear(self) -> None:
        """Raise `MonarchError`, naming the files, when the chain has more than one head."""
        if len(self.heads) > 1:
            by_id = {item.revision: item for item in self.revisions}
            files = "\n".join(f"  {by_id[head].path.name} (revises {by_id[head].down_revision})" for head in self.heads)
            raise MonarchError(
                f"The chain has {len(self.heads)} heads, expected one:\n{files}",
                remedy="Two branches were merged. Keep one of them, move the other's files away, set them behind the "
                "head that stays (or generate them again), and run again.",
            )

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

    def _with(self, revisions: tuple[Revision, ...]) -> Chain:
        return Chain(self.directory, revisions, (revisions[-1].revision,) if revisions else ())

    def position(self, revision: str) -> int:
        """Return where `revision` stands. Raises `MonarchError` when the chain does not have it."""
        for number, item in enumerate(self.revisions):
            if item.revision == revision:
                return number
        raise MonarchError(
            f"There is no revision {revision} in {self.directory}.",
            remedy="Bring its file back with git, or name another one; `monarch status` lists them.",
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
        if name in found or not found:
            return self.revisions[self.position(name)].revision
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
    directory = schema_dir / VERSIONS
    # Alembic passes over the same ones; editors keep locks and copies there.
    paths = (path for path in directory.glob("*.py") if not path.name.startswith((".", "__init__")))
    revisions = [_read(path) for path in sorted(paths)]
    _check_unique(revisions)
    by_id = {item.revision: item for item in revisions}
    children: dict[str | None, list[Revision]] = defaultdict(list)
    for item in revisions:
        if item.down_revision is not None and item.down_revision not in by_id:
            raise MonarchError(
                f"{item.path} revises {item.down_revision}, but no file in {directory} has that revision.",
                remedy="Bring the missing file back with git (a branch not merged yet?), or correct down_revision.",
            )
        children[item.down_revision].append(item)
    ordered = _walk(children)
    if len(ordered) < len(revisions):
        lost = sorted(item.path.name for item in revisions if item not in ordered)
        raise MonarchError(
            f"These revisions lead back to themselves and not to a first one: {', '.join(lost)}.",
            remedy="Correct their down_revision; the first revision has None.",
        )
    heads = tuple(sorted(item.revision for item in revisions if not children[item.revision]))
    return Chain(directory, tuple(ordered), heads)


def revision_id(down_revision: str | None, upgrades: str, downgrades: str) -> str:
    """Return the id of a revision: a hash of the one below it and of its canonical operations, both ways (rule 5)."""
    return short_hash(down_revision or BASE, upgrades, downgrades)


def short_hash(*parts: str) -> str:
    """Return an id of a revision's length for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:REVISION_LENGTH]


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


def _walk(children: dict[str | None, list[Revision]]) -> list[Revision]:
    """Return the revisions from base on, each behind the one it revises."""
    ordered: list[Revision] = []
    waiting = sorted(children[None], key=lambda item: item.revision, reverse=True)
    while waiting:
        item = waiting.pop()
        ordered.append(item)
        waiting += sorted(children[item.revision], key=lambda child: child.revision, reverse=True)
    return ordered


def _read(path: Path) -> Revision:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
        compile(content, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise MonarchError(
            f"{path}{place} is not valid Python: {error.msg if isinstance(error, SyntaxError) else error}.",
            remedy="Correct the file, or bring back its last good version with git.",
        ) from None
    except OSError as error:
        raise MonarchError(f"{path} could not be read: {error.strerror}.", remedy="Check its permissions.") from None
    try:
        # The first of each is the header's; SQL in a string may hold a line that looks the same.
        values = {name: ast.literal_eval(value) for name, value in reversed(_ASSIGNMENT.findall(text))}
        revision, down_revision = values["revision"], values["down_revision"]
    except (KeyError, ValueError, SyntaxError):
        revision = down_revision = 0
    if not isinstance(revision, str) or not isinstance(down_revision, str | None):
        raise MonarchError(
            f"{path} does not say its revision and its one down_revision, each as a plain string (or None).",
            remedy='Write revision = "…" and down_revision = "…" on lines of their own, or move the file away.',
        )
    doc = _docstring(text)
    message, _, header = doc.partition("\n")
    hazards = tuple(Hazard(*groups) for groups in _HAZARD.findall(header))
    if _cannot_be_reverted(text):
        hazards += (Hazard("irreversible", revision, "its downgrade refuses; what it does cannot be taken back"),)
    bodies = _BODIES.search(text)
    edited = bodies is None or revision != revision_id(down_revision, bodies[1], bodies[2])
    empty = bodies is not None and bodies[1] == bodies[2] == "pass"
    digest = hashlib.sha256(content).hexdigest()
    return Revision(revision, down_revision, path, digest, message.strip(), hazards, edited, empty)


def _cannot_be_reverted(text: str) -> bool:
    if "IrreversibleRevision" not in text:
        return False
    return any(
        isinstance(node, ast.Raise) and "IrreversibleRevision" in ast.dump(node) for node in ast.walk(ast.parse(text))
    )


def _docstring(text: str) -> str:
    """Return the docstring that Monarch's template wrote, "" for another form; a full parse of a large file is slow."""
    if not text.startswith('"""'):
        return ""
    try:
        return str(ast.literal_eval(text[: text.index('\n"""', 3) + 4]))
    except (ValueError, SyntaxError):
        return ""


def _check_unique(revisions: Sequence[Revision]) -> None:
    files: dict[str, list[Path]] = defaultdict(list)
    for item in revisions:
        files[item.revision].append(item.path)
    for revision, paths in sorted(files.items()):
        if len(paths) > 1:
            raise MonarchError(
                f"The revision {revision} stands in {len(paths)} files: {_names(paths)}.",
                remedy="The same change was generated twice: delete all but one of them (equal bodies), or give one "
                "another id.",
            )


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
