"""Which process works at a run, said in the run's tags, and the runs whose process is gone.

A process that is killed cannot say so: its run seems to go on for ever. Whoever works next on the same host looks, and
reports it as failed. What such a run did to the target is no matter here: that is in the ledger.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping

import dagster as dg

HOST, PID, STARTED, RUN = "monarch/host", "monarch/pid", "monarch/started", "monarch/run"
# Dagster, "Configuring run retries": wins over what `run_retries` in dagster.yaml says. A migration that failed waits
# for a person: the cause is a schema or its rows, and a retry would meet it again, with the same locks.
NO_RETRY = {"dagster/max_retries": "0"}
# Managed: a run that waits in the API's process.
WORKING = (
    dg.DagsterRunStatus.MANAGED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
# The start of a process is told by the boot time, which the kernel takes from the clock: it moves when that is set.
CLOCK_SECONDS = 2


def process_tags(run_id: str) -> dict[str, str]:
    """Return the tags that say that this process works at a run, and that the run is not to be retried."""
    pid = os.getpid()
    return NO_RETRY | {HOST: socket.gethostname(), PID: str(pid), STARTED: str(started_at(pid)), RUN: run_id}


def started_at(pid: int) -> float | None:
    """Return when a process of this host started, in seconds of the Unix epoch; None where it lives no more."""
    import psutil

    try:
        process = psutil.Process(pid)
        # Killed, but not yet waited for by the process that started it.
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def find_dead(runs: Iterable[dg.DagsterRun], *, host: str, living: Mapping[int, float]) -> list[dg.DagsterRun]:
    """Return those of the runs that have not ended and whose process is gone.

    A run without tags of its own is nobody's: one that has not got so far, another job's, or one that was executed
    again in the UI, which copies its parent's tags. Of another host's processes nothing is known here.

    Args:
        runs: of any job and status.
        host: whose processes are known.
        living: when each process that lives was started, by its pid; those that no run names may be left out.
    """
    return [
        run
        for run in runs
        if run.status in WORKING
        and (run.tags.get(HOST), run.tags.get(RUN)) == (host, run.run_id)
        and not _lives(run.tags, living)
    ]


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report the runs of this host whose process is gone as failed; return their ids."""
    host = socket.gethostname()
    runs = instance.get_runs(dg.RunsFilter(statuses=list(WORKING), tags={HOST: host}))
    started = {pid: started_at(pid) for pid in {int(run.tags[PID]) for run in runs}}
    living = {pid: start for pid, start in started.items() if start is not None}
    reported = []
    for run in find_dead(runs, host=host, living=living):
        # It may have ended, and its process with it, since it was read.
        now = instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished:
            instance.report_run_failed(now, _message(now.tags))
            reported.append(now.run_id)
    return reported


def tell_reported(run_ids: Iterable[str]) -> str:
    """Return what a later run says of those that it reported."""
    return f"Reported as failed, since their process is gone: {', '.join(run_id[:8] for run_id in run_ids)}."


def _lives(tags: Mapping[str, str], living: Mapping[int, float]) -> bool:
    start = living.get(int(tags[PID]))
    return start is not None and abs(start - float(tags[STARTED])) <= CLOCK_SECONDS


def _message(tags: Mapping[str, str]) -> str:
    return (
        f"Its process (pid {tags[PID]} on {tags[HOST]}) is gone: killed, or the machine restarted. What it had applied "
        "is in the ledger; see `monarch status`, then run again."
    )
