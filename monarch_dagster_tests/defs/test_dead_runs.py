"""Runs whose process is gone: which they are, and how they are reported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest

from monarch_dagster.defs.dead_runs import (
    HOST,
    PID,
    RUN,
    STARTED,
    find_dead,
    process_tags,
    report_dead_runs,
    started_at,
)
from monarch_dagster.defs.executor import in_process_executor
from monarch_dagster.defs.jobs import JOBS

GOING = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
HERE, PROCESS, START = "here", 4711, 1_700_000_000.25


def a_run(status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED, **tags: str) -> dg.DagsterRun:
    """A run of process `PROCESS` on the host `HERE`, unless its tags say otherwise."""
    own = {"host": HERE, "pid": str(PROCESS), "started": str(START), "run": "one"} | tags
    return dg.DagsterRun("run_migrations", "one", status=status, tags={f"monarch/{k}": v for k, v in own.items()})


def is_dead(found: dg.DagsterRun, living: dict[int, float] | None = None) -> bool:
    return find_dead([found], host=HERE, living=living or {}) == [found]


@pytest.mark.parametrize("status", [*GOING, *ENDED], ids=lambda status: status.name)
def test_a_run_that_goes_on_without_its_process_is_dead_and_one_that_has_ended_is_not(
    status: dg.DagsterRunStatus,
) -> None:
    assert is_dead(a_run(status)) is (status in GOING)


def test_a_run_whose_process_lives_is_not_dead() -> None:
    assert not is_dead(a_run(), {PROCESS: START})


@pytest.mark.parametrize("moved", [-1.0, 1.0])
def test_a_clock_that_was_set_a_little_makes_no_other_process(moved: float) -> None:
    assert not is_dead(a_run(), {PROCESS: START + moved})


@pytest.mark.parametrize("later", [5.0, 86_400.0])
def test_a_younger_process_with_the_same_pid_is_another_one(later: float) -> None:
    assert is_dead(a_run(), {PROCESS: START + later})


def test_another_process_that_lives_is_no_matter() -> None:
    assert is_dead(a_run(), {PROCESS + 1: START})


def test_of_a_process_of_another_host_nothing_is_known() -> None:
    assert not is_dead(a_run(host="there"))


def test_a_run_without_tags_is_nobodys() -> None:
    assert not is_dead(dg.DagsterRun("run_migrations", "one", status=dg.DagsterRunStatus.STARTED))


def test_tags_that_were_copied_from_another_run_say_nothing() -> None:
    """As the UI does when a run is executed again."""
    assert not is_dead(a_run(run="another"))


@pytest.fixture
def gone() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def zombie() -> Iterator[int]:
    """The pid of a process that was killed, and that nobody has waited for."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        os.kill(process.pid, 9)
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        yield process.pid


def test_a_process_lives_until_it_was_killed_also_when_nobody_has_waited_for_it(gone: int, zombie: int) -> None:
    assert started_at(os.getpid()) == psutil.Process().create_time()
    assert started_at(gone) is None
    assert started_at(zombie) is None


def test_a_dead_run_is_reported_with_what_to_do_and_others_are_left_alone(
    instance: dg.DagsterInstance, gone: int
) -> None:
    host = socket.gethostname()
    tags = {HOST: host, PID: str(gone), STARTED: str(START)}
    own = dg.DagsterRun("run_migrations", "own", status=GOING[2], tags=process_tags("own"))
    dead = dg.DagsterRun("run_migrations", "dead", status=GOING[2], tags=tags | {RUN: "dead"})
    elsewhere = dg.DagsterRun("run_migrations", "elsewhere", status=GOING[2], tags=tags | {HOST: "x", RUN: "elsewhere"})
    again = dg.DagsterRun("run_migrations", "again", status=GOING[1], tags=dead.tags)
    other = dg.DagsterRun("another_job", "other", status=GOING[2])
    for item in (own, dead, elsewhere, again, other):
        instance.add_run(item)
    assert report_dead_runs(instance) == ["dead"]
    assert {item.run_id for item in instance.get_runs() if item.is_finished} == {"dead"}
    (event,) = instance.all_logs("dead", of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.message == (
        f"Its process (pid {gone} on {host}) is gone: killed, or the machine restarted. What it had applied is in the "
        "ledger; see `monarch status`, then run again."
    )
    assert report_dead_runs(instance) == []


def test_a_run_that_ends_while_it_is_looked_at_is_not_reported(
    instance: dg.DagsterInstance, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {HOST: socket.gethostname(), PID: str(gone), STARTED: str(START), RUN: "ending"}
    ending = instance.add_run(dg.DagsterRun("run_migrations", "ending", status=GOING[2], tags=tags))

    def ends(_pid: int) -> None:
        instance.report_run_canceled(ending)

    monkeypatch.setattr("monarch_dagster.defs.dead_runs.started_at", ends)
    assert report_dead_runs(instance) == []
    assert [found.status for found in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]


def test_nothing_is_tried_again_by_itself() -> None:
    assert process_tags("one")["dagster/max_retries"] == "0"
    for job in JOBS:
        assert (job.tags or {})["dagster/max_retries"] == "0"


TRIED: list[str] = []


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def asking_beforehand() -> None:
    TRIED.append("beforehand")
    raise ValueError


@dg.op
def asking_when_it_fails() -> None:
    TRIED.append("when it fails")
    raise dg.RetryRequested(max_retries=2)


@dg.job(executor_def=in_process_executor)
def retried() -> None:
    asking_beforehand()
    asking_when_it_fails()


def test_a_run_that_is_not_a_commands_is_tagged_reports_dead_runs_and_tries_no_step_again(
    instance: dg.DagsterInstance, gone: int
) -> None:
    tags = {HOST: socket.gethostname(), PID: str(gone), STARTED: str(START), RUN: "dead"}
    instance.add_run(dg.DagsterRun("run_migrations", "dead", status=GOING[2], tags=tags))
    result = dg.execute_job(dg.reconstructable(retried), instance=instance)
    assert sorted(TRIED) == ["beforehand", "when it fails"]
    for run_id in (result.run_id, "dead"):
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.tags[RUN] == run_id
    logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "Reported as failed, since their process is gone: dead." in logged
