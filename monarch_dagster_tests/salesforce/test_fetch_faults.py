"""What a user gets from a fetch while the org goes wrong: a passing fault is survived, a lasting one is named."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.sample_org.faults import Fault
from monarch_dagster_tests.salesforce.faulty import HASTY, OBJECTS, Faulty, faulty

LIMITS, QUERY, OVERVIEW, COMPOSITE, TOKEN = "/limits", "/query", "/sobjects$", "/composite", "oauth2/token"
PLACES = [LIMITS, QUERY, OVERVIEW, COMPOSITE]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty(tmp_path_factory.mktemp("faulty")) as started:
        yield started


@pytest.fixture
def made(served: Faulty, path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Faulty]:
    """The org, with the file of an earlier fetch at `path`; no log line may show a secret."""
    path.parent.mkdir()
    path.write_bytes(served.old)
    caplog.set_level(logging.DEBUG)
    yield served
    served.heal()
    served.assert_no_secret(caplog.text)


@pytest.mark.parametrize("place", [*PLACES, TOKEN])
@pytest.mark.parametrize(
    "kind",
    ["too_many_requests", "not_acceptable", "no_route", "server_error", "unavailable", "gateway_timeout", "dropped"],
)
def test_a_passing_fault_is_survived_wherever_it_strikes(made: Faulty, path: Path, kind: Any, place: str) -> None:
    made.survives(path, Fault(kind=kind, path=place))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["session_expired", "unauthorized", "cut_off"])
def test_a_passing_fault_of_the_rest_api_is_survived(made: Faulty, path: Path, kind: Any, place: str) -> None:
    made.survives(path, Fault(kind=kind, path=place))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="latency", seconds=0.05, times=None),
        Fault(kind="latency", seconds=0.2, object=OBJECTS[7]),
        Fault(kind="too_many_requests", times=3, retry_after="0"),
        Fault(kind="dropped", path=OVERVIEW, times=3),
        Fault(kind="cut_off", path=OVERVIEW, times=3),
        Fault(kind="gateway_timeout", object=OBJECTS[7]),
        Fault(kind="subrequest_error", object=OBJECTS[7]),
        Fault(kind="subrequest_error", object=OBJECTS[7], times=2),
    ],
    ids=repr,
)
def test_a_fault_that_holds_back_or_strikes_one_object_is_survived(made: Faulty, path: Path, fault: Fault) -> None:
    made.survives(path, fault)


def test_several_faults_in_one_fetch_are_survived(made: Faulty, path: Path) -> None:
    made.survives(
        path,
        Fault(kind="unavailable", path=TOKEN),
        Fault(kind="session_expired", path=COMPOSITE, after=1),
        Fault(kind="server_error", path=COMPOSITE),
        Fault(kind="dropped", path=OVERVIEW),
        Fault(kind="latency", seconds=0.02, times=None),
    )


LASTING: dict[Any, str] = {
    "unauthorized": "HTTP 401: INVALID_SESSION_ID",
    "limit_exceeded": "REQUEST_LIMIT_EXCEEDED",
    "too_many_requests": "HTTP 429: TOO_MANY_REQUESTS",
    "not_acceptable": "HTTP 406: Not Acceptable",
    "no_route": "HTTP 420: No routing information",
    "server_error": "HTTP 500: UNKNOWN_EXCEPTION",
    "unavailable": "HTTP 503: SERVER_UNAVAILABLE",
    "gateway_timeout": "HTTP 504: ",
    "html": "expected JSON",
    "truncated": "expected JSON",
    "dropped": "could not be reached, or broke off",
    "cut_off": "could not be reached, or broke off",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_fault_is_named_and_the_file_stays(made: Faulty, path: Path, kind: Any, place: str) -> None:
    error = made.refuses(path, Fault(kind=kind, path=place, times=None))
    assert LASTING[kind] in error.message
    assert "Nothing was changed" in error.message
    assert error.remedy


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_fault_is_given_up_after_a_limited_number_of_calls(made: Faulty, path: Path, kind: Any) -> None:
    made.refuses(path, Fault(kind=kind, path=COMPOSITE, times=None))
    # Eight threads, each with a batch, its halves and an object alone; busy ones are asked four times each.
    assert made.org.faults.counts()[0].matched <= 8 * (4 + 4 + 3 * 4)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("too_many_requests", "HTTP 429"),
        ("server_error", "HTTP 500"),
        ("unavailable", "HTTP 503"),
        ("gateway_timeout", "HTTP 504"),
        ("html", "expected a session or a reason (HTTP 200)"),
        ("truncated", "expected a session or a reason (HTTP 200)"),
        ("dropped", "could not be reached, or broke off"),
        ("cut_off", "could not be reached, or broke off"),
    ],
)
def test_a_login_that_lastingly_fails_is_named(made: Faulty, path: Path, kind: Any, said: str) -> None:
    error = made.refuses(path, Fault(kind=kind, path=TOKEN, times=None))
    assert "ogin by client credentials" in error.message
    assert said in error.message


@pytest.mark.parametrize("flow", ["client", "jwt", "soap"])
def test_a_session_that_expires_while_several_calls_are_under_way_is_renewed_by_one_login(
    made: Faulty, path: Path, flow: str
) -> None:
    logins = Fault(kind="latency", seconds=0.001, path="oauth2/token|/Soap/", times=None)  # counts them
    slow = Fault(kind="latency", seconds=0.1, path=COMPOSITE, times=3)  # so that all three meet the old session
    made.survives(path, logins, slow, Fault(kind="session_expired", path=COMPOSITE), **made.login(flow))
    assert made.org.faults.counts()[0].matched == 2


def test_a_session_id_that_expires_says_how_to_get_another(made: Faulty, path: Path) -> None:
    error = made.refuses(path, Fault(kind="session_expired", path=COMPOSITE), **made.login("session"))
    assert "HTTP 401: INVALID_SESSION_ID" in error.message
    assert "SALESFORCE_SESSION_ID" in error.remedy


def test_a_soap_login_that_is_retired_names_the_other_logins(made: Faulty, path: Path) -> None:
    error = made.refuses(path, Fault(kind="soap_retired", times=None), **made.login("soap"))
    assert "INVALID_OPERATION" in error.message
    for variable in ("SALESFORCE_PRIVATE_KEY_FILE", "SALESFORCE_CONSUMER_SECRET"):
        assert variable in error.remedy


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(kind="subrequest_error", object=OBJECTS[7], times=None), "UNKNOWN_EXCEPTION"),
        (Fault(kind="gateway_timeout", object=OBJECTS[7], times=None), "HTTP 504"),
        (Fault(kind="latency", seconds=60, object=OBJECTS[7], times=None), "ReadTimeout"),
        (Fault(kind="dripping", seconds=60, object=OBJECTS[7], times=None), "ReadTimeout"),
    ],
    ids=["error", "gateway", "silent", "dripping"],
)
def test_one_object_that_lastingly_fails_is_named(made: Faulty, path: Path, fault: Fault, said: str) -> None:
    made.patience = replace(HASTY, batch_seconds=0.2, read_seconds=0.2, request_seconds=0.2)
    error = made.refuses(path, fault)
    assert OBJECTS[7] in error.message
    assert said in error.message
    assert made.org.faults.counts()[0].matched <= 10


def test_one_slow_object_is_waited_for_alone_and_holds_up_no_other(made: Faulty, path: Path) -> None:
    made.patience = replace(HASTY, batch_seconds=0.2, read_seconds=20)
    made.survives(path, Fault(kind="latency", seconds=0.5, object=OBJECTS[7], times=None))


def test_a_day_whose_calls_are_nearly_used_up_is_left_to_others(made: Faulty, path: Path) -> None:
    made.org.limit_calls(1000, used=800)
    error = made.refuses(path)
    assert "of the 1,000 that the org allows" in error.message
    assert made.org.calls < 810


def test_a_day_whose_calls_are_used_up_is_named(made: Faulty, path: Path) -> None:
    made.org.limit_calls(1000, used=1000)
    assert "REQUEST_LIMIT_EXCEEDED" in made.refuses(path).message


def test_calls_that_others_use_up_meanwhile_end_the_fetch(made: Faulty, path: Path) -> None:
    error = made.refuses(path, Fault(kind="limit_exceeded", path=COMPOSITE, after=2, times=None))
    assert "REQUEST_LIMIT_EXCEEDED" in error.message
