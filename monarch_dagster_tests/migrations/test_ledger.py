"""The ledger: what was applied is written down whole, in the revision's own transaction, and stays (DESIGN rule 7)."""

import hashlib
import zlib
from typing import Any

import pytest
from sqlalchemy import exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.ledger import Target, read_target
from monarch_dagster.migrations.recording import new_state, without_own
from monarch_dagster.schema.facts import relation_hash
from monarch_dagster_tests.migrations.support import Alembic, sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

SCHEMA = ("CREATE SCHEMA s; CREATE TABLE s.t (a int)", "DROP SCHEMA s CASCADE")
COLUMN = ("ALTER TABLE s.t ADD b int", "ALTER TABLE s.t DROP b")
INDEX = "with op.get_context().autocommit_block():\n    op.execute('{}')"


@pytest.fixture(autouse=True)
def trusted(project: Project) -> None:
    """What is applied here is taken as proved."""
    project.trusting = True


def rows(project: Project, columns: str = "*") -> list[Any]:
    return project.execute(f"SELECT {columns} FROM alembic.revision_ledger ORDER BY id")


def recorded(project: Project) -> dict[str, Any]:
    return {name: (found, facts) for name, found, facts in project.execute("SELECT * FROM alembic.facts_hash")}


def in_force(project: Project) -> list[tuple[str, str | None]]:
    return [(entry.revision, entry.down_revision) for entry in read_target(project.target).entries]


def assert_true(project: Project) -> None:
    """The recorded facts are those that are there, and the version is the ledger's."""
    facts = project.facts()
    assert {name: found for name, (found, _) in recorded(project).items()} == facts.hashes
    target = read_target(project.target)
    assert target.version == target.head


def test_a_row_says_what_ran_on_what_by_whom_and_what_it_came_to(project: Project) -> None:
    write_chain(project, SCHEMA, COLUMN)
    project.apply(run="run-1", to="r1")
    before = project.facts()
    project.apply(run="run-2")
    _, row = rows(project)
    item = project.chain().revisions[1]
    assert (row.direction, row.revision, row.down_revision, row.run) == ("upgrade", "r2", "r1", "run-2")
    assert row.digest == item.digest == hashlib.sha256(zlib.decompress(row.body)).hexdigest()
    assert zlib.decompress(row.sql).decode() == COLUMN[0]
    assert (row.facts_before, row.facts_after) == (before.hash, project.facts().hash)
    assert row.relations == {
        "table s.t": [before.hashes["table s.t"], project.facts().hashes["table s.t"]],
    }
    assert row.server_version == project.shadows.major
    assert row.database_user == "postgres"
    assert "@" in row.applied_by
    assert row.seconds > 0
    assert row.started_at is not None
    assert row.ended_at is None


def test_hazards_and_approvals_are_written_down(project: Project) -> None:
    write_chain(project, SCHEMA)
    project.apply()
    write_revision(
        project.versions, "r2", "r1", up=sql("DROP TABLE s.t"), doc="x\n\nHazard: data_loss s.t: the table goes"
    )
    project.execute("INSERT INTO s.t VALUES (1)")
    project.trusting = False
    project.apply(allow_data_loss=["r2"], allow_unproved=["r2"])
    _, row = rows(project)
    assert row.hazards == [{"kind": "data_loss", "object": "s.t", "detail": "the table goes"}]
    assert row.approvals == ["data_loss", "unproved"]


def test_no_row_is_changed_or_deleted(project: Project) -> None:
    write_chain(project, SCHEMA)
    project.apply()
    for statement in (
        "UPDATE alembic.revision_ledger SET revision = 'x'",
        "UPDATE alembic.revision_ledger SET ended_at = now(), digest = 'x'",
        "DELETE FROM alembic.revision_ledger",
        "TRUNCATE alembic.revision_ledger",
    ):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            project.execute(statement)
    project.execute("UPDATE alembic.revision_ledger SET ended_at = now()")
    with pytest.raises(exc.DBAPIError, match="append-only"):
        project.execute("UPDATE alembic.revision_ledger SET ended_at = NULL")


def test_two_revisions_in_force_on_one_parent_are_refused_by_the_database(project: Project) -> None:
    write_chain(project, SCHEMA, COLUMN)
    project.apply()
    for parent in ("r1", None):
        copied = "direction, 'other', %s, digest, body, sql, server_version, NULL, NULL, relations, hazards, approvals"
        with pytest.raises(exc.IntegrityError, match="revision_ledger_in_force"):
            project.execute(
                f"INSERT INTO alembic.revision_ledger (direction, revision, down_revision, digest, body, sql, "
                f"server_version, facts_before, facts_after, relations, hazards, approvals, applied_by, run, "
                f"started_at, seconds) SELECT {copied}, applied_by, run, started_at, seconds "
                "FROM alembic.revision_ledger LIMIT 1",
                parent,
            )


@pytest.mark.soak
def test_reverting_and_applying_ten_times_only_adds_rows_and_ends_where_it_began(project: Project) -> None:
    write_chain(project, SCHEMA, COLUMN, ("CREATE TABLE s.u (c int)", "DROP TABLE s.u"))
    project.apply()
    facts, dump, seen = project.facts(), project.dump(), [tuple(row)[:-1] for row in rows(project)]
    for _ in range(10):
        project.revert("r1")
        assert in_force(project) == [("r1", None)]
        assert_true(project)
        project.apply()
        now = [tuple(row)[:-1] for row in rows(project)]
        assert now[: len(seen)] == seen
        seen = now
        assert_true(project)
    assert project.facts() == facts
    assert project.dump() == dump
    assert in_force(project) == [("r1", None), ("r2", "r1"), ("r3", "r2")]
    assert [row.direction for row in rows(project)].count("downgrade") == 20
    assert len(seen) == 3 + 40


def test_base_leaves_the_ledger_and_no_recorded_facts(project: Project) -> None:
    write_chain(project, SCHEMA, COLUMN)
    project.apply()
    project.revert("base")
    assert read_target(project.target) == Target((), (), True, project.shadows.major)
    assert recorded(project) == {}
    assert [row.direction for row in rows(project)] == ["upgrade", "upgrade", "downgrade", "downgrade"]


def test_a_revision_that_fails_leaves_no_row(project: Project) -> None:
    write_chain(project, SCHEMA, ("ALTER TABLE s.t ADD b int; SELECT 1/0", "SELECT 1"))
    with pytest.raises(MonarchError, match="division by zero"):
        project.apply()
    assert in_force(project) == [("r1", None)]
    assert_true(project)


def test_a_concurrent_build_is_recorded_also_where_an_interrupted_run_had_built_it(project: Project) -> None:
    write_chain(project, SCHEMA)
    build = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_t_a ON s.t (a)"
    write_revision(project.versions, "r2", "r1", up=INDEX.format(build), back=INDEX.format("DROP INDEX s.ix_t_a"))
    project.apply(to="r1")
    project.execute("CREATE INDEX ix_t_a ON s.t (a)")
    project.execute("CREATE INDEX ix_by_hand ON s.t (a)")
    project.apply()
    assert "index ix_t_a" in recorded(project)["table s.t"][1]
    # What was made by hand is not taken for the revision's.
    assert "index ix_by_hand" not in recorded(project)["table s.t"][1]
    assert list(rows(project)[1].relations) == ["table s.t"]
    project.execute("DROP INDEX s.ix_by_hand")
    assert_true(project)


def test_a_label_is_recorded_also_where_an_interrupted_run_had_added_it(project: Project) -> None:
    write_chain(project, ("CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('so'); CREATE TYPE s.other AS ENUM ('a')", ""))
    label = r"ALTER TYPE s.mood ADD VALUE IF NOT EXISTS \'so so\'"
    write_revision(project.versions, "r2", "r1", up=INDEX.format(label))
    project.apply(to="r1")
    project.execute("ALTER TYPE s.mood ADD VALUE 'so so'")
    project.execute("ALTER TYPE s.other ADD VALUE 'by hand'")
    project.apply()
    assert recorded(project)["enum s.mood"][1] == {"definition": "'so', 'so so'"}
    assert recorded(project)["enum s.other"][1] == {"definition": "'a'"}
    assert [list(row.relations) for row in rows(project)][1] == ["enum s.mood"]


def test_what_was_changed_by_hand_before_stays_a_difference_to_the_record(project: Project) -> None:
    write_chain(project, SCHEMA, COLUMN)
    project.apply(to="r1")
    project.execute("ALTER TABLE s.t ADD by_hand int")
    project.apply()
    (found, facts) = recorded(project)["table s.t"]
    assert set(facts) >= {"column a", "column b"}
    assert "column by_hand" not in facts
    assert found == relation_hash(facts)


def test_plain_alembic_leaves_the_same_version_ledger_and_facts(project: Project, alembic: Alembic) -> None:
    write_chain(project, SCHEMA, COLUMN)
    project.apply()
    columns = (
        "direction, revision, down_revision, digest, body, sql, server_version, facts_before, facts_after, relations, "
        "hazards, approvals, applied_by, database_user, ended_at"
    )
    by_monarch = rows(project, columns), recorded(project), read_target(project.target).versions
    project.execute("DROP SCHEMA s CASCADE; DROP SCHEMA alembic CASCADE")
    alembic.run("upgrade", "head")
    assert (rows(project, columns), recorded(project), read_target(project.target).versions) == by_monarch
    alembic.run("downgrade", "r1")
    assert in_force(project) == [("r1", None)]
    assert_true(project)


def test_only_what_a_revision_changed_is_taken_over() -> None:
    recorded = {"t": {"a": "1", "b": "1"}, "gone": {"a": "1"}}
    before = {"t": {"a": "1", "b": "by hand", "x": "by hand"}, "gone": {"a": "1"}, "foreign": {"f": "1"}}
    after = {"t": {"a": "2", "b": "by hand", "x": "by hand", "c": "1"}, "new": {"a": "1"}, "foreign": {"f": "2"}}
    assert new_state(recorded, before, after, ["t", "gone", "new", "foreign"]) == {
        "t": {"a": "2", "b": "1", "c": "1"},
        "gone": None,
        "new": {"a": "1"},
        "foreign": {"f": "2"},
    }


def test_what_an_interrupted_run_did_counts_as_not_done_yet() -> None:
    recorded = {"t": {"a": "1"}}
    there = {"t": {"a": "1", "index own": "x", "index other": "y"}}
    assert without_own(there, recorded, there, "own".__eq__) == {"t": {"a": "1", "index other": "y"}}
    assert without_own({"t": {"a": "1"}}, {"t": {"a": "1", "index own": "x"}}, {}, "own".__eq__) == {
        "t": {"a": "1", "index own": "x"}
    }
    before, now = {"enum s.own": {"definition": "x"}}, {"enum s.own": {"definition": "x, y"}}
    assert without_own(now, before, now, "own".__eq__) == before
