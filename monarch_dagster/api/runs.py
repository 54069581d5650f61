"""Runs in Dagster's instance: written down before they start, executed, and read. No HTTP, no processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.utils import make_new_run_id
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import DBAPIError

from monarch_dagster.api.models import RunAnswer, RunState
from monarch_dagster.definitions import defs
from monarch_dagster.defs.dead_runs import process_tags
from monarch_dagster.defs.jobs import JOBS
from monarch_dagster.defs.running import INTERRUPTS, JobResult, ending, is_interrupt, open_instance, quiet
from monarch_dagster.errors import MonarchError
from monarch_dagster.settings import Settings

log = logging.getLogger(__name__)

# "Managed outside of the Dagster control plane": its daemon would launch a run that is QUEUED, and with run_monitoring
# fail one that is NOT_STARTED for three minutes.
WAITING = dg.DagsterRunStatus.MANAGED
_STATES: Mapping[dg.DagsterRunStatus, RunState] = {
    dg.DagsterRunStatus.QUEUED: "QUEUED",
    dg.DagsterRunStatus.MANAGED: "QUEUED",
    dg.DagsterRunStatus.NOT_STARTED: "QUEUED",
    dg.DagsterRunStatus.SUCCESS: "SUCCESS",
    dg.DagsterRunStatus.FAILURE: "FAILURE",
    dg.DagsterRunStatus.CANCELED: "CANCELED",
}
_TOLD = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
}


class StorageError(MonarchError):
    """Dagster's storage could not be reached."""


@dataclass(frozen=True)
class Runs:
    """The runs of Monarch's jobs in one instance. Its methods talk to Dagster's storage, and block meanwhile.

    Each raises `StorageError` where the storage cannot be reached.
    """

    instance: dg.DagsterInstance
    ui_url: str

    def create(self, job: str, config: Mapping[str, Any]) -> str:
        """Write down a run that is to start; return its id."""
        definition = defs.resolve_job_def(job)
        run_id = make_new_run_id()
        with _storage():
            self.instance.create_run_for_job(
                job_def=definition,
                run_id=run_id,
                run_config=dict(config),
                status=WAITING,
                tags={**definition.run_tags, "monarch/command": job, **process_tags(run_id)},
            )
        return run_id

    def read(self, run_id: str) -> RunAnswer | None:
        """Return how far a run is and what it came to; None where there is no such run of a job of Monarch's."""
        with _storage():
            run = self.instance.get_run_by_id(run_id)
            if run is None or run.job_name not in {job.name for job in JOBS}:
                return None
            entries = self.instance.all_logs(run_id, of_type=_TOLD) if run.is_finished else ()
        events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
        error = MonarchError("") if run.is_success or not run.is_finished else _failure(events)
        return describe_run(
            JobResult.read(run_id, events),
            job=run.job_name,
            state=_STATES.get(run.status, "STARTED"),
            link=self.link(run_id),
            error=error,
        )

    def link(self, run_id: str) -> str:
        """Return where the UI shows a run."""
        return f"{self.ui_url}/runs/{run_id}"

    def end(self, run_id: str, reason: str) -> None:
        """Have a run that no process works on any more end as failed; one that has ended is left as it is."""
        with _storage():
            run = self.instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                self.instance.report_run_failed(run, reason)


def execute(run_id: str) -> None:
    """Execute a run that was written down, to its end, as the command does; for the main thread of a process.

    Raises `Interrupted`, or `MonarchError` where the instance cannot be opened.
    """
    with quiet(), open_instance(Settings.load()) as instance, ending(instance, run_id):
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return  # deleted or cancelled in the UI while it waited
        # Until here it was the server's.
        instance.add_run_tags(run_id, process_tags(run_id))
        starting = dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name)
        instance.report_dagster_event(starting, run_id)
        run = run.with_status(dg.DagsterRunStatus.STARTING)
        for _ in execute_run_iterator(InMemoryJob(defs.resolve_job_def(run.job_name)), run, instance):
            pass


def describe_run(result: JobResult, *, job: str, state: RunState, link: str, error: MonarchError) -> RunAnswer:
    """Tell of a run what callers ask for first: of the generation where it is one, else of the target. Pure."""
    generated, applied = result.assets.get("revision_files", {}), result.assets.get("schema_state", {})
    head = generated.get("head")
    found = applied or generated
    return RunAnswer(
        run_id=result.run_id,
        job=job,
        status=state,
        link=link,
        summary="\n".join(each["summary"] for each in result.assets.values() if "summary" in each),
        version_before=applied.get("revision_before") or generated.get("head_before") or head,
        version_after=applied.get("revision_after") or head,
        path=generated.get("path"),
        revisions=[item["revision"] for item in applied.get("applied", [])] or generated.get("revisions", []),
        hazards=found.get("hazards", []),
        error=error.message,
        remedy=error.remedy,
        assets={name: dict(metadata) for name, metadata in result.assets.items()},
        checks={name: dict(metadata) for name, metadata in result.checks.items()},
    )


def _failure(events: Sequence[dg.DagsterEvent]) -> MonarchError:
    """Return what the step that failed says. What a defect says is left to the UI: it was not written to be told."""
    see = "See the run in the UI, at its link."
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return MonarchError.told(data.user_failure_data.description)
            if data.error is not None:
                kind = (data.error.cause or data.error).cls_name
                if kind in INTERRUPTS:
                    break
                return MonarchError(f"The run failed unexpectedly ({kind}).", remedy=f"{see} Report what it shows.")
    for event in events:
        if is_interrupt(event):
            return MonarchError(
                "The run was interrupted; what it had begun was taken back.",
                remedy="GET /status tells what was applied; then run again.",
            )
        if event.event_type is dg.DagsterEventType.RUN_FAILURE and event.message:
            return MonarchError(event.message, remedy=f"{see} GET /status tells what was applied; then run again.")
    return MonarchError("The run failed.", remedy=see)


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except (DagsterPostgresException, DBAPIError) as error:
        log.warning("Dagster's storage could not be reached: %s", type(error).__name__)
        raise StorageError(
            "Dagster's storage could not be reached.",
            remedy="Check that its server runs (DAGSTER_POSTGRES_URL; unset: the embedded one, which any monarch "
            "command starts), then call again.",
        ) from None
