"""Running a job from the command line, in process, in the same history that the UI shows."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.utils import make_new_run_id
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import DBAPIError

from monarch_dagster.defs.cancelling import heeding_cancels
from monarch_dagster.defs.dead_runs import process_tags, report_dead_runs, tell_reported
from monarch_dagster.defs.metadata import plain
from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted, uninterrupted
from monarch_dagster.settings import Settings

log = logging.getLogger(__name__)

_MODULE = "monarch_dagster.defs.storage"
_OWN_STORAGE: Any = {
    "storage": {"custom": {"module": _MODULE, "class": "MonarchStorage", "config": {}}},
    "compute_logs": {"module": _MODULE, "class": "MonarchComputeLogs", "config": {}},
    "local_artifact_storage": {"module": _MODULE, "class": "MonarchArtifacts", "config": {}},
    "telemetry": {"enabled": False},
}
INTERRUPTS = ("Interrupted", "DagsterExecutionInterruptedError")


@dataclass(frozen=True)
class JobResult:
    """A finished run: its id, and what each asset and check reported, as plain values."""

    run_id: str
    assets: Mapping[str, Mapping[str, Any]]
    checks: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, run_id: str, events: Iterable[dg.DagsterEvent]) -> JobResult:
        """Read what a run reported from its events; of others than materialisations and checks nothing is taken."""
        found = list(events)
        materialized = [
            event.step_materialization_data.materialization
            for event in found
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        ]
        checked = [
            event.asset_check_evaluation_data
            for event in found
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]
        return cls(
            run_id,
            assets={item.asset_key.to_user_string(): plain(item.metadata) for item in materialized},
            checks={
                item.check_name: {"passed": item.passed, "severity": item.severity.value, **plain(item.metadata)}
                | ({"remedy": ""} if item.passed else {})
                for item in checked
            },
        )


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the project's Dagster instance: `DAGSTER_HOME` where it is set, else `dagster.yaml` in the project root.

    Raises `MonarchError` when its storage cannot be reached.
    """
    try:
        if os.environ.get("DAGSTER_HOME"):
            return dg.DagsterInstance.get()
        home = settings.home / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        overrides = {} if (settings.root / "dagster.yaml").exists() else _OWN_STORAGE
        return dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(str(home), config_dir=str(settings.root), overrides=overrides)
        )
    except OSError as error:
        raise MonarchError(
            f"Dagster has no place for its files: {error.filename}: {error.strerror}.",
            remedy="Set MONARCH_HOME to a folder that can be written.",
        ) from None
    except (DagsterPostgresException, DBAPIError) as error:
        raise MonarchError(
            f"Dagster's storage could not be opened: {_reason(error)}",
            remedy="Check that the server runs and that DAGSTER_POSTGRES_URL is right, or unset it for the embedded "
            "server.",
        ) from None


def _reason(error: BaseException) -> str:
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    return str(getattr(cause, "orig", error)).strip().splitlines()[0]


def run_job(settings: Settings, name: str, config: Mapping[str, Any]) -> JobResult:
    """Run a job to its end.

    Raises `MonarchError` with the failed step's message, or `Interrupted` where the run was interrupted.
    """
    with uninterrupted():
        from monarch_dagster.definitions import defs

    run_id = make_new_run_id()
    with quiet(), open_instance(settings) as instance, ending(instance, run_id):
        if dead := report_dead_runs(instance):
            log.warning(tell_reported(dead))
        result = defs.resolve_job_def(name).execute_in_process(
            instance=instance,
            run_config=dict(config),
            raise_on_error=False,
            run_id=run_id,
            tags={"monarch/command": name} | process_tags(run_id),
        )
    if not result.success:
        raise _failure(result)
    return JobResult.read(result.run_id, result.all_events)


@contextlib.contextmanager
def ending(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """See that the run that goes on meanwhile ends when it is cancelled in the UI, and has an end in the history.

    Raises `Interrupted` then, and `MonarchError` where Dagster's storage went away.
    """
    try:
        with heeding_cancels(instance, run_id):
            yield
    except (Interrupted, dg.DagsterExecutionInterruptedError):
        # Dagster ends a run that has started by itself; one that has not would seem to wait for its start for ever.
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, "Interrupted before it started.")
        raise Interrupted from None
    except (DagsterPostgresException, DBAPIError) as error:
        raise MonarchError(
            f"Dagster's storage went away during the run {run_id}: {_reason(error)}",
            remedy="Was its server stopped (`monarch stop`)? What was applied is in the target's own ledger: see "
            "`monarch status`, then run again.",
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a run prints from the terminal; the UI shows it.

    People get Monarch's own lines, not those of Dagster's console logger, and `--json` prints nothing but its object.
    """
    # Real files: Dagster captures what a run prints by file descriptor.
    with (
        Path(os.devnull).open("w") as out,
        Path(os.devnull).open("w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        yield


def _failure(result: dg.ExecuteInProcessResult) -> BaseException:
    """Return what the step that failed says; without a description it is a defect, and the UI has the trace."""
    if any(is_interrupt(event) for event in result.all_events):
        return Interrupted()
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return MonarchError.told(data.user_failure_data.description)
        if data.error is not None:
            return MonarchError(
                f"The run {result.run_id} failed unexpectedly: {(data.error.cause or data.error).message.strip()}",
                remedy="See the run in the UI (monarch dev) for the stack trace, and report it.",
            )
    return MonarchError(f"The run {result.run_id} failed.", remedy="See the run in the UI (monarch dev).")


def is_interrupt(event: dg.DagsterEvent) -> bool:
    """Say whether a run ended here by an interrupt, in a step or between two."""
    if event.event_type is not dg.DagsterEventType.RUN_FAILURE:
        return event.event_type is dg.DagsterEventType.RUN_CANCELED
    # A run that was ended from outside has no data.
    error = event.job_failure_data.error if event.event_specific_data is not None else None
    return error is not None and error.cls_name in INTERRUPTS
