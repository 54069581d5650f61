"""`POST …/composite`: up to 25 calls in one, which counts as one.

Splits the request, has `rest` answer each sub-request and joins the answers. The rules are those of the REST API
Developer Guide, Composite; the wording of the errors about the request as a whole is ours, their status is not.
"""

from __future__ import annotations

import json
import re
from typing import Any

from monarch_dagster.salesforce.sample_org.rest import Answer, answer, failure
from monarch_dagster.salesforce.sample_org.served import ServedOrg, encode

MAX_SUBREQUESTS = 25
"""How many sub-requests one composite request may hold."""

_REFERENCE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HALTED = failure(
    400,
    "PROCESSING_HALTED",
    "The transaction was rolled back since another operation in the same transaction failed.",
)


def answer_composite(org: ServedOrg, body: bytes) -> Answer:
    """Answer a composite request.

    Args:
        org: what is served.
        body: the request's body.

    Returns:
        200 with one result per sub-request, in order, whatever their own status; 400 where the request as a whole is at
        fault: no JSON, over 25 sub-requests, a `referenceId` that is missing, malformed or taken.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        return failure(400, "JSON_PARSER_ERROR", f"The body is not JSON: {error}")
    subrequests: Any = request.get("compositeRequest") if isinstance(request, dict) else None
    fault = _fault(subrequests)
    if fault:
        return failure(400, "INVALID_INPUT", fault)
    answers = [_answer_one(org, each) for each in subrequests]
    if request.get("allOrNone") is True and any(each.status >= 400 for each in answers):
        answers = [each if each.status >= 400 else _HALTED for each in answers]
    results = map(_result, subrequests, answers)
    return Answer(200, b'{"compositeResponse":[' + b",".join(results) + b"]}")


def _fault(subrequests: Any) -> str:
    """Say what is wrong with the request as a whole; an empty text where nothing is."""
    if not (isinstance(subrequests, list) and subrequests and all(isinstance(each, dict) for each in subrequests)):
        return "compositeRequest must be a list of sub-requests"
    if len(subrequests) > MAX_SUBREQUESTS:
        return f"A composite request holds at most {MAX_SUBREQUESTS} sub-requests, this one {len(subrequests)}"
    seen: set[str] = set()
    for each in subrequests:
        reference = each.get("referenceId")
        if not (isinstance(reference, str) and _REFERENCE_ID.fullmatch(reference)):
            return f"Invalid referenceId {reference!r}: expected a letter, then letters, digits and underscores"
        if reference in seen:
            return f"Duplicate referenceId {reference!r}"
        seen.add(reference)
    return ""


def _answer_one(org: ServedOrg, subrequest: dict[str, Any]) -> Answer:
    method, url, headers = subrequest.get("method"), subrequest.get("url"), subrequest.get("httpHeaders") or {}
    if not (isinstance(method, str) and isinstance(url, str) and isinstance(headers, dict)):
        return failure(400, "INVALID_INPUT", "A sub-request needs a method, a url and, if any, httpHeaders")
    return answer(org, method.upper(), url, {str(name).lower(): str(value) for name, value in headers.items()})


def _result(subrequest: dict[str, Any], answered: Answer) -> bytes:
    """Join the result around the describe's ready bytes, which may be megabytes."""
    outcome = {
        "httpHeaders": dict(answered.headers),
        "httpStatusCode": answered.status,
        "referenceId": subrequest["referenceId"],
    }
    return b'{"body":' + (answered.body or b"null") + b"," + encode(outcome)[1:]
