"""What the client makes of an org that fails, over real HTTP: a clear error, soon, without a secret in it."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import SalesforceOrg
from monarch_dagster_tests.salesforce.support import (
    BROKEN_JSON,
    HTML,
    TOKEN,
    WITHOUT_PAUSES,
    Reply,
    ScriptedOrg,
    described,
    scripted,
)

SECRET = "5ECRET&<of>the app"
CONNECTED_APP = {
    "SALESFORCE_DOMAIN": "example.my",
    "SALESFORCE_CONSUMER_KEY": "3MVG9.key",
    "SALESFORCE_CONSUMER_SECRET": SECRET,
}
SOAP = {"SALESFORCE_USERNAME": "a@b.example", "SALESFORCE_PASSWORD": SECRET, "SALESFORCE_SECURITY_TOKEN": "t0ken"}
EXPIRED = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
CALLS: dict[str, Callable[[SalesforceOrg], object]] = {
    "query": SalesforceOrg.org_id,
    "sobjects": SalesforceOrg.describe_global,
    "composite": lambda org: list(org.describe(["Account"])),
}


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    with scripted({"Account": described("Account")}) as served:
        yield served


def refused(action: Callable[[], object]) -> MonarchError:
    """Return the error; it comes soon, says that nothing was changed, and shows no secret."""
    began = time.monotonic()
    with pytest.raises(MonarchError) as raised:
        action()
    assert time.monotonic() - began < 3
    assert "Nothing was changed" in raised.value.message
    assert raised.value.remedy
    for secret in (TOKEN, SECRET, "t0ken", "5ECRET"):
        assert secret not in str(raised.value)
    assert (
        raised.value.__suppress_context__ or raised.value.__context__ is None
    )  # a logged stack trace shows no more than the message
    return raised.value


def fail(org: ScriptedOrg, path: str, reply: Reply) -> MonarchError:
    """Have the org answer a path with the reply; return what the call there ends in."""
    salesforce = org.login()
    org.replies[path] = reply
    return refused(lambda: CALLS[path](salesforce))


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (HTML, "is not what it should be: expected JSON"),
        (BROKEN_JSON, "is not what it should be: expected JSON"),
        (Reply(200, b""), "expected JSON"),
        (Reply(200, b"[" * 200_000), "is not what it should be"),
        (Reply(200, b'{"records": ' + b"9" * 5000 + b"}"), "is not what it should be"),
        (Reply(200, b"\xff\xfe\xfa"), "is not what it should be"),
        (Reply(200, None), "is not what it should be"),
        (Reply(200, 7), "is not what it should be"),
        (Reply(200, [1]), "is not what it should be"),
        (Reply(200, {}), "is not what it should be"),
        (Reply(204, b""), "is not what it should be"),
        (
            Reply(500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "ErrorId: 17"}]),
            "HTTP 500: UNKNOWN_EXCEPTION ErrorId: 17",
        ),
        (Reply(500, b"<html>Oops"), "HTTP 500: <html>Oops"),
        (Reply(503, b"Service Unavailable"), "HTTP 503: Service Unavailable"),
        (Reply(403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests"}]), "REQUEST_LIMIT_EXCEEDED"),
        (Reply(400, {"unusual": "shape"}), "HTTP 400: {'unusual': 'shape'}"),
        (Reply(404, f"a proxy that repeats: Bearer {TOKEN}".encode()), "repeats: Bearer ***"),
        (Reply(302, b"", {"Location": "http://plain.example/"}), "could not be reached"),
        (Reply(302, b"", {"Location": "/services/data/v64.0/query"}), "could not be reached"),
        (Reply(200, b'{"records": []}', cut=0), "could not be reached, or broke off"),
        (Reply(200, b'{"records": [{"Id": "00D000000000001AAA"}]}', cut=9), "could not be reached, or broke off"),
    ],
)
def test_an_answer_that_is_none_ends_in_a_clear_error(org: ScriptedOrg, path: str, reply: Reply, said: str) -> None:
    assert said in fail(org, path, reply).message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("query", {"records": []}),
        ("query", {"records": [{"Id": None}]}),
        ("query", {"records": [{"Id": "00D000000000001"}]}),
        ("query", {"records": [{"Id": "x'; DROP TABLE a; "}]}),
        ("sobjects", {"sobjects": {}}),
        ("sobjects", {"sobjects": ["Account"]}),
        ("sobjects", {"sobjects": [{"label": "no name"}]}),
        ("sobjects", {"sobjects": [{"name": 7}]}),
        ("composite", {"compositeResponse": []}),
        ("composite", {"compositeResponse": ["r0"]}),
        ("composite", {"compositeResponse": [{"referenceId": []}]}),
        ("composite", {"compositeResponse": [{"referenceId": "r0", "httpStatusCode": 200}]}),
    ],
)
def test_an_answer_of_another_shape_ends_in_a_clear_error(org: ScriptedOrg, path: str, body: object) -> None:
    assert "is not what it should be" in fail(org, path, Reply(200, body)).message


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x\x1b[2J"}], "HTTP 500: UNKNOWN_EXCEPTION x [2J"),
        (200, "text", "HTTP 200: text"),
        (200, None, "HTTP 200: None"),
        (304, None, "HTTP 304: None"),
        ("200", {}, "HTTP 200: {}"),
        (503, f"Bearer {TOKEN}", "HTTP 503: Bearer ***"),
    ],
)
def test_an_object_that_the_org_fails_to_describe_ends_the_fetch(
    org: ScriptedOrg, status: int, body: object, said: str
) -> None:
    org.subrequests["Account"] = (status, body)
    error = refused(lambda: CALLS["composite"](org.login()))
    assert f"Salesforce could not describe Account: {said}" in error.message


def test_an_object_that_the_org_refuses_is_reported_and_the_others_are_given(org: ScriptedOrg) -> None:
    org.describes["Lead"] = described("Lead")
    org.subrequests["Account"] = (403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": f"not with {TOKEN}"}])
    first, second = org.login().describe(["Account", "Lead"])
    assert (first.name, first.body, first.reason) == ("Account", None, "HTTP 403: INSUFFICIENT_ACCESS not with ***")
    assert (second.name, second.body, second.reason) == ("Lead", described("Lead"), "")


@pytest.mark.parametrize("path", CALLS)
def test_a_session_id_that_is_not_accepted_says_which_login_to_renew(org: ScriptedOrg, path: str) -> None:
    error = fail(org, path, Reply(401, EXPIRED))
    assert "HTTP 401: INVALID_SESSION_ID Session expired or invalid" in error.message
    assert "The session by a session id is not accepted" in error.remedy
    assert len(org.seen) == 1


def test_a_session_that_expires_is_renewed_where_the_login_allows_it(org: ScriptedOrg) -> None:
    salesforce = org.login(**CONNECTED_APP)
    org.replies["query"] = [Reply(401, EXPIRED), Reply(200, {"records": [{"Id": org.org_id}]})]
    assert salesforce.org_id() == org.org_id
    assert [path.rpartition("/")[2] for path in org.seen] == ["token", "query", "token", "query"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (EXPIRED, "HTTP 401"),
        ([{"errorCode": "OTHER", "message": "m"}], "HTTP 401: OTHER m"),
        (b"<html>", "HTTP 401: <html>"),
        ({}, "HTTP 401: {}"),
    ],
)
def test_a_session_that_is_refused_for_good_ends_after_a_few_logins(org: ScriptedOrg, body: object, said: str) -> None:
    salesforce = org.login(**CONNECTED_APP)
    org.replies["query"] = Reply(401, body)
    assert said in refused(salesforce.org_id).message
    assert len(org.seen) <= 6


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        BROKEN_JSON,
        Reply(200, f'{{"access_token": "{TOKEN}", "instance_url": "https://exa'.encode()),
        Reply(200, {"access_token": TOKEN}),
        Reply(200, {"instance_url": "https://example.my.salesforce.com"}),
        Reply(200, [{"access_token": TOKEN}]),
        Reply(200, "text"),
        Reply(500, b"<html>Oops " + SECRET.encode()),
        Reply(500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}]),
        Reply(400, {"error": "invalid_client", "error_description": f"the secret {SECRET} is wrong"}),
        Reply(400, {"error": "invalid_grant"}),
        Reply(400, {"error": {"access_token": TOKEN}}),
        Reply(503, b""),
        Reply(200, b"", cut=0),
    ],
)
def test_a_login_that_is_answered_wrongly_ends_in_a_clear_error(org: ScriptedOrg, reply: Reply) -> None:
    org.replies["token"] = reply
    assert "ogin by client credentials" in refused(lambda: org.login(**CONNECTED_APP)).message


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        Reply(200, b"<a><sessionId>" + TOKEN.encode() + b"</sessionId></a>"),
        Reply(200, b"<a><sessionId>" + TOKEN.encode()),
        Reply(500, b"<html>Oops " + SECRET.encode()),
        Reply(500, b"<a><sessionId>" + TOKEN.encode() + b"</sessionId></a>"),
        Reply(500, b"\xff\xfe"),
        Reply(503, b""),
        Reply(200, b"", cut=0),
    ],
)
def test_a_soap_login_that_is_answered_wrongly_ends_in_a_clear_error(org: ScriptedOrg, reply: Reply) -> None:
    org.replies["Soap"] = reply
    assert "SOAP login" in refused(lambda: org.login(**SOAP)).message


def test_a_soap_fault_is_not_asked_for_again_since_that_locks_the_user_out(org: ScriptedOrg) -> None:
    fault = "<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode><sf:exceptionMessage>no</sf:exceptionMessage>"
    org.replies["Soap"] = Reply(500, f"<a xmlns:sf='u'>{fault}</a>".encode())
    assert "INVALID_LOGIN: no" in refused(lambda: org.login(**SOAP)).message
    assert len(org.seen) == 1


@pytest.mark.parametrize("status", [406, 420, 429, 500, 502, 503, 504])
def test_a_passing_fault_is_overcome(org: ScriptedOrg, status: int) -> None:
    salesforce = org.login()
    org.replies["sobjects"] = [Reply(status, b"later")] * 3 + [Reply(200, {"sobjects": []})]
    assert salesforce.describe_global() == []


def test_a_dropped_connection_is_tried_as_often_as_any_passing_fault(org: ScriptedOrg) -> None:
    salesforce = org.login()
    org.replies["sobjects"] = [Reply(200, b"", cut=0)] * 3 + [Reply(200, {"sobjects": []})]
    assert salesforce.describe_global() == []


def test_an_org_that_asks_to_wait_an_hour_is_not_waited_for(org: ScriptedOrg) -> None:
    assert "HTTP 503" in fail(org, "sobjects", Reply(503, b"later", {"Retry-After": "3600"})).message
    assert len(org.seen) == 1


@pytest.mark.soak
def test_the_tries_in_earnest_take_a_few_seconds(org: ScriptedOrg) -> None:
    salesforce = SalesforceOrg(org.variables, api_version="64.0")
    org.replies["sobjects"] = Reply(500, b"no")
    began = time.monotonic()
    with pytest.raises(MonarchError, match="HTTP 500: no"):
        salesforce.describe_global()
    assert 1 < time.monotonic() - began < 6


@pytest.mark.parametrize("flow", [CONNECTED_APP, SOAP])
def test_an_org_that_is_not_there_is_named_with_the_variables_to_check(flow: dict[str, str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        base = {"SALESFORCE_BASE_URL": f"http://{host}"}
        error = refused(lambda: SalesforceOrg(base | flow, api_version="64.0", patience=WITHOUT_PAUSES))
    assert f"{host} could not be reached" in error.message
    assert "SALESFORCE_BASE_URL" in error.remedy


def test_no_log_line_shows_a_secret(org: ScriptedOrg, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    salesforce = org.login(**CONNECTED_APP)
    org.replies["query"] = Reply(500, json.dumps([{"message": TOKEN}]).encode())
    refused(salesforce.org_id)
    assert caplog.records
    assert all(secret not in caplog.text for secret in (TOKEN, SECRET, "5ECRET"))
