"""Faults of the sample org: what goes wrong, for which requests, how often.

A `Fault` is data; `Faults` holds those in force and says which are due for a request. `disturbed` brings them about.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from monarch_dagster.salesforce.sample_org.login import soap_login_retired
from monarch_dagster.salesforce.sample_org.rest import Answer, failure, limit_exceeded
from monarch_dagster.salesforce.sample_org.served import encode

Kind = Literal[
    "latency",  # the right answer, late
    "dripping",  # the right answer, a little at a time
    "session_expired",  # 401, and the session that asked has ended; a new login works
    "unauthorized",  # 401, whatever the session
    "limit_exceeded",  # 403
    "not_acceptable",  # 406
    "no_route",  # 420
    "too_many_requests",  # 429
    "server_error",  # 500
    "unavailable",  # 503
    "gateway_timeout",  # 504
    "html",  # a page with status 200
    "truncated",  # half of the right answer, as if it were the whole
    "dropped",  # the connection ends before any byte
    "cut_off",  # the connection ends in the middle of the body
    "subrequest_error",  # the describe of `object` is a 500, also within a composite that is 200
    "soap_retired",  # there is no SOAP login, whatever the API version
]

_HTML = "text/html; charset=UTF-8"
_MAINTENANCE = b"<!DOCTYPE html><html><head><title>Down for maintenance</title></head><body>Back soon.</body></html>"
_BAD_GATEWAY = b"<html><body><h1>504 Gateway Time-out</h1></body></html>"
SERVER_ERROR = failure(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred. ErrorId: 1234567-890 (-1234567890)")
"""What the org answers where it fails itself."""

# Status and code as the REST API Developer Guide, Status Codes and Error Responses, has them.
_ANSWERS: dict[str, Answer] = {
    "session_expired": failure(401, "INVALID_SESSION_ID", "Session expired or invalid"),
    "unauthorized": failure(401, "INVALID_SESSION_ID", "Session expired or invalid"),
    "limit_exceeded": limit_exceeded(),
    "too_many_requests": failure(429, "TOO_MANY_REQUESTS", "Too many requests at a time."),
    "not_acceptable": Answer(406, b"Not Acceptable", {"Content-Type": "text/plain"}),
    "no_route": Answer(420, b"No routing information for this host", {"Content-Type": "text/plain"}),
    "server_error": SERVER_ERROR,
    "unavailable": failure(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable."),
    "gateway_timeout": Answer(504, _BAD_GATEWAY, {"Content-Type": _HTML}),
    "html": Answer(200, _MAINTENANCE, {"Content-Type": _HTML}),
}
_OBJECT = re.compile(r"/sobjects/(?P<name>[^/?]+)/describe")


class Fault(BaseModel):
    """One thing that goes wrong, for the requests that it matches.

    Of the faults that are due for a request the first one added is its answer; latencies add up and go with any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind

    method: str = ""
    """The HTTP method; "" is any."""

    path: str = ""
    """A regular expression that is found in the path; "" is where the kind happens: the SOAP login for `soap_retired`,
    the REST API, which no login is part of, for any other."""

    object: str = ""
    """Takes only a describe of this object, alone or within a composite; "" is any request."""

    after: int = Field(default=0, ge=0)
    """How many matching requests go well before it begins."""

    times: int | None = Field(default=1, ge=1)
    """How many matching requests it meets; null is all from then on."""

    seconds: float = Field(default=0, ge=0, le=3600)
    """How late the answer is, for `latency`; how long it takes, for `dripping`."""

    retry_after: str = Field(default="", pattern=r"^[ -~]*$")
    """The header Retry-After of an error's answer: seconds or an HTTP date; "" is none."""

    @field_validator("path")
    @classmethod
    def _is_expression(cls, path: str) -> str:
        try:
            re.compile(path)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return path

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind in ("latency", "dripping")) != (self.seconds > 0):
            raise ValueError("latency and dripping need seconds above 0, and no other kind takes any")
        if self.kind == "subrequest_error" and not self.object:
            raise ValueError("subrequest_error needs an object")
        if self.retry_after and self.kind not in _ANSWERS:
            raise ValueError(f"{self.kind} has no answer of its own that could carry retry_after")
        return self

    def matches(self, method: str, path: str, objects: frozenset[str]) -> bool:
        """Say whether it takes a request for a path that describes these objects."""
        place = self.path or ("^/services/Soap/" if self.kind == "soap_retired" else "^/services/data")
        return (
            self.method.upper() in ("", method)
            and re.search(place, path) is not None
            and (not self.object or self.object.lower() in objects)
        )

    def answer(self) -> Answer:
        """Return what is answered in place of the org."""
        if self.kind == "soap_retired":
            return soap_login_retired("any")
        answered = _ANSWERS[self.kind]
        retry = {"Retry-After": self.retry_after} if self.retry_after else {}
        return Answer(answered.status, answered.body, {"Content-Type": "application/json", **answered.headers, **retry})


@dataclass
class Count:
    """How far a fault has come."""

    fault: Fault
    matched: int = 0
    """Requests that it took, while it was due or not."""


class Faults:
    """The faults in force. Any thread may change them; a request sees them as they are when it arrives."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._counts: tuple[Count, ...] = ()

    def add(self, *faults: Fault) -> None:
        """Put these in force behind those that are."""
        with self._lock:
            self._counts += tuple(Count(fault) for fault in faults)

    def clear(self) -> None:
        """End them all, and the waiting of requests that they hold back; a session that ended stays so."""
        with self._lock:
            self._counts = ()

    def counts(self) -> tuple[Count, ...]:
        """Return them in order, with how many requests each has taken."""
        return self._counts

    def due(self, method: str, path: str, body: bytes) -> list[Count]:
        """Count a request, and return those that it meets, in order."""
        with self._lock:
            objects = frozenset(described(path, body) if any(each.fault.object for each in self._counts) else ())
            met = [each for each in self._counts if each.fault.matches(method, path, objects)]
            for each in met:
                each.matched += 1
            return [each for each in met if _is_due(each.fault, each.matched)]


def answer_control(faults: Faults, method: str, body: bytes) -> Answer:
    """Answer a call to `/sample-org/faults`: POST adds a fault or a list of them, GET lists them, DELETE ends all."""
    if method == "POST":
        try:
            given = json.loads(body)
            faults.add(*(Fault.model_validate(each) for each in (given if isinstance(given, list) else [given])))
        except ValidationError as error:
            places = [": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors()]
            return failure(400, "INVALID_FAULT", "; ".join(places))
        except (ValueError, RecursionError) as error:
            return failure(400, "JSON_PARSER_ERROR", f"The body is not JSON: {error}")
    elif method == "DELETE":
        faults.clear()
    listed = [{**each.fault.model_dump(exclude_defaults=True), "matched": each.matched} for each in faults.counts()]
    return Answer(200, encode(listed))


def _is_due(fault: Fault, matched: int) -> bool:
    return fault.after < matched and (fault.times is None or matched <= fault.after + fault.times)


def _subrequests(body: bytes) -> list[dict[str, Any]]:
    try:
        listed = json.loads(body)["compositeRequest"]
        return [each for each in listed if isinstance(each, dict)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def _named(url: object) -> str:
    found = _OBJECT.search(str(url))
    return found["name"].lower() if found else ""


def described(path: str, body: bytes) -> dict[str, str]:
    """Return the objects that a request asks a describe of, in lower case → the `referenceId` within a composite."""
    if "/composite" in path:
        found = {_named(each.get("url")): str(each.get("referenceId")) for each in _subrequests(body)}
    else:
        found = {_named(path): ""}
    found.pop("", None)
    return found
