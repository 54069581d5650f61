"""Describes in one call: what `POST /composite` is asked, what its answer says, how a failed one is split. Pure.

Composite resource, REST API Developer Guide: at most 25 subrequests a call, each with headers of its own; the call
counts once, while in `/composite/batch` every part counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from monarch_dagster.salesforce.connection import ODD_ANSWER, wrong

COMPOSITE_SIZE = 25
ALONE_TRIES = 3
NOT_MODIFIED = 304


@dataclass(frozen=True)
class Batch:
    """Objects that are asked for in one call, and how that came about."""

    names: tuple[str, ...]
    part: bool = False
    """Whether it is a part of one that failed."""

    failed_alone: int = 0
    """How often its one object was asked for alone, and failed."""


@dataclass(frozen=True)
class Answered:
    """What one subrequest was answered."""

    name: str
    status: Any
    body: Any
    last_modified: str = ""
    """When the describe last changed, as the org says it; "" where that cannot be relied on."""

    conditional: bool = False
    """Whether it was asked for only if changed."""


def batches(names: Iterable[str]) -> Iterator[Batch]:
    """Give the fewest batches that hold all names."""
    left = iter(names)
    while part := tuple(islice(left, COMPOSITE_SIZE)):
        yield Batch(part)


def split(batch: Batch) -> list[Batch]:
    """Return the smaller batches to ask for after one failed: halves, then each object alone; none when it is given up.

    So one slow object costs a few calls, and does not fail the others.
    """
    if len(batch.names) == 1:
        failed = batch.failed_alone + 1
        return alone(batch.names, failed) if failed < ALONE_TRIES else []
    if batch.part or len(batch.names) < 4:
        return alone(batch.names)
    middle = len(batch.names) // 2
    return [Batch(batch.names[:middle], part=True), Batch(batch.names[middle:], part=True)]


def alone(names: Iterable[str], failed: int = 0) -> list[Batch]:
    """Return a batch for each object."""
    return [Batch((name,), part=True, failed_alone=failed) for name in names]


def body_for(names: Sequence[str], since: Mapping[str, str], api_version: str) -> dict[str, Any]:
    """Return the call's body; an object that `since` has a date for is described only if it changed after that."""
    root = f"/services/data/v{api_version}/sobjects"
    requested = []
    for number, name in enumerate(names):
        item: dict[str, Any] = {"method": "GET", "url": f"{root}/{name}/describe", "referenceId": f"r{number}"}
        if name in since:
            item["httpHeaders"] = {"If-Modified-Since": since[name]}
        requested.append(item)
    return {"compositeRequest": requested}


def read_answer(content: bytes, names: Sequence[str], since: Mapping[str, str], date: str) -> list[Answered]:
    """Return what each object was answered; `since` is what was asked with, `date` the answer's header of that name.

    Raises `CallError` when it is no answer to that call.
    """
    what = "a composite call"
    try:
        answer = json.loads(content)
    except json.JSONDecodeError:
        raise wrong(what, "JSON") from None
    except (ValueError, RecursionError):
        raise wrong(what, "what Salesforce's documentation says") from None
    try:
        found = {item["referenceId"]: item for item in answer["compositeResponse"]}
        return [_answered(name, found[f"r{number}"], since.get(name), date) for number, name in enumerate(names)]
    except ODD_ANSWER:
        raise wrong(what, "an answer to each subrequest") from None


def _answered(name: str, item: Mapping[str, Any], since: str | None, date: str) -> Answered:
    status, body, headers = item.get("httpStatusCode"), item["body"], item.get("httpHeaders")
    if status == NOT_MODIFIED and since is not None:
        return Answered(name, status, body, since, conditional=True)
    found = {str(key).lower(): value for key, value in headers.items()} if isinstance(headers, Mapping) else {}
    return Answered(name, status, body, reliable(found.get("last-modified"), date))


def reliable(last_modified: Any, date: str) -> str:
    """Return the date of the last change where a later change is sure to have a later one, else "".

    Such dates know no fractions of a second: a second change within the second of the answer would not show (RFC 9110,
    8.8.2.2).
    """
    try:
        if parsedate_to_datetime(last_modified) < parsedate_to_datetime(date):
            return str(last_modified)
    except ODD_ANSWER:
        pass
    return ""
