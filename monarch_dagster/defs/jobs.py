"""The jobs of DESIGN section 5: which assets, with which flat config."""

from __future__ import annotations

import dagster as dg

from monarch_dagster.defs import config
from monarch_dagster.defs.assets import object_meta, revision_files, schema_state
from monarch_dagster.defs.dead_runs import NO_RETRY

setup_provider_schema = dg.define_asset_job(
    "setup_provider_schema",
    dg.AssetSelection.assets(object_meta, revision_files, schema_state),
    config=config.setup_mapping,
    tags=NO_RETRY,
    description="The whole way: fetch and generate as the toggles say, then apply. Both off: the local install.",
)
fetch_object_meta = dg.define_asset_job(
    "fetch_object_meta",
    dg.AssetSelection.assets(object_meta),
    config=config.fetch_mapping,
    tags=NO_RETRY,
    description="Write object_meta.json from the Salesforce org.",
)
generate_migrations = dg.define_asset_job(
    "generate_migrations",
    dg.AssetSelection.assets(object_meta, revision_files) | dg.AssetSelection.checks_for_assets(schema_state),
    config=config.generate_mapping,
    tags=NO_RETRY,
    description="Propose revisions for what changed in the schema files, for review. Nothing is applied.",
)
run_migrations = dg.define_asset_job(
    "run_migrations",
    dg.AssetSelection.assets(schema_state),
    config=config.run_mapping,
    tags=NO_RETRY,
    description="Apply the pending revisions to the target.",
)
revert_migrations = dg.define_asset_job(
    "revert_migrations",
    dg.AssetSelection.assets(schema_state),
    config=config.revert_mapping,
    tags=NO_RETRY,
    description="Take the target back to an earlier revision.",
)
adopt_database = dg.define_asset_job(
    "adopt_database",
    dg.AssetSelection.assets(schema_state),
    config=config.adopt_mapping,
    tags=NO_RETRY,
    description="Record the revision that a database built elsewhere equals, or whose record was changed by hand.",
)

JOBS = [
    setup_provider_schema,
    fetch_object_meta,
    generate_migrations,
    run_migrations,
    revert_migrations,
    adopt_database,
]
