"""How the server starts and ends, and what becomes of the runs when it, or the process of one, is gone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.api.support import started
from monarch_dagster_tests.support import Project
from monarch_dagster_tests.test_interrupts import CODES, SECONDS, SLEEP, SLEEPING, nothing_is_left, sleeping, until

HERE = f"{SLEEPING} AND datname = current_database()"


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_its_end_takes_the_revision_back_and_answers_whoever_waits(project: Project, number: signal.Signals) -> None:
    sleeping(project).trust()
    with started(project) as api, ThreadPoolExecutor() as callers:
        waiting = callers.submit(api.run, "run-migrations", code=409)
        until(project.target, HERE)
        queued = api.call("POST", "/run-migrations").json()
        begun = time.monotonic()
        # A terminal sends Ctrl-C to all processes of its group; whoever sends SIGTERM means the server.
        (os.killpg if number is signal.SIGINT else os.kill)(api.process.pid, number)
        assert api.process.wait(30) == CODES[number]
        assert time.monotonic() - begun < SECONDS
        assert waiting.result().items() >= {"status": "FAILURE", "version_after": None}.items()
        assert "interrupted" in waiting.result()["error"]
        for run in (waiting.result(), queued):
            assert api.rows(run["run_id"]) == [("run_migrations", "FAILURE")]
        told = api.log.read_text()
    nothing_is_left(project)
    assert told.endswith("Interrupted.\n")
    assert "Traceback" not in told


@pytest.mark.soak
def test_killed_it_leaves_the_run_to_its_end_and_the_next_one_ends_those_that_waited(project: Project) -> None:
    sleeping(project, " WHERE current_database() ^@ 'target_'").trust()
    with started(project) as api:
        going = api.call("POST", "/run-migrations").json()["run_id"]
        until(project.target, HERE)
        waiting = api.call("POST", "/run-migrations").json()["run_id"]
        api.process.kill()
        api.process.wait()
    # Of runs that are managed elsewhere, Dagster's daemon keeps its hands off.
    assert [api.rows(run)[0][1] for run in (going, waiting)] == ["STARTED", "MANAGED"]
    with started(project) as api:
        assert "is gone: killed" in api.ended(waiting)["error"]
        project.execute(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ^@ '{SLEEP}'")
        assert "canceling statement" in api.ended(going)["error"]


@pytest.mark.soak
def test_a_run_whose_process_is_killed_is_told_as_failed_and_the_next_one_has_its_turn(project: Project) -> None:
    sleeping(project).trust()
    with started(project) as api:
        killed = api.call("POST", "/run-migrations").json()["run_id"]
        until(project.target, HERE)
        following = api.call("POST", "/run-migrations", {"target": "nowhere"}).json()["run_id"]
        (child,) = [pid for pid in descendants(api.process.pid) if os.getpgid(pid) == pid]
        os.kill(child, signal.SIGKILL)
        assert "ended before the run did (exit code -9)" in api.ended(killed)["error"]
        assert "no revision 'nowhere'" in api.ended(following)["error"]


@pytest.mark.soak
def test_a_storage_that_goes_away_is_told_and_the_server_stays(project: Project) -> None:
    name = f"dagster_{project.target.database}"
    with elsewhere(project, name) as url, started(project, DAGSTER_POSTGRES_URL=url) as api:
        api.run("generate-migrations")
        project.execute(f"ALTER DATABASE {name} RENAME TO {name}_x")
        answer = api.call("POST", "/run-migrations")
        assert (answer.status_code, answer.json()["error"]) == (503, "Dagster's storage could not be reached.")
        assert api.call("GET", "/health").status_code == 200
        project.execute(f"ALTER DATABASE {name}_x RENAME TO {name}")
        api.run("run-migrations")


def test_without_a_token_it_listens_on_this_machine_only(project: Project) -> None:
    for host in ("0.0.0.0", "::"):
        done = project.monarch("api", "--host", host, "--port", "0", code=1)
        assert "Without a token, everybody who reaches" in done.stderr
        assert "MONARCH_API_TOKEN" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MONARCH_API_TOKEN", "a secret", "MONARCH_API_TOKEN has characters that a bearer token cannot have"),
        ("MONARCH_UI_URL", "ftp://secret", "MONARCH_UI_URL is not the address of a UI"),
        ("MONARCH_UI_URL", "http://me:secret@ui", "MONARCH_UI_URL has a login"),
        ("MONARCH_DATABASE_URL", "mysql://me:secret@db/x", "MONARCH_DATABASE_URL names a mysql database"),
        ("MONARCH_SHADOW_URL", "secret", "MONARCH_SHADOW_URL is not a database URL"),
    ],
)
def test_a_setting_that_cannot_be_is_told_at_the_start(project: Project, variable: str, value: str, told: str) -> None:
    done = project.monarch("api", "--port", "0", code=1, **{variable: value})
    assert told in done.stderr
    assert "secret" not in done.stderr


def test_a_port_that_is_taken_is_told(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.monarch("api", "--port", str(port), code=1)
    assert f"Port {port} on 127.0.0.1 is taken." in done.stderr


@contextmanager
def elsewhere(project: Project, name: str) -> Iterator[str]:
    """Give the URL of a new database on the project's server."""
    with connect(project.shadows.url, autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield project.shadows.url.set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process, and those that it started, have started."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(deeper for each in found for deeper in descendants(each))]
