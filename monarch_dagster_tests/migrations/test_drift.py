"""Drift: what was changed by hand on a target is named by relation and aspect, and nothing else is (DESIGN rule 3)."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.checks import Outcome, no_drift
from monarch_dagster.migrations.drift import Drift, Finding, find_drift
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.migrations.drifting import CASES, EVERYTHING, TABLE
from monarch_dagster_tests.migrations.support import write_chain
from monarch_dagster_tests.support import Project


@pytest.fixture(scope="module")
def applied(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A target with a revision applied that has something of every kind."""
    root = tmp_path_factory.mktemp("drift")
    project = Project(root, server.url(f"drift_{secrets.token_hex(4)}"), shadows, server.url("dagster"), trusting=True)
    write_chain(project, (EVERYTHING, "DROP SCHEMA s CASCADE; DROP SCHEMA other CASCADE"))
    project.apply()
    project.execute("INSERT INTO s.t (id, note) VALUES (1, 'x'), (2, 'y')")
    return project


@pytest.fixture
def target(applied: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of that project and its target."""
    name = f"drift_{secrets.token_hex(6)}"
    with connect(applied.shadows.url, autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {applied.target.database} STRATEGY file_copy")
        project = replace(applied, root=tmp_path, target=applied.target.set(database=name))
        shutil.copytree(applied.root, tmp_path, dirs_exist_ok=True)
        yield project
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def expected_of(project: Project) -> Facts:
    with chain_clone(project.shadows, project.chain(), project.chain().head) as clone:
        return chain_facts(clone)


def checked(project: Project) -> Outcome:
    return no_drift(Situation(project.prover, project.target))


def checked_without_shadow(project: Project) -> Outcome:
    def none() -> ShadowServer:
        raise MonarchError("There is no shadow.", remedy="Start one.")

    return no_drift(Situation(replace(project.prover, shadows=none), project.target))


def test_nothing_is_found_where_nothing_was_changed(target: Project) -> None:
    assert find_drift(target.target) == Drift()
    assert find_drift(target.target, expected_of(target), target.shadows.major) == Drift()
    assert checked(target) == Outcome(True, "no drift", "no drift")


@pytest.mark.parametrize("statement", CASES)
def test_what_was_changed_by_hand_is_named_by_relation_and_aspect(target: Project, statement: str) -> None:
    target.execute(statement)
    assert list(find_drift(target.target).findings) == CASES[statement]


def test_a_build_that_failed_is_an_index_that_is_not_valid(target: Project) -> None:
    with connect(target.target, autocommit=True) as connection, suppress(exc.DBAPIError):
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY ix_failed ON s.t (name)")
    [found] = find_drift(target.target).findings
    assert (found.kind, found.relation) == ("extra", TABLE)
    assert found.detail.startswith("index ix_failed is extra (found: CREATE UNIQUE INDEX ix_failed")
    assert found.detail.endswith(" INVALID)")


def test_beside_a_shadow_each_difference_is_told_once(target: Project) -> None:
    target.execute("ALTER TABLE s.t DROP note, ADD more int, ALTER twice DROP EXPRESSION; DROP VIEW s.happy")
    alone = find_drift(target.target)
    assert len(alone.findings) == 4
    assert find_drift(target.target, expected_of(target), target.shadows.major) == alone


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO PUBLIC; GRANT USAGE ON SCHEMA s TO PUBLIC; "
        "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER TABLE s.t OWNER TO pg_database_owner; ALTER SCHEMA s OWNER TO pg_database_owner; "
        "ALTER VIEW s.happy OWNER TO pg_database_owner; ALTER FUNCTION s.touch() OWNER TO pg_database_owner",
        "ALTER TABLE s.parent ADD spare text; UPDATE s.parent SET spare = code; "
        "ALTER TABLE s.parent DROP CONSTRAINT parent_code_key, DROP code; "
        "ALTER TABLE s.parent RENAME spare TO code; ALTER TABLE s.parent ADD UNIQUE (code)",
        "ALTER TABLE other.o ADD spare int; ALTER TABLE other.o DROP id; ALTER TABLE other.o RENAME spare TO id",
        "INSERT INTO s.t (id) VALUES (3); ANALYZE s.t; SELECT nextval('s.numbers'); REFRESH MATERIALIZED VIEW s.sizes",
        "SET search_path TO s, other; ALTER TABLE t ALTER COLUMN note SET STATISTICS 500",
        "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t (id int); CREATE TABLE public.mine (id int)",
    ],
    ids=["grants", "owners", "another order of columns", "a column made again", "rows", "statistics", "elsewhere"],
)
def test_what_is_no_fact_is_no_drift(target: Project, statement: str) -> None:
    target.execute(statement)
    assert find_drift(target.target, expected_of(target), target.shadows.major) == Drift()


def test_relations_that_no_revision_made_are_foreign_and_no_drift(target: Project) -> None:
    target.execute(
        "CREATE TABLE s.mine (id int, mood s.mood); CREATE VIEW other.seen AS SELECT id FROM s.t; "
        "CREATE FUNCTION s.mine(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; CREATE TYPE s.color AS ENUM ('red')"
    )
    foreign = ("enum s.color", "function s.mine(x integer)", "table s.mine", "view other.seen")
    assert find_drift(target.target) == Drift(foreign=foreign)
    assert find_drift(target.target, expected_of(target), target.shadows.major) == Drift(foreign=foreign)
    assert checked(target).passed


@pytest.mark.parametrize(
    ("statement", "severity"),
    [("ALTER TABLE s.t ADD more int", "WARN"), ("ALTER TABLE s.t DROP note", "ERROR"), ("DROP VIEW s.happy", "ERROR")],
)
def test_the_check_names_it_and_takes_what_was_only_added_less_seriously(
    target: Project, statement: str, severity: str
) -> None:
    target.execute(statement)
    found = checked(target)
    assert (found.passed, found.severity) == (False, severity)
    [finding] = find_drift(target.target).findings
    assert found.stored == f"{finding.relation}: {finding.detail}"
    assert "monarch adopt" in found.remedy


def test_what_differs_from_the_shadow_and_not_from_the_ledger_is_told(project: Project) -> None:
    # Made before the first revision: IF NOT EXISTS keeps it, and the ledger writes down what the revision did.
    project.execute("CREATE SCHEMA s; CREATE TABLE s.t (a text, by_hand int)")
    write_chain(
        project,
        (
            "CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE IF NOT EXISTS s.t (a int); CREATE TABLE s.own ()",
            "DROP SCHEMA s CASCADE",
        ),
    )
    project.trusting = True
    project.apply()
    assert find_drift(project.target) == Drift(foreign=("table s.t",))
    made = "(other than its revisions make it on a shadow)"
    found = find_drift(project.target, expected_of(project), project.shadows.major)
    assert found == Drift(
        (
            Finding("changed", "table s.t", f"column a is text, expected integer {made}"),
            Finding("extra", "table s.t", f"column by_hand is extra (found: integer) {made}"),
        )
    )
    assert "on a shadow" in checked(project).stored


def test_a_schema_that_was_there_before_the_first_revision_is_no_drift(project: Project) -> None:
    project.execute("CREATE SCHEMA landing")
    project.generate()
    project.apply()
    assert find_drift(project.target) == Drift()
    assert checked(project) == Outcome(True, "no drift", "no drift")
    project.execute("ALTER TABLE landing.note ADD by_hand int; CREATE TABLE landing.mine ()")
    found = find_drift(project.target)
    assert [item.relation for item in found.findings] == ["table landing.note"]
    assert found.foreign == ("table landing.mine",)


@pytest.mark.soak
@pytest.mark.parametrize("entries", ["true", "revision = 'r1'"], ids=["all revisions", "the first of two"])
def test_after_an_upgrade_of_the_server_adopt_records_anew(project: Project, entries: str) -> None:
    write_chain(project, ("CREATE SCHEMA s; CREATE TABLE s.t (a int)", "DROP SCHEMA s CASCADE"), ("SELECT 1", ""))
    project.trusting = True
    project.apply()
    # As if another major had printed the facts, and the server had been upgraded since.
    project.execute(
        "ALTER TABLE alembic.revision_ledger DISABLE TRIGGER keep_ledger; "
        f"UPDATE alembic.revision_ledger SET server_version = 15 WHERE {entries}; "
        "ALTER TABLE alembic.revision_ledger ENABLE TRIGGER keep_ledger; "
        "UPDATE alembic.facts_hash SET hash = 'other', facts = '{\"column a\": \"as 15 prints it\"}' "
        "WHERE relation = 'table s.t'"
    )
    found = find_drift(project.target, expected_of(project), project.shadows.major)
    assert (found.findings, found.looked) == ((), False)
    major = project.shadows.major
    assert found.not_compared.startswith(
        f"Drift was not looked for: the ledger's facts are PostgreSQL 15's, the server is {major} now"
    )
    assert "`monarch adopt`" in found.not_compared
    for outcome in (checked(project), checked_without_shadow(project)):
        assert outcome == Outcome(False, "not known", "no drift", found.not_compared, "WARN")
    told = read_status(project.sources, lambda: project.shadows, project.target).to_json()
    assert (told["drift"], told["not_compared"]) == ([], found.not_compared)
    assert adopt(project.chain(), project.target, project.shadows).written
    assert find_drift(project.target, expected_of(project), project.shadows.major) == Drift()
    assert checked(project).passed
    assert not adopt(project.chain(), project.target, project.shadows).written
    versions = "SELECT server_version FROM alembic.revision_ledger WHERE ended_at IS NULL"
    assert {row[0] for row in project.execute(versions)} == {major}


def test_a_shadow_of_another_major_is_not_compared_with(target: Project) -> None:
    target.execute("ALTER TABLE s.t DROP note")
    found = find_drift(target.target, Facts({}), 15)
    assert found.findings == find_drift(target.target).findings != ()
    assert found.not_compared.endswith(
        f"Set MONARCH_SHADOW_URL to a server of version {target.shadows.major} for that."
    )


def test_without_a_shadow_the_ledger_is_compared_with_all_the_same(target: Project) -> None:
    target.execute("ALTER TABLE s.t DROP note")
    found = checked_without_shadow(target)
    assert "column note is missing" in found.stored
    assert "Not compared with a shadow: There is no shadow." in found.stored


def test_before_the_first_revision_there_is_no_drift(project: Project) -> None:
    project.execute("CREATE SCHEMA landing; CREATE TABLE landing.mine ()")
    assert find_drift(project.target) == Drift()
