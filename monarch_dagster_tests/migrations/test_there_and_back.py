"""A generated chain reverted and applied again ten times: rows stay, losses are named, the ledger only grows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.support import Project

TABLES = """
class Note(Base):
    __tablename__ = "note"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str] = mapped_column(Text)

class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    note_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("landing.note.id"))
"""
BODY = "    body: Mapped[str] = mapped_column(Text)\n"
COLUMN = TABLES.replace(BODY, f'{BODY}    kind: Mapped[str] = mapped_column(Text, server_default="plain")\n')
INDEX = COLUMN.replace(BODY, BODY.replace("Text", "Text, index=True"))


@dataclass
class Chain:
    """A chain of three revisions on a target with rows, and what has been seen of it."""

    project: Project
    tables: str
    column: str
    index: str
    # The facts of each revision, as they were when it was applied first.
    facts: dict[str | None, Facts] = field(default_factory=dict)
    ledger: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, bodies: int) -> None:
        """Insert notes, and a tag on each second one."""
        for number in range(bodies):
            (row,) = self.project.execute("INSERT INTO landing.note (body) VALUES (%s) RETURNING id", f"body {number}")
            if number % 2:
                self.project.execute("INSERT INTO landing.tag (note_id) VALUES (%s)", row.id)

    def rows(self) -> tuple[list[Any], list[Any]]:
        """Return what the two tables hold in the columns that they always have."""
        notes = self.project.execute("SELECT id, body FROM landing.note ORDER BY id")
        return notes, self.project.execute("SELECT id, note_id FROM landing.tag ORDER BY id")

    def check(self, version: str | None) -> None:
        """The target is at that revision, has its facts, and what the ledger had it still has."""
        project = self.project
        target, facts = read_target(project.target), project.facts()
        assert target.version == target.head == version
        assert facts == self.facts.setdefault(version, facts)
        assert dict(map(tuple, project.execute("SELECT relation, hash FROM alembic.facts_hash"))) == facts.hashes
        ledger = [tuple(row) for row in project.execute("SELECT * FROM alembic.revision_ledger ORDER BY id")]
        for before, now in zip(self.ledger, ledger, strict=False):
            assert before[:-1] == now[:-1]
            assert before[-1] in (None, now[-1])  # the end of what was in force is noted once
        assert len(ledger) >= len(self.ledger)
        self.ledger = ledger

    def refuses(self, to: str, revision: str, losses: list[str], *, named: list[str], stays: str) -> None:
        """Reverting is refused for that revision with what it would lose, and goes as far as `stays`."""
        rows = self.rows()
        with pytest.raises(MonarchError) as caught:
            self.project.revert(to, allow_data_loss=named)
        assert re.search(f"Revision {revision} would lose stored values; nothing of it was ", caught.value.message)
        assert re.findall(r"^  (.*)$", caught.value.message, re.MULTILINE) == losses
        assert f"--allow-data-loss {revision}" in caught.value.remedy
        self.check(stays)
        assert self.rows() == rows


@pytest.fixture
def chain(project: Project) -> Chain:
    """The chain, applied to a target that had rows from its first revision on."""
    revisions = []
    for models in (TABLES, COLUMN, INDEX):
        project.write_models(models)
        (item,) = project.generate().revisions
        revisions.append(item.revision)
    chain = Chain(project, *revisions)
    for revision in revisions:
        project.apply(to=revision)
        chain.check(revision)
        chain.add(4 if revision == chain.tables else 0)
    return chain


@pytest.mark.soak
@pytest.mark.parametrize(("times", "base_after"), [(2, 2), pytest.param(10, 5, marks=pytest.mark.soak)])
def test_rows_stay_where_the_schema_keeps_them_and_what_is_lost_was_named_each_time(
    chain: Chain, times: int, base_after: int
) -> None:
    project, first = chain.project, chain.project.dump()
    for number in range(1, times + 1):
        chain.add(number)
        rows = chain.rows()
        notes, tags = map(len, rows)
        column = [f"landing.note.kind: the column with {notes} values"]
        # The index goes at once, and only then does a revision stand in the way.
        chain.refuses(chain.tables, chain.column, column, named=[], stays=chain.column)
        chain.refuses(chain.tables, chain.column, column, named=[chain.tables], stays=chain.column)
        project.revert(chain.tables, allow_data_loss=[chain.column])
        chain.check(chain.tables)
        assert chain.rows() == rows
        if number % base_after == 0:
            tables = [
                f"landing.note: the table with {notes} rows",
                f"landing.tag: the table with {tags} rows",
            ]
            chain.refuses("base", chain.tables, tables, named=[], stays=chain.tables)
            chain.refuses("base", chain.tables, tables, named=[chain.column], stays=chain.tables)
            project.revert("base", allow_data_loss=[chain.tables])
            chain.check(None)
            rows = [], []
        project.apply()
        chain.check(chain.index)
        assert chain.rows() == rows
        assert {row.kind for row in project.execute("SELECT kind FROM landing.note")} <= {"plain"}
    assert project.dump() == first
    directions = [row[1] for row in chain.ledger]
    assert directions.count("upgrade") == 3 + 2 * times + times // base_after
    assert directions.count("downgrade") == 2 * times + times // base_after
