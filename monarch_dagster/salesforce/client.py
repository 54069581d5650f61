"""The Salesforce REST API, through unmodified simple-salesforce on a `requests` session of ours.

Holds logins, transport (timeouts, retries, base URL) and the few calls that a fetch needs. What is done with a describe
belongs in `fetch`. Messages name variables and hosts, never their secrets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from monarch_dagster.errors import MonarchError

# The newest version whose SOAP login still answers; object_meta.json pins what was used first.
DEFAULT_API_VERSION = "64.0"
TIMEOUT_SECONDS = (10, 120)
RETRIES = Retry(
    total=4,
    backoff_factor=0.5,
    backoff_jitter=0.3,
    status_forcelist={406, 420, 429, 500, 502, 503, 504},
    # Every call that a fetch makes reads, or logs in; each may be repeated.
    allowed_methods=None,
    raise_on_status=False,
)
# Composite resource, REST API Developer Guide: at most 25 subrequests a call, and the call counts once.
COMPOSITE_SIZE = 25

FLOWS = {
    "a session id": ("SALESFORCE_INSTANCE_URL", "SALESFORCE_SESSION_ID"),
    "JWT bearer": (
        "SALESFORCE_DOMAIN",
        "SALESFORCE_CONSUMER_KEY",
        "SALESFORCE_USERNAME",
        "SALESFORCE_PRIVATE_KEY_FILE",
    ),
    "client credentials": ("SALESFORCE_DOMAIN", "SALESFORCE_CONSUMER_KEY", "SALESFORCE_CONSUMER_SECRET"),
    "SOAP login (retiring)": ("SALESFORCE_USERNAME", "SALESFORCE_PASSWORD", "SALESFORCE_SECURITY_TOKEN"),
}
_ARGUMENTS = {
    "SALESFORCE_INSTANCE_URL": "instance_url",
    "SALESFORCE_SESSION_ID": "session_id",
    "SALESFORCE_DOMAIN": "domain",
    "SALESFORCE_CONSUMER_KEY": "consumer_key",
    "SALESFORCE_CONSUMER_SECRET": "consumer_secret",
    "SALESFORCE_USERNAME": "username",
    "SALESFORCE_PASSWORD": "password",
    "SALESFORCE_SECURITY_TOKEN": "security_token",
    "SALESFORCE_PRIVATE_KEY_FILE": "privatekey_file",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Described:
    """The answer for one object: its describe, or the reason why the org gave none ("" for none)."""

    name: str
    body: Mapping[str, Any] | None
    reason: str = ""


def choose_flow(variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the login flow that the set variables make, and simple-salesforce's arguments for it.

    `variables` holds the `SALESFORCE_*` variables that are set. Raises `MonarchError`, naming which variables make
    which flow, when they make none.
    """
    for flow, names in FLOWS.items():
        if all(variables.get(name) for name in names):
            chosen = dict(zip(names, names, strict=True))
            if "SALESFORCE_PASSWORD" in chosen and variables.get("SALESFORCE_DOMAIN"):
                chosen["SALESFORCE_DOMAIN"] = "SALESFORCE_DOMAIN"
            return flow, {_ARGUMENTS[name]: variables[name] for name in chosen}
    found = sorted(name for name in variables if name in _ARGUMENTS) or ["none of them"]
    ways = "\n".join(f"  {flow}: {', '.join(names)}" for flow, names in FLOWS.items())
    raise MonarchError(
        f"No Salesforce login can be made from the variables that are set ({', '.join(found)}).",
        remedy=f"Set all variables of one login (in the environment or in .env):\n{ways}\n"
        "To play without an org, run `monarch sample-org` and use the variables that it prints.",
    )


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


class SalesforceOrg:
    """One org, logged in."""

    def __init__(self, variables: Mapping[str, str], *, api_version: str) -> None:
        """Log in with the `SALESFORCE_*` variables that are set. Raises `MonarchError` where that fails."""
        from simple_salesforce.api import Salesforce

        flow, found = choose_flow(variables)
        arguments: dict[str, Any] = dict(found)
        base_url = variables.get("SALESFORCE_BASE_URL", "")
        self.api_version = api_version
        self._flow = flow
        self._secrets = [value for name, value in variables.items() if name in _ARGUMENTS and len(value) >= 4]
        session = requests.Session()
        session.trust_env = not base_url  # a proxy of the environment does not lead to the loopback interface
        session.mount("https://", OrgAdapter(base_url, RETRIES))
        # A SOAP fault, such as a wrong password, comes with status 500; asking again would lock the user out.
        login_host = f"https://{variables.get('SALESFORCE_DOMAIN', 'login')}.salesforce.com"
        session.mount(f"{login_host}/services/Soap/", OrgAdapter(base_url, RETRIES.new(status_forcelist=())))
        self._session = session
        self._salesforce: Any = self._call(
            lambda: Salesforce(session=session, version=api_version, **arguments), f"Login by {flow}"
        )

    def org_id(self) -> str:
        """Return the org's 18-character id."""
        answer = self._get("query", params={"q": "SELECT Id FROM Organization"})
        try:
            return str(answer["records"][0]["Id"])
        except (KeyError, IndexError, TypeError):
            raise self._wrong("the query for the organization's id", "one record with an Id") from None

    def describe_global(self) -> list[Mapping[str, Any]]:
        """Return describeGlobal's entry for each object that the user may see."""
        answer = self._get("sobjects")
        entries = answer.get("sobjects") if isinstance(answer, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) and "name" in e for e in entries):
            raise self._wrong("describeGlobal", "a list of objects with names")
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
            found = {item["referenceId"]: item for item in answer["compositeResponse"]}
            answers = [found[item["referenceId"]] for item in requested]
        except (KeyError, TypeError):
            raise self._wrong("a composite call", "an answer to each subrequest") from None
        for name, item in zip(names, answers, strict=True):
            status, body = item.get("httpStatusCode"), item.get("body")
            if status == requests.codes.ok and isinstance(body, dict):
                yield Described(name, body)
            elif isinstance(status, int) and 400 <= status < 500:
                yield Described(name, None, f"HTTP {status}: {_error_text(body)}")
            else:
                raise MonarchError(
                    f"Salesforce could not describe {name}: HTTP {status}: {_error_text(body)}. Nothing was changed.",
                    remedy="Fetch again later; if it stays, ask Salesforce's support with that message.",
                )

    def _get(self, path: str, *, method: str = "GET", **options: Any) -> Any:
        return self._call(lambda: self._salesforce.restful(path, method=method, **options), f"{method} {path}")

    def _call(self, action: Callable[[], T], what: str) -> T:
        from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceError

        nothing = "Nothing was changed."
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what simple-salesforce warns of comes as an error too
                return action()
        except SalesforceAuthenticationFailed as error:
            raise MonarchError(
                f"{what} was refused by Salesforce: {self._clean(str(error))}. {nothing}",
                remedy="Check the variables of that login; `monarch fetch` uses the first login that is complete.",
            ) from None
        except SalesforceError as error:
            status = getattr(error, "status", "")
            if status == requests.codes.unauthorized:
                remedy = f"The login by {self._flow} is no longer valid; log in again and set its variables anew."
            else:
                remedy = "Read Salesforce's message; where it is a passing fault, fetch again later."
            reason = _error_text(getattr(error, "content", str(error)))
            raise MonarchError(
                f"{what} failed: HTTP {status}: {self._clean(reason)}. {nothing}", remedy=remedy
            ) from None
        except requests.exceptions.JSONDecodeError:
            raise self._wrong(what, "JSON") from None
        except requests.RequestException as error:
            host = urlsplit(str(error.request.url)).netloc if error.request is not None else "Salesforce"
            raise MonarchError(
                f"{what}: {host} could not be reached: {type(error).__name__}. {nothing}",
                remedy="Check the network, SALESFORCE_DOMAIN or SALESFORCE_INSTANCE_URL, and SALESFORCE_BASE_URL.",
            ) from None
        except RuntimeError:
            raise MonarchError(
                f"{what}: the session id is not valid (any more). {nothing}",
                remedy="Set SALESFORCE_SESSION_ID anew, or use a login that can be renewed (JWT, client credentials).",
            ) from None
        except (OSError, ValueError) as error:
            raise MonarchError(
                f"{what} failed: {self._clean(str(error))}. {nothing}",
                remedy="Check the variables of that login (a private key is a PEM file).",
            ) from None

    def _wrong(self, what: str, expected: str) -> MonarchError:
        return MonarchError(
            f"Salesforce's answer to {what} is not what it should be: expected {expected}. Nothing was changed.",
            remedy="Often a proxy or a maintenance page answers in Salesforce's place: open the org in a browser.",
        )

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300]


def _error_text(body: Any) -> str:
    if isinstance(body, list) and body and isinstance(body[0], dict):
        return f"{body[0].get('errorCode', '')} {body[0].get('message', '')}".strip()
    return " ".join(str(body).split())[:200]
