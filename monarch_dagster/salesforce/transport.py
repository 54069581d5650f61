"""HTTP to Salesforce: one `requests` session whose adapter gives every request timeouts, repetition and a limit.

simple-salesforce speaks https to hosts that it derives from a login's answer, passes no timeout and repeats nothing;
the adapter that is mounted on https:// is the one place that all its requests go through, from any thread. What is
asked belongs in `client`, logins and sessions in `connection`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, MaxRetryError, ReadTimeoutError

from monarch_dagster.salesforce.budget import Budget

log = logging.getLogger(__name__)

THREADS = 8
API_PATH, SOAP_PATH = "/services/data", "/services/Soap/"
# REST API Developer Guide, Status Codes and Error Responses: 420 and 406 are an instance that cannot be routed to.
_BUSY = frozenset({406, 420, 429, 503})
_FAILED = frozenset({500, 502, 504})
_READ_SIZE = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for, and how often a request is made until it is given up."""

    tries: int = 4
    pause_seconds: float = 0.5
    """Before the second try; doubled before each further one, and varied, so that clients do not keep step."""

    longest_pause_seconds: float = 60
    """An org that asks to wait longer (Retry-After) is not asked again."""

    connect_seconds: float = 10
    read_seconds: float = 120
    """Without a byte of the answer."""

    batch_seconds: float = 60
    """The same, for a call whose parts can be asked for one by one instead."""

    request_seconds: float = 300
    """From a request to the end of its answer."""

    fetch_seconds: float = 3600
    """For all describes of a fetch."""


@dataclass(frozen=True)
class Rules:
    """What of a request is worth a repetition of the very same request."""

    statuses: frozenset[int]
    late: bool = True
    """Where the org took the request and kept silent, or broke off within the answer."""


class OrgAdapter(HTTPAdapter):
    """Sends every request with timeouts and repetition, and to another origin where `base_url` gives one."""

    def __init__(self, base_url: str, patience: Patience, budget: Budget, stopped: threading.Event) -> None:
        """Take the origin that stands in for every host, such as `http://127.0.0.1:8091`; "" leaves the hosts alone.

        `budget` is asked before each API call and told of each answer; after `stopped` no request is made.
        """
        # An urllib3 pool is made for threads; a ninth connection would only be thrown away after use.
        super().__init__(pool_maxsize=THREADS)
        self.origin = urlsplit(base_url) if base_url else None
        self._patience, self._budget, self._stopped = patience, budget, stopped

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, *, timeout: Any = None, **options: Any
    ) -> requests.Response:
        """Send one request and read the whole answer; see `requests.adapters.HTTPAdapter.send`."""
        parts = urlsplit(str(request.url))
        if self.origin is not None:
            request.url = urlunsplit((self.origin.scheme, self.origin.netloc, parts.path, parts.query, ""))
        rules, counts = rules_for(parts.path), parts.path.startswith(API_PATH)
        allowed = timeout or (self._patience.connect_seconds, self._patience.read_seconds)
        number = 0
        while True:
            number += 1
            if self._stopped.is_set():
                raise requests.ConnectionError("given up", request=request)
            if counts:
                self._budget.spend()
            try:
                response = self._send_once(request, allowed, options)
            except requests.RequestException as error:
                pause = pause_after(number, self._patience) if number <= _repetitions(error, rules) else None
                if pause is None:
                    raise
                found = type(error).__name__
            else:
                if counts:
                    self._budget.learn(response.headers.get("Sforce-Limit-Info", ""))
                asked = response.headers.get("Retry-After", "")
                repeated = response.status_code in rules.statuses
                pause = pause_after(number, self._patience, asked) if repeated else None
                if pause is None:
                    return response
                found = f"HTTP {response.status_code}"
            log.info("%s %s: %s, asked again in %.1f s", request.method, parts.path, found, pause)
            self._stopped.wait(pause)

    def _send_once(self, request: requests.PreparedRequest, timeout: Any, options: Any) -> requests.Response:
        until = time.monotonic() + self._patience.request_seconds
        response = super().send(request, timeout=timeout, **options | {"stream": True})
        # The whole is read here, so that a break within it can be repeated too, and an answer that drips has an end.
        response.raw = BytesIO(_read(response, until))
        return response


def open_session(base_url: str, patience: Patience, budget: Budget, stopped: threading.Event) -> requests.Session:
    """Return the session for all requests of a fetch, from any of its threads; the parameters are `OrgAdapter`'s."""
    session = requests.Session()
    session.trust_env = not base_url  # a proxy of the environment does not lead to the loopback interface
    session.auth = _keep_token  # or an entry for the host in ~/.netrc would take the token's place
    # requests reads its jar without a lock while answers write to it; the API needs no cookies.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.adapters.clear()  # no redirect leads to plain http, or around the timeouts
    session.mount("https://", OrgAdapter(base_url, patience, budget, stopped))
    return session


def rules_for(path: str) -> Rules:
    """Return what of a request to that path is worth a repetition."""
    if path.startswith(SOAP_PATH):
        # A SOAP fault, such as a wrong password, comes with status 500; asking again would lock the user out.
        return Rules(_BUSY | _FAILED - {500})
    if path.endswith("/composite"):
        # Asked again in smaller parts.
        return Rules(_BUSY, late=False)
    return Rules(_BUSY | _FAILED)


def pause_after(
    tries: int, patience: Patience, retry_after: str = "", clock: Callable[[], float] = time.time
) -> float | None:
    """Return the seconds to wait after that many tries, None when there is to be no further one.

    `retry_after` is the header of that name (RFC 9110, 10.2.3): seconds or a date; what is neither counts for nothing.
    """
    if tries >= patience.tries:
        return None
    asked = wait_asked_for(retry_after, clock)
    if asked > patience.longest_pause_seconds:
        return None
    backoff = patience.pause_seconds * 2.0 ** (tries - 1) * random.uniform(0.7, 1.3)  # noqa: S311 - no secret
    return max(asked, min(backoff, patience.longest_pause_seconds))


def wait_asked_for(retry_after: str, clock: Callable[[], float] = time.time) -> float:
    """Return the seconds that a Retry-After header asks for, 0 where there is none to be understood."""
    if retry_after.strip().isdecimal():
        return float(retry_after[:12])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - clock())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def is_unreachable(error: requests.RequestException) -> bool:
    """Say whether no connection was made, so that a smaller request would fare no better."""
    return isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError) or (
        bool(error.args) and isinstance(error.args[0], MaxRetryError)
    )


def _repetitions(error: requests.RequestException, rules: Rules) -> int:
    """Return how often a request that ended so is repeated."""
    if isinstance(error, requests.exceptions.SSLError) or not isinstance(error, _PASSING):
        return 0
    if is_unreachable(error):
        return 99  # until the tries are used up
    if isinstance(error, requests.ReadTimeout):
        return int(rules.late)  # it takes minutes each time
    if rules.late:
        return 99
    # A call in parts: cut off, it is asked again in smaller ones; dropped before the first byte, as an idle connection
    # may be, once as it is.
    return 0 if isinstance(error, _LATE) else 1


_LATE = (requests.ReadTimeout, requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
_PASSING = (requests.ConnectionError, *_LATE)


def _read(response: requests.Response, until: float) -> bytes:
    """Return the decoded body. Raises what `requests` raises for a body that breaks off, or comes too slowly."""
    parts: list[bytes] = []
    raw = response.raw
    try:
        while part := raw.read1(_READ_SIZE, decode_content=True):
            parts.append(part)
            if time.monotonic() > until:
                raise requests.ReadTimeout("the answer took too long", request=response.request)
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(error, request=response.request) from error
    except DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error, request=response.request) from error
    except HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error, request=response.request) from error
    finally:
        raw.close()  # the connection too, unless all was read and it is back in the pool
    return b"".join(parts)


def _keep_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
