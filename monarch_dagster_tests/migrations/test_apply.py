"""Applying is serial, guarded and resumable (DESIGN rule 7)."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL, Connection

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.apply import ApplyResult
from monarch_dagster.migrations.ledger import Row, add_row, end_rows, read_target
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import APPLY_LOCK, LOCK_CLASS
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

TABLE = ("CREATE TABLE t (a int)", "DROP TABLE t")
ALTER = ("ALTER TABLE t ADD b int", "ALTER TABLE t DROP b")


@pytest.fixture(autouse=True)
def trusted(project: Project) -> None:
    """What is applied here is taken as proved."""
    project.trusting = True


class Applying(threading.Thread):
    """An apply in a thread of its own, and what came of it."""

    def __init__(self, project: Project, **options: object) -> None:
        super().__init__(daemon=True)
        self.project, self.options = project, options
        self.result: ApplyResult | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.project.apply(**self.options)
        except Exception as error:  # noqa: BLE001
            self.error = error

    def finished(self) -> ApplyResult:
        self.join(60)
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


@contextmanager
def holding_the_apply_lock(project: Project) -> Iterator[Connection]:
    with connect(project.target, autocommit=True) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
        yield connection


def wait_for(project: Project, query: str, *parameters: object) -> None:
    """Wait until the query gives a true value on the target."""
    deadline = time.monotonic() + 30
    while not project.execute(query, *parameters)[0][0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


WAITING = (
    "SELECT count(*) > 0 FROM pg_stat_activity"
    " WHERE query ~ 'pg_try_advisory_lock|l.locktype = ''advisory'''"
    " AND pid <> pg_backend_pid() AND datname = current_database()"
)


def test_a_second_applier_waits_says_for_whom_and_finds_nothing_to_do(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_chain(project, TABLE, ALTER)
    project.apply(to="r1")
    with holding_the_apply_lock(project) as first:
        second = Applying(project)
        wait_for(project, WAITING)
        assert project.execute(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'b'"
        ) == [(0,)]
        first.exec_driver_sql("ALTER TABLE t ADD b int; UPDATE alembic.alembic_version SET version_num = 'r2'")
        add_row(
            first, Row("upgrade", "r2", "r1", project.chain().revisions[1].digest, b"", "me", "", datetime.now(UTC))
        )
    result = second.finished()
    assert (result.before, result.after, result.applied) == ("r2", "r2", ())
    waiting = [record.getMessage() for record in caplog.records if "Waiting for" in record.getMessage()]
    assert len(waiting) == 1
    assert f"migration lock of {project.target.database}" in waiting[0]
    assert "held by monarch (user postgres, backend" in waiting[0]


def test_what_the_run_expects_is_compared_again_under_the_lock(project: Project) -> None:
    write_chain(project, TABLE, ALTER)
    project.apply(to="r1")
    with holding_the_apply_lock(project) as other:
        applier = Applying(project, expected_version="r1")
        wait_for(project, WAITING)
        other.exec_driver_sql("DELETE FROM alembic.alembic_version; DROP TABLE t")
        end_rows(other, ["r1"])
    with pytest.raises(MonarchError, match="The target is at base, expected r1"):
        applier.finished()
    assert read_target(project.target).versions == ()


def test_a_table_that_somebody_uses_is_waited_for_and_the_revision_gets_through(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    write_chain(project, TABLE, ("CREATE TABLE before ()", "DROP TABLE before"), ALTER)
    project.apply(to="r1")
    with connect(project.target) as reader:
        reader.exec_driver_sql("SELECT * FROM t")
        applier = Applying(project, lock_timeout_seconds=1)
        deadline = time.monotonic() + 30
        while "A lock was not free in time; trying again" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # What went before is committed, what waits holds nothing, so a writer need not queue behind it.
        assert read_target(project.target).versions == ("r2",)
        project.execute("INSERT INTO t VALUES (1)")
        reader.rollback()
        result = applier.finished()
    assert [item.revision for item in result.applied] == ["r2", "r3"]
    assert len(project.execute("SELECT b FROM t")) == 1


def test_a_lock_that_is_never_free_ends_in_an_error_and_leaves_whole_revisions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monarch_dagster.migrations.environment.RETRY_SECONDS", 0)
    write_chain(project, TABLE, ALTER)
    project.apply(to="r1")
    with connect(project.target) as reader:
        reader.exec_driver_sql("SELECT * FROM t")
        with pytest.raises(MonarchError, match=r"in revision r2, which was rolled back: .* lock timeout"):
            project.apply(lock_timeout_seconds=1)
    assert read_target(project.target).versions == ("r1",)


def test_an_error_rolls_its_revision_back_names_it_and_those_before_it_stay(project: Project) -> None:
    write_chain(project, TABLE)
    path = write_revision(project.versions, "r2", "r1", up=sql("CREATE TABLE half ()", "SELECT 1 / 0"))
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert "in revision r2, which was rolled back: division by zero\n  in: SELECT 1 / 0" in caught.value.message
    assert read_target(project.target).versions == ("r1",)
    assert project.execute("SELECT to_regclass('half')") == [(None,)]
    path.write_text(path.read_text().replace("1 / 0", "1"))
    assert [item.revision for item in project.apply().applied] == ["r2"]


def test_code_that_raises_is_told_with_its_revision_file_and_line(project: Project) -> None:
    write_chain(project, TABLE)
    path = write_revision(project.versions, "r2", "r1", up=f'{sql("CREATE TABLE half ()")}\nint("x")')
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert caught.value.message == (
        f"The code in revision r2 failed: ValueError: invalid literal for int() with base 10: 'x' ({path}, line 15)\n"
        "1 revision before it applied; the target is now at r1."
    )
    assert read_target(project.target).versions == ("r1",)
    assert project.execute("SELECT to_regclass('half')") == [(None,)]


def test_a_downgrade_that_raises_leaves_the_target_where_it_was(project: Project) -> None:
    write_revision(project.versions, "r1", None, up=sql(TABLE[0]), back='raise NotImplementedError("one way only")')
    project.apply()
    with pytest.raises(MonarchError, match="NotImplementedError: one way only"):
        project.revert("base")
    assert read_target(project.target).versions == ("r1",)


def test_apply_goes_upwards_only_and_revert_downwards_only(project: Project) -> None:
    write_chain(project, TABLE, ALTER)
    assert project.apply(to="r1").pending[0].revision == "r2"
    with pytest.raises(MonarchError, match="The target is at r1, and r2 lies behind that"):
        project.revert("r2")
    project.apply()
    with pytest.raises(MonarchError, match="The target is at r2, and r1 lies before that") as caught:
        project.apply(to="r1")
    assert "monarch revert --to r1" in caught.value.remedy
    with pytest.raises(MonarchError, match="no revision was named"):
        project.revert("")
    assert project.revert("r2").applied == ()
    assert [item.revision for item in project.revert("base").applied] == ["r2", "r1"]


def test_an_empty_chain_is_nothing_to_apply(project: Project) -> None:
    assert project.apply() == project.apply(dry_run=True) == ApplyResult(None, None)


def test_the_target_must_be_where_the_run_expects_it(project: Project) -> None:
    write_chain(project, TABLE, ALTER)
    with pytest.raises(MonarchError, match="The target is at base, expected r1"):
        project.apply(expected_version="r1")
    project.apply(to="r1", expected_version="base")
    assert project.apply(expected_version="r1").after == "r2"


def test_an_unreachable_database_is_named_without_its_password() -> None:
    url = URL.create("postgresql+psycopg", "me", "s3cr3t/@", "127.0.0.1", 9, "warehouse")
    with pytest.raises(MonarchError) as caught:
        read_target(url)
    assert "The database warehouse on 127.0.0.1:9 could not be opened" in caught.value.message
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in repr(caught.value.__cause__ or "")


def test_a_role_that_may_not_read_or_create_is_told_so(project: Project) -> None:
    write_chain(project, TABLE)
    role = f"weak_{project.target.database}"
    project.execute(f"CREATE ROLE {role} LOGIN")
    weak = replace(project, target=project.target.set(username=role))
    with pytest.raises(MonarchError, match="permission denied for database"):
        weak.apply()
    project.execute("CREATE SCHEMA alembic; CREATE TABLE alembic.alembic_version (version_num varchar(32))")
    with pytest.raises(MonarchError, match="could not be read: permission denied for schema alembic"):
        weak.apply()
    # A schema that a database's owner prepared is enough: no right to create schemas is needed.
    project.execute(f"GRANT ALL ON SCHEMA alembic, public TO {role}")
    project.execute(f"GRANT ALL ON alembic.alembic_version TO {role}")
    assert weak.apply().after == "r1"
    project.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_version_that_the_chain_does_not_have_and_several_versions_are_refused(project: Project) -> None:
    write_chain(project, TABLE)
    project.apply()
    project.execute("UPDATE alembic.alembic_version SET version_num = 'gone'")
    for use in (project.apply, lambda: project.revert("base"), lambda: project.apply(dry_run=True)):
        with pytest.raises(MonarchError, match="is at gone, but its ledger ends at r1"):
            use()
    project.execute("INSERT INTO alembic.alembic_version VALUES ('r1')")
    for use in (project.apply, lambda: project.revert("base"), lambda: project.apply(dry_run=True)):
        with pytest.raises(MonarchError, match=r"holds 2 rows in alembic.alembic_version \(gone, r1\), expected one"):
            use()


def test_a_statement_that_only_fails_at_commit_fails_its_revision(project: Project) -> None:
    late = "CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
    write_chain(project, (late, "DROP TABLE t"), ("INSERT INTO t VALUES (1, 2)", "SELECT 1"))
    with pytest.raises(MonarchError, match="violates foreign key constraint"):
        project.apply()
    assert read_target(project.target).versions == ("r1",)


def test_the_steps_are_timed_and_told(project: Project) -> None:
    write_chain(project, ("SELECT pg_sleep(0.2)", "SELECT 1"))
    result = project.apply()
    assert [(item.revision, item.direction) for item in result.applied] == [("r1", "upgrade")]
    assert result.applied[0].seconds >= 0.2
