"""The three assets: `object_meta` → `revision_files` → `schema_state`. Each reads its config, calls one domain function
and reports; what they do belongs in `salesforce` and `migrations`."""

import logging
from typing import TYPE_CHECKING, cast

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
)
from monarch_dagster.defs.proposal import describe_proposal
from monarch_dagster.defs.provenance import made_from, observation, still_made_from
from monarch_dagster.defs.resources import MonarchResource, failing_clearly
from monarch_dagster.defs.sources import CORE_MODELS, GROUP, LIVE_SCHEMA, OWNERS, SALESFORCE_ORG, TAGS
from monarch_dagster.migrations.chain import Chain, load_chain, read_chain
from monarch_dagster.migrations.revisions import BASE, Revision

if TYPE_CHECKING:
    from sqlalchemy import URL

    from monarch_dagster.migrations.git_state import GitState
    from monarch_dagster.schema.desired import Sources
    from monarch_dagster.settings import Settings

log = logging.getLogger(__name__)

SOURCES_DIGEST = "sources_digest"
# To be changed where an asset makes something else of the same inputs: what is there is stale then.
CODE_VERSION = "1"


@dg.asset(
    deps=[SALESFORCE_ORG],
    kinds={"salesforce", "json"},
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    code_version=CODE_VERSION,
)
def object_meta(
    context: dg.AssetExecutionContext, config: ObjectMetaConfig, monarch: MonarchResource
) -> dg.MaterializeResult[None]:
    """The objects and fields of the client's Salesforce org, in `object_meta.json`.

    - **Reads** the org's describes, 25 objects a call; with `fetch` off, the file as it stands.
    - **Writes** the file whole and sorted, so that git shows a change list; an unchanged org gives the same bytes.
    - **Materialise it** when the org changed. The sensor `salesforce_org`, off by default, does so by itself.
    - **Stored data** is not touched. What the org no longer shows is kept and marked missing; only a person deletes it.
    - **Then look at** `changes`, and at `warnings`: types kept by choice that the org's values have outgrown.
    """
    from monarch_dagster.salesforce.fetch import fetch_from
    from monarch_dagster.salesforce.guards import Guards
    from monarch_dagster.salesforce.object_meta import ObjectMeta, digest, read_object_meta

    with failing_clearly():
        settings = monarch.settings()
        path = settings.sources.object_meta_path
        metadata: Metadata = {"summary": "Not fetched; the file is used as it is."}
        tags = still_made_from(context.instance, "object_meta", SALESFORCE_ORG)
        if config.fetch:
            guards = Guards(config.other_org, config.lower_api_version, config.max_missing_percent)
            result = fetch_from(settings.salesforce, path, objects=config.objects, guards=guards, home=settings.home)
            metadata = describe_fetch(result)
            if result.org_digest:
                context.log_event(observation(SALESFORCE_ORG, result.org_digest))
                tags = made_from(SALESFORCE_ORG, result.org_digest)
        meta = read_object_meta(path) or ObjectMeta()
        return dg.MaterializeResult(
            data_version=dg.DataVersion(digest(path) or "none"),
            metadata=metadata | describe_object_meta(meta, path),
            tags=tags,
        )


@dg.asset(
    deps=[object_meta, CORE_MODELS],
    kinds={"python", "sql"},
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    code_version=CODE_VERSION,
)
def revision_files(
    context: dg.AssetExecutionContext, config: RevisionFilesConfig, monarch: MonarchResource
) -> dg.MaterializeResult[None]:
    """Alembic revisions that take the database from the chain's head to what the schema files ask for.

    - **Reads** the core models, `object_meta.json` and the revisions; the difference is taken on a shadow database.
    - **Writes** files into `versions/`, each once it has run up, down and up again there; with `generate` off, none.
    - **Materialise it** when a source changed. The sensor `schema_files` does so by itself.
    - **Stored data** is not touched. A proposal that nobody edited, committed or applied is replaced by the next one.
    - **Then look at** `changes`, `hazards` and the SQL both ways; open the file, adjust it, commit it with its source.
    """
    from monarch_dagster.migrations.generate import propose
    from monarch_dagster.migrations.superseding import OpenProposals

    with failing_clearly():
        settings = monarch.settings()
        sources, target = settings.sources, settings.target_url()
        metadata: Metadata = {"summary": "Not generated; the revisions are used as they are."}
        tags = still_made_from(context.instance, "revision_files", "object_meta", CORE_MODELS)
        if config.generate:
            read = sources.digests()
            git = _look_around(sources, target)
            proposal = propose(
                sources,
                settings.shadows(),
                settings.proofs(),
                message=config.message,
                dry_run=config.dry_run,
                open_proposals=OpenProposals(target),
            )
            metadata = describe_proposal(proposal, dry_run=config.dry_run) | describe_git(git)
            if not config.dry_run:
                metadata[SOURCES_DIGEST] = read.all
                context.log_event(observation(CORE_MODELS, read.core_models))
                tags = made_from(CORE_MODELS, read.core_models) | made_from("object_meta", read.object_meta or "none")
        chain = load_chain(sources.schema_dir)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(chain.key(chain.head)),
            metadata=metadata | {"files": len(chain.revisions)},
            tags=tags,
        )


def _look_around(sources: "Sources", target: "URL") -> "GitState":
    """Warn of what a revision that is generated now would overlook, on the target and in git; return git's part."""
    from monarch_dagster.migrations.beside import files_to_mend
    from monarch_dagster.migrations.git_state import read_git

    chain = load_chain(sources.schema_dir)
    if wrong := files_to_mend(chain, target):
        log.warning("%s Generated beside such files, a revision may be a wrong one.", wrong)
    git = read_git(sources, chain)
    for line in filter(None, (git.commit, git.merge)):
        log.warning("%s", line)
    return git


@dg.asset(
    deps=[revision_files, LIVE_SCHEMA],
    kinds={"postgres", "sql"},
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    code_version=CODE_VERSION,
)
def schema_state(
    context: dg.AssetExecutionContext, config: SchemaStateConfig, monarch: MonarchResource
) -> dg.MaterializeResult[None]:
    """The target database at a revision of the chain, as `alembic.alembic_version` says.

    - **Reads** the revisions, and the ledger that the target keeps of what was applied.
    - **Writes** to the target: pending revisions, each in a transaction of its own, under one lock for the target.
    - **Materialise it** after a review. A revision that this very run has written waits for one, or for `apply_new`.
    - **Stored data** stays with what is kept. What a revision drops or cuts goes only where the run names the revision.
    - **Then look at** `revision_after`, `pending_revisions` and the checks. A run that was cut off is simply run again.
    """
    with failing_clearly():
        step = {"revert": _revert, "adopt": _adopt}.get(config.direction, _apply)
        return step(context, config, monarch.settings())


def _revert(
    context: dg.AssetExecutionContext, config: SchemaStateConfig, settings: "Settings"
) -> dg.MaterializeResult[None]:
    from monarch_dagster.migrations.apply import revert_revisions

    # What was applied is in the ledger: a chain that is broken meanwhile does not keep it from being reverted.
    chain, url = read_chain(settings.sources.schema_dir), settings.target_url()
    losing, run = config.allow_data_loss, context.run.run_id
    result = revert_revisions(chain, url, settings.sources, to=config.target, allow_data_loss=losing, run=run)
    return _state(context, chain, url, describe_apply(result, dry_run=False), result.after)


def _adopt(
    context: dg.AssetExecutionContext, config: SchemaStateConfig, settings: "Settings"
) -> dg.MaterializeResult[None]:
    from monarch_dagster.migrations.adopt import adopt

    chain, url = load_chain(settings.sources.schema_dir), settings.target_url()
    adoption = adopt(chain, url, settings.shadows(), dry_run=config.dry_run, run=context.run.run_id)
    after = adoption.after if adoption.written else adoption.before
    return _state(context, chain, url, describe_adoption(adoption), after)


def _apply(
    context: dg.AssetExecutionContext, config: SchemaStateConfig, settings: "Settings"
) -> dg.MaterializeResult[None]:
    from monarch_dagster.migrations.apply import apply_revisions

    chain, url = load_chain(settings.sources.schema_dir), settings.target_url()
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
        run=context.run.run_id,
    )
    metadata = describe_apply(result, dry_run=config.dry_run, held_back=held_back)
    return _state(context, chain, url, metadata, result.after)


def _state(
    context: dg.AssetExecutionContext, chain: Chain, url: "URL", metadata: Metadata, revision: str | None
) -> dg.MaterializeResult[None]:
    """Report where the target stands: made from the files up to its revision, so that pending ones make it stale."""
    from monarch_dagster.migrations.drift import live_version
    from monarch_dagster.postgres.engines import display

    live, _ = live_version(url)
    known = {None, *(item.revision for item in chain.revisions)}
    files = chain.key(revision) if revision in known else f"unknown {revision}"
    context.log_event(observation(LIVE_SCHEMA, live))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(revision or BASE),
        # Several projects may share a history, the demo's and the client's for one.
        metadata=metadata | {"target": display(url), "versions": dg.MetadataValue.path(str(chain.directory))},
        tags=made_from(LIVE_SCHEMA, live) | made_from("revision_files", files),
    )


def _written_in_run(context: dg.AssetExecutionContext, chain: Chain) -> tuple[Revision, ...]:
    """Return the chain from the first revision on that `revision_files` wrote earlier in this very run."""
    events = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    metadata = [event.asset_materialization.metadata for event in events if event.asset_materialization]
    names = [name for found in metadata if REVISIONS in found for name in cast("list[str]", found[REVISIONS].value)]
    written = chain.only(names)
    return chain.after(written[0].down_revision) if written else ()
