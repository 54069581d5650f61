"""A transition of one schema into another, and the runner that takes a target through it both ways. No transitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster.migrations.replay import desired_facts
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.schema.desired import build_desired
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.migrations.corpus.declare import HEADER, table
from monarch_dagster_tests.support import Project

Rows = Sequence[tuple[Any, ...]]
Loses = Literal["", "up", "down", "both", "any"]
# Models that declare nothing are refused, so there is always a table.
KEPT = table("kept")


@dataclass(frozen=True)
class Transition:
    """What the sources declare before and after, the rows in between, and what must hold.

    Attributes:
        name: what changes, as a sentence.
        before: the models before, without header.
        after: the models after.
        meta_before: the objects of object_meta.json before; None for no file.
        meta_after: the objects after.
        rows: SQL that fills the target between before and after.
        keeps: SQL → rows that it must give after the upgrade, and after coming back down and up.
        restores: SQL → rows that it must give before the upgrade, and after coming back down.
        works: statements that the target must take after the upgrade; they are rolled back.
        works_below: statements that the target must take after coming back down; they are rolled back.
        loses: the directions that lose stored values, so that they must be refused until they are allowed by name;
            "any" where it is a matter of judgement, so that it is allowed from the start.
        hazards: kinds that the proposal must declare.
        warns: what the proposal's warnings must say (a regular expression).
        same: before and after mean one schema, so that nothing is proposed.
        refused: how the change is refused by name (a regular expression).
        reverse_refused: how the change back, declared as a change of its own, is refused.
        blocked_back: how they stop the change back, declared as a change of its own.
        blocked: how the target's rows stop the change on apply, whatever is allowed.
        majors: server versions that have what the transition is about.
    """

    name: str
    before: str = KEPT
    after: str = KEPT
    meta_before: Mapping[str, Any] | None = None
    meta_after: Mapping[str, Any] | None = None
    rows: str = ""
    keeps: Mapping[str, Rows] = field(default_factory=dict)
    restores: Mapping[str, Rows] = field(default_factory=dict)
    works: Sequence[str] = ()
    works_below: Sequence[str] = ()
    loses: Loses = ""
    hazards: Sequence[str] = ()
    warns: str = ""
    same: bool = False
    refused: str = ""
    reverse_refused: str = ""
    blocked: str = ""
    blocked_back: str = ""
    majors: Sequence[int] = (16, 18)


def run(case: Transition, project: Project, *, declared_back: bool = True) -> None:
    """Take the project's target from before to after, back, up again, and back by a change declared anew.

    Without `declared_back` that last leg, half of the time, is left out.
    """
    write(project, case.before, case.meta_before)
    below = project.generate().head
    assert below is not None
    project.apply()
    before = project.facts()
    if case.rows:
        _run(project, case.rows)
    _expect(project, case.restores)
    write(project, case.after, case.meta_after)
    if case.refused:
        _refuse(project, case.refused)
        return
    if case.same:
        assert project.generate().revisions == ()
        return
    proposal = converge(project)
    ids = [item.revision for item in proposal.revisions]
    kinds = {hazard.kind for item in proposal.revisions for hazard in item.hazards}
    assert kinds >= set(case.hazards), f"declared hazards are {sorted(kinds)}"
    assert re.search(case.warns, "\n".join(proposal.warnings)), proposal.warnings
    if case.blocked:
        with pytest.raises(MonarchError, match=case.blocked), _rows_stay(project):
            project.apply(allow_data_loss=ids)
        _expect(project, case.restores)
        return
    wanted = wanted_facts(project)
    _step(project, ids, project.apply, refused=case.loses in ("up", "both"), allowed=case.loses == "any")
    assert project.facts().declarable() == wanted
    after = project.facts()
    _expect(project, case.keeps)
    _try(project, case.works)

    def revert(**options: Any) -> Any:
        return project.revert(below, **options)

    _step(project, ids, revert, refused=case.loses in ("down", "both"), allowed=case.loses == "any")
    assert project.facts() == before
    _expect(project, case.restores)
    _try(project, case.works_below)
    _step(project, ids, project.apply, allowed=True)
    assert project.facts() == after
    _expect(project, case.keeps)
    if declared_back:
        _reverse(case, project, before.declarable())


def _reverse(case: Transition, project: Project, before: Facts) -> None:
    write(project, case.before, case.meta_before)
    if case.reverse_refused:
        _refuse(project, case.reverse_refused)
        return
    ids = [item.revision for item in converge(project).revisions]
    if case.blocked_back:
        with pytest.raises(MonarchError, match=case.blocked_back), _rows_stay(project):
            project.apply(allow_data_loss=ids)
        return
    _step(project, ids, project.apply, allowed=True)
    assert project.facts().declarable() == before


def write(project: Project, body: str, meta: Mapping[str, Any] | None) -> None:
    """Make these the project's sources."""
    project.write_models(HEADER + body)
    if meta is None:
        project.sources.object_meta_path.unlink(missing_ok=True)
    else:
        project.write_meta(meta)


def converge(project: Project) -> Proposal:
    """Have the change proposed; a second generation must find nothing."""
    proposal = project.generate()
    assert proposal.revisions, "nothing was proposed"
    assert project.generate().revisions == (), "the second generation proposed something"
    return proposal


def wanted_facts(project: Project) -> Facts:
    """Return the facts that the project's sources come to."""
    return desired_facts(project.shadows, project.chain(), build_desired(project.sources)).declarable()


def _refuse(project: Project, told: str) -> None:
    files = sorted(project.versions.iterdir())
    with pytest.raises(MonarchError) as caught:
        project.generate()
    assert re.search(told, str(caught.value)), str(caught.value)
    assert sorted(project.versions.iterdir()) == files


def _step(
    project: Project, ids: Sequence[str], go: Callable[..., Any], *, refused: bool = False, allowed: bool = False
) -> None:
    if refused:
        with pytest.raises(MonarchError, match="would lose stored values"), _rows_stay(project):
            go()
    with _rows_stay(project):
        go(allow_data_loss=ids if refused or allowed else [])


@contextmanager
def _rows_stay(project: Project) -> Iterator[None]:
    """A table that is there before and after has as many rows after as before."""
    before = _counts(project)
    try:
        yield
    finally:
        after = _counts(project)
        both = before.keys() & after.keys()
        assert {name: after[name] for name in both} == {name: before[name] for name in both}


def _counts(project: Project) -> dict[int, int]:
    names = _run(
        project,
        "SELECT c.oid, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
        "c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'alembic')",
    )
    return {oid: _run(project, f"SELECT count(*) FROM {name}")[0][0] for oid, name in names}


def _expect(project: Project, asked: Mapping[str, Rows]) -> None:
    for question, rows in asked.items():
        assert _run(project, question) == list(rows), question


def _try(project: Project, statements: Sequence[str]) -> None:
    for statement in statements:
        _run(project, statement, keep=False)


def _run(project: Project, script: str, *, keep: bool = True) -> list[tuple[Any, ...]]:
    with connect(project.target) as connection:
        result = run_script(connection, script)
        rows = [tuple(row) for row in result] if result.returns_rows else []
        if keep:
            connection.commit()
    return rows
