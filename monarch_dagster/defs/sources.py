"""Observable sources: what Monarch reads and does not make, each with a data version of its content.

They are observed by their button in the UI, by the sensors, and by each asset that reads them.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import dagster as dg

from monarch_dagster.defs.resources import MonarchResource, failing_clearly

GROUP = "provider_schema"
# Who answers for the warehouse's schema and is asked when a check fails. Dagster takes team:NAME or an e-mail address.
# The name of a client's own team goes here.
OWNERS = ["team:data-platform"]
# By which the UI's filters find all of Monarch, runs too, in an instance that it shares with other code locations.
TAGS = {"domain": "schema_migrations"}
SALESFORCE_ORG, CORE_MODELS, LIVE_SCHEMA = "salesforce_org", "core_models", "live_schema"
Observing = Callable[..., dg.ObserveResult]


def _observable(name: str, kind: str, description: str) -> Callable[[Observing], dg.AssetsDefinition]:
    spec = dg.AssetSpec(name, group_name=GROUP, owners=OWNERS, tags=TAGS, kinds={kind}, description=description)

    def declare(observe: Observing) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Dagster has no other way to declare a source that is observed.
            warnings.simplefilter("ignore", dg.BetaWarning)
            decorate: Any = dg.multi_observable_source_asset(name=name, specs=[spec])
            source: dg.AssetsDefinition = decorate(observe)
        return source

    return declare


@_observable(
    SALESFORCE_ORG,
    "salesforce",
    """The client's Salesforce org, as the user of the `SALESFORCE_*` settings may see it.

- **Version**: a digest of all that bears on the schema; rows and picklist values leave it as it is.
- **Observe it** to learn whether `object_meta` is stale: one call for 25 objects, and nothing is written.
- **Then look at** `changes`, how many entries of `object_meta.json` a fetch would change.
""",
)
def salesforce_org(monarch: MonarchResource) -> dg.ObserveResult:
    """Observe the org."""
    from monarch_dagster.salesforce.fetch import fetch_from

    with failing_clearly():
        settings = monarch.settings()
        path = settings.sources.object_meta_path
        result = fetch_from(settings.salesforce, path, home=settings.home, dry_run=True)
    return dg.ObserveResult(
        asset_key=SALESFORCE_ORG,
        data_version=dg.DataVersion(result.org_digest),
        metadata={"objects": result.described, "calls": result.calls, "changes": len(result.merge.changes)},
    )


@_observable(
    CORE_MODELS,
    "python",
    """Monarch's SQLAlchemy models, one file for each schema of its own (`MONARCH_CORE_MODELS`).

- **Version**: a digest of the files, which are not imported for that, so that a broken one can be observed too.
- **Observe it** after an edit; the sensor `schema_files` does so by itself. `revision_files` is stale then.
- **Edited by people**, and committed together with the revision that an edit leads to.
""",
)
def core_models(monarch: MonarchResource) -> dg.ObserveResult:
    """Observe the models' files."""
    with failing_clearly():
        sources = monarch.settings().sources
        version = sources.digests().core_models
    return dg.ObserveResult(
        asset_key=CORE_MODELS, data_version=dg.DataVersion(version), metadata={"module": sources.core_models}
    )


@_observable(
    LIVE_SCHEMA,
    "postgres",
    """The target's schema as it is there, beside what Monarch's ledger recorded on that server.

- **Version**: changes where somebody else than Monarch changes the schema, or the record of what was applied.
- **Observe it** to learn of drift: a few catalog queries, and nothing is written.
- **Then look at** `drift`, which the check `no_drift` explains, and `foreign`: relations that Monarch never touches.
""",
)
def live_schema(monarch: MonarchResource) -> dg.ObserveResult:
    """Observe the target."""
    from monarch_dagster.defs.metadata import table
    from monarch_dagster.migrations.drift import live_version

    with failing_clearly():
        version, drift = live_version(monarch.settings().target_url())
    return dg.ObserveResult(
        asset_key=LIVE_SCHEMA,
        data_version=dg.DataVersion(version),
        metadata={
            "drift": table([asdict(item) for item in drift.findings]),
            "foreign": table([{"relation": name} for name in drift.foreign]),
            "not_compared": drift.not_compared or "compared",
        },
    )


SOURCES = [salesforce_org, core_models, live_schema]
