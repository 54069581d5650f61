"""From an org to `object_meta.json`: select, describe, project, fold in.

The decisions are pure functions; `fetch_object_meta` alone talks to the org and the disk.
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
from monarch_dagster.salesforce.object_meta import (
    Field,
    Object,
    ObjectMeta,
    Selection,
    read_object_meta,
    write_object_meta,
)

log = logging.getLogger(__name__)

FIELD_KEYS = frozenset(Field.model_fields) - {"missing", "choices"}
_VERSION = re.compile(r"^\d{2,3}\.0$")


@dataclass(frozen=True)
class MergeResult:
    """The metadata after a fetch, and what the fetch changed in it; names are `Object` or `Object.Field`."""

    meta: ObjectMeta
    objects_added: tuple[str, ...] = ()
    fields_added: tuple[str, ...] = ()
    fields_changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()


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
    deprecated.
    """
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for entry in entries:
        name = str(entry["name"])
        if not _matches(name, selection.include) or _matches(name, selection.exclude):
            continue
        if reason := _unfit(entry):
            left_out[name] = reason
        else:
            chosen.append(name)
    return sorted(chosen), left_out


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
            fields=tuple(sorted((_project_field(item) for item in fields), key=lambda item: item.name)),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _bad_describe(name, f"{place}: {first['msg']}, found {str(first.get('input'))[:80]!r}") from None


def merge_fetch(
    stored: ObjectMeta, fetched: Mapping[str, Object], expected: Iterable[str], *, api_version: str, org_id: str
) -> MergeResult:
    """Fold a fetch into the stored metadata; what the fetch lacks is kept and marked missing (DESIGN rule 1).

    `fetched` holds the objects that were read, `expected` the names of stored objects that this fetch would have shown
    were they there; stored objects that are in neither stay as they are. A person's choices are kept.
    """
    objects = dict(stored.objects)
    added: list[str] = []
    fields_added: list[str] = []
    changed: list[str] = []
    missing: list[str] = []
    returned: list[str] = []
    for name, new in sorted(fetched.items()):
        old = objects.get(name)
        if old is None:
            objects[name] = new
            added.append(name)
            continue
        if old.missing:
            returned.append(name)
        old_fields = {item.name: item for item in old.fields}
        merged: list[Field] = []
        for item in new.fields:
            before = old_fields.pop(item.name, None)
            kept = item if before is None else item.model_copy(update={"choices": before.choices})
            merged.append(kept)
            if before is None:
                fields_added.append(f"{name}.{item.name}")
            elif before.missing:
                returned.append(f"{name}.{item.name}")
            elif before != kept:
                changed.append(f"{name}.{item.name}")
        for gone in old_fields.values():
            merged.append(gone.model_copy(update={"missing": True}))
            if not gone.missing:
                missing.append(f"{name}.{gone.name}")
        objects[name] = new.model_copy(update={"fields": tuple(sorted(merged, key=lambda item: item.name))})
    for name in sorted(set(expected) & set(stored.objects) - set(fetched)):
        if not objects[name].missing:
            missing.append(name)
        objects[name] = objects[name].model_copy(update={"missing": True})
    meta = stored.model_copy(update={"objects": objects, "api_version": api_version, "org_id": org_id})
    return MergeResult(meta, *(tuple(sorted(names)) for names in (added, fields_added, changed, missing, returned)))


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
    chosen, left_out = select_objects(org.describe_global(), stored.selection)
    names = _narrow(chosen, left_out, objects)
    if not names:
        raise MonarchError(
            f"The org shows no object that fits the selection ({len(left_out)} do not fit for other reasons).",
            remedy=f'Check "selection" in {path} and the permissions of the Salesforce user; nothing was changed.',
        )
    fetched: dict[str, Object] = {}
    unread: set[str] = set()
    for done, described in enumerate(org.describe(names), 1):
        item = _read(described, left_out, unread)
        if item is not None:
            fetched[described.name] = item
        if done % 25 == 0 or done == len(names):
            log.info("Described %d of %d objects", done, len(names), extra={"progress": (done, len(names))})
    if not fetched:
        raise MonarchError(
            f"None of {len(names)} objects could be read; the first reason: {next(iter(left_out.values()))}.",
            remedy="Check the permissions of the Salesforce user; nothing was changed.",
        )
    expected = set(objects or _selected(stored)) - unread
    merge = merge_fetch(stored, fetched, expected, api_version=org.api_version, org_id=org_id)
    return FetchResult(merge, left_out, write_object_meta(path, merge.meta), len(fetched))


def fetch_from(variables: Mapping[str, str], path: Path, *, objects: Sequence[str] = ()) -> FetchResult:
    """Log in with the `SALESFORCE_*` variables that are set, and fetch into the file at `path`.

    The API version is the one that the file pins, until `SALESFORCE_API_VERSION` names a higher one. Raises
    `MonarchError` as `fetch_object_meta` does, and for a lower version: it would show less.
    """
    stored = read_object_meta(path) or ObjectMeta()
    asked = variables.get("SALESFORCE_API_VERSION", "")
    if not _VERSION.match(asked or DEFAULT_API_VERSION):
        raise MonarchError(
            f"SALESFORCE_API_VERSION is {asked!r}, expected a version such as {DEFAULT_API_VERSION}.",
            remedy="Correct it, or unset it to use the version that object_meta.json pins.",
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


def _selected(stored: ObjectMeta) -> list[str]:
    include, exclude = stored.selection.include, stored.selection.exclude
    return [name for name in stored.objects if _matches(name, include) and not _matches(name, exclude)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _unfit(entry: Mapping[str, Any]) -> str:
    if entry.get("deprecatedAndHidden"):
        return "deprecated and hidden"
    if not entry.get("queryable"):
        return "cannot be queried"
    return "" if entry.get("retrieveable") else "cannot be retrieved"


def _project_field(item: Mapping[str, Any]) -> Field:
    return Field.model_validate({key: item[key] for key in FIELD_KEYS if item.get(key)} | {"name": item.get("name")})


def _bad_describe(name: str, reason: str) -> MonarchError:
    return MonarchError(
        f"The describe of {name} cannot be used: {reason}. Nothing was changed.",
        remedy=f'Exclude it ("selection" → "exclude" in object_meta.json: "{name}") or report it.',
    )
