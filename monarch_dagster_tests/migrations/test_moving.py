"""Two clones change the schema, each applies its own, both are merged: a rebase, and a run on each side, end alike."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import moving, runner
from monarch_dagster.migrations.checks import CHECKS, Situation, run_check
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.rebase import Rebased, rebase
from monarch_dagster.migrations.status import read_status
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.support import PYPROJECT, Alembic
from monarch_dagster_tests.postgres.debian import database_on
from monarch_dagster_tests.support import SMALL_MODELS, Project

OURS = """    mine: Mapped[str | None] = mapped_column(Text, index=True)
"""
THEIRS = """    theirs: Mapped[int | None] = mapped_column(Integer)
"""
MEMO = SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')
INSERT = "INSERT INTO landing.note (body) VALUES ('kept')"


def models(*columns: str) -> str:
    return SMALL_MODELS + "".join(columns)


@pytest.fixture(scope="module")
def first(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one generated revision and its proof."""
    project = Project(tmp_path_factory.mktemp("first"), server.url("unused"), shadows, server.url("dagster"))
    project.generate(message="first")
    return project.root


@pytest.fixture
def clones(
    server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path, first: Path
) -> Iterator[tuple[Project, Project]]:
    """Two clones of one project, ours and theirs, each with a target that is at the first revision and holds a row."""
    pair, names = [], []
    for name in ("ours", "theirs"):
        shutil.copytree(first, tmp_path / name)
        names.append(f"target_{secrets.token_hex(6)}")
        project = Project(tmp_path / name, server.url(names[-1]), shadows, server.url("dagster"))
        project.apply()
        project.execute(INSERT)
        pair.append(project)
    yield pair[0], pair[1]
    with connect(server.url("postgres"), autocommit=True) as connection:
        for name in names:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def change(project: Project, body: str, message: str) -> str:
    """Change the models, generate and apply; return the new head."""
    project.write_models(body)
    head = project.generate(message=message).head
    project.apply()
    return str(head)


def merge(ours: Project, theirs: Project, body: str) -> None:
    """Bring the files of theirs to ours, as git does, and merge the models to `body`."""
    for path in theirs.versions.iterdir():
        shutil.copy(path, ours.versions)
    ours.write_models(body)


def rebased(project: Project, onto: str) -> Rebased:
    return rebase(project.sources, project.shadows, project.prover.proofs, onto=onto)


def pull(project: Project, source: Project) -> None:
    """Take over the files of `source`, as a git pull does."""
    shutil.rmtree(project.sources.schema_dir)
    shutil.copytree(source.sources.schema_dir, project.sources.schema_dir)
    shutil.copy(source.root / "client_models.py", project.root)
    shutil.copytree(source.root / ".monarch", project.root / ".monarch", dirs_exist_ok=True)


def in_force(project: Project) -> list[tuple[str, str | None, str]]:
    return [(entry.revision, entry.down_revision, entry.digest) for entry in read_target(project.target).entries]


def failing(project: Project) -> dict[str, str]:
    situation = Situation(project.prover, project.target)
    outcomes = {name: run_check(check, situation) for name, check in CHECKS.items()}
    return {name: f"{item.stored} | {item.remedy}" for name, item in outcomes.items() if not item.passed}


def assert_alike(ours: Project, theirs: Project) -> None:
    """Both targets are at the head, with equal facts, agreeing ledgers and records, and every row."""
    assert in_force(ours) == in_force(theirs)
    assert [item[0] for item in in_force(ours)] == [item.revision for item in ours.chain().revisions]
    assert ours.facts() == theirs.facts()
    for project in (ours, theirs):
        assert failing(project) == {}
        target = read_target(project.target)
        assert target.versions == (target.head,) == (project.chain().head,)
        recorded = dict(map(tuple, project.execute("SELECT relation, hash FROM alembic.facts_hash")))
        assert recorded == project.facts().hashes
        assert project.execute("SELECT body FROM landing.note") == [("kept",)]


def status(project: Project) -> Any:
    return read_status(project.sources, lambda: project.shadows, project.target)


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


@pytest.mark.parametrize("message", ["same", pytest.param("other words", marks=pytest.mark.soak)])
def test_the_same_change_made_twice_ends_alike(clones: tuple[Project, Project], message: str) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "same")
    assert change(theirs, models(OURS), message) == mine
    for path in ours.versions.iterdir():
        if mine in path.name:
            path.rename(path.with_name(f"2020_01_01_0000-{mine}_x.py"))
    merge(ours, theirs, models(OURS))
    assert "stands in 2 files" in status(ours).problems[0]
    assert rebased(ours, "").deleted
    pull(theirs, ours)
    for project in (ours, theirs):
        assert project.apply().applied == ()
    if message == "same":
        assert_alike(ours, theirs)
    else:
        # The digests tell that the other's header has other words.
        assert [item[:2] for item in in_force(ours)] == [item[:2] for item in in_force(theirs)]
        assert ours.facts() == theirs.facts()
        found = {**failing(ours), **failing(theirs)}
        assert found.keys() == {"applied_files_unchanged"}
        assert "its comments or its header were edited" in found["applied_files_unchanged"]


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


def test_what_would_not_come_to_the_same_says_what_to_revert_first(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    base = str(ours.chain().head)
    mine = change(ours, models(OURS, THEIRS), "both")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    before = ours.facts(), in_force(ours)
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


def test_a_dry_run_shows_what_is_missing_and_moves_nothing(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    mine = change(ours, models(OURS), "mine")
    other = change(theirs, models(THEIRS), "theirs")
    merge(ours, theirs, models(OURS, THEIRS))
    rebased(ours, other)
    result = ours.apply(dry_run=True)
    assert "ADD COLUMN theirs" in result.sql
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
