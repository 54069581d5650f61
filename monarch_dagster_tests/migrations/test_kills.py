"""Runs that are killed, and runs whose connections are cut: the next one completes, and nothing tells the difference.

The moments are drawn from a seed, which is in the test's name; a failing test tells them.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.interrupted import (
    BLOCK,
    Applying,
    Whole,
    cut,
    empty_target,
    read_whole,
    wait_for_backend,
    write_interruptible_chain,
)
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

log = logging.getLogger(__name__)

PARTS, MOMENTS = 5, 10  # of the long run: 50 moments
BUILD = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_t_a ON s.t (a)"


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves that nothing disturbs, and how long it takes in seconds."""

    whole: Whole
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(
    server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    project = Project(tmp_path_factory.mktemp("whole"), server.url("whole"), shadows, server.url("dagster"))
    empty_target(project)
    write_interruptible_chain(project)
    with Applying(project) as applying:
        assert applying.result() is None
        seconds = time.monotonic() - applying.started
    return Undisturbed(read_whole(project), seconds)


@pytest.fixture
def watcher(project: Project) -> Iterator[Any]:
    """A connection beside the target, to look at its backends and to end them."""
    with connect(project.shadows.url, autocommit=True) as connection:
        yield connection


def completes(project: Project, undisturbed: Undisturbed) -> None:
    """Run again: at once, and to the same end."""
    target = read_target(project.target)
    assert target.version == target.head
    started = time.monotonic()
    project.apply()
    # A backend without a client goes within a second.
    assert time.monotonic() - started < 2 * undisturbed.seconds + 2
    assert read_whole(project) == undisturbed.whole


def disturbed(project: Project, watcher: Any, rng: random.Random, moment: float, *, kill: bool) -> bool:
    """Start a run and disturb it at a moment, in seconds; return False where it had ended before."""
    with Applying(project) as applying:
        time.sleep(max(0.0, applying.started + moment - time.monotonic()))
        if kill:
            ended = applying.ended
            applying.kill()
            return not ended
        choose = rng.choice((list, lambda found: [rng.choice(found)]))
        # It may be between two connections.
        while not applying.ended and not cut(watcher, project, choose):
            time.sleep(0.001)
        ended = applying.ended
        error = applying.result()
    # Without its lock's connection it goes on: the revisions' own lock still keeps others away.
    assert error is None or told_as_lost(error)
    return not ended or error is not None


def told_as_lost(error: Exception) -> bool:
    """Say whether an error tells a person that the connection has gone, and what to do."""
    assert isinstance(error, MonarchError), error
    lost = "The connection to the database" in error.message and "was lost" in error.message
    assert lost or "could not be opened" in error.message, error
    assert "that the server runs" in error.remedy
    assert "Traceback" not in str(error)
    return True


@pytest.mark.soak
@pytest.mark.parametrize("kill", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["killed", "cut"])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)])
def test_a_run_that_is_disturbed_again_and_again_gets_through(
    project: Project, undisturbed: Undisturbed, watcher: Any, kill: bool, seed: int
) -> None:
    rng = random.Random(seed)
    write_interruptible_chain(project)
    for _ in range(3):
        disturbed(project, watcher, rng, rng.uniform(0.1, 0.4) * undisturbed.seconds, kill=kill)
    completes(project, undisturbed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(PARTS))
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "cut"])
def test_a_run_after_one_that_was_disturbed_at_any_moment_completes_at_once(
    project: Project, undisturbed: Undisturbed, watcher: Any, kill: bool, seed: int
) -> None:
    rng = random.Random(seed)
    write_interruptible_chain(project)
    for number in range(MOMENTS):
        moment = (seed + PARTS * number + rng.random()) / (PARTS * MOMENTS) * undisturbed.seconds
        empty_target(project)
        while not disturbed(project, watcher, rng, moment, kill=kill):
            empty_target(project)
            moment *= rng.random()
        log.warning("Disturbed after %.3f of %.3f s", moment, undisturbed.seconds)
        completes(project, undisturbed)


SLOW_COMMIT = (
    "CREATE TABLE log (n int); CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON log "
    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nap()",
    "SELECT 1",
)


def test_a_run_that_is_killed_while_it_commits_is_gone_on_behind(project: Project, watcher: Any) -> None:
    write_chain(project, SLOW_COMMIT, ("INSERT INTO log VALUES (1)", ""), ("INSERT INTO log VALUES (2)", ""))
    project.trust()
    with Applying(project) as applying:
        wait_for_backend(watcher, project, "COMMIT")
        applying.kill()
    # Its backend, which has no client any more, commits, or is ended by then.
    assert read_target(project.target).version == "r1"
    result = project.apply()
    assert result.after == "r3"
    assert len(result.applied) in (1, 2)
    assert project.execute("SELECT count(*) FROM log") == [(2,)]


def test_a_long_statement_of_a_run_that_was_killed_is_ended_within_about_a_second(
    project: Project, watcher: Any
) -> None:
    long = "SELECT pg_sleep(30) FROM gate"
    write_chain(project, ("CREATE TABLE gate AS SELECT 1 AS shut", ""), (long, ""))
    project.trust()
    with Applying(project) as applying:
        wait_for_backend(watcher, project, long)
        applying.kill()
    project.execute("DELETE FROM gate")  # so that it is quick when it is repeated
    started = time.monotonic()
    assert project.apply().after == "r2"
    assert time.monotonic() - started < 4


def test_a_build_whose_run_was_killed_before_its_index_was_there_is_waited_for(project: Project, watcher: Any) -> None:
    write_chain(project, ("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a", ""))
    write_revision(project.versions, "r2", "r1", up=BLOCK.format(BUILD))
    project.trust()
    project.apply(to="r1")
    with connect(project.target) as other:
        other.exec_driver_sql("LOCK TABLE s.t IN SHARE UPDATE EXCLUSIVE MODE")
        with Applying(project) as applying:
            wait_for_backend(watcher, project, "CREATE INDEX")
            applying.kill()
        release = threading.Timer(0.3, other.rollback)
        release.start()
        assert project.apply().after == "r2"
        release.join()
    assert project.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 's.ix_t_a'::regclass") == [(True,)]


@pytest.mark.parametrize(
    ("doing", "message", "remedy"),
    [
        (
            "SELECT pg_sleep",
            "The connection to the database was lost in revision r2, which is rolled back: terminating connection due "
            "to administrator command\n  in: SELECT pg_sleep(20)",
            "then run again: it goes on with that revision.",
        ),
        (
            "COMMIT",
            "The connection to the database was lost while revision r2 was committed; whether it is, is not known: "
            "terminating connection due to administrator command",
            "then run again: it finds out whether the revision is there, and goes on behind it or with it.",
        ),
        (
            "CREATE INDEX",
            "The connection to the database was lost in revision r2, which runs outside of a transaction: it may be "
            "done in part: terminating connection due to administrator command\n"
            f"  in: {BUILD}",
            "then run again: the revision is repeated, and what it has left is dropped or kept as it should be.",
        ),
    ],
)
def test_a_connection_that_is_cut_is_told_with_what_became_of_the_revision(
    project: Project, watcher: Any, doing: str, message: str, remedy: str
) -> None:
    write_chain(project, (f"CREATE SCHEMA s; CREATE TABLE s.t (a int); {SLOW_COMMIT[0]}", ""))
    does = {"SELECT pg_sleep": "SELECT pg_sleep(20)", "COMMIT": "INSERT INTO log VALUES (1)"}
    up = sql(does[doing]) if doing in does else BLOCK.format(BUILD)
    write_revision(project.versions, "r2", "r1", up=up)
    project.trust()
    project.apply(to="r1")
    project.execute("INSERT INTO s.t VALUES (1)")
    with connect(project.target) as writer:
        if doing == "CREATE INDEX":
            writer.exec_driver_sql("INSERT INTO s.t VALUES (2)")  # the build waits for it
        with Applying(project) as applying:
            pids = wait_for_backend(watcher, project, doing)
            cut(watcher, project, lambda _all: pids)
            error = applying.result()
    assert isinstance(error, MonarchError)
    assert error.message == message
    assert error.remedy.endswith(remedy)
    assert "its log tells why" in error.remedy


def test_a_run_whose_locks_connection_is_cut_ends_its_work_and_another_waits_for_it(
    project: Project, watcher: Any
) -> None:
    write_chain(project, ("CREATE TABLE t ()", ""), ("SELECT pg_sleep(1)", ""))
    project.trust()
    with Applying(project) as first:
        wait_for_backend(watcher, project, "SELECT pg_sleep")
        cut(watcher, project, lambda found: found[:1])
        assert project.apply().applied == ()
        assert first.result() is None
    assert [entry.revision for entry in read_target(project.target).entries] == ["r1", "r2"]
