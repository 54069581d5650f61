"""The sensor `schema_files`: proposes a migration when a source changed. The decision is a pure function."""

from dataclasses import dataclass

import dagster as dg

from monarch_dagster.defs.assets import SOURCES_DIGEST, object_meta, revision_files, schema_state
from monarch_dagster.defs.jobs import JOBS, generate_migrations
from monarch_dagster.defs.resources import MonarchResource
from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import load_chain

ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in ENDED]
ASSET_KEYS = {object_meta.key, revision_files.key, schema_state.key}


@dataclass(frozen=True)
class Decision:
    """What a tick does: propose, or skip for a reason; and whether this content is dealt with by that."""

    propose: bool
    reason: str
    settled: bool


def decide(*, digest: str, generated: str, chain_empty: bool, running: str) -> Decision:
    """Decide whether sources that changed since the last tick that dealt with them call for a proposal.

    Args:
        digest: of the sources as they are now.
        generated: of the sources that the latest generation saw, "" for none.
        chain_empty: whether there is no revision yet.
        running: what a Monarch run that has not ended is called, "" for none.
    """
    if chain_empty:
        return Decision(False, "There is no revision yet: run setup_provider_schema with generate on first.", False)
    if running:
        return Decision(False, f"The schema files changed; waiting for {running} to end.", False)
    if digest == generated:
        return Decision(False, "Migrations were generated from these schema files already.", True)
    return Decision(True, "", True)


@dg.sensor(
    job=generate_migrations,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Proposes a migration, once per content, when a models file or object_meta.json changed.",
)
def schema_files(context: dg.SensorEvaluationContext, monarch: MonarchResource) -> dg.SensorResult:
    """Look at the contents of the schema files; a read that fails is a skip with its reason, never a change."""
    settled = context.cursor or ""
    try:
        sources = monarch.settings().sources
        digest = sources.digest()
        if digest == settled:
            return dg.SensorResult(skip_reason="The schema files have not changed.", cursor=settled)
        chain = load_chain(sources.schema_dir)
        chain.check_linear()
    except (MonarchError, OSError) as error:
        return dg.SensorResult(skip_reason=str(error), cursor=settled)
    decision = decide(
        digest=digest,
        generated=_generated(context.instance),
        chain_empty=not chain.revisions,
        running=_running(context.instance),
    )
    # No run key, which would count for ever: with the cursor Dagster stores the run's id before it is launched.
    return dg.SensorResult(
        run_requests=[dg.RunRequest()] if decision.propose else None,
        skip_reason=None if decision.propose else decision.reason,
        cursor=digest if decision.settled else settled,
    )


def _generated(instance: dg.DagsterInstance) -> str:
    event = instance.get_latest_materialization_event(revision_files.key)
    found = event.asset_materialization.metadata.get(SOURCES_DIGEST) if event and event.asset_materialization else None
    return str(found.value) if found is not None else ""


def _running(instance: dg.DagsterInstance) -> str:
    jobs = {job.name for job in JOBS}
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if run.job_name in jobs or ASSET_KEYS & (run.asset_selection or set()):
            name = run.job_name if run.job_name in jobs else "a materialization"
            return f"{name} (run {run.run_id[:8]})"
    return ""
