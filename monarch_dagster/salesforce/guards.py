"""What a fetch refuses to write unless it is told to: another org, a lower version, too much missing at once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.salesforce.namespaces import field_namespace

if TYPE_CHECKING:  # the options' defaults are read from here without the rest
    from monarch_dagster.salesforce.object_meta import ObjectMeta

# Measured on a real org of 395 objects and 6,746 fields: in ten weeks no field goes, and at most 15 come in a day (0.2
# %); the largest object has 2.8 % of the fields, the two largest of five packages 4.3 % and 4.5 %; nine of ten objects
# have at most 28 fields.
MAX_MISSING_PERCENT = 3
FEWEST_MISSING = 30
"""Fewer fields than this are no alarm, whatever their share."""

_SHOWN_NAMES = 10
_SHOWN_GROUPS = 8


@dataclass(frozen=True)
class Guards:
    """What this fetch may do; the defaults are safe."""

    other_org: bool = False
    lower_api_version: bool = False
    max_missing_percent: int = MAX_MISSING_PERCENT


@dataclass(frozen=True)
class Lost:
    """The fields that a fetch shows no longer, among those of the objects that it asked for.

    `known` counts what was shown before, by namespace.
    """

    known: Mapping[str, int]
    fields: tuple[tuple[str, str], ...]
    objects: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many fields were shown before."""
        return sum(self.known.values())

    @property
    def percent(self) -> float:
        """Which share of them is gone."""
        return 100 * len(self.fields) / self.total if self.total else 0.0

    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of which nothing is shown any more."""
        gone = Counter(field_namespace(*name) for name in self.fields)
        return tuple(sorted(name for name in gone if name and gone[name] == self.known[name]))


def check_org(where: str, stored: ObjectMeta, org_id: str, guards: Guards) -> None:
    """Raise `MonarchError` where the login leads to another org than the one that the file is of."""
    if stored.org_id and stored.org_id != org_id and not guards.other_org:
        raise MonarchError(
            f"{where} holds the metadata of org {stored.org_id}, but the login leads to org {org_id}.",
            remedy="Check the SALESFORCE_* variables; for another client's org use another MONARCH_SCHEMA_DIR. Has the "
            "org got a new id, as a refreshed sandbox has? Run `monarch fetch --other-org`.",
        )


def check_version(where: str, stored: ObjectMeta, api_version: str, guards: Guards) -> None:
    """Raise `MonarchError` where `api_version` is lower than the one that the file was fetched with."""
    lower = bool(stored.api_version) and float(api_version) < float(stored.api_version)
    if lower and not guards.lower_api_version:
        raise MonarchError(
            f"{where} was fetched with API version {stored.api_version}; SALESFORCE_API_VERSION asks for "
            f"{api_version}, which would show less.",
            remedy="Unset SALESFORCE_API_VERSION, or set it to that version or a higher one. To go back all the same, "
            "run `monarch fetch --lower-api-version`.",
        )


def find_lost(before: ObjectMeta, after: ObjectMeta, expected: Collection[str]) -> Lost:
    """Compare the metadata before and after a fetch that would have shown the objects `expected`.

    A field that the selection leaves out was not asked for.
    """
    from monarch_dagster.salesforce.selection import excluded_fields

    wanted = {name.lower() for name in expected}
    now = {name.lower(): item for name, item in after.objects.items()}
    known: Counter[str] = Counter()
    fields: list[tuple[str, str]] = []
    objects: list[str] = []
    for name, item in sorted(before.objects.items()):
        if name.lower() not in wanted or item.missing:
            continue
        found = now[name.lower()]
        if found.missing:
            objects.append(name)
        hidden = {field.name.lower() for field in found.fields if field.missing or found.missing}
        out = excluded_fields(name, item.fields, after.selection)
        for field in item.fields:
            if not field.missing and field.name.lower() not in out:
                known[field_namespace(name, field.name)] += 1
                if field.name.lower() in hidden:
                    fields.append((name, field.name))
    return Lost(known, tuple(fields), tuple(objects))


def check_missing(lost: Lost, guards: Guards) -> None:
    """Raise `MonarchError`, with a report, where more is missing at once than this fetch may mark.

    Everything at once is never believed, whatever the fetch may do.
    """
    everything = bool(lost.fields) and len(lost.fields) == lost.total
    # One object that is gone is what a person deletes, whatever its size.
    alarming = [name for name in lost.fields if len(lost.objects) > 1 or name[0] not in lost.objects]
    too_much = len(alarming) >= FEWEST_MISSING and 100 * len(alarming) > guards.max_missing_percent * lost.total
    if not (everything or too_much):
        return
    allowed = (
        "no fetch believes that" if everything else f"more than {guards.max_missing_percent} % at once stops a fetch"
    )
    head = (
        f"The org no longer shows {len(lost.fields):,} of {counted(lost.total, 'field')} that it showed before "
        f"({lost.percent:.1f} %; {allowed}). Most likely the Salesforce user lost permissions. Nothing was written."
    )
    look = (
        "Look at the user's profile and permission sets in Salesforce (object permissions, field-level security), and "
        "fetch again."
    )
    more = (
        " Does another login see them? Check the SALESFORCE_* variables."
        if everything
        else " Were they deleted there? `monarch fetch --max-missing 100` marks them missing; tables and columns stay."
    )
    raise MonarchError("\n".join([head, *report(lost)]), remedy=look + more)


def report(lost: Lost) -> Iterator[str]:
    """Give lines that say what is gone: by namespace, by object, and the first names."""
    whole = lost.namespaces()
    by_namespace = Counter(field_namespace(*name) for name in lost.fields)
    for namespace, count in by_namespace.most_common(_SHOWN_GROUPS):
        if namespace:
            share = "everything" if namespace in whole else f"of {lost.known[namespace]:,}"
            yield f"  namespace {namespace}: {counted(count, 'field')}, {share}"
    if len(by_namespace) > _SHOWN_GROUPS:
        yield f"  … and {len(by_namespace) - _SHOWN_GROUPS} more namespaces"
    if lost.objects:
        yield f"  objects that are gone ({len(lost.objects):,}): {_first(lost.objects)}"
    gone = set(lost.objects)
    by_object = Counter(name for name, _ in lost.fields if name not in gone)
    if by_object:
        told = [f"{name} ({count})" for name, count in by_object.most_common()]
        yield f"  fields gone of {counted(len(told), 'object')} that are there: {_first(told)}"
        yield f"  such as {_first([f'{name}.{field}' for name, field in lost.fields if name not in gone])}"


def _first(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN_NAMES])
    return f"{shown} and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else shown
