"""The jobs of DESIGN section 5: which assets, with which flat config.

They have no owners but those of their assets: owners of jobs are in beta, and a code location loads without a warning.
"""

from __future__ import annotations

import dagster as dg

from monarch_dagster.defs import config
from monarch_dagster.defs.assets import object_meta, revision_files, schema_state
from monarch_dagster.defs.dead_runs import NO_RETRY
from monarch_dagster.defs.sources import TAGS

RUN_TAGS = {**TAGS, **NO_RETRY}

setup_provider_schema = dg.define_asset_job(
    "setup_provider_schema",
    dg.AssetSelection.assets(object_meta, revision_files, schema_state),
    config=config.setup_mapping,
    description="""The whole way, from the org to the target, in one pass.

- **Both toggles on**: the first installation. Fetches `object_meta.json`, proposes revisions, applies what is pending.
- **Both off**: the local installation. Applies the revisions that are in `versions/`, and needs no Salesforce.
- New revisions are applied **without a review**; one that would lose stored values stops the run all the same.
- **Afterwards** every check should pass; commit what was written.
""",
    tags=RUN_TAGS,
)
fetch_object_meta = dg.define_asset_job(
    "fetch_object_meta",
    dg.AssetSelection.assets(object_meta),
    config=config.fetch_mapping,
    description="""Write `object_meta.json` from the Salesforce org.

- **Run it** when objects or fields changed there. `objects` fetches a part; the rest of the file stays as it is.
- A fetch that shows much less than the file has is **refused**: most likely, the user has lost permissions.
- **Afterwards** read `changes`, then run `generate_migrations`.
""",
    tags=RUN_TAGS,
)
generate_migrations = dg.define_asset_job(
    "generate_migrations",
    dg.AssetSelection.assets(object_meta, revision_files) | dg.AssetSelection.checks_for_assets(schema_state),
    config=config.generate_mapping,
    description="""Propose revisions for what changed in the schema files, for review. Nothing is applied.

- **Run it** after an edit of a model or of `object_meta.json`; `fetch` brings the org's changes first.
- With `dry_run` the revision is proved and shown, and no file is written.
- **Afterwards** read the SQL and the hazards of `revision_files`, open the file, then run `run_migrations`.
""",
    tags=RUN_TAGS,
)
run_migrations = dg.define_asset_job(
    "run_migrations",
    dg.AssetSelection.assets(schema_state),
    config=config.run_mapping,
    description="""Apply the pending revisions to the target.

- **Run it** when the files are reviewed; a file without a proof on this machine is proved first.
- `dry_run` shows the SQL, and what conversions would do to the stored values. Nothing runs on the target then.
- One that would lose stored values is **refused**, with the rows that it would cost, until `allow_data_loss` names it.
- **Afterwards** the check `alembic_version_at_head` passes. After a failure, what was applied stays: run again.
""",
    tags=RUN_TAGS,
)
revert_migrations = dg.define_asset_job(
    "revert_migrations",
    dg.AssetSelection.assets(schema_state),
    config=config.revert_mapping,
    description="""Take the target back to an earlier revision, by each revision's `downgrade`.

- **Run it** with the `target` to end at; `base` takes back everything that Monarch made.
- What a revision added goes. Where it holds values by now, that is **refused** until `allow_data_loss` names it.
- **Afterwards** the reverted files are pending again: delete or correct them, or they are applied by the next run.
""",
    tags=RUN_TAGS,
)
adopt_database = dg.define_asset_job(
    "adopt_database",
    dg.AssetSelection.assets(schema_state),
    config=config.adopt_mapping,
    description="""Record the revision that a database built elsewhere equals, or whose record was changed by hand.

- **Run it** first as it is: `dry_run` tells which revision the schema equals. Then with `dry_run` off.
- Writes the version and the ledger, and **nothing else** of the target.
- **Afterwards** `run_migrations` applies what lies behind that revision.
""",
    tags=RUN_TAGS,
)

JOBS = [
    setup_provider_schema,
    fetch_object_meta,
    generate_migrations,
    run_migrations,
    revert_migrations,
    adopt_database,
]
