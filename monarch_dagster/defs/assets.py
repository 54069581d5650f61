"""The three assets: `object_meta` → `revision_files` → `schema_state`. Each reads its config, calls one domain function
and reports; what they do belongs in `salesforce` and `migrations`."""

import logging
from typing import cast

import dagster as dg

from monarch_dagster.defs.config import ObjectMetaConfig, RevisionFilesConfig, SchemaStateConfig
from monarch_dagster.defs.metadata import (
    REVISIONS,
    Metadata,
    describe_adoption,
    describe_apply,
    describe_fetch,
    describe_git,
    describe_object_meta,
    describe_proposal,
)
from monarch_dagster.defs.resources import MonarchResource, failing_clearly
from monarch_dagster.migrations.chain import Chain, load_chain, read_chain
from monarch_dagster.migrations.revisions import Revision

log = logging.getLogger(__name__)

GROUP = "provider_schema"
SOURCES_DIGEST = "sources_digest"


@dg.asset(group_name=GROUP, kinds={"salesforce", "json"})
def object_meta(config: ObjectMetaConfig, monarch: MonarchResource) -> dg.MaterializeResult[None]:
    """The objects and fields of the client's Salesforce org, in `object_meta.json`.

    Fetched from the org, or, with `fetch` off, taken as the file stands. What the org no longer shows is kept and
    marked missing; only a person deletes an entry.
    """
    from monarch_dagster.salesforce.fetch import fetch_from
    from monarch_dagster.salesforce.guards import Guards
    from monarch_dagster.salesforce.object_meta import ObjectMeta, digest, read_object_meta

    with failing_clearly():
        settings = monarch.settings()
        path = settings.sources.object_meta_path
        metadata: Metadata = {"summary": "Not fetched; the file is used as it is."}
        if config.fetch:
            guards = Guards(config.other_org, config.lower_api_version, config.max_missing_percent)
            result = fetch_from(settings.salesforce, path, objects=config.objects, guards=guards, home=settings.home)
            metadata = describe_fetch(result)
        meta = read_object_meta(path) or ObjectMeta()
        return dg.MaterializeResult(
            data_version=dg.DataVersion(digest(path) or "none"),
            metadata=describe_object_meta(meta, path) | metadata,
        )


@dg.asset(deps=[object_meta], group_name=GROUP, kinds={"python", "sql"})
def revision_files(config: RevisionFilesConfig, monarch: MonarchResource) -> dg.MaterializeResult[None]:
    """Alembic revisions that take the database from the chain's head to what the schema files ask for.

    The difference is taken on a shadow database, never on the target, and every revision has run up, down and up again
    there before its file is written. With `generate` off, the files are taken as they stand.
    """
    from monarch_dagster.migrations.beside import files_to_mend
    from monarch_dagster.migrations.generate import propose
    from monarch_dagster.migrations.git_state import read_git

    with failing_clearly():
        settings = monarch.settings()
        sources = settings.sources
        metadata: Metadata = {"summary": "Not generated; the revisions are used as they are."}
        if config.generate:
            sources_digest = sources.digest()
            before = load_chain(sources.schema_dir)
            if wrong := files_to_mend(before, settings.target_url()):
                log.warning("%s Generated beside such files, a revision may be a wrong one.", wrong)
            git = read_git(sources, before)
            for line in filter(None, (git.commit, git.merge)):
                log.warning("%s", line)
            proposal = propose(
                sources, settings.shadows(), settings.proofs(), message=config.message, dry_run=config.dry_run
            )
            metadata = describe_proposal(proposal, dry_run=config.dry_run) | describe_git(git)
            if not config.dry_run:
                metadata[SOURCES_DIGEST] = sources_digest
        chain = load_chain(sources.schema_dir)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(chain.key(chain.head)), metadata={"files": len(chain.revisions)} | metadata
        )


@dg.asset(deps=[revision_files], group_name=GROUP, kinds={"postgres", "sql"})
def schema_state(
    context: dg.AssetExecutionContext, config: SchemaStateConfig, monarch: MonarchResource
) -> dg.MaterializeResult[None]:
    """The target database at a revision of the chain, as `alembic.alembic_version` says.

    Pending revisions are applied, each in a transaction of its own, under one lock for the target. A revision that this
    very run has written waits for a review, unless the run says otherwise. Stored values are lost only by name.
    """
    from monarch_dagster.migrations.adopt import adopt
    from monarch_dagster.migrations.apply import apply_revisions, revert_revisions

    with failing_clearly():
        settings = monarch.settings()
        run, url = context.run.run_id, settings.target_url()
        if config.direction == "revert":
            # What was applied is in the ledger: a chain that is broken meanwhile does not keep it from being reverted.
            chain = read_chain(settings.sources.schema_dir)
            losing = config.allow_data_loss
            result = revert_revisions(chain, url, settings.sources, to=config.target, allow_data_loss=losing, run=run)
            return _state(describe_apply(result, dry_run=False), result.after)
        chain = load_chain(settings.sources.schema_dir)
        if config.direction == "adopt":
            adoption = adopt(chain, url, settings.shadows(), dry_run=config.dry_run, run=run)
            return _state(describe_adoption(adoption), adoption.after if adoption.written else adoption.before)
        held_back = () if config.apply_new else _written_in_run(context, chain)
        result = apply_revisions(
            chain.without(held_back),
            url,
            settings.prover(),
            to=config.target,
            expected_version=config.expected_version,
            allow_data_loss=config.allow_data_loss,
            allow_unproved=config.allow_unproved,
            lock_timeout_seconds=config.lock_timeout_seconds,
            dry_run=config.dry_run,
            run=run,
        )
        return _state(describe_apply(result, dry_run=config.dry_run, held_back=held_back), result.after)


def _state(metadata: Metadata, revision: str | None) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(data_version=dg.DataVersion(revision or "base"), metadata=metadata)


def _written_in_run(context: dg.AssetExecutionContext, chain: Chain) -> tuple[Revision, ...]:
    """Return the chain from the first revision on that `revision_files` wrote earlier in this very run."""
    events = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    metadata = [event.asset_materialization.metadata for event in events if event.asset_materialization]
    names = [name for found in metadata if REVISIONS in found for name in cast("list[str]", found[REVISIONS].value)]
    written = chain.only(names)
    return chain.after(written[0].down_revision) if written else ()
