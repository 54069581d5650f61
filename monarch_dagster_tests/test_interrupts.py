"""Ctrl-C, SIGTERM and a cancel in the UI: what has begun is taken back within five seconds, and one line tells so."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.interrupts import Interrupted, interruptible, uninterrupted
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import APPLY_LOCK, LOCK_CLASS
from monarch_dagster.postgres.shadow import CLONE_PREFIX
from monarch_dagster_tests.migrations.support import PYPROJECT, sql, write_revision
from monarch_dagster_tests.support import Project

SECONDS = 5
SLEEP = "SELECT pg_sleep(120)"
SLEEPING = f"SELECT count(*) FROM pg_stat_activity WHERE query ^@ '{SLEEP}' AND state = 'active'"
CLONES = f"SELECT datname FROM pg_database WHERE datname ^@ '{CLONE_PREFIX}'"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

signals = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
Process = subprocess.Popen[str]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_a_revision_that_is_at_work_in_postgresql_is_taken_back(project: Project, number: signal.Signals) -> None:
    sleeping(project).trust()
    with running(project, "run-migrations") as process:
        until(project.target, f"{SLEEPING} AND datname = current_database()")
        ended(process, number)
    nothing_is_left(project)
    assert last_run(project) == "FAILURE"


def test_what_is_held_back_comes_at_the_end() -> None:
    done = []
    with interruptible() as exit_code:
        with pytest.raises(Interrupted), uninterrupted():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
                done.append(number)
        assert len(done) == 2
        assert exit_code() == 143


def test_without_an_interrupt_there_is_no_exit_code_for_it() -> None:
    with interruptible() as exit_code:
        assert exit_code() == 0


@pytest.mark.soak
@signals
def test_a_wait_for_the_migration_lock_ends(project: Project, number: signal.Signals) -> None:
    sleeping(project).trust()
    with connect(project.target, autocommit=True) as holder, running(project, "run-migrations") as process:
        holder.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
        wait_for(process, "Waiting for the migration lock")
        ended(process, number)
    nothing_is_left(project)
    assert last_run(project) == "FAILURE"


@pytest.mark.soak
@signals
def test_a_pause_before_a_revision_is_tried_again_ends(project: Project, number: signal.Signals) -> None:
    project.execute("CREATE SCHEMA landing; CREATE TABLE landing.note ()")
    up = sql("CREATE TABLE landing.x (a int)", "ALTER TABLE landing.note ADD a int")
    write_revision(project.versions, "r1", None, up=up)
    project.trust()
    with connect(project.target) as reader, running(project, "run-migrations") as process:
        reader.exec_driver_sql("SELECT FROM landing.note")
        wait_for(process, "trying again in")
        ended(process, number)
    nothing_is_left(project)
    assert last_run(project) == "FAILURE"


@pytest.mark.soak
@signals
def test_a_proof_ends_and_takes_its_shadow_along(project: Project, number: signal.Signals) -> None:
    sleeping(project)
    with running(project, "run-migrations") as process:
        until(project.shadows.url, f"{SLEEPING} AND datname ^@ '{CLONE_PREFIX}'")
        ended(process, number)
    nothing_is_left(project)
    assert last_run(project) == "FAILURE"


@pytest.mark.soak
@pytest.mark.parametrize("command", [["status"], ["generate-migrations", "--dry-run"]], ids=lambda command: command[0])
@signals
def test_a_command_without_a_run_takes_its_shadow_along(
    project: Project, number: signal.Signals, command: list[str]
) -> None:
    sleeping(project)
    with running(project, *command) as process:
        until(project.shadows.url, f"{SLEEPING} AND datname ^@ '{CLONE_PREFIX}'")
        ended(process, number)
    nothing_is_left(project)


@pytest.mark.soak
@pytest.mark.parametrize("trusted", [True, False], ids=["applying", "proving"])
@signals
def test_plain_alembic_leaves_nothing_at_work(project: Project, number: signal.Signals, trusted: bool) -> None:
    sleeping(project)
    if trusted:
        project.trust()
    pyproject = PYPROJECT.format(script_location=SCRIPT_LOCATION, versions=project.versions)
    (project.root / "pyproject.toml").write_text(pyproject)
    place = f"datname = '{project.target.database}'" if trusted else f"datname ^@ '{CLONE_PREFIX}'"
    with running(project, "upgrade", "head", module="alembic") as process:
        until(project.shadows.url, f"{SLEEPING} AND {place}")
        started = time.monotonic()
        process.send_signal(number)
        process.wait(SECONDS)
        until(project.shadows.url, f"SELECT ({SLEEPING}) = 0", SECONDS)
        until(project.shadows.url, f"SELECT NOT EXISTS ({CLONES})", SECONDS)
        assert time.monotonic() - started < SECONDS
    nothing_is_left(project)


@pytest.mark.soak
@pytest.mark.parametrize("command", ["generate-migrations", "run-migrations", "status"])
def test_at_any_moment_an_interrupt_leaves_a_whole_state_and_no_shadow(project: Project, command: str) -> None:
    drawn = random.Random(command)
    before = project.execute(CLONES)
    for _ in range(30):
        if command != "generate-migrations":
            project.generate()
        with running(project, command) as process:
            with suppress(subprocess.TimeoutExpired):
                # Before that, Python still imports the command.
                process.wait(drawn.uniform(0.8, 2.5))
            if process.poll() is None:
                ended(process, drawn.choice(list(CODES)), may_be_done=True)
        assert project.execute(CLONES) == before
        assert last_run(project) in ("FAILURE", "SUCCESS", None)
        assert bool(project.facts().tables()) == bool(read_target(project.target).versions)
        project.execute("DROP SCHEMA IF EXISTS landing, alembic CASCADE")
        shutil.rmtree(project.versions, ignore_errors=True)


@pytest.mark.soak
def test_a_cancel_in_the_ui_takes_the_revision_back(project: Project) -> None:
    # Not on shadows: the sensor replays the chain on one.
    sleeping(project, " WHERE current_database() ^@ 'target_'").trust()
    with ui(project) as ask:
        run = launch(ask)
        until(project.target, f"{SLEEPING} AND datname = current_database()")
        started = time.monotonic()
        ask("mutation($it: String!){terminateRun(runId: $it){__typename}}", run)
        query = "query($it: ID!){runOrError(runId: $it){... on Run{status}}}"
        while (status := ask(query, run)["status"]) != "CANCELED":
            assert time.monotonic() - started < SECONDS, status
            time.sleep(0.05)
        nothing_is_left(project)
        assert time.monotonic() - started < SECONDS


@pytest.mark.soak
def test_a_cancel_in_the_ui_ends_a_command_too(project: Project) -> None:
    sleeping(project, " WHERE current_database() ^@ 'target_'").trust()
    terminate = "mutation($it: String!){terminateRun(runId: $it){__typename}}"
    with ui(project) as ask, running(project, "run-migrations") as process:
        until(project.target, f"{SLEEPING} AND datname = current_database()")
        started = time.monotonic()
        with connect(project.dagster_url) as connection:
            run = connection.exec_driver_sql("SELECT run_id FROM runs ORDER BY id DESC LIMIT 1").scalar_one()
        ask(terminate, run)
        _, told = process.communicate(timeout=30)
        assert time.monotonic() - started < 2 * SECONDS
        assert process.returncode == CODES[signal.SIGINT]
        assert told.endswith("Interrupted.\n")
        nothing_is_left(project)
        assert last_run(project) == "CANCELED"


def launch(ask: Callable[..., Any]) -> str:
    """Launch `run_migrations` as the Launchpad does; return the run's id."""
    (node,) = ask("{repositoriesOrError{... on RepositoryConnection{nodes{name location{name}}}}}")["nodes"]
    selector = {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
    launched = ask(
        "mutation($it: ExecutionParams!){launchRun(executionParams: $it){... on LaunchRunSuccess{run{runId}}}}",
        {"selector": selector | {"jobName": "run_migrations"}, "runConfigData": "{}"},
    )
    return str(launched["run"]["runId"])


def sleeping(project: Project, where: str = "") -> Project:
    """Give the project a revision that makes a table and then sleeps in PostgreSQL."""
    up = sql("CREATE SCHEMA landing", "CREATE TABLE landing.x (a int)", SLEEP + where)
    write_revision(project.versions, "r1", None, up=up, back=sql("DROP SCHEMA landing CASCADE"))
    return project


@contextmanager
def running(project: Project, *arguments: str, module: str = "monarch_dagster") -> Iterator[Process]:
    """Run a command in the project's folder; whatever of it is left at the end is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: Process, number: signal.Signals, *, may_be_done: bool = False) -> None:
    """Send the signal; the command must end in time, say so in one line and give the signal's exit code."""
    started = time.monotonic()
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - started < SECONDS
    assert "Traceback" not in told
    if may_be_done and process.returncode in (0, -number):
        return
    assert process.returncode == CODES[number], told
    assert told.endswith("Interrupted.\n")


def wait_for(process: Process, words: str) -> None:
    """Wait until a command says this on stderr."""
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()):
        assert line, process.wait()


def until(url: URL, query: str, seconds: float = 60) -> None:
    """Wait until a query on a database gives something that is true."""
    with connect(url, autocommit=True) as connection:
        deadline = time.monotonic() + seconds
        while not connection.exec_driver_sql(query).scalar_one():
            assert time.monotonic() < deadline, query
            time.sleep(0.05)


def nothing_is_left(project: Project) -> None:
    """Nothing of the revision, no backend at work on it, no shadow."""
    assert project.execute("SELECT to_regclass('landing.x')") == [(None,)]
    assert read_target(project.target).versions == ()
    busy = f"{SLEEPING} AND (datname = current_database() OR datname ^@ '{CLONE_PREFIX}')"
    assert project.execute(busy) == [(0,)]
    # With the UI open, the sensor's run may be at work on one of its own.
    until(project.shadows.url, f"SELECT count(*) = 0 FROM ({CLONES}) AS clones")


def last_run(project: Project) -> str | None:
    """Return the status of the last run in Dagster's storage, None where there is none."""
    with connect(project.dagster_url) as connection:
        if connection.exec_driver_sql("SELECT to_regclass('runs')").scalar_one() is None:
            return None
        return connection.exec_driver_sql("SELECT status FROM runs ORDER BY id DESC LIMIT 1").scalar()


@contextmanager
def ui(project: Project) -> Iterator[Callable[..., Any]]:
    """Run `monarch dev`; give a function that asks its GraphQL one thing, with a variable `it`."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    def ask(query: str, it: Any = None) -> Any:
        body = json.dumps({"query": query, "variables": {"it": it}}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            (found,) = json.load(answer)["data"].values()
        return found

    with running(project, "dev", "--host", "127.0.0.1", "--port", str(port)):
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                ask("{version}")
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield ask
