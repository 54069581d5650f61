"""Namespaces: which managed package an object or field came with, told by its API name. Pure.

Selecting objects by pattern belongs in `describes`, registering them in `schema.registry`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the commands' options are read with this, and without the rest
    from monarch_dagster.salesforce.object_meta import ObjectMeta

# Of a compound field's part: `Site__Latitude__s` belongs to `Site__c`, so two words follow the name and not one.
_PART_SUFFIX = "s"


@dataclass(frozen=True)
class Namespace:
    """How much of an org came with one managed package; a field counts by its own name, not by its object's.

    `missing` are the objects and fields of these that the last fetch did not show.
    """

    namespace: str
    objects: int
    fields: int
    missing: int


def namespace_of(api_name: str) -> str | None:
    """Return the namespace in an object's or field's API name, None for standard ones and the org's own.

    `npsp__Level__c` is npsp's; `Level__c`, `Level__Share`, `Site__Latitude__s` and `Account` are nobody's. A name and a
    namespace hold no two underscores in a row, so what stands before the name and its suffix is the namespace, whatever
    the suffix is: a list of suffixes would age. Source: Salesforce Object Reference, "API Names"; "Namespace Prefix".
    """
    *front, suffix = api_name.split("__")
    if suffix.lower() == _PART_SUFFIX and len(front) > 1:
        front.pop()
    return front[0] if len(front) == 2 and all(front) and suffix else None


def field_namespace(object_name: str, field_name: str) -> str:
    """Return the namespace that a field came with, "" for none: its own, else that of its object."""
    return namespace_of(field_name) or namespace_of(object_name) or ""


def count_namespaces(meta: ObjectMeta) -> tuple[Namespace, ...]:
    """Return the namespaces of the file in order, with how much each has."""
    objects = Counter(map(namespace_of, meta.objects))
    fields = Counter(namespace_of(field.name) for item in meta.objects.values() for field in item.fields)
    missing = Counter(namespace_of(field or name) for name, field in meta.missing())
    names = sorted(name for name in objects.keys() | fields.keys() if name is not None)
    return tuple(Namespace(name, objects[name], fields[name], missing[name]) for name in names)
