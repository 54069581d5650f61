"""What the tests of the Dagster layer share: runs, ticks and what they report. No tests."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.loader import LoadingContext

from monarch_dagster.definitions import defs
from monarch_dagster.defs.metadata import plain


def run(
    instance: dg.DagsterInstance, job: str, config: dict[str, Any] | None = None, *, checks: bool = True, **tags: str
) -> dg.ExecuteInProcessResult:
    """Run a job of the code location to its end, as it may; without its checks, which take longer than it, if asked."""
    definition = defs.resolve_job_def(job)
    if not checks:
        keys = frozenset(definition.asset_layer.selected_asset_keys)
        definition = definition.get_subset(asset_selection=keys, asset_check_selection=frozenset())
    return definition.execute_in_process(run_config=config or {}, instance=instance, raise_on_error=False, tags=tags)


def materialize(
    instance: dg.DagsterInstance, *assets: str, config: dict[str, Any] | None = None, run_id: str | None = None
) -> dg.ExecuteInProcessResult:
    """Materialise assets (all three by default) as the UI does it without a job, with their checks."""
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_id=run_id,
        asset_selection=[dg.AssetKey(name) for name in assets or ("object_meta", "revision_files", "schema_state")],
        run_config={"ops": {name: {"config": value} for name, value in (config or {}).items()}},
    )


def reported(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Return what each asset reported, as plain values."""
    events = result.get_asset_materialization_events()
    return {event.materialization.asset_key.to_user_string(): plain(event.materialization.metadata) for event in events}


def checked(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Return which checks ran and whether they passed."""
    return {item.check_name: item.passed for item in result.get_asset_check_evaluations()}


def failure(result: dg.ExecuteInProcessResult) -> dg.StepFailureData:
    """Return what the one step that failed says."""
    assert not result.success
    (event,) = [event for event in result.get_step_failure_events() if event.step_failure_data.user_failure_data]
    return event.step_failure_data


def description(result: dg.ExecuteInProcessResult) -> str:
    """Return the message of the one step that failed."""
    data = failure(result).user_failure_data
    assert data is not None
    return str(data.description)


def tick(instance: dg.DagsterInstance, cursor: str | None, sensor: str = "schema_files") -> SensorExecutionData:
    """Evaluate a sensor once, and report the events that it gives, as the daemon does."""
    definition = defs.resolve_sensor_def(sensor)
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=dict(defs.resources or {})) as context:
        found = definition.evaluate_tick(context)
    for event in found.asset_events:
        instance.report_runless_asset_event(event)
    return found


def run_asked_for(
    instance: dg.DagsterInstance, found: SensorExecutionData, sensor: str = "schema_files"
) -> dg.ExecuteInProcessResult:
    """Run what a tick of a sensor asked for to its end, as it may; it must be one run."""
    (request,) = found.run_requests or []
    job = defs.resolve_sensor_def(sensor).job_name
    return run(instance, job, dict(request.run_config), checks=False, **request.tags)


def stale(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Return the assets that the UI shows as stale, with its reasons."""
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))
    found = {key: resolver.get_stale_causes(key) for key in graph.materializable_asset_keys}
    return {key.to_user_string(): [cause.reason for cause in causes] for key, causes in found.items() if causes}


class _Loading(LoadingContext):
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, self._loaders = instance, dict[Any, Any]()

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict[Any, Any]:
        return self._loaders
