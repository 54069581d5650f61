"""Processes that are killed during an apply: the next run says which runs have died, and its own completes at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import yaml

from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project
from monarch_dagster_tests.test_interrupts import SLEEPING, launch, running, sleeping, ui, until

# Not on shadows, where the sensor replays the chain; and not once the gate is open.
GATED = " WHERE current_database() ^@ 'target_' AND current_setting('gate.open', true) IS NULL"
# A quarter of what whoever waits for the killed run's statement would take; there are slow machines.
AT_ONCE_SECONDS = 30
BRIEF = "SELECT pg_sleep(12)"
AT_WORK = f"{SLEEPING} AND datname = current_database()"
RUN = "query($it: ID!){runOrError(runId: $it){... on Run{status tags{key value}}}}"

EVENTS = """query($it: ID!) { runOrError(runId: $it) { ... on Run { eventConnection {
  events { __typename ... on MessageEvent { message } } } } } }"""


def test_a_command_after_one_that_was_killed_marks_its_run_failed_and_completes_at_once(project: Project) -> None:
    sleeping(project, GATED).trust()
    with running(project, "run-migrations") as process:
        until(project.target, AT_WORK)
        process.kill()
        process.wait()
    assert statuses(project)[-1:] == ["STARTED"]
    told = applies_at_once(project)
    assert statuses(project) == ["FAILURE", "SUCCESS"]
    assert "Reported as failed, since their process is gone" in told


@pytest.mark.soak
def test_a_run_of_the_ui_whose_process_was_killed_is_failed_and_the_next_completes_at_once(project: Project) -> None:
    sleeping(project, GATED).trust()
    with ui(project) as ask:
        run = launch(ask)
        until(project.target, AT_WORK)
        kill(process_of(ask, run))
        applies_at_once(project)
        assert ask(RUN, run)["status"] == "FAILURE"


@pytest.mark.soak
def test_a_run_whose_code_server_was_killed_too_is_failed_by_the_next_which_completes_at_once(project: Project) -> None:
    sleeping(project, GATED).trust()
    with ui(project) as ask:
        run = launch(ask)
        until(project.target, AT_WORK)
        process = process_of(ask, run)
        kill(code_server_of(process), process)
        assert ask(RUN, run)["status"] == "STARTED"
        applies_at_once(project)
        assert f"(pid {process.pid} on " in ended_with(ask, run)


@pytest.mark.soak
@pytest.mark.parametrize("killed", ["code server", "daemon"])
def test_a_run_finishes_where_only_the_code_server_or_the_daemon_was_killed(project: Project, killed: str) -> None:
    write_revision(project.versions, "r1", None, up=sql(BRIEF + GATED))
    project.trust()
    with ui(project) as ask:
        run = launch(ask)
        until(project.target, f"SELECT count(*) FROM pg_stat_activity WHERE query ^@ '{BRIEF}' AND state = 'active'")
        server = code_server_of(process_of(ask, run))
        kill(server if killed == "code server" else daemon_beside(server))
        until(project.target, "SELECT EXISTS (SELECT FROM alembic.revision_ledger)", 30)
        until(project.dagster_url, f"SELECT status = 'SUCCESS' FROM runs WHERE run_id = '{run}'", 30)


@pytest.mark.soak
def test_a_run_that_never_started_is_failed_in_time_and_a_long_run_of_a_command_is_not(project: Project) -> None:
    """As `run_monitoring` in dagster.yaml has it, with less patience."""
    configured = yaml.safe_load((project.root / "dagster.yaml").read_text())
    configured["run_monitoring"] |= {"start_timeout_seconds": 5, "poll_interval_seconds": 1}
    (project.root / "dagster.yaml").write_text(yaml.safe_dump(configured))
    write_revision(project.versions, "r1", None, up=sql(BRIEF + GATED))
    project.trust()
    with ui(project) as ask:
        run = launch(ask)
        while ask(RUN, run)["status"] in ("QUEUED", "NOT_STARTED"):
            time.sleep(0.02)
    # All of Dagster is killed here.
    with ui(project) as ask:
        with running(project, "run-migrations") as process:
            until(project.dagster_url, f"SELECT status = 'FAILURE' FROM runs WHERE run_id = '{run}'")
            assert process.wait(60) == 0
        assert "longer than 5 seconds to start" in ended_with(ask, run)
        assert statuses(project)[-1] == "SUCCESS"


def statuses(project: Project) -> list[str]:
    """Return the statuses of the last two runs in Dagster's storage, the later one last."""
    with connect(project.dagster_url) as connection:
        found = connection.exec_driver_sql("SELECT status FROM runs ORDER BY id DESC LIMIT 2").scalars().all()
    return list(reversed(found))


def ended_with(ask: Callable[..., Any], run: str) -> str:
    """Return the message of the event by which a run failed."""
    events = ask(EVENTS, run)["eventConnection"]["events"]
    (message,) = [event["message"] for event in events if event["__typename"] == "RunFailureEvent"]
    return str(message)


def process_of(ask: Callable[..., Any], run: str) -> psutil.Process:
    """Return the process that a run says it is executed by."""
    tags = {tag["key"]: tag["value"] for tag in ask(RUN, run)["tags"]}
    return psutil.Process(int(tags["monarch/pid"]))


def code_server_of(process: psutil.Process) -> psutil.Process:
    """Return the process that has started a run's."""
    return process.parents()[0]


def daemon_beside(server: psutil.Process) -> psutil.Process:
    """Return the daemon that `dagster dev` has started beside a code server."""
    (found,) = [child for child in server.parents()[1].children() if "dagster._daemon" in child.cmdline()]
    return found


def kill(*processes: psutil.Process) -> None:
    """Kill processes at once, and wait until they are gone."""
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, 10)


def applies_at_once(project: Project) -> str:
    """Run the migrations by a command, which must not wait; return what it says."""
    project.execute(f"ALTER DATABASE {project.target.database} SET gate.open = 'yes'")
    started = time.monotonic()
    done = project.monarch("run-migrations")
    # The sensor may have proposed a revision on top.
    assert read_target(project.target).entries[0].revision == "r1"
    assert time.monotonic() - started < AT_ONCE_SECONDS
    return done.stderr
