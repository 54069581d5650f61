"""Reading objects from an org: each describe is reduced to what bears on the schema as it comes, and dropped.

Which objects are read, and what becomes of them, belongs in `fetch`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monarch_dagster.salesforce.cache import DescribeCache
from monarch_dagster.salesforce.client import Described, SalesforceOrg
from monarch_dagster.salesforce.describes import project
from monarch_dagster.salesforce.object_meta import Object

log = logging.getLogger(__name__)

_PROGRESS_EVERY = 25


@dataclass
class Reading:
    """What was read of an org's objects."""

    objects: dict[str, Object] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why there is no object, by name."""

    unread: set[str] = field(default_factory=set)
    """Names of which the org gave no answer, so that nothing is known of them."""

    unchanged: int = 0
    """Objects of which the org said so, without a describe."""

    unaffected: int = 0
    """Objects that were sent anew, though with the same in all that bears on the schema: a picklist or the like."""


def read_objects(
    org: SalesforceOrg, names: Sequence[str], stored: Mapping[str, Object], cache: DescribeCache
) -> Reading:
    """Read the objects of those names; `stored` is what earlier fetches made of them, `cache` what is known of that.

    Raises `MonarchError` when an object can neither be had nor is refused, or its describe is none.
    """
    reading = Reading()
    since = cache.conditions(names, stored)
    for done, described in enumerate(org.describe(names, since), 1):
        _take(described, stored, cache, reading)
        name = described.name
        if name in since.keys() & stored.keys() & reading.objects.keys() and described.body is not None:
            # Known, and sent all the same: it changed.
            reading.unaffected += cache.digest(name, reading.objects[name]) == cache.digest(name, stored[name])
        if done % _PROGRESS_EVERY == 0 or done == len(names):
            log.info(
                "Described %d of %d objects",
                done,
                len(names),
                extra={"progress": (done, len(names)), "task": "Describing objects"},
            )
    return reading


def _take(described: Described, stored: Mapping[str, Object], cache: DescribeCache, reading: Reading) -> None:
    name = described.name
    if described.unchanged:
        reading.unchanged += 1
        item = cache.unchanged(name, stored)
    elif described.body is None:
        reading.left_out[name] = described.reason
        reading.unread.add(name)
        log.warning("%s was not described: %s", name, described.reason)
        return
    else:
        item = project(described.body, name)
        cache.note(name, described.last_modified, item)
    if item is None:
        reading.left_out[name] = "has no Id field"
    else:
        reading.objects[name] = item
