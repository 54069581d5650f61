"""Revisions put behind another head: generated ones generated anew, edited ones moved as they are; both are proved.

A generated change is known by what it does to the facts where it stands; the same is then done to the facts that the
other head comes to. All of it happens on shadows and in a folder of its own; no file of the project is touched.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.branches import Unit, replaced_sets
from monarch_dagster.migrations.chain import VERSIONS, Chain
from monarch_dagster.migrations.compose import Way, compose, summarise
from monarch_dagster.migrations.generate import renamed_facts
from monarch_dagster.migrations.prove import prove_drafts, prove_file
from monarch_dagster.migrations.renames import COLUMN, TABLE, Rename
from monarch_dagster.migrations.replay import SHADOW_SQL, chain_clone, chain_facts, keep_clone
from monarch_dagster.migrations.revisions import (
    BASE,
    Revision,
    file_name,
    moved_text,
    parse_revision,
    short_hash,
    with_replaces,
)
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.delta import apply_delta, spelled, unsaid
from monarch_dagster.schema.desired import Desired
from monarch_dagster.schema.facts import Facts, differences

_PART = re.compile(r" *\(\d+ of \d+\)$")


@dataclass(frozen=True)
class History:
    """What a unit does where it stands: the facts after its renames, and after each of its revisions."""

    unit: Unit
    renames: tuple[Rename, ...]
    start: Facts
    ends: tuple[Facts, ...]

    @property
    def message(self) -> str:
        """The message that a person gave, "" where the revisions have one that was made of what they change."""
        message = _PART.sub("", self.unit[0].message)
        made = summarise(tuple(differences(self.ends[-1], self.start)), self.renames)
        return "" if message == made else message


@contextmanager
def bench(chain: Chain) -> Iterator[Chain]:
    """Give the chain in a folder of its own, with `shadow.sql` beside it; each file says what the chain says of it."""
    with tempfile.TemporaryDirectory(prefix="monarch-rebase-") as folder:
        versions = Path(folder) / VERSIONS
        versions.mkdir()
        for item in chain.revisions:
            text = moved_text(item.path.read_text(), item.revision, item.down_revision)
            (versions / item.path.name).write_text(text)
        prelude = chain.directory.with_name(SHADOW_SQL)
        if prelude.exists():
            shutil.copyfile(prelude, versions.with_name(SHADOW_SQL))
        revisions = tuple(replace(item, path=versions / item.path.name) for item in chain.revisions)
        yield replace(chain, directory=versions, revisions=revisions)


def histories(chain: Chain, units: Sequence[Unit], shadows: ShadowServer) -> Iterator[History]:
    """Run units where they stand in the chain, and give what each did.

    Raises `MonarchError` where one cannot be run.
    """
    with ExitStack() as stack:
        here: str | None = ""  # no revision's id
        for unit in units:
            if (down := unit[0].down_revision) != here:
                stack.close()
                url = stack.enter_context(chain_clone(shadows, chain.line(down), down))
                facts = chain_facts(url)
            renames = () if unit[0].edited else renames_in(unit[0].path.read_text())
            start = renamed_facts(url, facts, renames)
            ends = []
            for item in unit:
                facts = prove_file(url, item, facts, shadows.memo, proved=True)
                ends.append(facts)
            here = unit[-1].revision
            yield History(unit, renames, start, tuple(ends))


@dataclass
class Behind:
    """The chain that comes about behind a head, on a bench."""

    shadows: ShadowServer
    # The sources: the models, and the facts that they come to.
    desired: Desired
    declared: Facts
    chain: Chain
    now: datetime
    # Names of files that an interrupted rebase has written, by revision.
    names: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def facts(self) -> Facts:
        """Return the facts that the chain comes to."""
        with chain_clone(self.shadows, self.chain, self.chain.head) as url:
            return chain_facts(url)

    def put(self, history: History) -> tuple[Revision, ...]:
        """Put a unit behind the head and return its new revisions; none where nothing is left to do.

        Raises `MonarchError`, naming the unit's files, where that cannot be generated or does not prove.
        """
        edited = history.unit[0].edited
        try:
            return self._moved(history.unit[0]) if edited else self._generated(history)
        except MonarchError as error:
            files = ", ".join(item.path.name for item in history.unit)
            remedy = (
                "Edit it so that it runs behind that head too, such as without what the other branch does already, "
                "then run `monarch rebase` again."
                if edited
                else "Delete it (where it is applied, `monarch revert` first), run `monarch rebase` again, then "
                "`monarch generate-migrations`, which proposes what the sources still ask for."
            )
            raise MonarchError(
                f"{files} cannot be put behind {self.chain.head or BASE}. Nothing was changed. {error.message}",
                remedy=remedy,
            ) from error

    def _moved(self, item: Revision) -> tuple[Revision, ...]:
        # Not a hash of its operations: it would be taken for one that was generated.
        revision = short_hash(self.chain.head or BASE, item.revision)
        text = moved_text(item.path.read_text(), revision, self.chain.head)
        moved = self._write(revision, text, replaced_sets((item,), together=False), item.message)
        try:
            with chain_clone(self.shadows, self.chain, self.chain.head) as url:
                prove_file(url, moved, chain_facts(url), self.shadows.memo, proved=False)
                self._extend((moved,), url)
        except MonarchError as error:
            error.message = error.message.replace(moved.path.name, item.path.name)
            raise
        return (moved,)

    def _generated(self, history: History) -> tuple[Revision, ...]:
        with chain_clone(self.shadows, self.chain, self.chain.head) as url:
            before = chain_facts(url)
            renames = due(history.renames, before)
            renamed = renamed_facts(url, before, renames)
            way = Way(before, renamed, apply_delta(renamed, history.start, history.ends[-1]), renames)
            if not renames and way.wanted == renamed:
                return ()
            try:
                return self._proved(url, history, way)
            except MonarchError as error:
                refusal = error
        touched = {change.relation for change in differences(way.wanted, renamed)}
        wanted = spelled(way.wanted, self.declared, touched)
        if wanted == way.wanted:
            raise refusal
        with chain_clone(self.shadows, self.chain, self.chain.head) as url:
            try:
                return self._proved(url, history, replace(way, wanted=wanted))
            except MonarchError:
                raise refusal from None

    def _proved(self, url: URL, history: History, way: Way) -> tuple[Revision, ...]:
        said = history.message
        message = said or summarise(tuple(differences(way.wanted, way.renamed)), way.renames)
        drafts = compose(self.chain.head, way, self.desired, message, unsaid(way.wanted, self.declared))
        prove_drafts(url, drafts, way.before, self.shadows.memo)
        one_by_one = matches(history, [way.renamed, *(draft.end for draft in drafts)])
        found = []
        for number, draft in enumerate(drafts):
            old = history.unit[number : number + 1] if one_by_one else history.unit
            sets = replaced_sets(old, together=not one_by_one)
            found.append(self._write(draft.revision, draft.text, sets, f"{said} {draft.part}"))
        self._extend(found, url)
        return tuple(found)

    def _write(self, revision: str, text: str, sets: Sequence[frozenset[str]], message: str) -> Revision:
        text = with_replaces(text, sets)
        # A minute apart, so that a listing has them in their order.
        name = self.names.get(revision) or file_name(revision, message, self.now + timedelta(minutes=self.count))
        self.count += 1
        path = self.chain.directory / name
        path.write_text(text)
        return parse_revision(path, path.read_bytes())

    def _extend(self, revisions: Sequence[Revision], url: URL) -> None:
        self.chain = self.chain.extended(*revisions)
        # The next unit stands on it.
        keep_clone(self.shadows, self.chain, url)


def renames_in(text: str) -> tuple[Rename, ...]:
    """Return the renames of a generated revision's upgrade, in their order, as `rendering` writes them."""
    upgrade = next(
        node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    )
    found = []
    for statement in upgrade.body:
        match statement:
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("op"), "rename_table"), arguments, keywords)):
                old, new = (str(ast.literal_eval(item)) for item in arguments)
                found.append(Rename(str(_keywords(keywords)["schema"]), new, old, new))
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("op"), "alter_column"), arguments, keywords)):
                if any(item.arg == "new_column_name" for item in keywords):
                    table, old = (str(ast.literal_eval(item)) for item in arguments)
                    named = _keywords(keywords)
                    found.append(Rename(str(named["schema"]), table, old, str(named["new_column_name"]), column=True))
    return tuple(found)


def due(renames: Sequence[Rename], facts: Facts) -> tuple[Rename, ...]:
    """Return the renames that can be made of what the facts have: the old name is there, and the new one is not."""
    found: list[Rename] = []
    names = {
        f"{TABLE}{item.schema}.{item.new}": f"{TABLE}{item.schema}.{item.old}" for item in renames if not item.column
    }
    for item in renames:
        relation = f"{TABLE}{item.schema}.{item.table}"
        if item.column:
            # Its table goes by its old name still, unless the other branch renamed it too.
            aspects = facts.relations.get(relation) or facts.relations.get(names.get(relation, ""), {})
            old, new = (f"{COLUMN}{name}" in aspects for name in (item.old, item.new))
        else:
            old, new = (f"{TABLE}{item.schema}.{name}" in facts.relations for name in (item.old, item.new))
        if old and not new:
            found.append(item)
    return tuple(found)


def matches(history: History, facts: Sequence[Facts]) -> bool:
    """Say whether each new revision, from one of `facts` to the next, does only what the old one in its place did."""
    if len(facts) - 1 != len(history.unit):
        return False
    if len(history.unit) == 1:
        return True
    for start, end, old in zip(facts, facts[1:], history.ends, strict=False):
        for change in differences(end, start):
            there = old.relations.get(change.relation)
            if change.whole:
                if there != end.relations.get(change.relation):
                    return False
            elif (there or {}).get(change.aspect, "") != change.expected:
                return False
    return True


def _keywords(items: Sequence[ast.keyword]) -> dict[str, object]:
    return {item.arg: ast.literal_eval(item.value) for item in items if item.arg in ("schema", "new_column_name")}
