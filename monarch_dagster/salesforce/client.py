"""The Salesforce REST API, through unmodified simple-salesforce on a `requests` session of ours.

Holds transport (timeouts, retries, base URL) and the few calls that a fetch needs. Which login the variables make is in
`login`, what is done with a describe in `fetch`. Messages name variables and hosts, never a secret or a token.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from xml.parsers.expat import ExpatError

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.login import choose_flow, presentable, secrets_of

# The newest version whose SOAP login still answers; object_meta.json pins what was used first.
DEFAULT_API_VERSION = "64.0"
TIMEOUT_SECONDS = (10, 120)
RETRIED_STATUSES = frozenset({406, 420, 429, 500, 502, 503, 504})
# Three more tries within about three seconds; one, where the org took the request and then broke off or kept silent.
RETRIES = Retry(
    total=3,
    read=1,
    backoff_factor=0.5,
    backoff_jitter=0.3,
    status_forcelist=RETRIED_STATUSES,
    # Every call that a fetch makes reads, or logs in; each may be repeated.
    allowed_methods=None,
    raise_on_status=False,
    # It may name an hour; urllib3 would sleep through it.
    respect_retry_after_header=False,
)
# Composite resource, REST API Developer Guide: at most 25 subrequests a call, and the call counts once.
COMPOSITE_SIZE = 25

_ORG_ID = re.compile(r"[A-Za-z0-9]{18}")
# What simple-salesforce stumbles over where an answer has another shape than it takes for granted.
_ODD_ANSWER = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ExpatError)

T = TypeVar("T")


@dataclass(frozen=True)
class Described:
    """The answer for one object: its describe, or the reason why the org gave none ("" for none)."""

    name: str
    body: Mapping[str, Any] | None
    reason: str = ""


class OrgAdapter(HTTPAdapter):
    """Sends every request with a timeout and retries, and to another origin where `base_url` gives one.

    simple-salesforce speaks https to hosts that it derives from a login's answer and passes no timeout; the adapter
    mounted on https:// is the one place that all its requests go through.
    """

    def __init__(self, base_url: str, retries: Retry) -> None:
        """Take the origin that stands in for every host, such as `http://127.0.0.1:8091`; "" leaves the hosts alone."""
        super().__init__(max_retries=retries)
        self.origin = urlsplit(base_url) if base_url else None

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, timeout: Any = None, **options: Any
    ) -> requests.Response:
        """Send one request; see `requests.adapters.HTTPAdapter.send`."""
        if self.origin is not None:
            path = urlsplit(str(request.url))
            request.url = urlunsplit((self.origin.scheme, self.origin.netloc, path.path, path.query, ""))
        return super().send(request, timeout=timeout or TIMEOUT_SECONDS, **options)


def _keep_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class SalesforceOrg:
    """One org, logged in."""

    def __init__(self, variables: Mapping[str, str], *, api_version: str, retries: Retry = RETRIES) -> None:
        """Log in with the `SALESFORCE_*` variables that are set. Raises `MonarchError` where that fails."""
        from simple_salesforce.api import Salesforce

        self._flow, arguments = choose_flow(variables)
        self._secrets = secrets_of(variables)
        self._salesforce: Any = None
        self.api_version = api_version
        base_url = variables.get("SALESFORCE_BASE_URL", "")
        session = requests.Session()
        session.trust_env = not base_url  # a proxy of the environment does not lead to the loopback interface
        session.auth = _keep_token  # or an entry for the host in ~/.netrc would take the token's place
        session.adapters.clear()  # no redirect leads to plain http, or around the timeout
        session.mount("https://", OrgAdapter(base_url, retries))
        # A SOAP fault, such as a wrong password, comes with status 500; asking again would lock the user out.
        soap = f"https://{arguments.get('domain', 'login')}.salesforce.com/services/Soap/"
        session.mount(soap, OrgAdapter(base_url, retries.new(status_forcelist=RETRIED_STATUSES - {500})))
        # Without a hook, JSON objects become plain dicts: quicker, and a fetch uses nothing else.
        options: dict[str, Any] = {"session": session, "version": api_version, "object_pairs_hook": None} | arguments
        self._salesforce = self._call(lambda: Salesforce(**options), f"Login by {self._flow}")

    def org_id(self) -> str:
        """Return the org's 18-character id."""
        what = "the query for the organization's id"
        answer = self._get("query", params={"q": "SELECT Id FROM Organization"})
        try:
            found = answer["records"][0]["Id"]
        except (KeyError, IndexError, TypeError):
            found = None
        if not isinstance(found, str) or not _ORG_ID.fullmatch(found):
            raise _wrong(what, "one record with an Id of 18 characters")
        return found

    def describe_global(self) -> list[Mapping[str, Any]]:
        """Return describeGlobal's entry for each object that the user may see."""
        answer = self._get("sobjects")
        entries = answer.get("sobjects") if isinstance(answer, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
        ):
            raise _wrong("describeGlobal", "a list of objects with names")
        return entries

    def describe(self, names: Sequence[str]) -> Iterator[Described]:
        """Give each object's describe, 25 a call, in the order of `names`."""
        for start in range(0, len(names), COMPOSITE_SIZE):
            yield from self._describe_batch(names[start : start + COMPOSITE_SIZE])

    def _describe_batch(self, names: Sequence[str]) -> Iterator[Described]:
        root = f"/services/data/v{self.api_version}/sobjects"
        requested = [
            {"method": "GET", "url": f"{root}/{name}/describe", "referenceId": f"r{number}"}
            for number, name in enumerate(names)
        ]
        answer = self._get("composite", method="POST", json={"compositeRequest": requested})
        try:
            found = {
                item["referenceId"]: (item.get("httpStatusCode"), item["body"]) for item in answer["compositeResponse"]
            }
            answers = [found[item["referenceId"]] for item in requested]
        except (KeyError, TypeError, AttributeError):
            raise _wrong("a composite call", "an answer to each subrequest") from None
        for name, (status, body) in zip(names, answers, strict=True):
            if status == requests.codes.ok and isinstance(body, dict):
                yield Described(name, body)
                continue
            reason = f"HTTP {status}: {self._presentable(_error_text(body))}"
            if not isinstance(status, int) or not 400 <= status < 500:
                raise MonarchError(
                    f"Salesforce could not describe {name}: {reason}. Nothing was changed.",
                    remedy="Fetch again later; if it stays, ask Salesforce's support with that message.",
                )
            yield Described(name, None, reason)

    def _get(self, path: str, *, method: str = "GET", **options: Any) -> Any:
        return self._call(lambda: self._salesforce.restful(path, method=method, **options), f"{method} {path}")

    def _call(self, action: Callable[[], T], what: str) -> T:
        from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what simple-salesforce warns of comes as an error too
                return action()
        except SalesforceAuthenticationFailed as error:
            # A code that is no text is a status, and the message a whole body, which may hold a token.
            if not isinstance(error.code, str):
                status = f" (HTTP {error.code})" if isinstance(error.code, int) else ""
                raise _wrong(what, f"a session or a reason{status}") from None
            raise MonarchError(
                f"{what} was refused by Salesforce: {self._presentable(f'{error.code}: {error.auth_message}')}. "
                "Nothing was changed.",
                remedy="Check the variables of that login; `monarch fetch` uses the first login that is complete.",
            ) from None
        except SalesforceError as error:
            raise self._failed(what, error.status, error.content) from None
        except requests.exceptions.JSONDecodeError:
            raise _wrong(what, "JSON") from None
        except requests.RequestException as error:
            host = urlsplit(str(error.request.url)).netloc if error.request is not None else "Salesforce"
            raise MonarchError(
                f"{what}: {host} could not be reached, or broke off: {type(error).__name__}. Nothing was changed.",
                remedy="Check the network, SALESFORCE_DOMAIN or SALESFORCE_INSTANCE_URL, and SALESFORCE_BASE_URL.",
            ) from None
        except _ODD_ANSWER:
            raise _wrong(what, "what Salesforce's documentation says") from None

    def _failed(self, what: str, status: int, content: Any) -> MonarchError:
        remedy = "Read Salesforce's message; where it is a passing fault, fetch again later."
        if status == requests.codes.unauthorized:
            remedy = f"The session by {self._flow} is not accepted (any more): check the variables of that login."
        reason = self._presentable(_error_text(content))
        return MonarchError(f"{what} failed: HTTP {status}: {reason}. Nothing was changed.", remedy=remedy)

    def _presentable(self, text: str) -> str:
        token = getattr(self._salesforce, "session_id", "")
        return presentable(text, [*self._secrets, *([token] if token else [])])


def _wrong(what: str, expected: str) -> MonarchError:
    return MonarchError(
        f"Salesforce's answer to {what} is not what it should be: expected {expected}. Nothing was changed.",
        remedy="Often a proxy or a maintenance page answers in Salesforce's place: open the org in a browser.",
    )


def _error_text(body: Any) -> str:
    """Return the code and message that an error answer holds, the whole where it holds none."""
    if isinstance(body, list) and body and isinstance(body[0], dict):
        return f"{body[0].get('errorCode', '')} {body[0].get('message', '')}"
    return str(body)
