"""The sensor `schema_files`: proposes a migration when a source changed. The decision is a pure function."""

from dataclasses import dataclass

import dagster as dg

from monarch_dagster.defs.assets import SOURCES_DIGEST, revision_files
from monarch_dagster.defs.jobs import JOBS, generate_migrations
from monarch_dagster.defs.resources import MonarchResource
from monarch_dagster.errors import MonarchError

UNFINISHED = [
    status for status in dg.DagsterRunStatus if status.name in ("QUEUED", "NOT_STARTED", "STARTING", "STARTED")
]


@dataclass(frozen=True)
class Decision:
    """What a tick does: propose, or skip for a reason; and whether this content is then dealt with."""

    propose: bool
    reason: str
    settled: bool


def decide(*, digest: str, settled: str, generated: str, chain_empty: bool, running: str) -> Decision:
    """Decide whether the sources, which have `digest`, call for a proposal.

    Args:
        digest: of the sources as they are now.
        settled: of the sources that an earlier tick dealt with, "" for none.
        generated: of the sources that the latest generation saw, "" for none.
        chain_empty: whether there is no revision yet.
        running: the name of a Monarch job that has not finished, "" for none.
    """
    if digest == settled:
        return Decision(False, "The schema files have not changed.", True)
    if chain_empty:
        return Decision(False, "There is no revision yet: run setup_provider_schema with generate on first.", False)
    if running:
        return Decision(False, f"The schema files changed; waiting for {running} to finish.", False)
    if digest == generated:
        return Decision(False, "Migrations were generated from these schema files already.", True)
    return Decision(True, "The schema files changed.", True)


@dg.sensor(
    job=generate_migrations,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Proposes a migration, once per content, when a models file or object_meta.json changed.",
)
def schema_files(context: dg.SensorEvaluationContext, monarch: MonarchResource) -> dg.SensorResult:
    """Look at the contents of the schema files; a read that fails is a skip with its reason, never a change."""
    from monarch_dagster.migrations.chain import load_chain

    try:
        sources = monarch.settings().sources
        digest, chain = sources.digest(), load_chain(sources.schema_dir)
    except MonarchError as error:
        return dg.SensorResult(skip_reason=dg.SkipReason(str(error)), cursor=context.cursor)
    decision = decide(
        digest=digest,
        settled=context.cursor or "",
        generated=_generated(context.instance),
        chain_empty=not chain.revisions,
        running=_running(context.instance),
    )
    cursor = digest if decision.settled else context.cursor
    if not decision.propose:
        return dg.SensorResult(skip_reason=dg.SkipReason(decision.reason), cursor=cursor)
    # The chain is part of the key: a key counts for ever, and a source may come back to what it was.
    heads = "-".join(chain.heads)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{digest}:{heads}")], cursor=cursor)


def _generated(instance: dg.DagsterInstance) -> str:
    event = instance.get_latest_materialization_event(revision_files.key)
    found = event.asset_materialization.metadata.get(SOURCES_DIGEST) if event and event.asset_materialization else None
    return str(found.value) if found is not None else ""


def _running(instance: dg.DagsterInstance) -> str:
    names = {job.name for job in JOBS} | {"__ASSET_JOB"}
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=50)
    return next((run.job_name for run in runs if run.job_name in names), "")
