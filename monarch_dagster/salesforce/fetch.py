"""From an org to `object_meta.json`: select, describe, project, and have it folded in.

The decisions are pure functions, here and in `merge`; `fetch_object_meta` alone talks to the org and the disk.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import DEFAULT_API_VERSION, Described, SalesforceOrg
from monarch_dagster.salesforce.merge import MergeResult, merge_fetch
from monarch_dagster.salesforce.object_meta import (
    API_NAME,
    Field,
    Object,
    ObjectMeta,
    Selection,
    read_object_meta,
    write_object_meta,
)

log = logging.getLogger(__name__)

FIELD_KEYS = frozenset(Field.model_fields) - {"missing", "choices"}
_VERSION = re.compile(r"[0-9]{2,3}\.0")


@dataclass(frozen=True)
class FetchResult:
    """What a fetch did: the merge, the objects left out with the reason, and whether the file's bytes changed."""

    merge: MergeResult
    left_out: Mapping[str, str]
    written: bool
    described: int = field(default=0)


def select_objects(entries: Iterable[Mapping[str, Any]], selection: Selection) -> tuple[list[str], dict[str, str]]:
    """Choose among describeGlobal's entries; return the names to describe, sorted, and why others are left out.

    By flags, since lists of names age: an object is mirrored when it can be queried and retrieved and is not
    deprecated. Raises `MonarchError` for a name that is no API name, or stands twice.
    """
    chosen: list[str] = []
    seen: set[str] = set()
    left_out: dict[str, str] = {}
    for entry in entries:
        name = str(entry["name"])
        if not is_selected(name, selection):
            continue
        if not API_NAME.fullmatch(name) or name.lower() in seen:
            reason = "stands twice" if API_NAME.fullmatch(name) else "is not an API name"
            raise MonarchError(
                f"The org lists an object {name[:80]!r}, which {reason}. Nothing was changed.",
                remedy='Exclude it ("selection" → "exclude" in object_meta.json) or report it.',
            )
        seen.add(name.lower())
        if reason := _unfit(entry):
            left_out[name] = reason
        else:
            chosen.append(name)
    return sorted(chosen), left_out


def is_selected(name: str, selection: Selection) -> bool:
    """Say whether the patterns take the object of that name."""
    return _matches(name, selection.include) and not _matches(name, selection.exclude)


def project(describe: Mapping[str, Any], name: str) -> Object | None:
    """Reduce a describe of object `name` to what bears on the schema; None for an object without an `Id`.

    Raises `MonarchError` when it is not the describe of that object, or holds what no describe holds.
    """
    fields = describe.get("fields")
    if not isinstance(fields, list) or not all(isinstance(item, dict) for item in fields):
        raise _bad_describe(name, "it has no list of fields")
    if describe.get("name") != name:
        raise _bad_describe(name, f"it is the describe of {str(describe.get('name'))[:80]!r}")
    if not any(item.get("name") == "Id" for item in fields):
        return None
    try:
        return Object(
            label=describe.get("label") or "",
            custom=describe.get("custom") or False,
            customSetting=describe.get("customSetting") or False,
            fields=tuple(sorted((_project_field(item, name) for item in fields), key=lambda item: item.name)),
        )
    except ValidationError as error:
        raise _bad_describe(name, _first_reason(error)) from None


def fetch_object_meta(path: Path, org: SalesforceOrg, *, objects: Sequence[str] = ()) -> FetchResult:
    """Describe the selected objects of `org` (or just `objects`) and fold them into the file at `path`.

    Raises `MonarchError`, leaving the file as it is, when the org, its answers or the file are not as expected.
    """
    stored = read_object_meta(path) or ObjectMeta()
    org_id = org.org_id()
    if stored.org_id and stored.org_id != org_id:
        raise MonarchError(
            f"{path} holds the metadata of org {stored.org_id}, but the login leads to org {org_id}.",
            remedy="Check the SALESFORCE_* variables; for another org use another MONARCH_SCHEMA_DIR.",
        )
    selection = stored.selection
    chosen, left_out = select_objects(org.describe_global(), selection)
    names = _narrow(chosen, left_out, objects)
    if not names:
        raise MonarchError(
            f"The org shows no object that fits the selection ({len(left_out)} do not fit for other reasons).",
            remedy=f'Check "selection" in {path} and the permissions of the Salesforce user; nothing was changed.',
        )
    if objects:
        left_out = {}
    fetched: dict[str, Object] = {}
    unread: set[str] = set()
    for done, described in enumerate(org.describe(names), 1):
        item = _read(described, left_out, unread)
        if item is not None:
            fetched[described.name] = item
        if done % 25 == 0 or done == len(names):
            log.info(
                "Described %d of %d objects",
                done,
                len(names),
                extra={"progress": (done, len(names)), "task": "Describing objects"},
            )
    if not fetched:
        raise MonarchError(
            f"None of {len(names)} objects could be read; the first: {names[0]} {left_out[names[0]]}.",
            remedy="Check the permissions of the Salesforce user; nothing was changed.",
        )
    # Read again: describing takes its time, and a person may have edited the file meanwhile.
    stored = read_object_meta(path) or ObjectMeta(selection=selection)
    expected = names if objects else [name for name in stored.objects if is_selected(name, selection)]
    merge = merge_fetch(stored, fetched, set(expected) - unread, api_version=org.api_version, org_id=org_id)
    return FetchResult(merge, left_out, write_object_meta(path, merge.meta), len(fetched))


def fetch_from(variables: Mapping[str, str], path: Path, *, objects: Sequence[str] = ()) -> FetchResult:
    """Log in with the `SALESFORCE_*` variables that are set, and fetch into the file at `path`.

    The API version is the one that the file pins, until `SALESFORCE_API_VERSION` names a higher one. Raises
    `MonarchError` as `fetch_object_meta` does, and for a lower version, which would show less.
    """
    stored = read_object_meta(path) or ObjectMeta()
    asked = variables.get("SALESFORCE_API_VERSION", "")
    if not _VERSION.fullmatch(asked or DEFAULT_API_VERSION):
        raise MonarchError(
            f"SALESFORCE_API_VERSION is {asked!r}, expected a version such as {DEFAULT_API_VERSION}.",
            remedy="Correct it, or unset it to use the version that object_meta.json pins.",
        )
    if objects and asked and stored.api_version not in ("", asked):
        raise MonarchError(
            f"{path} was fetched with API version {stored.api_version}; SALESFORCE_API_VERSION asks for {asked}, which "
            "may change every object.",
            remedy="Fetch all objects, or unset SALESFORCE_API_VERSION.",
        )
    if asked and stored.api_version and float(asked) < float(stored.api_version):
        raise MonarchError(
            f"{path} was fetched with API version {stored.api_version}; SALESFORCE_API_VERSION asks for {asked}, which "
            "would show less.",
            remedy="Unset SALESFORCE_API_VERSION, or set it to that version or a higher one.",
        )
    org = SalesforceOrg(variables, api_version=asked or stored.api_version or DEFAULT_API_VERSION)
    return fetch_object_meta(path, org, objects=objects)


def _read(described: Described, left_out: dict[str, str], unread: set[str]) -> Object | None:
    """Project one answer; note in `left_out` why there is no object, and in `unread` where the org gave no answer."""
    if described.body is None:
        left_out[described.name] = described.reason
        unread.add(described.name)
        log.warning("%s was not described: %s", described.name, described.reason)
        return None
    item = project(described.body, described.name)
    if item is None:
        left_out[described.name] = "has no Id field"
    return item


def _narrow(chosen: Sequence[str], left_out: Mapping[str, str], objects: Sequence[str]) -> list[str]:
    if not objects:
        return list(chosen)
    by_lower = {name.lower(): name for name in chosen}
    unknown = [name for name in objects if name.lower() not in by_lower]
    if unknown:
        reasons = [f"{name} ({left_out.get(name, 'not shown by the org, or not selected')})" for name in unknown]
        raise MonarchError(
            f"Not among the {len(chosen)} objects to fetch: {', '.join(reasons)}.",
            remedy='Check the name, "selection" in object_meta.json and the user\'s permissions; nothing was changed.',
        )
    return sorted({by_lower[name.lower()] for name in objects})


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _unfit(entry: Mapping[str, Any]) -> str:
    if entry.get("deprecatedAndHidden"):
        return "deprecated and hidden"
    if not entry.get("queryable"):
        return "cannot be queried"
    return "" if entry.get("retrieveable") else "cannot be retrieved"


def _project_field(item: Mapping[str, Any], object_name: str) -> Field:
    try:
        return Field.model_validate(
            {key: item[key] for key in FIELD_KEYS if item.get(key)} | {"name": item.get("name")}
        )
    except ValidationError as error:
        raise _bad_describe(object_name, f"field {str(item.get('name'))[:80]!r}: {_first_reason(error)}") from None


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    found = first["input"]
    shown = f", found {str(found)[:80]!r}" if isinstance(found, str | int | float) else ""
    return f"{place}: {first['msg']}{shown}" if place else first["msg"].removeprefix("Value error, ")


def _bad_describe(name: str, reason: str) -> MonarchError:
    return MonarchError(
        f"The describe of {name} cannot be used: {reason}. Nothing was changed.",
        remedy=f'Exclude it ("selection" → "exclude" in object_meta.json: "{name}") or report it.',
    )
