"""The apply lock: one at a time for a target, and messages that name who is in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres import locks
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.locks import (
    APPLY_LOCK,
    LOCK_CLASS,
    apply_lock,
    describe_blockers,
    find_names,
    lock_revision,
    notice_lost_client,
)
from monarch_dagster_tests.support import Project

ALTER = "ALTER TABLE landing.note ADD COLUMN more text"


def test_it_is_held_by_one_named_in_the_message_and_free_afterwards(project: Project) -> None:
    told: list[str] = []
    with apply_lock(project.target, told.append):
        with (
            pytest.raises(MonarchError, match="was not free within 0 seconds; it is held by monarch") as caught,
            apply_lock(project.target, told.append, wait_seconds=0),
        ):
            pass
        assert "pg_terminate_backend" in caught.value.remedy
    assert len(told) == 1
    with apply_lock(project.target, told.append, wait_seconds=0):
        pass
    assert len(told) == 1


def test_a_wait_is_told_again_now_and_then(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TELL_AGAIN_SECONDS", 0.5)
    told: list[str] = []
    with (
        apply_lock(project.target, str),
        pytest.raises(MonarchError),
        apply_lock(project.target, told.append, wait_seconds=1.2),
    ):
        pass
    assert 2 <= len(told) <= 3
    assert told[-1].endswith("connected for 0:00:01).")


def test_another_holder_is_told_at_once(project: Project) -> None:
    told: list[str] = []
    take = f"SELECT pg_advisory_lock({LOCK_CLASS}, {APPLY_LOCK})"
    with session(project, "first") as first, session(project, "second") as second:
        run_script(first, take)
        queued = threading.Thread(target=run_script, args=(second, take))
        queued.start()
        # In front of the waiter, which only polls.
        until(project, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

        def report(line: str) -> None:
            told.append(line)
            run_script(first if len(told) == 1 else second, "SELECT pg_advisory_unlock_all()")
            queued.join()

        with apply_lock(project.target, report, wait_seconds=10):
            pass
    assert [line.partition("held by ")[2].split()[0] for line in told] == ["first", "second"]


def test_other_databases_and_other_advisory_locks_do_not_matter(project: Project) -> None:
    with (
        connect(project.target, autocommit=True) as other,
        apply_lock(project.shadows.url, str),
        apply_lock(project.target, str, wait_seconds=0),
    ):
        other.exec_driver_sql("SELECT pg_advisory_lock(1, 2), pg_advisory_lock(1)")


def test_it_goes_with_a_connection_that_is_lost(project: Project) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    with apply_lock(project.target, str):
        project.execute(end)
        with apply_lock(project.target, str, wait_seconds=5):
            pass


def test_who_locks_what_a_statement_names_is_told_with_what_they_do(tables: Project) -> None:
    with session(tables, "psql") as other, connect(tables.target) as own:
        run_script(other, "BEGIN; SELECT *\nFROM landing.note, landing.other")
        told = describe_blockers(own, ALTER)
        assert not own.in_transaction()
        pid = run_script(other, "SELECT pg_backend_pid()").scalar_one()
        run_script(other, "COMMIT")
        assert describe_blockers(own, ALTER) == ""
    assert told == (
        f"landing.note is locked by psql (user postgres, backend {pid}, idle in transaction for 0:00:00): "
        "BEGIN; SELECT * FROM landing.note, landing.other"
    )


def test_a_relation_of_the_same_name_elsewhere_is_not_meant(tables: Project) -> None:
    with session(tables, "psql") as other, connect(tables.target) as own:
        run_script(other, 'BEGIN; LOCK TABLE staging.note; LOCK TABLE landing."Odd ""name"""')
        assert describe_blockers(own, ALTER) == ""
        assert describe_blockers(own, "DROP TABLE note").startswith("staging.note is locked by psql")
        assert describe_blockers(own, "DROP TABLE Staging . NOTE").startswith("staging.note is locked by psql")
        assert describe_blockers(own, 'DROP TABLE landing."Odd ""name"""').startswith('landing.Odd "name" is locked by')


def test_the_strongest_locks_come_first(tables: Project) -> None:
    with (
        session(tables, "reader") as reader,
        session(tables, "writer") as writer,
        connect(tables.target) as own,
    ):
        run_script(reader, "BEGIN; SELECT * FROM landing.note, landing.other")
        run_script(writer, "BEGIN; SELECT * FROM landing.other; UPDATE landing.other SET id = 1")
        told = describe_blockers(own, "ALTER TABLE landing.note ADD FOREIGN KEY (id) REFERENCES landing.other")
    assert [line.partition(" (")[0] for line in told.splitlines()] == [
        "landing.other is locked by writer",
        "landing.note is locked by reader",
        "landing.other is locked by reader",
    ]


def test_of_many_a_few_are_told(tables: Project) -> None:
    names = [f"landing.t{number}" for number in range(9)]
    tables.execute(";".join(f"CREATE TABLE {name} ()" for name in names))
    with session(tables, "psql") as other, connect(tables.target) as own:
        run_script(other, f"BEGIN; LOCK TABLE {', '.join(names)}")
        lines = describe_blockers(own, f"DROP TABLE {', '.join(names)}").splitlines()
    assert [line.partition(" is locked by psql")[0] for line in lines] == [*names[:5], "… and 4 more"]


def test_a_long_query_is_cut_and_stays_on_one_line(tables: Project) -> None:
    with session(tables, "psql") as other, connect(tables.target) as own:
        run_script(other, f"BEGIN; SELECT *\n/*\x1b[31m*/ FROM landing.note -- {'x' * 200}")
        (line,) = describe_blockers(own, ALTER).splitlines()
    query = line.partition("): ")[2]
    assert query.startswith("BEGIN; SELECT * /* [31m*/ FROM landing.note -- xx")
    assert query.endswith("x …")
    assert len(query) == 82


def test_of_other_users_sessions_it_tells_what_the_role_may_see(tables: Project) -> None:
    name = f"limited_{tables.target.database}"
    tables.execute(f"CREATE ROLE {name} LOGIN")
    try:
        with session(tables, "psql") as other, connect(tables.target.set(username=name)) as own:
            run_script(other, "BEGIN; SELECT * FROM landing.note")
            pid = run_script(other, "SELECT pg_backend_pid()").scalar_one()
            assert describe_blockers(own, ALTER) == f"landing.note is locked by psql (user postgres, backend {pid})"
            run_script(other, "COMMIT")
            run_script(other, f"SELECT pg_advisory_lock({LOCK_CLASS}, {APPLY_LOCK})")
            with (
                pytest.raises(MonarchError, match=rf"held by psql \(user postgres, backend {pid}\)\."),
                apply_lock(tables.target.set(username=name), str, wait_seconds=0),
            ):
                pass
    finally:
        tables.execute(f"DROP ROLE {name}")


def test_who_holds_the_running_revisions_lock_is_told_where_that_was_waited_for(tables: Project) -> None:
    with session(tables, "monarch at work") as other, connect(tables.target) as own:
        run_script(other, "BEGIN")
        lock_revision(other)
        run_script(own, "SET lock_timeout = '10ms'")
        own.commit()
        with pytest.raises(exc.OperationalError) as caught:
            lock_revision(own)
        own.rollback()
        told = describe_blockers(own, str(caught.value.statement))
        assert describe_blockers(own, ALTER) == ""
    assert told.startswith("the lock of the running revision is held by monarch at work (user postgres, backend ")


def test_on_a_connection_that_is_gone_nothing_is_told(tables: Project) -> None:
    with connect(tables.target) as own:
        pid = run_script(own, "SELECT pg_backend_pid()").scalar_one()
        own.rollback()
        tables.execute("SELECT pg_terminate_backend(%s)", pid)
        assert describe_blockers(own, ALTER) == ""


def test_names_are_read_as_postgresql_reads_them() -> None:
    assert find_names('ALTER TABLE "A b".t, S."""x""" . y') == {
        ("", "alter"),
        ("", "table"),
        ("A b", "t"),
        ("s", '"x"'),
        ("", "y"),
    }
    assert find_names("'note'; größe$1(b)") == {("", "note"), ("", "größe$1"), ("", "b")}


def test_the_server_ends_the_statement_of_a_client_that_has_gone(project: Project) -> None:
    with connect(project.target) as connection:
        notice_lost_client(connection)
        connection.commit()
        assert run_script(connection, "SHOW client_connection_check_interval").scalar_one() == "1s"
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.pgconn.send_query(b"SELECT pg_sleep(60)")
        until(project, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
        started = time.monotonic()
        connection.invalidate()
        until(project, "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
    assert time.monotonic() - started < 3


@pytest.fixture
def tables(project: Project) -> Project:
    """The project with three tables in its target, two of them with one name, and an oddly named one."""
    run = "CREATE TABLE landing.note (id int); CREATE TABLE landing.other (id int UNIQUE); CREATE TABLE staging.note ()"
    project.execute(f'CREATE SCHEMA landing; CREATE SCHEMA staging; {run}; CREATE TABLE landing."Odd ""name""" ()')
    return project


@contextmanager
def session(project: Project, name: str) -> Iterator[Connection]:
    """Open a session of somebody else, which begins and ends transactions itself."""
    url = project.target.update_query_dict({"application_name": name})
    with connect(url, autocommit=True) as connection:
        yield connection


def until(project: Project, query: str) -> None:
    """Wait until a query gives something that is true."""
    deadline = time.monotonic() + 10
    while not project.execute(query)[0][0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.02)
