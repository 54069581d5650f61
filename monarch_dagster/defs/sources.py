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
SALESFORCE_ORG, CORE_MODELS, LIVE_SCHEMA = "salesforce_org", "core_models", "live_schema"
Observing = Callable[..., dg.ObserveResult]


def _observable(name: str, kind: str, description: str) -> Callable[[Observing], dg.AssetsDefinition]:
    spec = dg.AssetSpec(name, group_name=GROUP, kinds={kind}, description=description)

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
    "The client's Salesforce org. Its version is a digest of all that bears on the schema; a look takes one call for "
    "25 objects, and writes nothing.",
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
    "Monarch's SQLAlchemy models (MONARCH_CORE_MODELS). Their version is a digest of the files, which are not imported "
    "for that.",
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
    "The target's schema as it is there. Its version changes where somebody else than Monarch changes it: by hand, or "
    "with another record of what was applied.",
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
