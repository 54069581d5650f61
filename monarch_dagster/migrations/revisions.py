"""One revision file, read without running it: what it says of itself, and whether it is as it was generated.

The order of files is `chain`'s; what is in `upgrade` and `downgrade` is Alembic's to run.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monarch_dagster.errors import MonarchError

BASE = "base"
# Alembic's own length; version_num is VARCHAR(32).
REVISION_LENGTH = 12
LONGEST_SLUG = 40
# The id of a revision holds none of the characters that Alembic gives a meaning, and no white space, of which JSON
# Schema's expressions, by which OpenAPI tells these, know less than Python's.
_ID = r"[^\s\x1c-\x1f\x85@:+\-]+"
NAME = rf"^[ \t]*({_ID})?[ \t]*$"
RANGE = rf"^[ \t]*{_ID}[ \t]*(:[ \t]*{_ID}[ \t]*)?$"
_ASSIGNMENT = re.compile(r"^(revision|down_revision)\s*(?::[^=\n]+)?=\s*(.+?)\s*(?:#.*)?$", re.MULTILINE)
_BODIES = re.compile(
    r"^def upgrade\(\) -> None:\n    (.*)\n\n\ndef downgrade\(\) -> None:\n    (.*)\n\Z", re.MULTILINE | re.DOTALL
)
_HAZARD = re.compile(r"^Hazard: (\w+) (.+?): (.+)$", re.MULTILINE)
_PROPOSAL = re.compile(r"^Proposal: (\w+)(?: \(\d+ of (\d+)\))?", re.MULTILINE)
_SAID_ID = re.compile(r"^revision\s*(?::[^=\n]+)?=\s*[\"']([^\"']+)[\"']", re.MULTILINE)
_REPLACES = re.compile(r"^replaces = (.+)$\n", re.MULTILINE)


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
    # What the revisions of one proposal share ("" for a proposal of one), and how many it was generated with.
    proposal: str = ""
    proposal_size: int = 1
    # What a rebase put it in the place of: each set of revisions, all of them applied, comes to the same as this one.
    replaces: tuple[frozenset[str], ...] = ()


def check_name(name: str) -> str:
    """Return what a person wrote for a revision, without spaces around it; "" is none.

    Raises `ValueError` for what can be neither an id nor the start of one. Source: Alembic,
    `ScriptDirectory.generate_revision`.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is no revision. Write its id, or the start of it, as the files' names have it.")
    return name.strip()


def check_range(name: str) -> str:
    """Return what a person wrote for revisions, where it has the form of REV or FROM:TO; raise `ValueError` if not."""
    if not re.fullmatch(RANGE, name):
        raise ValueError(f"{name!r} is neither REV nor FROM:TO. Write the ids of revisions, or the starts of them.")
    return name.strip()


def read_revision(path: Path) -> Revision:
    """Read a revision file.

    Raises `MonarchError`, naming the file, where it cannot be read, is not Python, or says no revision.
    """
    try:
        return parse_revision(path, path.read_bytes())
    except OSError as error:
        raise MonarchError(f"{path} could not be read: {error.strerror}.", remedy="Check its permissions.") from None


def parse_revision(path: Path, content: bytes) -> Revision:
    """Return what the content of a revision file says; `path` is where it stands, for messages.

    Raises `MonarchError` as `read_revision` does.
    """
    try:
        text = content.decode("utf-8")
        head, generated = _head(text), is_as_generated(text)
        # The operations as they were generated are valid Python, and may be many.
        compile(head if generated else text, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise MonarchError(
            f"{path}{place} is not valid Python: {error.msg if isinstance(error, SyntaxError) else error}.",
            remedy="Correct the file, or bring back its last good version with git.",
        ) from None
    said = _said_ids(head)
    if said is None:
        raise MonarchError(
            f"{path} does not say its revision and its one down_revision, each as a plain string (or None).",
            remedy='Write revision = "…" and down_revision = "…" on lines of their own, or move the file away.',
        )
    revision, down_revision = said
    message, _, header = _docstring(text).partition("\n")
    hazards = tuple(Hazard(*groups) for groups in _HAZARD.findall(header))
    if _cannot_be_reverted(text):
        hazards += (Hazard("irreversible", revision, "its downgrade refuses; what it does cannot be taken back"),)
    proposal = _PROPOSAL.search(header)
    return Revision(
        revision,
        down_revision,
        path,
        hashlib.sha256(content).hexdigest(),
        message.strip(),
        hazards,
        edited=not generated,
        empty=said_bodies(text) == ("pass", "pass"),
        proposal=proposal[1] if proposal else "",
        proposal_size=int(proposal[2] or 1) if proposal else 1,
        replaces=_replaces(head, path),
    )


def _head(text: str) -> str:
    """Return what stands above the operations; of a file of another form than the template's, all of it."""
    found = _BODIES.search(text)
    return text[: found.start()] if found else text


def _said_ids(head: str) -> tuple[str, str | None] | None:
    """Return what a file's head says of its revision and its down revision; None where it does not say both plainly."""
    try:
        # The first of each is the header's; SQL in a string may hold a line that looks the same.
        values = {name: ast.literal_eval(value) for name, value in reversed(_ASSIGNMENT.findall(head))}
        revision, down_revision = values["revision"], values["down_revision"]
    except (KeyError, ValueError, SyntaxError):
        return None
    return (revision, down_revision) if isinstance(revision, str) and isinstance(down_revision, str | None) else None


def is_as_generated(text: str) -> bool:
    """Say whether the operations of a revision file's text are those that its id was made from."""
    said, bodies = _said_ids(_head(text)), said_bodies(text)
    return said is not None and bodies is not None and said[0] == revision_id(said[1], *bodies)


def file_name(revision: str, message: str, now: datetime) -> str:
    """Return `YYYY_MM_DD_HHMM-<revision>_<slug>.py`; `now` is in UTC, the slug is empty without a message."""
    slug = "_".join(re.findall(r"[a-z0-9]+", message.lower()))[:LONGEST_SLUG].rstrip("_")
    return f"{now:%Y_%m_%d_%H%M}-{revision}_{slug}.py"


def check_unchanged(revisions: Iterable[Revision]) -> None:
    """Raise `MonarchError` where a file is not the one that was read; its proof is that of the old one."""
    for item in revisions:
        try:
            same = hashlib.sha256(item.path.read_bytes()).hexdigest() == item.digest
        except OSError:
            same = False
        if not same:
            raise MonarchError(
                f"{item.path} was changed, or superseded by a new proposal, since this run began. Nothing more was "
                "applied.",
                remedy="Look at what is pending (`monarch status`), then run again.",
            )


def said_id(content: bytes) -> str:
    """Return the id that a file's first line `revision = …` says, "" where it has none; nothing else is looked at."""
    found = _SAID_ID.search(content.decode(errors="replace"))
    return found[1] if found else ""


def said_bodies(text: str) -> tuple[str, str] | None:
    """Return the bodies of `upgrade` and `downgrade` as the template has them; None for a file of another form."""
    found = _BODIES.search(text)
    return (found[1], found[2]) if found else None


def said_proposal(text: str) -> str:
    """Return what a file says of the proposal that it belongs to, "" where it is one by itself."""
    found = _PROPOSAL.search(_docstring(text))
    return found[0].removeprefix("Proposal: ") if found else ""


def revision_id(down_revision: str | None, upgrades: str, downgrades: str) -> str:
    """Return the id of a revision: a hash of the one below it and of its canonical operations, both ways (rule 5)."""
    return short_hash(down_revision or BASE, upgrades, downgrades)


def short_hash(*parts: str) -> str:
    """Return an id of a revision's length for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:REVISION_LENGTH]


def same_code(text: str, other: str) -> bool:
    """Say whether two revision files do the same: comments, layout, docstrings and `replaces` do not count."""
    return text == other or _code(_REPLACES.sub("", text, count=1)) == _code(_REPLACES.sub("", other, count=1))


def same_but_message(text: str, other: str) -> bool:
    """Say whether two revision files are alike, but for the message that each was generated with and `replaces`."""
    return _unsaid(text) == _unsaid(other)


def moved_text(text: str, revision: str, down_revision: str | None) -> str:
    """Return a revision file's text with another id and down revision; the rest stays as it is."""
    for name, value in (("revision", revision), ("down_revision", down_revision)):
        # Only the first: SQL in a string may hold a line that looks the same.
        text = re.sub(rf"^{name}(\s*(?::[^=\n]+)?=\s*).+$", rf"{name}\g<1>{value!r}", text, count=1, flags=re.MULTILINE)
    for word, told in (("Revision ID", revision), ("Revises", down_revision or BASE)):
        text = re.sub(rf"^{word}: .*$", f"{word}: {told}", text, count=1, flags=re.MULTILINE)
    return text


def with_replaces(text: str, replaces: Iterable[Iterable[str]]) -> str:
    """Return a revision file's text that says what it stands in the place of (`Revision.replaces`)."""
    line = f"replaces = {[sorted(names) for names in replaces]!r}"
    text = _REPLACES.sub("", text, count=1)
    return re.sub(r"^(down_revision\b.*)$", rf"\g<1>\n{line}", text, count=1, flags=re.MULTILINE)


def _replaces(text: str, path: Path) -> tuple[frozenset[str], ...]:
    found = _REPLACES.search(text)
    try:
        return tuple(frozenset(map(str, names)) for names in ast.literal_eval(found[1])) if found else ()
    except (ValueError, SyntaxError, TypeError):
        raise MonarchError(
            f"{path} does not say what it replaces as a list of lists of revisions: {found[1] if found else ''}.",
            remedy="Bring the line back with git; `monarch rebase` wrote it.",
        ) from None


def _unsaid(text: str) -> str:
    return _REPLACES.sub("", re.sub(r'\A"""[^\n]*', "", text), count=1)


def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


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
