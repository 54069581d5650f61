"""Two clones change the schema, each applies its own, both are merged: a rebase, and a run on each side, end alike."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import moving, runner
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.cloning import (
    MEMO,
    OURS,
    THEIRS,
    assert_alike,
    change,
    failing,
    in_force,
    merge,
    models,
    pull,
    rebased,
    status,
)
from monarch_dagster_tests.migrations.registries import OBJECTS, build, labels
from monarch_dagster_tests.migrations.support import PYPROJECT, Alembic, sql, write_revision
from monarch_dagster_tests.postgres.debian import database_on
from monarch_dagster_tests.support import Project


@pytest.mark.soak
def test_different_changes_end_alike(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "mine")
    other = change(theirs, models(THEIRS) + MEMO, "theirs")
    merge(ours, theirs, models(OURS, THEIRS) + MEMO)
    found = status(ours)
    assert sorted(found.heads) == sorted([mine, other])
    assert "monarch rebase" in found.problems[0]
    assert failing(ours).keys() >= {"revision_chain_unbroken"}

    new = rebased(ours, other)
    assert {name for item in new.moved for name in item.replaces} >= {mine}
    told = status(ours)
    assert told.problems == ()
    assert f"applies {other}, then moves" in told.moving
    assert [item.revision for item in told.pending] == [other]
    before = ours.execute("SELECT count(*) FROM alembic.revision_ledger")[0][0]
    result = ours.apply()
    assert (result.before, result.after) == (mine, new.head)
    assert [item.revision for item in result.applied] == [other]
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)
    rows = ours.execute("SELECT direction FROM alembic.revision_ledger ORDER BY id OFFSET %s", before)
    assert [row[0] for row in rows] == ["upgrade", *["rebase"] * (1 + len(new.moved))]
    # And both go on alike.
    for project in (ours, theirs):
        project.revert(ours.chain().revisions[0].revision, allow_data_loss=["base:head"])
        project.apply()
    assert_alike(ours, theirs)


@pytest.mark.soak
def test_an_edited_revision_ends_alike(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    ours.write_models(models(OURS))
    item = ours.generate(message="mine").revisions[0]
    fill = '    op.execute("UPDATE landing.note SET mine = body")\n'
    text = item.path.read_text()
    item.path.write_text(text.replace("\n\n\ndef downgrade", f"\n{fill}\n\ndef downgrade", 1))
    ours.apply()
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    ours.apply()
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)
    for project in (ours, theirs):
        assert project.execute("SELECT mine FROM landing.note") == [("kept",)]


@pytest.mark.soak
def test_the_same_change_made_twice_ends_alike_whatever_it_is_called(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "same")
    assert change(theirs, models(OURS), "other words") == mine
    for path in ours.versions.iterdir():
        if mine in path.name:
            path.rename(path.with_name(f"2020_01_01_0000-{mine}_x.py"))
    merge(ours, theirs, models(OURS))
    assert "stands in 2 files" in status(ours).problems[0]
    assert rebased(ours, "").deleted
    pull(theirs, ours)
    for project in (ours, theirs):
        assert project.apply().applied == ()
    # The digests tell that the other's header has other words; that is nobody's edit.
    assert [item[:2] for item in in_force(ours)] == [item[:2] for item in in_force(theirs)]
    assert ours.facts() == theirs.facts()
    assert {**failing(ours), **failing(theirs)} == {}


@pytest.mark.soak
@pytest.mark.parametrize(
    "interrupted", ["before the move", pytest.param("before the missing one", marks=pytest.mark.soak)]
)
def test_a_run_that_dies_in_between_is_taken_up_by_the_next(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "mine")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    with monkeypatch.context() as patch:
        if interrupted == "before the move":
            patch.setattr(moving, "_move", dies)
        else:
            patch.setattr(runner, "upgrade", dies_on_target(ours, runner.upgrade))
        with pytest.raises(KeyboardInterrupt):
            ours.apply()
    target = read_target(ours.target)
    assert target.version == target.head == (other if interrupted == "before the move" else mine)
    assert status(ours).moving
    assert failing(ours).keys() <= {"alembic_version_at_head"}
    ours.apply()
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)


def dies(*_arguments: object) -> None:
    raise KeyboardInterrupt


def dies_on_target(project: Project, upgrade: Callable[..., None]) -> Callable[..., None]:
    def run(versions: Any, to: str, options: Any) -> None:
        if options.url == project.target:
            raise KeyboardInterrupt
        upgrade(versions, to, options)

    return run


@pytest.mark.soak
def test_what_would_not_come_to_the_same_says_what_to_revert_first(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    base = str(ours.chain().head)
    mine = change(ours, models(OURS, THEIRS), "both")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    before = ours.facts(), in_force(ours)
    told = status(ours)
    assert told.moving == ""
    assert f"monarch revert --to {base}" in told.problems[0]
    found = failing(ours)
    assert found.keys() == {"ledger_agrees", "alembic_version_at_head"}
    assert all(f"monarch revert --to {base}" in text for text in found.values())
    with pytest.raises(MonarchError) as caught:
        ours.apply()
    assert mine in caught.value.message
    assert f"monarch revert --to {base}" in caught.value.remedy
    assert (ours.facts(), in_force(ours)) == before
    with pytest.raises(MonarchError, match="column with 1 value"):
        ours.execute("UPDATE landing.note SET mine = 'x'")
        ours.revert(base)
    ours.revert(base, allow_data_loss=["base:head"])
    ours.apply()
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)


@pytest.mark.soak
def test_what_it_applied_of_what_is_missing_before_it_failed_is_registered(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    change(ours, models(OURS), "mine")
    first = change(theirs, models(THEIRS), "theirs")
    theirs.execute("DELETE FROM landing.note")
    fails_here = sql("SELECT 1 / (count(*) - 1) FROM landing.note WHERE body = 'kept'")
    write_revision(theirs.versions, "f2", first, up=fails_here)
    theirs.apply()
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, "f2")
    build(ours, OBJECTS)
    with pytest.raises(MonarchError, match=r"division by zero[\s\S]*1 revision before it applied"):
        ours.apply()
    assert read_target(ours.target).version == first
    assert labels(ours).keys() == {"Account", "Account.Id", "Account.Name", "Account.npsp__Level__c"}


@pytest.mark.soak
def test_plain_alembic_refuses_such_a_target_and_says_who_moves_it(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    change(ours, models(OURS), "mine")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    (ours.root / "pyproject.toml").write_text(
        PYPROJECT.format(script_location=runner.SCRIPT_LOCATION, versions="schema/versions")
    )
    assert "monarch run-migrations" in Alembic(ours).run("upgrade", "head", code=255)


@pytest.mark.soak
def test_a_dry_run_shows_what_is_missing_and_moves_nothing(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "mine")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    head = rebased(ours, other).head
    result = ours.apply(dry_run=True)
    assert "ADD COLUMN theirs" in result.sql
    assert result.sql.rstrip().endswith(f"UPDATE alembic.alembic_version SET version_num='{head}';")
    assert "ADD COLUMN mine" not in result.sql
    assert read_target(ours.target).version == mine


@pytest.mark.soak
def test_a_target_on_another_major_is_not_moved_and_says_why(clones: tuple[Project, Project], debian: URL) -> None:
    ours, theirs = clones
    with database_on(debian) as url:
        ours.target = url
        mine = change(ours, models(OURS), "mine")
        other = change(theirs, models(THEIRS), "theirs")
        merge(ours, theirs, models(OURS, THEIRS))
        rebased(ours, other)
        with pytest.raises(MonarchError, match="it is PostgreSQL 15, the shadow 18") as caught:
            ours.apply()
        assert "MONARCH_SHADOW_URL" in caught.value.remedy
        assert read_target(url).version == mine
        ours.shadows = ShadowServer(debian)
        ours.apply()
        assert read_target(url).version == ours.chain().head
        assert failing(ours) == {}
