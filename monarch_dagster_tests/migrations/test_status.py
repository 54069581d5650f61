"""Status and checks: where target, chain and sources stand."""

from collections.abc import Callable

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.drift import Drift
from monarch_dagster.migrations.status import Status, read_status
from monarch_dagster.postgres.locks import apply_lock
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.support import write_chain, write_revision
from monarch_dagster_tests.support import Project, account


def status(project: Project) -> Status:
    return read_status(project.sources, lambda: project.shadows, project.target)


def test_an_empty_project_is_told_as_such(project: Project) -> None:
    found = status(project)
    assert (found.database_revision, found.heads, found.pending, found.drift) == (None, (), (), Drift())
    assert not found.sources_covered
    assert "The schema folder" in found.problems[0]
    assert "`monarch generate-migrations` makes it" in found.problems[0]
    assert found.to_json()["object_meta"] == {
        "path": str(project.sources.object_meta_path),
        "sha256": "",
        "objects": 0,
        "fields": 0,
    }


def test_it_follows_generation_and_application(project: Project) -> None:
    project.write_meta(account(Name={"type": "string", "length": 255}))
    head = project.generate(message="first").head
    pending = status(project)
    assert pending.sources_covered
    assert pending.problems == ()
    assert [item.revision for item in pending.pending] == [head]
    assert pending.to_json()["pending"][0]["hazards"] == []
    project.apply()
    applied = status(project)
    assert applied.to_json()["database_revision"] == applied.to_json()["head_revision"] == head
    assert (applied.pending, applied.drift) == ((), Drift())
    assert applied.to_json()["object_meta"]["fields"] == 2


def test_drift_and_foreign_relations_are_told_apart(project: Project) -> None:
    head = project.generate().head
    project.apply()
    project.execute("ALTER TABLE landing.note DROP body, ADD extra int; CREATE TABLE landing.mine ()")
    project.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t ()")
    found = status(project)
    assert [(item.kind, item.relation, item.detail.partition(" (")[0]) for item in found.drift.findings] == [
        ("missing", "table landing.note", "column body is missing"),
        ("extra", "table landing.note", "column extra is extra"),
    ]
    assert found.to_json()["drift"][1]["detail"].startswith("extra: column extra is extra (found: integer)")
    assert found.drift.foreign == ("table landing.mine",)
    # And neither keeps a revert from doing just its own.
    with pytest.raises(MonarchError, match="cannot drop schema landing because other objects depend on it"):
        project.revert("base")
    assert project.facts().tables() == {"landing.note", "landing.mine", "elsewhere.t"}
    project.execute("DROP TABLE landing.mine")
    project.revert("base", allow_data_loss=[str(head)])
    assert project.facts().tables() == {"elsewhere.t"}


def test_two_heads_are_told_and_nothing_else_is_claimed(project: Project) -> None:
    write_chain(project, ("CREATE TABLE t ()", "DROP TABLE t"))
    project.apply()
    for name in ("a", "b"):
        write_revision(project.versions, name, "r1")
    found = status(project)
    assert found.heads == ("a", "b")
    assert found.to_json()["head_revision"] is None
    assert (found.database_revision, found.sources_covered, found.pending) == ("r1", False, ())
    for use in (project.apply, project.generate):
        with pytest.raises(MonarchError, match="2 heads"):
            use()
    # What was applied is known all the same.
    assert project.revert("base").after is None


def unreachable(project: Project) -> None:
    project.shadows = ShadowServer(URL.create("postgresql+psycopg", host="127.0.0.1", port=9, database="postgres"))


def break_chain(project: Project) -> None:
    first, _ = project.chain().revisions
    first.path.write_text(first.path.read_text().replace("CREATE TABLE", "CREATE NONSENSE"))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("breaking", "told", "remedy"),
    [
        (lambda project: project.write_models("raise ValueError('why')"), "ValueError: why", "Correct the models"),
        (unreachable, "could not be opened", "MONARCH_SHADOW_URL"),
        (
            lambda project: (project.sources.schema_dir / "shadow.sql").write_text("NONSENSE"),
            "shadow.sql failed",
            "shadow.sql",
        ),
        (break_chain, "The chain cannot be replayed", "Correct that revision"),
    ],
    ids=["models", "shadow", "shadow.sql", "chain"],
)
def test_what_keeps_it_from_comparing_is_a_problem_and_the_rest_is_told(
    project: Project, breaking: Callable[[Project], object], told: str, remedy: str
) -> None:
    write_chain(project, ("CREATE SCHEMA s; CREATE TABLE s.t ()", "DROP SCHEMA s CASCADE"), ("SELECT 1", "SELECT 1"))
    project.apply(to="r1")
    project.execute("ALTER TABLE s.t ADD extra int")
    breaking(project)
    found = status(project)
    assert (found.database_revision, found.heads, [item.revision for item in found.pending]) == ("r1", ("r2",), ["r2"])
    assert not found.sources_covered
    assert sum(told in problem for problem in found.problems) == 1
    problem = next(problem for problem in found.problems if told in problem)
    assert remedy in problem.partition("What to do: ")[2]
    assert found.to_json()["problems"] == list(found.problems)
    # Drift needs neither models nor shadow.
    assert [item.relation for item in found.drift.findings] == ["table s.t"]


def test_a_target_that_cannot_be_read_is_an_error_whatever_else_is_broken(project: Project) -> None:
    project.generate()
    project.write_models("raise ValueError('why')")
    project.target = project.target.set(database="nowhere")
    with pytest.raises(MonarchError, match='"nowhere" does not exist'):
        status(project)


def test_metadata_that_cannot_be_read_is_told_beside_the_rest(project: Project) -> None:
    head = project.generate().head
    project.apply()
    project.sources.object_meta_path.write_text("{")
    found = status(project)
    assert found.database_revision == head
    assert sum("object_meta.json" in problem for problem in found.problems) == 1


def test_a_migration_that_runs_is_told_with_who_it_is(project: Project) -> None:
    write_chain(project, ("CREATE TABLE t ()", "DROP TABLE t"))
    assert status(project).running == ""
    with apply_lock(project.target, print):
        assert "monarch (user postgres, backend" in status(project).running
