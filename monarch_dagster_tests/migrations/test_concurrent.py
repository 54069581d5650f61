"""Runs at the same time on one target, and what readers notice of a run that waits for them (DESIGN rule 7)."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import APPLY_LOCK, LOCK_CLASS
from monarch_dagster_tests.migrations.interrupted import BLOCK
from monarch_dagster_tests.migrations.support import Alembic, sql, write_chain, write_revision
from monarch_dagster_tests.support import Project, squeeze

MONARCH = ("monarch_dagster", "run-migrations")
ALEMBIC = ("alembic", "upgrade", "head")
MARGIN = 0.5

Command = tuple[str, ...]


def write_chain_with_a_build(project: Project) -> Sequence[str]:
    """Write a chain that takes a while, with an index that is built while others write; return its revisions."""
    steps = [(f"CREATE TABLE s.t{number} AS SELECT pg_sleep(0.2)::text AS nap", "") for number in range(4)]
    names = write_chain(project, ("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a", ""), *steps)
    build = BLOCK.format("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_t_a ON s.t (a)")
    write_revision(project.versions, "r6", "r5", up=build)
    write_revision(project.versions, "r7", "r6", up=sql("ALTER TABLE s.t ADD b int"))
    project.trust()
    return [*names, "r6", "r7"]


def run_at_once(project: Project, commands: Sequence[Command]) -> Sequence[str]:
    """Run commands, all of which find the apply lock taken until the last one wants it; return what each said."""
    # Whoever waits asks for the lock, and who holds it, by turns.
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND query ~ 'advisory'"
    )
    with ExitStack() as stack:
        with connect(project.target, autocommit=True) as lock:
            lock.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
            running = [
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", *command],
                        cwd=project.root,
                        env=project.environment(),
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )
                for command in commands
            ]
            deadline = time.monotonic() + 120
            while lock.exec_driver_sql(waiting).scalar_one() < len(commands):
                assert time.monotonic() < deadline
                assert all(process.poll() is None for process in running), [process.poll() for process in running]
                time.sleep(0.05)
        told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(commands), "\n".join(told)
    assert "Traceback" not in "".join(told)
    return [squeeze(text) for text in told]


def was_applied_once(project: Project, names: Sequence[str]) -> None:
    rows = project.execute("SELECT direction, revision FROM alembic.revision_ledger ORDER BY id")
    assert [tuple(row) for row in rows] == [("upgrade", name) for name in names]
    assert read_target(project.target).version == names[-1]


@pytest.mark.parametrize("number", [2, pytest.param(8, marks=pytest.mark.soak)])
def test_of_commands_at_once_one_applies_and_the_others_find_nothing_to_do(project: Project, number: int) -> None:
    names = write_chain_with_a_build(project)
    told = run_at_once(project, [MONARCH] * number)
    was_applied_once(project, names)
    ends = [re.findall(r"schema_state (.*?r7)\.", text) for text in told]
    nothing = ["Nothing to run: the target is at r7"]
    assert sorted(ends) == [["7 revisions applied: base → r7"], *[nothing] * (number - 1)]


@pytest.mark.soak
@pytest.mark.parametrize("commands", [(ALEMBIC, ALEMBIC), (ALEMBIC, MONARCH)], ids=["both plain", "one plain"])
def test_plain_alembic_at_once_with_another_waits_too(
    project: Project, alembic: Alembic, commands: Sequence[Command]
) -> None:
    names = write_chain_with_a_build(project)
    run_at_once(project, commands)
    was_applied_once(project, names)


class Reader(threading.Thread):
    """Reads a table again and again, and knows how long it had to wait at most, in seconds."""

    def __init__(self, project: Project, table: str) -> None:
        super().__init__(daemon=True)
        self.project, self.table = project, table
        self.worst, self.reads = 0.0, 0
        self.enough = threading.Event()

    def run(self) -> None:
        with connect(self.project.target, autocommit=True) as connection:
            while not self.enough.wait(0.005):
                started = time.monotonic()
                connection.exec_driver_sql(f"SELECT count(*) FROM {self.table}")
                self.worst = max(self.worst, time.monotonic() - started)
                self.reads += 1


@contextmanager
def reading(project: Project, *tables: str) -> Iterator[Sequence[Reader]]:
    readers = [Reader(project, table) for table in tables]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        for reader in readers:
            reader.enough.set()
            reader.join()


@contextmanager
def holding(project: Project, seconds: dict[str, float]) -> Iterator[Callable[[], None]]:
    """Read each table in a transaction that stays open; what is yielded starts the time that each is held for."""
    with ExitStack() as stack:
        timers = []
        for table, after in seconds.items():
            holder = stack.enter_context(connect(project.target))
            holder.exec_driver_sql(f"SELECT * FROM {table}")
            timers.append(threading.Timer(after, holder.rollback))

        def start() -> None:
            for timer in timers:
                timer.start()

        yield start
        for timer in timers:
            timer.join()


def applying(project: Project) -> threading.Thread:
    thread = threading.Thread(target=lambda: project.apply(lock_timeout_seconds=1))
    thread.start()
    return thread


def wait_until_blocked(project: Project, doing: str) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ^@ %s AND datname = %s"
    deadline = time.monotonic() + 30
    with connect(project.shadows.url, autocommit=True) as connection:
        while not connection.exec_driver_sql(query, (doing, project.target.database)).scalar_one():
            assert time.monotonic() < deadline
            time.sleep(0.005)


def write_alter(project: Project, *tables: str) -> None:
    """Have the tables made, and one pending revision that alters them one after the other."""
    write_chain(project, ("; ".join(f"CREATE TABLE {table} (x int)" for table in tables), ""))
    write_revision(project.versions, "r2", "r1", up=sql(*(f"ALTER TABLE {table} ADD y int" for table in tables)))
    project.trust()
    project.apply(to="r1")


def test_a_reader_behind_a_revision_that_waits_for_another_reader_waits_for_the_lock_timeout_at_most(
    project: Project,
) -> None:
    write_alter(project, "a")
    with holding(project, {"a": 2.5}) as start, reading(project, "a") as (reader,):
        run = applying(project)
        wait_until_blocked(project, "ALTER TABLE a")
        start()
        run.join()
    assert read_target(project.target).version == "r2"
    # It has queued at all, and between two tries it got through.
    assert 0.5 < reader.worst < 1 + MARGIN
    assert reader.reads > 50


@pytest.mark.soak
def test_readers_of_what_a_revision_has_locked_wait_for_the_lock_timeout_at_most_while_it_waits_for_more(
    project: Project,
) -> None:
    write_alter(project, "a", "b")
    with holding(project, {"b": 2.5}) as start, reading(project, "a", "b") as readers:
        run = applying(project)
        wait_until_blocked(project, "ALTER TABLE b")
        start()
        run.join()
    assert read_target(project.target).version == "r2"
    for reader in readers:
        assert 0.5 < reader.worst < 1 + MARGIN
        assert reader.reads > 50


@pytest.mark.soak
def test_waits_for_one_table_after_the_other_do_not_add_up_for_a_reader(project: Project) -> None:
    write_alter(project, "a", "b", "c", "d")
    with holding(project, {"b": 0.8, "c": 1.6, "d": 2.4}) as start, reading(project, "a") as (reader,):
        run = applying(project)
        wait_until_blocked(project, "ALTER TABLE b")
        start()
        run.join()
    assert read_target(project.target).version == "r2"
    assert 0.5 < reader.worst < 1 + MARGIN


@pytest.mark.soak
def test_what_locks_out_readers_beside_a_build_waits_for_the_lock_timeout_at_most(project: Project) -> None:
    write_chain(project, ("CREATE TABLE a (x int); CREATE INDEX ix_a_x ON a (x)", ""))
    write_revision(project.versions, "r2", "r1", up=BLOCK.format("DROP INDEX ix_a_x"))
    project.trust()
    project.apply(to="r1")
    with holding(project, {"a": 2.5}) as start, reading(project, "a") as (reader,):
        run = applying(project)
        wait_until_blocked(project, "DROP INDEX")
        start()
        run.join()
    assert read_target(project.target).version == "r2"
    assert 0.5 < reader.worst < 1 + MARGIN


@pytest.mark.soak
def test_a_long_change_of_rows_leaves_the_time_to_wait_for_a_lock(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    write_chain(project, ("CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b (x int)", ""))
    up = sql("UPDATE a SET x = 2 FROM pg_sleep(1.2)", "ALTER TABLE b ADD y int")
    write_revision(project.versions, "r2", "r1", up=up)
    project.trust()
    project.apply(to="r1")
    with holding(project, {"b": 0.7}) as start:
        run = applying(project)
        wait_until_blocked(project, "ALTER TABLE b")
        start()
        run.join()
    assert read_target(project.target).version == "r2"
    assert "A lock was not free in time" not in caplog.text
