"""A database that another system built, or whose record was changed by hand, is recorded as what its schema equals."""

from __future__ import annotations

import pytest

from monarch_dagster.migrations.adopt import Adoption
from monarch_dagster.migrations.checks import TARGET_CHECKS, Outcome, run_check
from monarch_dagster.migrations.drift import Drift, find_drift
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.standing import look
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.migrations.adopting import (
    FIRST,
    THIRD,
    VERSIONS,
    adopted,
    everything,
    ledger,
    refused,
    with_chain,
    with_old_system,
)
from monarch_dagster_tests.migrations.support import Alembic, sql, write_chain, write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project


@pytest.fixture
def chain(project: Project) -> Project:
    return with_chain(project, THIRD)


@pytest.fixture
def old(project: Project) -> Project:
    return with_old_system(project, THIRD)


def failing(project: Project) -> dict[str, Outcome]:
    """Return the checks of the target that fail."""
    situation = Situation(project.prover, project.target)
    outcomes = {name: run_check(check, situation) for name, check in TARGET_CHECKS.items()}
    return {name: outcome for name, outcome in outcomes.items() if not outcome.passed}


@pytest.mark.parametrize(
    ("versions", "before"),
    [
        (f"{VERSIONS}; INSERT INTO alembic.alembic_version VALUES ('8ae0a8ff3e29')", "8ae0a8ff3e29"),
        (
            f"{VERSIONS}; INSERT INTO alembic.alembic_version VALUES ('8ae0a8ff3e29'), ('r1'), ('r3')",
            "8ae0a8ff3e29 and r1 and r3",
        ),
        (VERSIONS, None),
        ("SELECT 1", None),
    ],
    ids=["an id that no file has", "several rows", "no row", "no table"],
)
def test_a_database_that_another_system_built_is_recorded_and_goes_on_from_there(
    old: Project, versions: str, before: str | None
) -> None:
    old.execute(versions)
    found = old.facts()
    assert adopted(old, run="run-1") == Adoption(before, "r2", written=True)
    assert read_target(old.target).versions == ("r2",)
    assert ledger(old) == [("adopt", "r1", None, True), ("adopt", "r2", "r1", True)]
    assert old.facts() == found
    recorded = dict(old.execute("SELECT relation, facts FROM alembic.facts_hash")[:])
    assert recorded == {name: dict(aspects) for name, aspects in found.relations.items()}
    last = old.execute("SELECT facts_before, facts_after, run, server_version FROM alembic.revision_ledger")[-1]
    assert last[1:] == (found.hash, "run-1", old.shadows.major)
    assert find_drift(old.target) == Drift()
    assert old.apply().after == "r3"
    assert old.execute("SELECT * FROM s.a") == [("kept", 1)]


def test_what_was_adopted_passes_the_checks_and_is_taken_back_like_what_was_applied(old: Project) -> None:
    adopted(old)
    old.apply()
    assert failing(old) == {}
    old.revert("base", allow_data_loss=["base:r3"])
    assert old.facts().relations == {}
    assert [row[:3] for row in ledger(old)[2:]] == [
        ("upgrade", "r3", "r2"),
        ("downgrade", "r3", "r2"),
        ("downgrade", "r2", "r1"),
        ("downgrade", "r1", None),
    ]


def test_a_dry_run_tells_and_writes_nothing(old: Project) -> None:
    before = everything(old)
    assert adopted(old, dry_run=True) == Adoption(None, "r2")
    assert everything(old) == before
    assert before[1] == [(None,)]


def test_adopting_again_writes_nothing(old: Project) -> None:
    adopted(old)
    before = everything(old)
    assert adopted(old) == Adoption("r2", "r2")
    assert everything(old) == before


def test_what_was_applied_is_left_as_it_is_recorded(chain: Project) -> None:
    chain.apply(to="r2")
    before = everything(chain)
    assert adopted(chain) == Adoption("r2", "r2")
    assert everything(chain) == before


def test_relations_that_no_revision_makes_are_foreign_and_no_obstacle(old: Project) -> None:
    old.execute(
        "CREATE TABLE s.somebodys (x int); CREATE VIEW s.seen AS SELECT name FROM s.a; CREATE SCHEMA text; "
        "CREATE TABLE text.other (x int); CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.b (x int)"
    )
    found = adopted(old)
    assert (found.after, found.foreign) == ("r2", ("table s.somebodys", "view s.seen"))
    assert find_drift(old.target).foreign == found.foreign


def test_a_table_that_a_later_revision_drops_is_a_difference_to_that_one(old: Project) -> None:
    write_revision(old.versions, "r4", "r3", up=sql("DROP TABLE s.kept"))
    old.execute("CREATE TABLE s.b (a_id int REFERENCES s.a)")
    assert adopted(old).after == "r3"
    old.execute("DROP TABLE s.kept")
    assert adopted(old).after == "r4"
    assert ledger(old)[-1] == ("adopt", "r4", "r3", True)


def test_a_schema_that_only_revisions_in_between_have_is_looked_at(old: Project) -> None:
    write_revision(old.versions, "r4", "r3", up=sql("CREATE SCHEMA short; CREATE TABLE short.t ()"))
    write_revision(old.versions, "r5", "r4", up=sql("DROP SCHEMA short CASCADE"))
    old.execute("CREATE TABLE s.b (a_id int REFERENCES s.a); CREATE SCHEMA short; CREATE TABLE short.t ()")
    assert adopted(old).after == "r4"


def test_a_schema_that_was_made_ahead_for_a_later_revision_is_no_difference(old: Project) -> None:
    write_revision(old.versions, "r4", "r3", up=sql("CREATE SCHEMA IF NOT EXISTS later; CREATE TABLE later.t ()"))
    old.execute("CREATE SCHEMA later")
    assert adopted(old).after == "r2"
    assert old.apply().after == "r4"
    assert find_drift(old.target) == Drift()


@pytest.mark.parametrize("version", ["r1", "deadbeef", None])
def test_a_version_that_was_updated_by_hand_is_mended_and_the_ledger_stays(chain: Project, version: str | None) -> None:
    chain.apply(to="r2")
    before = everything(chain)
    chain.execute("DELETE FROM alembic.alembic_version")
    if version:
        chain.execute("INSERT INTO alembic.alembic_version VALUES (%s)", version)
    assert adopted(chain) == Adoption(version, "r2", written=True)
    assert everything(chain) == before


@pytest.mark.soak
def test_a_plain_stamp_is_mended(chain: Project, alembic: Alembic) -> None:
    chain.apply(to="r2")
    before = everything(chain)
    alembic.run("stamp", "r3")
    assert adopted(chain) == Adoption("r3", "r2", written=True)
    assert everything(chain) == before


@pytest.mark.parametrize(
    "loss",
    ["DROP TABLE alembic.revision_ledger", "DROP TABLE alembic.revision_ledger, alembic.facts_hash"],
    ids=["the ledger alone", "ledger and facts"],
)
def test_a_ledger_that_was_dropped_is_written_anew(chain: Project, loss: str) -> None:
    chain.apply(to="r2")
    chain.execute(loss)
    assert adopted(chain) == Adoption("r2", "r2", written=True)
    assert ledger(chain) == [("adopt", "r1", None, True), ("adopt", "r2", "r1", True)]
    assert chain.apply().after == "r3"
    assert find_drift(chain.target) == Drift()


def test_an_applied_file_that_was_changed_and_comes_to_the_same_is_recorded_anew(chain: Project) -> None:
    chain.apply(to="r2")
    path = chain.chain().revisions[0].path
    path.write_text(path.read_text().replace("CREATE TABLE s.a", "SELECT 1; CREATE TABLE s.a"))
    assert look(chain.chain(), chain.target).faults
    assert adopted(chain) == Adoption("r2", "r2", written=True)
    assert ledger(chain) == [
        ("upgrade", "r1", None, False),
        ("upgrade", "r2", "r1", True),
        ("adopt", "r1", None, True),
    ]
    assert read_target(chain.target).entries[0].digest == chain.chain().revisions[0].digest
    assert look(chain.chain(), chain.target).faults == ()
    assert not adopted(chain).written


def test_what_was_taken_back_by_hand_is_recorded_as_taken_back(chain: Project) -> None:
    chain.apply()
    chain.execute("DROP TABLE s.b")
    assert adopted(chain) == Adoption("r3", "r2", written=True)
    assert ledger(chain)[-1] == ("upgrade", "r3", "r2", False)
    assert find_drift(chain.target) == Drift()
    assert chain.apply().after == "r3"


@pytest.mark.soak
def test_between_revisions_of_equal_facts_the_ledger_decides_then_the_version_then_the_chain(chain: Project) -> None:
    write_revision(chain.versions, "r4", "r3", up=sql("UPDATE s.a SET name = 'moved'"))
    write_revision(chain.versions, "r5", "r4", up=sql("UPDATE s.a SET name = 'again'"))
    chain.apply(to="r3")
    assert adopted(chain) == Adoption("r3", "r3")
    chain.execute("UPDATE alembic.alembic_version SET version_num = 'r5'")
    assert adopted(chain) == Adoption("r5", "r3", written=True)
    chain.execute("DROP TABLE alembic.revision_ledger; UPDATE alembic.alembic_version SET version_num = 'r4'")
    assert adopted(chain) == Adoption("r4", "r4", written=True)
    chain.execute("DROP SCHEMA alembic CASCADE")
    assert adopted(chain) == Adoption(None, "r5", written=True)


@pytest.mark.soak
def test_drift_that_was_then_declared_and_generated_is_adopted(project: Project) -> None:
    project.generate()
    project.apply()
    project.execute("ALTER TABLE landing.note ADD kept_by_hand text; INSERT INTO landing.note (body) VALUES ('kept')")
    assert "monarch adopt" in failing(project)["no_drift"].remedy
    project.write_models(SMALL_MODELS + "    kept_by_hand: Mapped[str | None] = mapped_column(Text)\n")
    head = project.generate().head
    assert adopted(project).after == head
    assert [row[0] for row in ledger(project)] == ["upgrade", "adopt"]
    assert failing(project) == {}
    assert project.apply().applied == ()


def test_what_shadow_sql_makes_belongs_to_the_target_itself(project: Project) -> None:
    schemas = "CREATE SCHEMA ext; CREATE FUNCTION ext.one() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    project.sources.schema_dir.mkdir(exist_ok=True)
    (project.sources.schema_dir / "shadow.sql").write_text(schemas)
    write_chain(project, ("CREATE TABLE ext.t (x int DEFAULT ext.one())", "DROP TABLE ext.t"), FIRST)
    project.trusting = True
    project.execute(f"{schemas}; CREATE TABLE ext.t (x int DEFAULT ext.one())")
    assert adopted(project) == Adoption(None, "r1", ("function ext.one()",), written=True)
    assert project.apply().after == "r2"
    with chain_clone(project.shadows, project.chain(), "r2") as clone:
        expected = chain_facts(clone).only(project.facts().relations.keys() - {"schema ext", "function ext.one()"})
    assert find_drift(project.target, expected, project.shadows.major) == Drift(foreign=("function ext.one()",))
    project.execute("ALTER TABLE ext.t ADD by_hand int")
    assert "column by_hand is extra" in refused(project)


def told(project: Project) -> str:
    """Return what status tells as wrong."""
    return "\n".join(read_status(project.sources, lambda: project.shadows, project.target).problems)


def test_a_schema_that_is_there_without_a_version_looks_set_up_already(old: Project) -> None:
    assert "looks set up already: it has no version" in told(old)
    assert "table s.a, table s.kept" in told(old)
    found = failing(old)
    assert found.keys() == {"ledger_agrees", "no_drift", "alembic_version_at_head"}
    assert all("monarch adopt" in outcome.remedy for outcome in found.values())
    adopted(old)
    assert "looks set up already" not in told(old)
    assert failing(old).keys() == {"alembic_version_at_head"}


def test_a_schema_of_another_kind_is_no_sign_of_a_set_up_one(chain: Project) -> None:
    chain.execute("CREATE SCHEMA s; CREATE TABLE s.other (x int)")
    assert "set up already" not in told(chain)
    assert failing(chain).keys() == {"alembic_version_at_head"}


@pytest.mark.soak
def test_what_was_changed_by_hand_and_declared_since_is_to_be_adopted(chain: Project) -> None:
    chain.apply()
    chain.execute("ALTER TABLE s.a ADD by_hand int")
    assert "`monarch generate-migrations`" in failing(chain)["no_drift"].remedy
    write_revision(chain.versions, "r4", "r3", up=sql("ALTER TABLE s.a ADD by_hand int"))
    found = failing(chain)
    assert "table s.a: column by_hand" in found["no_drift"].stored
    assert all("`monarch adopt`" in found[name].remedy for name in ("no_drift", "alembic_version_at_head"))
    assert "has already what pending revisions make: table s.a: column by_hand" in told(chain)
    adopted(chain)
    assert failing(chain) == {}
