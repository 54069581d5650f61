"""A share of the day's API calls, and no more: refused before it begins, stopped when others use up the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.budget import Budget, percent_of
from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster_tests.salesforce.support import Reply, ScriptedOrg, described, refused, scripted

NAMES = [f"Object_{number:02}__c" for number in range(60)]
FORBIDDEN = Reply(403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "View Setup and Configuration"}])


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    with scripted({name: described(name) for name in NAMES}) as served:
        yield served


def limits(most: int, used: int) -> dict[str, Any]:
    return {"DailyApiRequests": {"Max": most, "Remaining": most - used}}


def fetch(org: ScriptedOrg, path: Path, percent: str = "") -> FetchResult:
    share = {"SALESFORCE_MAX_API_USAGE": percent} if percent else {}
    return fetch_from(org.variables | share, path)


def with_header(org: ScriptedOrg, used: int, most: int) -> None:
    """Have each answer say how many calls are used, counting from `used`."""
    right = org.reply

    def reply(path: str, body: bytes) -> Reply:
        answered = right(path, body)
        usage = {"Sforce-Limit-Info": f"api-usage={used + len(org.seen)}/{most}"}
        return Reply(answered.status, answered.body, {**answered.headers, **usage})

    org.reply = reply  # type: ignore[method-assign]


def test_a_fetch_says_how_many_calls_it_used(org: ScriptedOrg, path: Path) -> None:
    assert fetch(org, path).calls == 6 == len(org.seen)
    assert sorted(called.rpartition("/")[2] for called in org.seen) == [
        "composite",
        "composite",
        "composite",
        "limits",
        "query",
        "sobjects",
    ]


def test_a_fetch_that_fits_exactly_is_made_and_one_that_does_not_is_not_begun(org: ScriptedOrg, path: Path) -> None:
    org.limits = limits(1000, 795)  # two calls, and three for the describes
    fetch(org, path)
    org.limits = limits(1000, 796)
    org.seen.clear()
    error = refused(path, lambda: fetch(org, path))
    assert [called.rpartition("/")[2] for called in org.seen] == ["limits", "query", "sobjects"]
    assert "Describing 60 objects needs 3 calls, but 798 of the 1,000" in error.message
    assert "goes up to 800 (80 percent)" in error.message
    assert "SALESFORCE_MAX_API_USAGE" in error.remedy


def test_where_the_share_is_used_up_nothing_more_is_asked(org: ScriptedOrg, path: Path) -> None:
    path.parent.mkdir()
    org.limits = limits(1000, 900)
    error = refused(path, lambda: fetch(org, path))
    assert "900 of the 1,000" in error.message
    assert len(org.seen) == 1


def test_the_share_can_be_set(org: ScriptedOrg, path: Path) -> None:
    org.limits = limits(1000, 900)
    assert fetch(org, path, "95").calls == 6
    org.limits = limits(1000, 90)
    assert "goes up to 50 (5 percent)" in refused(path, lambda: fetch(org, path, "5")).message


@pytest.mark.parametrize("given", ["0", "101", "-5", "80%", "8.5", "eighty", "８０", "9" * 50])  # noqa: RUF001
def test_a_share_that_is_none_is_refused_before_the_login(org: ScriptedOrg, path: Path, given: str) -> None:
    path.parent.mkdir()
    error = refused(path, lambda: fetch(org, path, given))
    assert "SALESFORCE_MAX_API_USAGE" in error.message
    assert "from 1 to 100" in error.message
    assert org.seen == []


def test_the_share_is_80_percent_unless_it_is_set() -> None:
    assert (percent_of({}), percent_of({"SALESFORCE_MAX_API_USAGE": "100"})) == (80, 100)


def test_a_fetch_stops_when_others_use_up_the_calls_meanwhile(org: ScriptedOrg, path: Path) -> None:
    names = [f"Object_{number}__c" for number in range(1000)]
    org.describes = {name: described(name) for name in names}
    fetch(org, path, "100")
    org.limits = limits(1000, 700)
    with_header(org, 700, 1000)
    org.before = lambda called: with_header(org, 800, 1000) if len(org.asked) == 12 else None
    org.seen.clear(), org.asked.clear()
    error = refused(path, lambda: fetch(org, path))
    assert "A further call to Salesforce's API needs 1 call" in error.message
    assert len(org.asked) < 40


def test_without_the_right_to_see_limits_the_answers_tell(org: ScriptedOrg, path: Path) -> None:
    org.replies["limits"] = FORBIDDEN
    fetch(org, path)
    with_header(org, 797, 1000)
    org.seen.clear()
    error = refused(path, lambda: fetch(org, path))
    assert "needs 3 calls, but 800 of the 1,000" in error.message


@pytest.mark.parametrize(
    "reply", [FORBIDDEN, Reply(404, [{"errorCode": "NOT_FOUND"}]), Reply(200, {}), Reply(200, {"DailyApiRequests": 1})]
)
def test_an_org_that_does_not_say_what_it_allows_is_fetched(org: ScriptedOrg, path: Path, reply: Reply) -> None:
    org.replies["limits"] = reply
    assert fetch(org, path).written


@pytest.mark.parametrize("place", ["limits", "query", "sobjects", "composite"])
def test_calls_that_are_used_up_have_a_message_of_their_own(org: ScriptedOrg, path: Path, place: str) -> None:
    fetch(org, path)
    org.replies[place] = Reply(
        403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    )
    error = refused(path, lambda: fetch(org, path))
    assert "calls of 24 hours are used up: REQUEST_LIMIT_EXCEEDED TotalRequests Limit exceeded." in error.message
    assert "Company Information" in error.remedy


def test_each_try_counts(org: ScriptedOrg) -> None:
    salesforce = org.login()
    org.replies["sobjects"] = [Reply(503, b"later"), Reply(503, b"later"), Reply(200, {"sobjects": []})]
    salesforce.describe_global()
    assert salesforce.budget.spent == 3


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("api-usage=18/20", 2),
        ("api-usage=18/20; per-app-api-usage=17/250(appName=sample)", 2),
        ("per-app-api-usage=17/250(appName=sample); api-usage=18/20", 2),
        ("per-app-api-usage=17/250(appName=sample)", None),
        ("api-usage=18", None),
        ("", None),
    ],
)
def test_what_the_header_says_is_understood(header: str, left: int | None) -> None:
    budget = Budget(100)
    budget.learn(header)
    assert budget.known == (left is not None)
    if left is not None:
        budget.require(left, "This")
        with pytest.raises(MonarchError):
            budget.require(left + 1, "This")
