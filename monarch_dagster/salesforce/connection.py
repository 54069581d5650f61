"""One login for all threads, and calls by it: renewed once when it expires, each failure a clear error.

simple-salesforce logs in and makes the calls, unmodified; its own renewal is not used, since each thread would log in.
Which calls are made belongs in `client`, timeouts and repetitions in `transport`. Messages name variables and hosts,
never a secret or a token.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

import requests

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.login import Login, presentable, remedy_of_expiry, remedy_of_refusal
from monarch_dagster.salesforce.transport import is_unreachable

# What simple-salesforce stumbles over where an answer has another shape than it takes for granted.
ODD_ANSWER = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ExpatError)
LIMIT_EXCEEDED = "REQUEST_LIMIT_EXCEEDED"
_EXPIRED = "INVALID_SESSION_ID"
_RENEWALS = 2
"""Of one call; an org that refuses what it has just handed out goes on doing so."""

T = TypeVar("T")


class CallError(MonarchError):
    """A call that Salesforce refused, or that came to nothing."""

    def __init__(self, message: str, *, remedy: str, status: int = 0, passing: bool = False) -> None:
        """Take the HTTP status, 0 where there was none, and whether a smaller or later call may fare better."""
        super().__init__(message, remedy=remedy)
        self.status = status
        self.passing = passing


@dataclass(frozen=True)
class _Session:
    """What a login gave. Replaced whole, so that a thread sees token and host of one login."""

    token: str = field(repr=False)
    instance: str


class _Noting:
    """A session to log in by that notes the status: simple-salesforce stumbles over an error of an unusual shape."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session
        self.status = 0

    def post(self, *arguments: Any, **options: Any) -> requests.Response:
        response = self._session.post(*arguments, **options)
        self.status = response.status_code
        return response


class Connection:
    """A login, and calls by it from any thread."""

    def __init__(self, login: Login, session: requests.Session, *, api_version: str) -> None:
        """Log in. Raises `MonarchError` where that fails."""
        self._login, self._http, self._api_version = login, session, api_version
        self._tokens: list[str] = []
        self._lock = threading.Lock()
        self._lost: MonarchError | None = None
        self._session = self._log_in()

    def get(self, path: str, **options: Any) -> Any:
        """Return the JSON that the API answers to `GET path`. Raises `CallError`."""
        what = f"GET {path}"
        for tried in (1, 2):  # an answer that broke off where nobody noticed is whole the second time
            response = self.call("GET", path, **options)
            try:
                return response.json()
            except (ValueError, RecursionError) as error:
                odd = not isinstance(error, requests.exceptions.JSONDecodeError)
                if odd or tried == 2:
                    raise wrong(what, "what Salesforce's documentation says" if odd else "JSON") from None
        raise AssertionError(what)

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Return the API's answer to a call, read whole. Raises `CallError` for any but a success."""
        from simple_salesforce.exceptions import SalesforceExpiredSession
        from simple_salesforce.util import call_salesforce

        what = f"{method} {path}"
        for renewals in range(_RENEWALS + 1):
            session = self._session
            url = f"https://{session.instance}/services/data/v{self._api_version}/{path}"
            headers = {"Authorization": f"Bearer {session.token}", "Accept": "application/json"}

            def send(url: str = url, headers: dict[str, str] = headers) -> requests.Response:
                return call_salesforce(url, method, self._http, headers, **options)

            try:
                return self._clearly(send, what)
            except SalesforceExpiredSession as error:
                if renewals == _RENEWALS or _EXPIRED not in error_text(error.content) or not self._login.renewable:
                    raise self._failed(what, error.status, error.content) from None
            self._renew(session)
        raise AssertionError(what)

    def presentable(self, text: str) -> str:
        """Return Salesforce's text as a message may show it, without a full stop of its own."""
        return presentable(text, [*self._login.secrets, *self._tokens]).rstrip(".")

    def limit_exceeded(self, reason: str) -> CallError:
        """Return the error for a day's calls that are used up; `reason` are Salesforce's words."""
        return CallError(
            f"The org's API calls of 24 hours are used up: {self.presentable(reason)}. Nothing was changed.",
            remedy="Fetch again when some of the last 24 hours' calls have become older than that (Setup → Company "
            "Information shows them), find what uses so many, or ask Salesforce for more.",
            status=requests.codes.forbidden,
        )

    def _renew(self, expired: _Session) -> None:
        """Log in again, unless another thread has done so since. A login that failed is not tried by each thread."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._session is expired:
                try:
                    self._session = self._log_in()
                except MonarchError as error:
                    if isinstance(error, CallError):
                        error.passing = False  # of the call that needed it
                    self._lost = error
                    raise

    def _log_in(self) -> _Session:
        from simple_salesforce.login import SalesforceLogin

        arguments: dict[str, Any] = dict(self._login.arguments)
        if not self._login.renewable:
            parts = urlsplit(arguments["instance_url"])
            host = f"{parts.hostname}:{parts.port}" if parts.port not in (None, 443) else str(parts.hostname)
            session = _Session(arguments["session_id"], host)
        else:
            what = f"Login by {self._login.flow}"
            noting: Any = _Noting(self._http)

            def log_in() -> tuple[str, str]:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # what simple-salesforce warns of comes as an error too
                        return SalesforceLogin(session=noting, sf_version=self._api_version, **arguments)
                except ODD_ANSWER as error:
                    if noting.status == requests.codes.ok or isinstance(error, requests.RequestException):
                        raise
                    raise wrong(what, f"a session or a reason (HTTP {noting.status})") from None

            token, instance = self._clearly(log_in, what)
            if not (isinstance(token, str) and token):
                raise wrong(what, "a session or a reason")
            session = _Session(token, instance)
        self._tokens.append(session.token)
        return session

    def _clearly(self, action: Callable[[], T], what: str) -> T:
        """Do it; what simple-salesforce and requests raise becomes a `CallError`, but for an expired session."""
        from simple_salesforce.exceptions import (
            SalesforceAuthenticationFailed,
            SalesforceError,
            SalesforceExpiredSession,
        )

        try:
            return action()
        except SalesforceExpiredSession:
            raise
        except SalesforceAuthenticationFailed as error:
            raise self._refused(what, error.code, error.auth_message) from None
        except SalesforceError as error:
            raise self._failed(what, error.status, error.content) from None
        except requests.exceptions.JSONDecodeError:
            raise wrong(what, "JSON") from None
        except requests.RequestException as error:
            host = urlsplit(str(error.request.url)).netloc if error.request is not None else "Salesforce"
            raise CallError(
                f"{what}: {host} could not be reached, or broke off: {type(error).__name__}. Nothing was changed.",
                remedy="Check the network, SALESFORCE_DOMAIN or SALESFORCE_INSTANCE_URL, and SALESFORCE_BASE_URL.",
                passing=not is_unreachable(error) and not isinstance(error, ValueError | requests.TooManyRedirects),
            ) from None
        except ODD_ANSWER:
            raise wrong(what, "what Salesforce's documentation says") from None

    def _refused(self, what: str, code: object, message: str) -> MonarchError:
        """Return the error for a login that was refused."""
        # A code that is no text is a status, and the message a whole body, which may hold a token.
        if not isinstance(code, str):
            shown = f"HTTP {code}" if isinstance(code, int) else ""
            error = wrong(what, f"a session or a reason ({shown})" if shown else "a session or a reason")
            if shown in ("HTTP 404", "HTTP 410"):
                error.remedy = remedy_of_refusal(self._login.flow, shown)
            return error
        return MonarchError(
            f"{what} was refused by Salesforce: {self.presentable(f'{code}: {message}')}. Nothing was changed.",
            remedy=remedy_of_refusal(self._login.flow, code.removeprefix("sf:")),
        )

    def _failed(self, what: str, status: int, content: Any) -> CallError:
        reason = error_text(content)
        if status == requests.codes.forbidden and LIMIT_EXCEEDED in reason:
            return self.limit_exceeded(reason)
        remedy = "Read Salesforce's message; where it is a passing fault, fetch again later."
        if status == requests.codes.unauthorized:
            remedy = remedy_of_expiry(self._login)
        message = f"{what} failed: HTTP {status}: {self.presentable(reason)}. Nothing was changed."
        return CallError(message, remedy=remedy, status=status, passing=status >= 500)


def wrong(what: str, expected: str) -> CallError:
    """Return the error for an answer that is not what it should be."""
    return CallError(
        f"Salesforce's answer to {what} is not what it should be: expected {expected}. Nothing was changed.",
        remedy="Often a proxy or a maintenance page answers in Salesforce's place: open the org in a browser.",
        passing=True,
    )


def error_text(body: Any) -> str:
    """Return the code and message that an error answer holds, the whole where it holds none."""
    if isinstance(body, list) and body and isinstance(body[0], Mapping):
        return f"{body[0].get('errorCode', '')} {body[0].get('message', '')}"
    return str(body)
