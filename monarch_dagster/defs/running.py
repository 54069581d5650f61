"""Running a job from the command line, in process, in the same history that the UI shows."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from monarch_dagster.defs.metadata import plain
from monarch_dagster.errors import MonarchError
from monarch_dagster.settings import Settings

_STORAGE = {"custom": {"module": "monarch_dagster.defs.storage", "class": "MonarchStorage", "config": {}}}


@dataclass(frozen=True)
class JobResult:
    """A finished run: its id, and what each asset and check reported, as plain values."""

    run_id: str
    assets: Mapping[str, Mapping[str, Any]]
    checks: Mapping[str, Mapping[str, Any]]


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the project's Dagster instance: `DAGSTER_HOME` where it is set, else `dagster.yaml` in the project root."""
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    overrides: Any = {} if (settings.root / "dagster.yaml").exists() else {"storage": _STORAGE}
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(home), config_dir=str(settings.root), overrides=overrides)
    )


def run_job(settings: Settings, name: str, config: Mapping[str, Any]) -> JobResult:
    """Run a job to its end. Raises `MonarchError` with the failed step's message where it fails."""
    from monarch_dagster.definitions import defs

    # Dagster's console logger writes to stderr; people get Monarch's own lines there, and the UI has the rest.
    noise = io.StringIO()
    with contextlib.redirect_stderr(noise), open_instance(settings) as instance:
        result = defs.resolve_job_def(name).execute_in_process(
            instance=instance, run_config=dict(config), raise_on_error=False, tags={"monarch/command": name}
        )
    if not result.success:
        raise _failure(result)
    materializations = [
        materialization
        for node in ("object_meta", "revision_files", "schema_state")
        for materialization in result.asset_materializations_for_node(node)
        if result.job_def.has_node_named(node)
    ]
    checks = {
        item.check_name: {"passed": item.passed, **plain(item.metadata)}
        for item in result.get_asset_check_evaluations()
    }
    return JobResult(
        result.run_id, {item.asset_key.to_user_string(): plain(item.metadata) for item in materializations}, checks
    )


def _failure(result: dg.ExecuteInProcessResult) -> MonarchError:
    """Return the message of the step that failed; without a description it is a defect, and the UI has the trace."""
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return MonarchError(data.user_failure_data.description)
        if data.error is not None:
            return MonarchError(
                f"The run {result.run_id} failed unexpectedly: {data.error.message.strip()}",
                remedy="See the run in the UI (monarch dev) for the stack trace, and report it.",
            )
    return MonarchError(f"The run {result.run_id} failed.", remedy="See the run in the UI (monarch dev).")
