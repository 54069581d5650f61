"""Composite requests to the sample org."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from simple_salesforce.exceptions import (
    SalesforceMalformedRequest,
)

from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import (
    composite,
    connect,
    describe_calls,
    errors,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def org(home: Path) -> Iterator[RunningOrg]:
    with running(home=home) as started:
        yield started


@pytest.fixture
def salesforce(org: RunningOrg) -> Any:
    return connect(org)


def test_a_failing_sub_request_carries_its_error_and_the_others_succeed(salesforce: Any) -> None:
    results = composite(salesforce, describe_calls("Account", "Nothing__c", "Contact"))
    assert [each["httpStatusCode"] for each in results] == [200, 404, 200]
    assert [each["referenceId"] for each in results] == ["ref_0", "ref_1", "ref_2"]
    assert results[1]["body"][0]["errorCode"] == "NOT_FOUND"
    assert results[2]["body"]["name"] == "Contact"


def test_a_sub_request_may_ask_for_what_changed_since(salesforce: Any) -> None:
    (first,) = composite(salesforce, describe_calls("Account"))
    since = {"If-Modified-Since": first["httpHeaders"]["Last-Modified"]}
    unchanged, sent = composite(
        salesforce, [*describe_calls("Account", httpHeaders=since), describe_calls("-", "Contact")[1]]
    )
    assert (unchanged["httpStatusCode"], unchanged["body"]) == (304, None)
    assert (sent["httpStatusCode"], sent["body"]["name"]) == (200, "Contact")


def test_all_or_none_halts_the_others(salesforce: Any) -> None:
    results = composite(salesforce, describe_calls("Account", "Nothing__c"), allOrNone=True)
    assert [each["httpStatusCode"] for each in results] == [400, 404]
    assert results[0]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_unchanged_is_no_failure_to_all_or_none(salesforce: Any) -> None:
    since = {"If-Modified-Since": formatdate(time.time() + 3600, usegmt=True)}
    calls = [*describe_calls("Account", httpHeaders=since), describe_calls("-", "Contact")[1]]
    assert [each["httpStatusCode"] for each in composite(salesforce, calls, allOrNone=True)] == [304, 200]


def test_a_malformed_sub_request_fails_alone(salesforce: Any) -> None:
    calls = [{"referenceId": "no_url"}, {"method": "GET", "url": "elsewhere", "referenceId": "bad_url"}]
    results = composite(salesforce, [*calls, *describe_calls("Account")])
    assert [each["httpStatusCode"] for each in results] == [400, 404, 200]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"compositeRequest": describe_calls(*["Account"] * 26)}, "at most 25"),
        ({"compositeRequest": describe_calls("Account") * 2}, "Duplicate referenceId 'ref_0'"),
        ({"compositeRequest": describe_calls("Account", referenceId="1-2")}, "Invalid referenceId '1-2'"),
        ({"compositeRequest": [{"method": "GET", "url": "/"}]}, "Invalid referenceId None"),
        ({"compositeRequest": []}, "list of sub-requests"),
        ({"compositeRequest": ["Account"]}, "list of sub-requests"),
        ([], "list of sub-requests"),
    ],
)
def test_a_composite_request_at_fault_is_400(salesforce: Any, body: Any, said: str) -> None:
    with pytest.raises(SalesforceMalformedRequest) as raised:
        salesforce.restful("composite", method="POST", json=body)
    assert said in errors(raised)[0]["message"]


def test_a_composite_request_that_is_no_json_is_400(salesforce: Any) -> None:
    with pytest.raises(SalesforceMalformedRequest) as raised:
        salesforce.restful("composite/", method="POST", data="{")
    assert errors(raised)[0]["errorCode"] == "JSON_PARSER_ERROR"
