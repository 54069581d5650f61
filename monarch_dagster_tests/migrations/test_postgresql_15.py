"""A target on PostgreSQL 15 over TCP with a password, beside a shadow of another major and beside one of its own.

Across majors facts are not compared, and that is said, with the remedy (DESIGN rule 3); all else works.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.checks import CHECKS, no_drift, run_check
from monarch_dagster.migrations.drift import Drift, find_drift
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.corpus import ALL
from monarch_dagster_tests.migrations.corpus.transition import Transition, wanted_facts, write
from monarch_dagster_tests.postgres.debian import PASSWORD, database_on
from monarch_dagster_tests.support import SMALL_MODELS, Project, account, squeeze

# As it is, and as URLs have it.
PASSWORD_FORMS = re.compile(re.escape(PASSWORD).replace(r"\ ", r"(?: |\+|%20)"), re.IGNORECASE)
STRING = {"type": "string", "length": 80}
# A column that is added empty and NOT NULL later, one that has a value from the start, an index on rows.
MORE = """
    author: Mapped[str | None] = mapped_column(Text)
    mood: Mapped[str] = mapped_column(Enum("sad", "happy", name="mood", schema="landing"), server_default="sad")
    __table_args__ = (Index("ix_note_body", "body"), {"schema": "landing"})
"""
SET_AUTHOR = "UPDATE landing.note SET author = 'somebody'"
STOPPED = "Give author a value in the rows of landing.note where it is null, then run again"
NOT_COMPARED = (
    "The target was not compared with a shadow: it is PostgreSQL 15, the shadow 18. Set MONARCH_SHADOW_URL to a server "
    "of version 15 for that."
)


def proposed(case: Transition) -> bool:
    return not (case.same or case.refused) and {16, 18} <= set(case.majors)


def told(project: Project, *arguments: str, code: int = 0) -> str:
    """Run a command; return what it printed, which does not tell the password."""
    done = project.monarch(*arguments, code=code)
    assert not PASSWORD_FORMS.search(done.stdout + done.stderr)
    return done.stdout if "--json" in arguments else squeeze(done.stdout + done.stderr)


def told_json(project: Project, *arguments: str, code: int = 0) -> Any:
    return json.loads(told(project, *arguments, "--json", code=code))


def rows(project: Project) -> list[Any]:
    return project.execute("SELECT * FROM landing.note ORDER BY id") + project.execute(
        "SELECT * FROM salesforce.account"
    )


@dataclass
class Grown:
    """A project that was set up, filled and grew; what the commands told on the way."""

    project: Project
    first: Any
    stopped: MonarchError
    second: str


@pytest.fixture(scope="module")
def grown(
    debian: URL, server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Grown]:
    with database_on(debian) as target:
        project = Project(tmp_path_factory.mktemp("grown"), target, shadows, server.url("dagster"))
        project.write_meta(account(Name=STRING))
        project.generate()
        first = told_json(project, "setup")
        fill(project)
        grow(project)
        with pytest.raises(MonarchError) as stopped:
            project.apply()
        project.execute(SET_AUTHOR)
        yield Grown(project, first, stopped.value, told(project, "run-migrations"))


def fill(project: Project) -> None:
    project.execute("INSERT INTO landing.note (body) VALUES ('one'), ('two')")
    project.execute("INSERT INTO salesforce.account VALUES ('001', 'Acme')")


def grow(project: Project, generate: Callable[[], object] | None = None) -> None:
    """Change the sources twice, and generate each time."""
    for models in (MORE, MORE.replace("str | None", "str")):
        project.write_models(SMALL_MODELS + models)
        project.write_meta(account(Name=STRING, City__c=STRING))
        (generate or project.generate)()


@pytest.fixture
def copy(grown: Grown, debian: URL, tmp_path: Path) -> Iterator[Project]:
    """A copy of the project and its target, whose files hold no password when the test has ended."""
    with database_on(debian, template=str(grown.project.target.database)) as target:
        project = replace(grown.project, root=tmp_path, target=target)
        shutil.copytree(grown.project.root, tmp_path, dirs_exist_ok=True)
        yield project
    assert [path for path in tmp_path.rglob("*") if path.is_file() and has_password(path)] == []


def has_password(path: Path) -> bool:
    return PASSWORD_FORMS.search(path.read_bytes().decode(errors="replace")) is not None


@pytest.mark.soak
def test_it_is_set_up_grows_and_keeps_its_rows(grown: Grown) -> None:
    project = grown.project
    state = grown.first["assets"]["schema_state"]
    assert (state["revision_before"], state["revisions_run"]) == ("base", 1)
    assert grown.stopped.remedy.startswith(STOPPED)
    head = project.chain().head
    assert f"→ {head}" in grown.second
    assert rows(project) == [(1, "one", "somebody", "sad"), (2, "two", "somebody", "sad"), ("001", "Acme", None)]
    assert project.execute(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'landing.note'::regclass "
        "AND NOT indisprimary"
    ) == [("landing.ix_note_body", True)]
    assert any("postgresql_concurrently=True" in item.path.read_text() for item in project.chain().revisions)
    note = project.facts().relations["table landing.note"]
    assert note["column author"] == "text NOT NULL"
    assert not any(aspect.startswith("constraint monarch_") for aspect in note)
    target = read_target(project.target)
    assert (target.version, target.head, target.major) == (head, head, 15)
    assert {entry.server_version for entry in target.entries} == {15}
    assert [entry.revision for entry in target.entries] == [item.revision for item in project.chain().revisions]


@pytest.mark.soak
def test_the_checks_pass_and_tell_beside_it_what_was_not_compared(grown: Grown) -> None:
    found = told_json(grown.project, "check")
    assert {name for name, outcome in found.items() if not outcome["passed"]} == set()
    assert found["no_drift"]["stored"] == f"no drift ({NOT_COMPARED})"
    checks = grown.first["checks"]
    assert all(outcome["passed"] for outcome in checks.values())
    assert checks["no_drift"]["stored"] == f"no drift ({NOT_COMPARED})"


@pytest.mark.soak
def test_drift_against_the_ledgers_own_record_is_named_by_relation_and_aspect(copy: Project) -> None:
    copy.execute(
        "ALTER TABLE landing.note ALTER author DROP NOT NULL; DROP INDEX landing.ix_note_body; "
        "ALTER TABLE salesforce.account ADD by_hand int; CREATE TABLE salesforce.somebodys (id int)"
    )
    status = told_json(copy, "status")
    assert [(item["relation"], item["detail"].partition(" (")[0]) for item in status["drift"]] == [
        ("table landing.note", "changed: column author is text, expected text NOT NULL"),
        ("table landing.note", "missing: index ix_note_body is missing"),
        ("table salesforce.account", "extra: column by_hand is extra"),
    ]
    assert (status["not_compared"], status["foreign"]) == (NOT_COMPARED, ["table salesforce.somebodys"])
    assert (status["problems"], status["sources_covered"], status["pending"]) == ([], True, [])
    found = no_drift(Situation(copy.prover, copy.target))
    assert (found.passed, found.severity) == (False, "ERROR")
    assert found.stored.endswith(f" ({NOT_COMPARED})")


@pytest.mark.soak
def test_it_is_taken_back_to_nothing(copy: Project) -> None:
    with pytest.raises(MonarchError, match="would lose stored values"):
        copy.revert("base")
    told(copy, "revert", "--to", "base", "--allow-data-loss", "base:head")
    assert copy.facts().relations == {}
    target = read_target(copy.target)
    assert (target.versions, target.entries) == ((), ())


@pytest.mark.soak
def test_adopting_across_majors_is_refused_with_the_remedy(copy: Project) -> None:
    forget(copy)
    message = told(copy, "adopt", "--dry-run", code=1)
    assert "The target was not compared: it is PostgreSQL 15, the shadow 18" in message
    assert "What to do: Set MONARCH_SHADOW_URL to a server of version 15, then adopt again." in message
    with pytest.raises(MonarchError, match="was not compared"):
        adopt(copy.chain(), copy.target, copy.shadows)
    assert read_target(copy.target).versions == ("8ae0a8ff3e29",)


def forget(project: Project) -> None:
    """Leave the target as another system would have: no ledger, and a version that no file has."""
    project.execute(
        "DROP SCHEMA alembic CASCADE; CREATE SCHEMA alembic; CREATE TABLE alembic.alembic_version (version_num text); "
        "INSERT INTO alembic.alembic_version VALUES ('8ae0a8ff3e29')"
    )


@pytest.mark.soak
def test_beside_a_shadow_of_its_own_major_everything_is_compared(copy: Project, debian: URL) -> None:
    copy.shadows = ShadowServer(debian)
    forget(copy)
    assert f"Adopted: the schema equals {copy.chain().head}" in told(copy, "adopt")
    situation = Situation(copy.prover, copy.target)
    outcomes = {name: run_check(check, situation) for name, check in CHECKS.items()}
    assert {name for name, outcome in outcomes.items() if not outcome.passed} == set()
    assert outcomes["no_drift"].stored == "no drift"
    copy.execute("ALTER TABLE landing.note DROP mood")
    assert "column mood is missing" in no_drift(Situation(copy.prover, copy.target)).stored


@pytest.mark.soak
def test_both_majors_generate_the_same_revision(grown: Grown, debian: URL, tmp_path: Path) -> None:
    project = Project(tmp_path, grown.project.target, ShadowServer(debian), grown.project.dagster_url)
    project.write_meta(account(Name=STRING))
    [proposed] = project.generate().revisions
    assert proposed.path.read_text() == grown.project.chain().revisions[0].path.read_text()


@pytest.mark.soak
def test_all_commands_one_after_the_other_with_both_on_one_server(grown: Grown, debian: URL, tmp_path: Path) -> None:
    with database_on(debian) as target:
        project = Project(tmp_path, target, ShadowServer(debian), grown.project.dagster_url)
        project.write_meta(account(Name=STRING))
        told(project, "setup", "--generate")
        fill(project)
        grow(project, project.generate)  # by command, the second proposal would take the place of the first
        texts = [item.path.read_text() for item in project.chain().revisions]
        assert texts == [item.path.read_text() for item in grown.project.chain().revisions]
        assert STOPPED in told(project, "run-migrations", code=1)
        project.execute(SET_AUTHOR)
        told(project, "run-migrations")
        assert project.facts() == grown.project.facts()
        assert told_json(project, "status")["not_compared"] == ""
        told(project, "check")
        told(project, "revert", "--to", "base", "--allow-data-loss", "base:head")
        assert project.facts().relations == {}
        told(project, "run-migrations")
        forget(project)
        assert "monarch adopt" in told(project, "run-migrations", code=1)
        told(project, "adopt")
        told(project, "check")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and has_password(path)] == []


@pytest.mark.soak
@pytest.mark.parametrize("case", [case for case in ALL if proposed(case)], ids=lambda case: case.name)
def test_what_a_shadow_of_18_proves_runs_on_15_and_comes_to_the_same(
    case: Transition, debian: URL, server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path
) -> None:
    with database_on(debian) as target:
        project = Project(tmp_path, target, shadows, server.url("dagster"))
        beside = replace(project, shadows=ShadowServer(debian, owned=True))
        write(project, case.before, case.meta_before)
        below = project.generate().head
        assert below is not None
        project.apply()
        was = project.facts()
        assert was.declarable() == wanted_facts(beside)
        with connect(target) as connection:
            run_script(connection, case.rows or "SELECT 1")
            connection.commit()
        write(project, case.after, case.meta_after)
        ids = [item.revision for item in project.generate().revisions]
        if case.blocked:
            with pytest.raises(MonarchError, match=case.blocked):
                project.apply(allow_data_loss=ids)
            return
        for _ in range(2):
            project.apply(allow_data_loss=ids)
            assert project.facts().declarable() == wanted_facts(beside)
            assert find_drift(target) == Drift()
            project.revert(below, allow_data_loss=ids)
            assert project.facts() == was


@pytest.mark.soak
def test_the_password_is_in_no_file_and_not_in_the_runs_history(grown: Grown) -> None:
    files = [path for path in grown.project.root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if has_password(path)] == []
    with connect(grown.project.dagster_url) as connection:
        run = connection.exec_driver_sql
        texts = run("SELECT run_body FROM runs").scalars().all() + run("SELECT event FROM event_logs").scalars().all()
    assert texts
    assert not any(PASSWORD_FORMS.search(text) for text in texts)
