"""The sensors: `schema_files` proposes a migration when a source changed, `salesforce_org` fetches when the org did.

Each tick looks at contents, never at times, and what it cannot read is a skip with its reason. What follows from what
was seen is decided by a pure function. The cursor holds the content that was dealt with; whether a run that a tick
asked for has failed is asked of the instance, so that a restart of the daemon forgets nothing.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from monarch_dagster.defs.assets import SOURCES_DIGEST, object_meta, revision_files, schema_state
from monarch_dagster.defs.dead_runs import report_dead_runs, tell_reported
from monarch_dagster.defs.jobs import JOBS, fetch_object_meta, generate_migrations
from monarch_dagster.defs.provenance import observation, of_version, still_made_from, version_of
from monarch_dagster.defs.resources import Monarch, MonarchResource
from monarch_dagster.defs.sources import CORE_MODELS, SALESFORCE_ORG
from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import load_chain

ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in ENDED]
ASSET_KEYS = {object_meta.key, revision_files.key, schema_state.key}
# The content that a run was asked for, so that its failures can be counted.
CONTENT_TAG = "monarch/content"
MOST_ATTEMPTS = 5
FIRST_WAIT_SECONDS = 60
ORG_SECONDS = 3600


@dataclass(frozen=True)
class Attempts:
    """The runs that were asked for a content: how many failed, and when the last one did (Unix time).

    `done` says that one has come to its end otherwise: it succeeded, or a person cancelled it.
    """

    failed: int = 0
    last_failed: float = 0.0
    done: bool = False


@dataclass(frozen=True)
class Decision:
    """What a tick does: ask for a run, or skip for a reason; and whether this content is dealt with for good."""

    run: bool
    reason: str
    settled: bool = False


@dataclass(frozen=True)
class Seen:
    """A sensor's cursor: the content that it dealt with, the one that it asked runs for, the core models it told of.

    `asked` ends with the time of the first of those runs: a content may come back later.
    """

    settled: str = ""
    asked: str = ""
    core_models: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "Seen":
        """Read a cursor; one that was reset by hand, or is of another form, has seen nothing."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()

    def write(self) -> str:
        """Return it as a cursor."""
        return json.dumps(asdict(self))


def decide(*, content: str, running: str, attempts: Attempts, now: float, obstacle: str = "") -> Decision:
    """Decide whether a content that is not dealt with calls for a run.

    Args:
        content: what changed, in words.
        running: what a Monarch run that has not ended is called, "" for none.
        attempts: the runs that were asked for this very content.
        now: Unix time.
        obstacle: why no run could do it now, "" for nothing.
    """
    if attempts.done:
        return Decision(False, f"{content}: the last run took this content already.", settled=True)
    if obstacle:
        return Decision(False, obstacle)
    if running:
        return Decision(False, f"{content} changed; waiting for {running} to end.")
    if attempts.failed >= MOST_ATTEMPTS:
        return Decision(
            False,
            f"{content} changed, and {attempts.failed} runs for it failed: read the last one's message. It is tried "
            "again when the content changes, or by hand.",
        )
    if attempts.failed:
        wait = FIRST_WAIT_SECONDS * 2 ** (attempts.failed - 1)
        left = attempts.last_failed + wait - now
        if left > 0:
            return Decision(False, f"{content} changed, and the run for it failed; tried again in {left:.0f} s.")
    return Decision(True, "")


@dg.sensor(
    job=generate_migrations,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Proposes a migration, once per content, when a models file or object_meta.json changed. What was "
    "proposed before and nobody has edited, committed or applied goes with it. A run that failed is made again, up to "
    f"{MOST_ATTEMPTS} times, after {FIRST_WAIT_SECONDS} s and then ever later.",
)
def schema_files(context: dg.SensorEvaluationContext, monarch: MonarchResource) -> dg.SensorResult:
    """Look at the contents of the schema files."""
    seen = Seen.read(context.cursor)
    if dead := report_dead_runs(context.instance):  # else it would wait for them
        context.log.warning(tell_reported(dead))
    try:
        sources = monarch.settings().sources
        digests = sources.digests()
        if digests.all == seen.settled:
            return dg.SensorResult(skip_reason="The schema files have not changed.", cursor=seen.write())
        chain = load_chain(sources.schema_dir)
        chain.check_linear()
    except (MonarchError, OSError) as error:
        return dg.SensorResult(skip_reason=str(error), cursor=seen.write())
    running = _running(context.instance)
    events: list[dg.AssetObservation | dg.AssetMaterialization] = []
    if digests.core_models != seen.core_models:
        events.append(observation(CORE_MODELS, digests.core_models, {"module": sources.core_models}))
        seen = replace(seen, core_models=digests.core_models)
    if not running:  # it may have written the file, and not said so yet
        events += _edited_by_hand(context.instance, sources.object_meta_path, digests.object_meta)
    obstacle = ""
    if not chain.revisions:
        obstacle = "There is no revision yet: run setup_provider_schema with generate on first."
    elif not os.access(chain.directory, os.W_OK):
        obstacle = f"The schema files changed, and {chain.directory} cannot be written: nothing can be proposed here."
    generated = digests.all == _generated(context.instance)
    attempts = Attempts(done=True) if generated else _attempts(context.instance, digests.all, seen)
    decision = decide(
        content="The schema files",
        running=running,
        attempts=attempts,
        now=time.time(),
        obstacle=obstacle,
    )
    return _result(decision, digests.all, seen, events)


@dg.sensor(
    job=fetch_object_meta,
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=ORG_SECONDS,
    name="salesforce_org",
    description="Fetches when the org changed in what bears on the schema. A look takes one call for 25 objects (63 "
    "for 1,500) of those that the org allows in a day, and none once SALESFORCE_MAX_API_USAGE is used up.",
)
def salesforce_org_changes(context: dg.SensorEvaluationContext, monarch: MonarchResource) -> dg.SensorResult:
    """Look at the org, without writing anything."""
    seen = Seen.read(context.cursor)
    if running := _running(context.instance):
        return dg.SensorResult(skip_reason=f"Waiting for {running} to end.", cursor=seen.write())
    try:
        digest, changed = _look_at_org(monarch)
    except (MonarchError, OSError) as error:
        return dg.SensorResult(skip_reason=str(error), cursor=seen.write())
    events = [observation(SALESFORCE_ORG, digest)]
    if not changed or digest == seen.settled:
        reason = "The org has not changed in what bears on the schema."
        return dg.SensorResult(skip_reason=reason, cursor=replace(seen, settled=digest).write(), asset_events=events)
    attempts = _attempts(context.instance, digest, seen)
    decision = decide(content="The org", running="", attempts=attempts, now=time.time())
    return _result(decision, digest, seen, events)


def _look_at_org(monarch: Monarch) -> tuple[str, bool]:
    """Return a digest of the org, and whether a fetch would write something else than what is there."""
    from monarch_dagster.salesforce.fetch import fetch_from

    settings = monarch.settings()
    path = settings.sources.object_meta_path
    result = fetch_from(settings.salesforce, path, home=settings.home, dry_run=True)
    return result.org_digest, result.written


def _result(
    decision: Decision,
    content: str,
    seen: Seen,
    events: Sequence[dg.AssetObservation | dg.AssetMaterialization],
) -> dg.SensorResult:
    if decision.settled:
        seen = replace(seen, settled=content)
    if decision.run and not seen.asked.startswith(content):
        # What was settled before is a change again, should it come back.
        seen = replace(seen, settled="", asked=f"{content} {time.time():.0f}")
    # No run key, which would count for ever: with the cursor Dagster stores the run's id before it is launched.
    return dg.SensorResult(
        run_requests=[dg.RunRequest(tags={CONTENT_TAG: seen.asked})] if decision.run else None,
        skip_reason=None if decision.run else decision.reason,
        cursor=seen.write(),
        asset_events=list(events),
    )


def _edited_by_hand(instance: dg.DagsterInstance, path: Path, digest: str) -> list[dg.AssetMaterialization]:
    """Return what a person made of `object_meta.json`, where its content is not that of the last materialization."""
    if not digest or digest == version_of(instance, "object_meta"):
        return []
    tags = still_made_from(instance, "object_meta", SALESFORCE_ORG)
    metadata: dict[str, Any] = {
        "summary": "Edited by hand, or brought by git.",
        "path": dg.MetadataValue.path(str(path)),
    }
    return [dg.AssetMaterialization(object_meta.key, metadata=metadata, tags=of_version(digest) | tags)]


def _attempts(instance: dg.DagsterInstance, content: str, seen: Seen) -> Attempts:
    """Ask what came of the runs that were asked for since a content was seen."""
    if not seen.asked.startswith(content):
        return Attempts()
    runs = instance.get_run_records(dg.RunsFilter(tags={CONTENT_TAG: seen.asked}), limit=MOST_ATTEMPTS)
    failed = [item for item in runs if item.dagster_run.status is dg.DagsterRunStatus.FAILURE]
    done = any(item.dagster_run.status in ENDED for item in runs if item not in failed)
    return Attempts(len(failed), max((item.end_time or 0.0 for item in failed), default=0.0), done)


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


SENSORS = [schema_files, salesforce_org_changes]
