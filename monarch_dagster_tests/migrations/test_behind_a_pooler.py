"""Behind PgBouncer: where it hands sessions around, all can be looked at and nothing changed; else everything works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.checks import TARGET_CHECKS, run_check
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.adopting import everything
from monarch_dagster_tests.migrations.support import PYPROJECT, Alembic, write_chain, write_revision
from monarch_dagster_tests.postgres.debian import PASSWORD, database_on, pgbouncer
from monarch_dagster_tests.support import Project, squeeze

FIRST = ("CREATE SCHEMA s; CREATE TABLE s.t (a int)", "DROP SCHEMA s CASCADE")
BUILD = "with op.get_context().autocommit_block():\n    op.execute('{}')"
REMEDY = "Set MONARCH_DATABASE_URL to the server's own address and port, or have the pooler keep the session"


@pytest.fixture
def direct(debian: URL, server: EmbeddedCluster, tmp_path: Path) -> Iterator[Project]:
    """A target on Debian's server with the first of two revisions applied; the second builds an index."""
    with database_on(debian) as target:
        project = Project(tmp_path, target, ShadowServer(debian), server.url("dagster"), trusting=True)
        write_chain(project, FIRST)
        build, drop = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_t_a ON s.t (a)", "DROP INDEX s.ix_t_a"
        write_revision(project.versions, "r2", "r1", up=BUILD.format(build), back=BUILD.format(drop))
        project.apply(to="r1")
        yield project


@pytest.fixture
def handed_around(direct: Project) -> Iterator[Project]:
    """The same, reached through a pooler that hands sessions around."""
    with pgbouncer(direct.target, "transaction") as url:
        yield through(direct, url)


def through(project: Project, url: URL) -> Project:
    models = (project.root / "client_models.py").read_text()
    pooled = replace(project, target=url)
    (project.root / "client_models.py").write_text(models)
    return pooled


@pytest.mark.parametrize(
    "act",
    [
        Project.apply,
        lambda project: project.revert("base"),
        lambda project: adopt(project.chain(), project.target, project.shadows),
        lambda project: adopt(project.chain(), project.target, project.shadows, dry_run=True),
    ],
    ids=["apply", "revert", "adopt", "adopt, dry run"],
)
def test_where_sessions_are_handed_around_nothing_is_changed(
    direct: Project, handed_around: Project, act: Callable[[Project], object]
) -> None:
    before = everything(direct)
    with pytest.raises(MonarchError, match="leads through a pooler that does not keep a session") as caught:
        act(handed_around)
    assert REMEDY in caught.value.remedy
    assert PASSWORD not in str(caught.value)
    assert everything(direct) == before


def test_it_is_refused_before_anything_is_proved(direct: Project, handed_around: Project) -> None:
    proofs = direct.root / ".monarch"
    for path in proofs.rglob("*.json"):
        path.unlink()
    handed_around.trusting = False
    with pytest.raises(MonarchError, match="does not keep a session"):
        handed_around.apply()
    assert list(proofs.rglob("*.json")) == []


def test_the_command_ends_with_what_to_do(direct: Project, handed_around: Project) -> None:
    before = everything(direct)
    done = handed_around.monarch("run-migrations", code=1)
    assert f"What to do: {REMEDY}" in squeeze(done.stderr)
    assert everything(direct) == before


@pytest.mark.soak
def test_plain_alembic_and_the_other_commands_end_with_what_to_do(direct: Project, handed_around: Project) -> None:
    direct.apply()
    before = everything(direct)
    settings = PYPROJECT.format(script_location=SCRIPT_LOCATION, versions="schema/versions")
    (direct.root / "pyproject.toml").write_text(settings)
    for command in (["upgrade", "head"], ["downgrade", "-1"], ["stamp", "r1"]):
        assert REMEDY in squeeze(Alembic(handed_around).run(*command, code=255))
    assert "r2" in Alembic(handed_around).run("current")
    for arguments in (["revert", "--to", "r1"], ["adopt"], ["adopt", "--dry-run"], ["setup"]):
        assert REMEDY in squeeze(handed_around.monarch(*arguments, code=1).stderr)
    assert everything(direct) == before


def look(project: Project) -> tuple[Any, ...]:
    """Return what status, checks and a dry run tell."""
    status = read_status(project.sources, lambda: project.shadows, project.target).to_json()
    situation = Situation(project.prover, project.target)
    checks = {name: run_check(check, situation) for name, check in TARGET_CHECKS.items()}
    return status, checks, project.apply(dry_run=True).sql


@pytest.mark.soak
def test_status_checks_and_dry_runs_tell_the_same_as_directly(direct: Project) -> None:
    direct.execute("ALTER TABLE s.t ADD by_hand int; CREATE TABLE s.mine ()")
    before = everything(direct)
    found = look(direct)
    assert [item["detail"] for item in found[0]["drift"]] == ["extra: column by_hand is extra (found: integer)"]
    assert [item["revision"] for item in found[0]["pending"]] == ["r2"]
    assert "CREATE INDEX CONCURRENTLY" in found[2]
    for mode in ("transaction", "session"):
        with pgbouncer(direct.target, mode) as url:
            assert look(through(direct, url)) == found
    assert everything(direct) == before


def test_where_each_connection_keeps_its_session_everything_works(direct: Project) -> None:
    with pgbouncer(direct.target, "session") as url:
        pooled = through(direct, url)
        assert pooled.apply().after == "r2"
        assert "index ix_t_a" in direct.facts().relations["table s.t"]
        assert pooled.revert("r1").after == "r1"
        assert "index ix_t_a" not in direct.facts().relations["table s.t"]
        direct.execute("CREATE INDEX ix_t_a ON s.t (a)")
        adopted = adopt(pooled.chain(), pooled.target, pooled.shadows)
        assert (adopted.after, adopted.written) == ("r2", True)
        pooled.revert("base")
    assert direct.facts().relations == {}
    target = read_target(direct.target)
    assert (target.versions, target.entries) == ((), ())
