"""From an org to `object_meta.json`: select, describe, project, and have it folded in.

The decisions are pure functions, here and in `merge`; `fetch_object_meta` alone talks to the org and the disk.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.cache import DescribeCache
from monarch_dagster.salesforce.client import DEFAULT_API_VERSION, SalesforceOrg
from monarch_dagster.salesforce.describes import select_objects
from monarch_dagster.salesforce.guards import Guards, check_missing, check_org, check_version, find_lost
from monarch_dagster.salesforce.kept_types import TightChoice, tight_choices
from monarch_dagster.salesforce.merge import MergeResult, merge_fetch
from monarch_dagster.salesforce.object_meta import (
    ObjectMeta,
    Selection,
    digest,
    read_object_meta,
    render_object_meta,
    write_object_meta,
)
from monarch_dagster.salesforce.reading import read_objects
from monarch_dagster.salesforce.selection import is_selected, unfitting

log = logging.getLogger(__name__)

SHOWN_WARNINGS = 20
SAFE = Guards()
_VERSION = re.compile(r"[0-9]{2,3}\.0")


@dataclass(frozen=True)
class FetchResult:
    """What a fetch did: the merge, the objects left out with the reason, and whether the file's bytes changed.

    `namespaces` are those of which nothing is shown any more, `tight` the choices that what was read outgrew.
    """

    merge: MergeResult
    left_out: Mapping[str, str]
    written: bool
    described: int = field(default=0)
    namespaces: tuple[str, ...] = ()
    tight: tuple[TightChoice, ...] = ()
    calls: int = 0
    """Calls to the Salesforce API, of those that the org allows in a day."""

    unchanged: int = 0
    """Objects of which the org said that nothing changed; they are among the `described`."""

    unaffected: int = 0
    """Objects that changed in what bears on no schema, such as a picklist."""

    org_digest: str = ""
    """SHA-256 in hex of all that was read and bears on the schema, whatever the file has; "" after a partial fetch."""

    seconds: float = field(default=0.0, compare=False)


def fetch_object_meta(
    path: Path,
    org: SalesforceOrg,
    *,
    objects: Sequence[str] = (),
    guards: Guards = SAFE,
    home: Path | None = None,
    dry_run: bool = False,
) -> FetchResult:
    """Describe the selected objects of `org`, or just `objects`, and fold them into the file at `path`.

    With `home`, Monarch's home folder, only what changed since an earlier fetch is sent again. With `dry_run` the file
    stays, and `written` says whether it would have changed. Raises `MonarchError`,
    leaving the file as it is, when the org, its answers or the file are not as expected, and for what `guards` do not
    allow.
    """
    started, before = time.monotonic(), digest(path)
    stored = read_object_meta(path) or ObjectMeta()
    org.read_limits()
    org_id = org.org_id()
    check_org(str(path), stored, org_id, guards)
    selection = stored.selection
    shown = org.describe_global()
    chosen, left_out = select_objects(shown, selection)
    for pattern in unfitting([str(entry["name"]) for entry in shown], selection):
        log.warning('"selection" in %s: %s fits no object of the org. Is it spelt right?', path, pattern)
    names = _narrow(chosen, left_out, objects)
    if not names:
        raise MonarchError(
            f"The org shows no object that fits the selection ({len(left_out)} do not fit for other reasons).",
            remedy=f'Check "selection" in {path} and the permissions of the Salesforce user; nothing was changed.',
        )
    if objects:
        left_out = {}
    cache = DescribeCache.open(home, selection, org_id=org_id, api_version=org.api_version, user=org.user)
    reading = read_objects(org, names, stored.objects, cache)
    fetched, unread = reading.objects, reading.unread
    left_out |= reading.left_out
    if not fetched:
        raise MonarchError(
            f"None of {len(names)} objects could be read; the first: {names[0]} {left_out[names[0]]}.",
            remedy="Check the permissions of the Salesforce user; nothing was changed.",
        )
    if digest(path) != before:  # describing takes its time, and a person edited the file meanwhile
        stored = read_object_meta(path) or ObjectMeta(selection=selection)
        check_org(str(path), stored, org_id, guards)
    asked = names if objects else [name for name in stored.objects if is_selected(name, selection)]
    expected = {name.lower() for name in asked} - {name.lower() for name in unread}
    merge = merge_fetch(stored, fetched, expected, api_version=org.api_version, org_id=org_id)
    lost = find_lost(stored, merge.meta, expected)
    check_missing(lost, guards)
    tight = tuple(item for item in tight_choices(merge.meta) if item.object in fetched)
    for outgrown in tight[:SHOWN_WARNINGS]:
        log.warning("%s", outgrown)
    written = merge.meta != stored if dry_run else write_object_meta(path, merge.meta)
    cache.save()
    counts = {"calls": org.budget.spent, "unchanged": reading.unchanged, "unaffected": reading.unaffected}
    read = ObjectMeta(org_id=org_id, api_version=org.api_version, objects=fetched)
    org_digest = "" if objects else hashlib.sha256(render_object_meta(read)).hexdigest()
    result = FetchResult(
        merge, left_out, written, len(fetched), lost.namespaces(), tight, org_digest=org_digest, **counts
    )
    return replace(result, seconds=time.monotonic() - started)


def fetch_from(
    variables: Mapping[str, str],
    path: Path,
    *,
    objects: Sequence[str] = (),
    guards: Guards = SAFE,
    home: Path | None = None,
    dry_run: bool = False,
) -> FetchResult:
    """Log in with the `SALESFORCE_*` variables that are set, and fetch into the file at `path`.

    The API version is the one that the file pins, until `SALESFORCE_API_VERSION` names a higher one. Raises
    `MonarchError` as `fetch_object_meta` does, and for a lower version that `guards` do not allow.
    """
    api_version = _api_version(variables, path, objects, guards)
    org = SalesforceOrg(variables, api_version=api_version)
    return fetch_object_meta(path, org, objects=objects, guards=guards, home=home, dry_run=dry_run)


def _api_version(variables: Mapping[str, str], path: Path, objects: Sequence[str], guards: Guards) -> str:
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
    if asked:
        check_version(str(path), stored, asked, guards)
    return asked or stored.api_version or DEFAULT_API_VERSION


def _narrow(chosen: Sequence[str], left_out: Mapping[str, str], objects: Sequence[str]) -> list[str]:
    """Return those of `chosen` that `objects`, names and shell patterns, take; all where that is empty."""
    if not objects:
        return list(chosen)
    taken = {pattern: _taken(chosen, pattern) for pattern in objects}
    if unknown := [pattern for pattern, names in taken.items() if not names]:
        unfit = {pattern: next(iter(_taken(left_out, pattern)), "") for pattern in unknown}
        reasons = [f"{item} ({left_out.get(unfit[item], 'not shown by the org, or not selected')})" for item in unknown]
        raise MonarchError(
            f"Not among the {len(chosen)} objects to fetch: {', '.join(reasons)}.",
            remedy='Check the name, "selection" in object_meta.json and the user\'s permissions; nothing was changed.',
        )
    return sorted({name for names in taken.values() for name in names})


def _taken(names: Iterable[str], pattern: str) -> list[str]:
    return [name for name in names if is_selected(name, Selection(include=(pattern,)))]
