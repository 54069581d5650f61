"""What the tests of the sample org share: unmodified simple-salesforce on a session that goes to it. No tests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce

from monarch_dagster.salesforce.sample_org.running import RunningOrg

INSTANCE = "https://sample-org.my.salesforce.com"


class Rerouting(HTTPAdapter):
    """Sends every https request to the sample org instead, path kept."""

    def __init__(self, origin: str) -> None:
        super().__init__()
        self._origin = urlsplit(origin)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        target = urlsplit(request.url or "")
        request.url = urlunsplit(target._replace(scheme=self._origin.scheme, netloc=self._origin.netloc))
        return super().send(request, **options)


def session_for(org: RunningOrg) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Rerouting(org.url))
    return session


def connect(org: RunningOrg, **login: Any) -> Any:
    """Log in with what is given, by client credentials where nothing is."""
    credentials = org.credentials
    by_default = {
        "consumer_key": credentials.consumer_key,
        "consumer_secret": credentials.consumer_secret,
        "domain": credentials.domain,
    }
    return Salesforce(session=session_for(org), **(login or by_default))


def get(org: RunningOrg, salesforce: Any, path: str, **headers: str) -> requests.Response:
    sent = {"Authorization": f"Bearer {salesforce.session_id}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return requests.get(f"{org.url}/services/data/v59.0/{path}", headers=sent, timeout=10)


def describe_calls(*names: str, **keys: Any) -> list[dict[str, Any]]:
    return [
        {"method": "GET", "url": f"/services/data/v59.0/sobjects/{name}/describe", "referenceId": f"ref_{at}", **keys}
        for at, name in enumerate(names)
    ]


def composite(salesforce: Any, calls: list[dict[str, Any]], **keys: Any) -> list[dict[str, Any]]:
    answered = salesforce.restful("composite", method="POST", json={"compositeRequest": calls, **keys})
    results: list[dict[str, Any]] = answered["compositeResponse"]
    return results


def errors(raised: pytest.ExceptionInfo[Any]) -> Any:
    """Return the error list that simple-salesforce read from the answer."""
    return raised.value.content
