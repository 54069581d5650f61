"""Which version of what an asset was made from, so that the UI's staleness is true.

Dagster takes for an asset's inputs what was last seen of them when the step began. That is not what Monarch's assets
read: a model may have been edited since, a run may use the files as they are, and apply less than all of them. So each
materialization says what it was made from. Source: Dagster, "Asset versioning and caching"; the tags are those that
`dagster._core.definitions.data_version` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    get_input_data_version_tag,
    read_input_data_version_from_tags,
)

# What Dagster takes for the version of what was never seen.
NEVER = DEFAULT_DATA_VERSION.value


def made_from(source: str, version: str) -> dict[str, str]:
    """Return the tags of a materialization that was made from this version of `source`; none where it is not known."""
    return {get_input_data_version_tag(dg.AssetKey(source)): version} if version else {}


def still_made_from(instance: dg.DagsterInstance, asset: str, *sources: str) -> dict[str, str]:
    """Return the tags of a materialization that says of `sources` what the asset's last one said."""
    tags = _tags(instance, asset)
    found: dict[str, str] = {}
    for source in sources:
        version = read_input_data_version_from_tags(tags, dg.AssetKey(source))
        found |= made_from(source, version.value if version else NEVER)
    return found


def version_of(instance: dg.DagsterInstance, asset: str) -> str:
    """Return the data version of an asset's last materialization, "" where there is none."""
    return _tags(instance, asset).get(DATA_VERSION_TAG, "")


def observation(source: str, version: str, metadata: Mapping[str, Any] | None = None) -> dg.AssetObservation:
    """Return the observation that a source has this version now."""
    return dg.AssetObservation(source, tags=of_version(version), metadata=metadata)


def of_version(version: str) -> dict[str, str]:
    """Return the tags of an event that an asset has this version now."""
    return {DATA_VERSION_TAG: version}


def _tags(instance: dg.DagsterInstance, asset: str) -> Mapping[str, str]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    return (event.asset_materialization.tags if event and event.asset_materialization else None) or {}
