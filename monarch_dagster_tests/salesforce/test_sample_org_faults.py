"""Each fault of the sample org over real HTTP, as unmodified `requests` and simple-salesforce meet it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceGeneralError,
    SalesforceRefusedRequest,
)

from monarch_dagster.salesforce.sample_org.faults import Fault
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import (
    INSTANCE,
    composite,
    connect,
    describe_calls,
    errors,
    get,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrg]:
    with running(home=tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def org(served: RunningOrg) -> Iterator[RunningOrg]:
    yield served
    served.faults.clear()
    served.limit_calls(100_000)


@pytest.fixture
def salesforce(org: RunningOrg) -> Any:
    return connect(org)


def with_session_id(org: RunningOrg, token: str) -> Any:
    """Log in by session id: simple-salesforce cannot renew that, so a 401 shows."""
    return connect(org, session_id=token, instance_url=INSTANCE)


def took(action: Any) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("unauthorized", 401, "INVALID_SESSION_ID"),
        ("limit_exceeded", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("too_many_requests", 429, "TOO_MANY_REQUESTS"),
        ("server_error", 500, "UNKNOWN_EXCEPTION"),
        ("unavailable", 503, "SERVER_UNAVAILABLE"),
    ],
)
def test_an_error_is_worded_as_the_rest_api_does(
    org: RunningOrg, salesforce: Any, kind: Any, status: int, code: str
) -> None:
    org.faults.add(Fault(kind=kind, retry_after="7"))
    answered = get(org, salesforce, "sobjects")
    assert (answered.status_code, answered.json()[0]["errorCode"]) == (status, code)
    assert answered.headers["Retry-After"] == "7"
    assert get(org, salesforce, "sobjects").status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("not_acceptable", 406, "Not Acceptable"),
        ("no_route", 420, "No routing"),
        ("gateway_timeout", 504, "<html>"),
        ("html", 200, "<!DOCTYPE html>"),
    ],
)
def test_what_stands_in_front_of_the_org_answers_without_json(
    org: RunningOrg, salesforce: Any, kind: Any, status: int, said: str
) -> None:
    org.faults.add(Fault(kind=kind))
    answered = get(org, salesforce, "sobjects")
    assert answered.status_code == status
    assert answered.text.startswith(said)
    assert "json" not in answered.headers["Content-Type"]


def test_simple_salesforce_raises_its_own_exception(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="limit_exceeded"))
    with pytest.raises(SalesforceRefusedRequest) as refused:
        salesforce.describe()
    assert errors(refused)[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"


def test_a_session_that_expires_is_over_and_a_new_login_works(org: RunningOrg, salesforce: Any) -> None:
    before = salesforce.session_id
    org.faults.add(Fault(kind="session_expired"))
    with pytest.raises(SalesforceExpiredSession):
        with_session_id(org, before).describe()
    with pytest.raises(SalesforceExpiredSession):
        with_session_id(org, before).describe()
    assert salesforce.describe()["sobjects"]
    assert salesforce.session_id != before


def test_a_401_that_persists_meets_new_sessions_too(org: RunningOrg) -> None:
    org.faults.add(Fault(kind="unauthorized", times=None))
    for _ in range(2):
        with pytest.raises(SalesforceExpiredSession):
            with_session_id(org, connect(org).session_id).describe()


def test_latency_delays_the_right_answer_and_parallel_requests_overlap(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="latency", seconds=0.3, times=None))

    def names(_: int = 0) -> int:
        return len(get(org, salesforce, "sobjects").json()["sobjects"])

    assert took(names) >= 0.3
    with ThreadPoolExecutor(8) as pool:
        assert 0.3 <= took(lambda: list(pool.map(names, range(8)))) < 1.8  # one by one they would take 2.4


def test_a_dripping_answer_is_the_right_one_and_takes_its_time(org: RunningOrg, salesforce: Any) -> None:
    whole = get(org, salesforce, "sobjects").content
    org.faults.add(Fault(kind="dripping", seconds=0.3))
    url, headers = f"{org.url}/services/data/v59.0/sobjects", {"Authorization": f"Bearer {salesforce.session_id}"}
    began = time.monotonic()
    with requests.get(url, headers=headers, stream=True, timeout=10) as answered:
        first = answered.raw.read1()
        assert 0 < len(first) < len(whole) / 2
        assert first + answered.raw.read() == whole
    assert time.monotonic() - began >= 0.3


def test_truncated_json_has_the_length_of_what_is_sent(org: RunningOrg, salesforce: Any) -> None:
    whole = get(org, salesforce, "sobjects")
    org.faults.add(Fault(kind="truncated"))
    half = get(org, salesforce, "sobjects")
    assert (half.status_code, half.content) == (200, whole.content[: len(whole.content) // 2])
    assert half.headers["Content-Length"] == str(len(half.content))
    with pytest.raises(json.JSONDecodeError):
        json.loads(half.text)


def test_a_dropped_connection_ends_before_any_byte_or_in_the_body_and_the_server_logs_nothing(
    org: RunningOrg, salesforce: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {salesforce.session_id}"
        url = f"{org.url}/services/data/v59.0/sobjects"
        assert session.get(url, timeout=10).status_code == 200
        org.faults.add(Fault(kind="dropped"))
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=10)
        org.faults.add(Fault(kind="cut_off"))
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="bytes read"):
            session.get(url, timeout=10)
        assert session.get(url, timeout=10).json()["sobjects"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_one_object_slows_every_composite_that_holds_it_and_its_own_describe(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="latency", seconds=0.3, object="account", times=None))
    assert took(lambda: composite(salesforce, describe_calls("Contact", "Account"))) >= 0.3
    composite(salesforce, describe_calls("Contact", "Lead"))
    assert [count.matched for count in org.faults.counts()] == [1]
    assert took(salesforce.Account.describe) >= 0.3


def test_one_object_can_make_the_gateway_give_up(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="gateway_timeout", object="Account", times=None))
    with pytest.raises(SalesforceGeneralError) as raised:
        composite(salesforce, describe_calls("Contact", "Account"))
    assert raised.value.status == 504
    assert composite(salesforce, describe_calls("Contact"))[0]["httpStatusCode"] == 200


def test_a_sub_request_fails_within_a_composite_that_does_not(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="subrequest_error", object="Account", times=2))
    contact, account = composite(salesforce, describe_calls("Contact", "Account"))
    assert (contact["httpStatusCode"], contact["body"]["name"]) == (200, "Contact")
    assert (account["httpStatusCode"], account["body"][0]["errorCode"]) == (500, "UNKNOWN_EXCEPTION")
    assert get(org, salesforce, "sobjects/Account/describe").status_code == 500
    assert composite(salesforce, describe_calls("Account"))[0]["httpStatusCode"] == 200


def test_a_retired_soap_login_is_refused_below_version_65_too(org: RunningOrg) -> None:
    credentials = org.credentials
    login = {
        "username": credentials.username,
        "password": credentials.password,
        "security_token": credentials.security_token,
    }
    assert connect(org, **login).session_id
    org.faults.add(Fault(kind="soap_retired", times=None))
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_OPERATION"):
        connect(org, **login)
    assert connect(org).session_id


def test_a_fault_meets_only_what_it_matches_after_so_many_and_so_often(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="server_error", method="get", path="/describe$", after=1, times=2))
    seen = [get(org, salesforce, "sobjects/Account/describe").status_code for _ in range(5)]
    assert seen == [200, 500, 500, 200, 200]
    org.faults.clear()
    org.faults.add(Fault(kind="server_error", method="POST", path="/describe$", times=None))
    assert get(org, salesforce, "sobjects/Account/describe").status_code == 200
    assert composite(salesforce, describe_calls("Account"))[0]["httpStatusCode"] == 200


def test_a_login_is_disturbed_only_by_a_fault_that_names_its_path(org: RunningOrg) -> None:
    org.faults.add(Fault(kind="server_error", times=None))
    assert connect(org).session_id
    org.faults.add(Fault(kind="gateway_timeout", path="oauth2/token"))
    with pytest.raises(SalesforceAuthenticationFailed):
        connect(org)


def test_of_two_faults_the_first_answers_and_latency_goes_with_it(org: RunningOrg, salesforce: Any) -> None:
    org.faults.add(Fault(kind="unavailable"), Fault(kind="server_error"), Fault(kind="latency", seconds=0.2))
    assert took(lambda: get(org, salesforce, "sobjects")) >= 0.2
    assert [count.matched for count in org.faults.counts()] == [1, 1, 1]


def test_faults_are_steered_over_http(org: RunningOrg, salesforce: Any) -> None:
    url = f"{org.url}/sample-org/faults"
    given = [{"kind": "server_error", "path": "sobjects", "times": None}, {"kind": "latency", "seconds": 0.1}]
    assert requests.post(url, json=given, timeout=10).status_code == 200
    assert requests.post(url, json={"kind": "html", "after": 3}, timeout=10).status_code == 200
    assert get(org, salesforce, "sobjects").status_code == 500
    assert requests.get(url, timeout=10).json() == [
        {"kind": "server_error", "path": "sobjects", "times": None, "matched": 1},
        {"kind": "latency", "seconds": 0.1, "matched": 1},
        {"kind": "html", "after": 3, "matched": 1},
    ]
    assert requests.delete(url, timeout=10).json() == []
    assert get(org, salesforce, "sobjects").status_code == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "gremlins"}, "kind: Input should be 'latency'"),
        ({"kind": "html", "path": "("}, "path: Value error, not a regular expression"),
        ({"kind": "html", "often": 3}, "often: Extra inputs"),
        ({"kind": "html", "times": 0}, "times: Input should be greater"),
        ({"kind": "html", "seconds": 3}, "latency and dripping need seconds above 0, and no other"),
        ({"kind": "latency"}, "latency and dripping need seconds"),
        ({"kind": "subrequest_error"}, "needs an object"),
        ({"kind": "dropped", "retry_after": "3"}, "no answer of its own"),
        ([{"kind": "html"}, 7], "valid dictionary"),
    ],
)
def test_a_wrong_fault_is_refused_and_nothing_is_added(org: RunningOrg, given: Any, said: str) -> None:
    answered = requests.post(f"{org.url}/sample-org/faults", json=given, timeout=10)
    assert answered.status_code == 400
    assert said in answered.json()[0]["message"]
    assert org.faults.counts() == ()
    assert requests.post(f"{org.url}/sample-org/faults", data="{", timeout=10).status_code == 400


def test_beyond_the_days_calls_each_call_is_refused_but_a_login_is_not(org: RunningOrg, salesforce: Any) -> None:
    org.limit_calls(10, used=8)
    salesforce.describe()
    assert salesforce.limits()["DailyApiRequests"] == {"Max": 10, "Remaining": 0}
    assert salesforce.api_usage["api-usage"] == (10, 10)
    for _ in range(2):
        with pytest.raises(SalesforceRefusedRequest) as raised:
            connect(org).describe()
        assert errors(raised)[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    assert org.calls == 10


def test_a_request_that_is_held_back_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with running(home=tmp_path) as org:
            salesforce = connect(org)
            org.faults.add(Fault(kind="latency", seconds=60))
            waiting = pool.submit(get, org, salesforce, "sobjects")
            while not org.faults.counts()[0].matched:
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 30
        assert waiting.result().status_code == 200
