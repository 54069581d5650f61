"""Describes of many objects over real HTTP: few calls, several at a time, and one bad object that costs no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import SalesforceOrg
from monarch_dagster.salesforce.composite import COMPOSITE_SIZE, Batch, reliable, split
from monarch_dagster.salesforce.transport import THREADS
from monarch_dagster_tests.salesforce.support import (
    BROKEN_JSON,
    WITHOUT_PAUSES,
    Reply,
    ScriptedOrg,
    described,
    scripted,
)

NAMES = [f"Object_{number:02}__c" for number in range(60)]
SERVER_ERROR = [{"errorCode": "UNKNOWN_EXCEPTION", "message": "ErrorId: 17"}]


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    with scripted({name: described(name) for name in NAMES}) as served:
        yield served


def names_of(salesforce: SalesforceOrg, names: list[str] = NAMES) -> list[str]:
    return sorted(item.name for item in salesforce.describe(names) if item.body == described(item.name))


def refused(salesforce: SalesforceOrg) -> MonarchError:
    with pytest.raises(MonarchError) as raised:
        list(salesforce.describe(NAMES))
    return raised.value


def test_each_object_is_described_once_25_a_call(org: ScriptedOrg) -> None:
    assert names_of(org.login()) == NAMES
    assert sorted(map(len, org.asked)) == [10, 25, 25]
    assert COMPOSITE_SIZE == 25


def test_calls_are_made_eight_at_a_time_and_no_more(org: ScriptedOrg) -> None:
    names = [f"Object_{number}__c" for number in range(20 * COMPOSITE_SIZE)]
    org.describes = {name: described(name) for name in names}
    lock, running, most = threading.Lock(), 0, 0

    def note(path: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    org.before = note
    assert len(list(org.login().describe(names))) == len(names)
    assert most == THREADS


def test_describes_are_not_read_ahead_of_who_takes_them(org: ScriptedOrg) -> None:
    names = [f"Object_{number}__c" for number in range(40 * COMPOSITE_SIZE)]
    org.describes = {name: described(name) for name in names}
    describes = org.login().describe(names)
    next(describes)
    time.sleep(0.2)
    assert len(org.asked) <= THREADS + 1
    describes.close()


def test_connections_are_kept_and_used_again(org: ScriptedOrg) -> None:
    org.keep_alive = True
    salesforce = org.login()
    for _ in range(3):
        list(salesforce.describe(NAMES))
        salesforce.org_id()
    assert len(org.connections) <= 3


def test_the_org_can_leave_no_cookie(org: ScriptedOrg) -> None:
    salesforce = org.login()
    org.replies["query"] = Reply(body={"records": [{"Id": org.org_id}]}, headers={"Set-Cookie": "a=b; Path=/"})
    salesforce.org_id()
    list(salesforce.describe(NAMES))
    assert not any("Cookie" in headers for headers in org.headers)


def test_a_call_is_split_in_halves_then_to_single_objects_then_given_up_after_three_tries() -> None:
    names = tuple("abcdefgh")
    left, right = split(Batch(names))
    assert (left.names, right.names) == (names[:4], names[4:])
    singles = split(left)
    assert [batch.names for batch in singles] == [("a",), ("b",), ("c",), ("d",)]
    (again,) = split(singles[0])
    assert again.names == ("a",)
    (last,) = split(again)
    assert split(last) == []


def test_an_object_that_the_org_cannot_describe_once_is_asked_for_alone(org: ScriptedOrg) -> None:
    org.subrequests["Object_07__c"] = (500, SERVER_ERROR)
    heal(org, after=2)
    assert names_of(org.login()) == NAMES
    assert sorted(map(len, org.asked)) == [1, 1, 10, 25, 25]


def heal(org: ScriptedOrg, after: int) -> None:
    """Have the org describe all objects again after so many calls that held the broken one."""

    def note(path: str) -> None:
        broken = set(org.subrequests)
        if broken and sum(bool(broken & set(names)) for names in org.asked) > after:
            org.subrequests = {}

    org.before = note


@pytest.mark.parametrize("status", [406, 420, 429, 500, 503, 401])
def test_an_object_that_fails_in_a_passing_way_is_not_taken_for_refused(org: ScriptedOrg, status: int) -> None:
    org.subrequests["Object_07__c"] = (status, SERVER_ERROR)
    assert f"Salesforce could not describe Object_07__c: HTTP {status}: " in refused(org.login()).message
    assert [names for names in org.asked if "Object_07__c" in names][1:] == [("Object_07__c",)] * 3


def test_a_limit_that_shows_within_an_answer_ends_the_fetch(org: ScriptedOrg) -> None:
    org.subrequests["Object_07__c"] = (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests"}])
    assert "API calls of 24 hours are used up: HTTP 403: REQUEST_LIMIT_EXCEEDED" in refused(org.login()).message


def poison(org: ScriptedOrg, name: str, reply: Reply, *, alone: Reply | None = None) -> None:
    """Have each call that holds the object come to `reply`, and to `alone` one that holds no other."""
    right = org.reply

    def answer(path: str, body: bytes) -> Reply:
        answered = right(path, body)
        if name.encode() not in body:
            return answered
        return reply if org.asked[-1] != (name,) and name in org.asked[-1] else (alone or answered)

    lock = threading.Lock()

    def one_at_a_time(path: str, body: bytes) -> Reply:
        with lock:
            return answer(path, body)

    org.reply = one_at_a_time  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, b"no"),
        Reply(502, b"no"),
        Reply(504, b"<html>Gateway Time-out"),
        Reply(503, b"no"),
        BROKEN_JSON,
        Reply(200, {"compositeResponse": []}),
        Reply(200, b'{"compositeResponse": [', cut=9),
        Reply(200, b"", cut=0),
        Reply(200, b"x", {"Content-Encoding": "gzip"}),
    ],
)
def test_one_object_that_spoils_its_call_costs_a_few_calls_and_no_object(org: ScriptedOrg, reply: Reply) -> None:
    poison(org, "Object_07__c", reply)
    assert names_of(org.login()) == NAMES
    wholes = [names for names in org.asked if len(names) in (10, 25) and "Object_07__c" not in names]
    assert len(wholes) == 2
    assert len({names for names in org.asked if len(names) == 1}) == 12


def test_an_object_that_spoils_even_a_call_of_its_own_is_named(org: ScriptedOrg) -> None:
    poison(org, "Object_07__c", Reply(500, b"no"), alone=Reply(500, b"not alone either"))
    error = refused(org.login())
    assert "Object_07__c could not be described" in error.message
    assert "HTTP 500: not alone either" in error.message


def test_one_slow_object_does_not_hold_up_its_call_for_ever(org: ScriptedOrg) -> None:
    right = org.reply

    def late(path: str, body: bytes) -> Reply:
        if b"Object_07__c" in body:
            time.sleep(0.4)
        return right(path, body)

    org.reply = late  # type: ignore[method-assign]
    patience = replace(WITHOUT_PAUSES, batch_seconds=0.15, read_seconds=5)
    began = time.monotonic()
    assert names_of(org.login(patience=patience)) == NAMES
    assert time.monotonic() - began < 2
    assert ("Object_07__c",) in org.asked


def test_a_silent_org_is_waited_for_no_longer_than_is_set(org: ScriptedOrg) -> None:
    salesforce = org.login(patience=replace(WITHOUT_PAUSES, read_seconds=0.1))
    org.before = lambda path: time.sleep(0.5)
    with pytest.raises(MonarchError, match="could not be reached, or broke off: ReadTimeout"):
        salesforce.org_id()
    assert len(org.seen) == 2


def test_an_answer_that_drips_has_an_end(org: ScriptedOrg) -> None:
    salesforce = org.login(patience=replace(WITHOUT_PAUSES, read_seconds=1, request_seconds=0.3))
    org.replies["query"] = Reply(200, b" " * 10_000, drip=0.02)
    began = time.monotonic()
    with pytest.raises(MonarchError, match="could not be reached, or broke off: ReadTimeout"):
        salesforce.org_id()
    assert time.monotonic() - began < 3


def test_a_fetch_as_a_whole_has_an_end(org: ScriptedOrg) -> None:
    salesforce = org.login(patience=replace(WITHOUT_PAUSES, fetch_seconds=0.2))
    org.before = lambda path: time.sleep(0.6)
    began = time.monotonic()
    error = refused(salesforce)
    assert time.monotonic() - began < 0.5
    assert "did not describe all objects within" in error.message


def test_after_an_error_no_thread_goes_on_asking(org: ScriptedOrg) -> None:
    names = [f"Object_{number}__c" for number in range(40 * COMPOSITE_SIZE)]
    org.describes = {name: described(name) for name in names}
    org.replies["composite"] = Reply(400, [{"errorCode": "INVALID_INPUT", "message": "no"}])
    before = set(threading.enumerate())
    with pytest.raises(MonarchError, match="HTTP 400: INVALID_INPUT no"):
        list(org.login().describe(names))
    time.sleep(0.1)
    assert len(org.asked) <= 2 * THREADS
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("salesforce-")]


def test_after_an_error_no_call_that_waits_is_made_again(org: ScriptedOrg) -> None:
    right = org.reply

    def reply(path: str, body: bytes) -> Reply:
        answered = right(path, body)
        if b"Object_07__c" in body:
            return Reply(503, b"later")
        time.sleep(0.1)
        return Reply(400, b"no") if b"Object_30__c" in body else answered

    org.reply = reply  # type: ignore[method-assign]
    salesforce = org.login(patience=replace(WITHOUT_PAUSES, pause_seconds=0.4))
    with pytest.raises(MonarchError, match="HTTP 400: no"):
        list(salesforce.describe(NAMES))
    time.sleep(0.8)
    assert len(org.asked) == 3


def test_an_org_that_fails_altogether_is_given_up_soon(org: ScriptedOrg) -> None:
    names = [f"Object_{number}__c" for number in range(40 * COMPOSITE_SIZE)]
    org.replies["composite"] = Reply(500, b"no")
    with pytest.raises(MonarchError, match="HTTP 500: no"):
        list(org.login().describe(names))
    assert len(org.asked) < 60


def test_a_wait_that_the_org_asks_for_is_kept(org: ScriptedOrg) -> None:
    salesforce = org.login()
    org.replies["query"] = [
        Reply(429, b"later", {"Retry-After": "1"}),
        Reply(200, {"records": [{"Id": org.org_id}]}),
    ]
    began = time.monotonic()
    assert salesforce.org_id() == org.org_id
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("last_modified", "date", "kept"),
    [
        ("Mon, 01 Jun 2026 10:00:00 GMT", "Mon, 01 Jun 2026 10:00:01 GMT", True),
        ("Mon, 01 Jun 2026 10:00:00 GMT", "Mon, 01 Jun 2026 10:00:00 GMT", False),
        ("Mon, 01 Jun 2026 10:00:05 GMT", "Mon, 01 Jun 2026 10:00:01 GMT", False),
        ("yesterday", "Mon, 01 Jun 2026 10:00:01 GMT", False),
        ("Mon, 01 Jun 2026 10:00:00 GMT", "", False),
        (None, "Mon, 01 Jun 2026 10:00:01 GMT", False),
    ],
)
def test_a_date_is_used_only_where_no_later_change_can_bear_it_too(last_modified: str, date: str, kept: bool) -> None:
    assert reliable(last_modified, date) == (last_modified if kept else "")
