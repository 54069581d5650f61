"""How the sample org answers one REST call: describeGlobal, describe, limits and the one query it knows.

Functions from request to answer, without HTTP: `server` speaks HTTP and checks the token, `composite` puts several
calls into one. Answers and error codes follow the REST API Developer Guide (Describe Global, sObject Describe, Limits,
Query, Status Codes and Error Responses).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import parse_qs, unquote, urlsplit

from monarch_dagster.salesforce.sample_org.served import ServedObject, ServedOrg, encode

VERSION_PATTERN = r"v\d{1,3}\.\d"
"""The API version in a path; the org answers any."""

_FIRST_VERSION, _LAST_VERSION = 31, 67
_ROUTE = re.compile(rf"/services/data/(?P<version>{VERSION_PATTERN})/(?P<resource>[^?]*?)/?")
_DESCRIBE = re.compile(r"sobjects/(?P<name>[^/]+)/describe")
_ORGANIZATION_QUERY = re.compile(r"\s*SELECT\s+Id\s+FROM\s+Organization(\s+LIMIT\s+1)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call comes back with; an empty body is none at all."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def failure(status: int, code: str, message: str) -> Answer:
    """Return an error as the REST API words it: a list of one code with its message."""
    return Answer(status, encode([{"message": message, "errorCode": code}]))


def limit_exceeded() -> Answer:
    """Return the refusal of a call beyond the day's."""
    return failure(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")


def versions() -> Answer:
    """Answer `GET /services/data/`: each API version with its release, three of which make a year."""
    seasons = ("Winter", "Spring", "Summer")
    listed = []
    for number in range(_FIRST_VERSION, _LAST_VERSION + 1):
        years, season = divmod(number - 59, 3)  # v59.0 was Winter '24
        label = f"{seasons[season]} '{24 + years}"
        listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return Answer(200, encode(listed))


def answer(org: ServedOrg, method: str, target: str, headers: Mapping[str, str]) -> Answer:
    """Answer one call.

    Args:
        org: what is served.
        method: the HTTP method.
        target: the path with its query, still percent-encoded.
        headers: the call's headers, their names in lower case.

    Returns:
        The answer, errors included; nothing is raised.
    """
    url = urlsplit(target)
    route = _ROUTE.fullmatch(url.path)
    if route is None:
        return _not_found()
    version, resource = route["version"], route["resource"]
    if describe := _DESCRIBE.fullmatch(resource):
        served = org.describe(unquote(describe["name"]))
        found = _not_found() if served is None else _describe(served, headers.get("if-modified-since", ""))
    elif resource == "sobjects":
        found = Answer(200, org.describe_global(version))
    elif resource == "limits":
        remaining = max(0, org.daily_calls - org.calls)
        found = Answer(200, encode({"DailyApiRequests": {"Max": org.daily_calls, "Remaining": remaining}}))
    elif resource == "query":
        found = _query(org, version, parse_qs(url.query).get("q", [""])[0])
    else:
        return _not_found()
    if method not in ("GET", "HEAD"):
        return failure(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed. Allowed are HEAD,GET")
    return found


def _describe(served: ServedObject, if_modified_since: str) -> Answer:
    headers = {"Last-Modified": formatdate(served.last_modified, usegmt=True)}
    if if_modified_since and served.last_modified <= _seconds(if_modified_since):
        return Answer(304, b"", headers)
    return Answer(200, served.body, headers)


def _seconds(http_date: str) -> float:
    """Return seconds since the epoch; a date that is none is taken as long ago, so that the describe is sent."""
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError):
        return 0


def _query(org: ServedOrg, version: str, soql: str) -> Answer:
    if not _ORGANIZATION_QUERY.fullmatch(soql):
        return failure(
            400, "MALFORMED_QUERY", "The sample org has no records; it answers SELECT Id FROM Organization only."
        )
    organization = org.source.organization_id
    url = f"/services/data/{version}/sobjects/Organization/{organization}"
    record = {"attributes": {"type": "Organization", "url": url}, "Id": organization}
    return Answer(200, encode({"totalSize": 1, "done": True, "records": [record]}))


def _not_found() -> Answer:
    return failure(404, "NOT_FOUND", "The requested resource does not exist")
