"""Who may call: the decision alone; `test_endpoints` shows it over HTTP."""

from __future__ import annotations

import pytest

from monarch_dagster.api.guard import check_token, is_loopback, judge
from monarch_dagster.errors import MonarchError


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": "Bearer right"}, None),
        ({"authorization": "bearer right"}, None),
        ({"authorization": "Bearer  right "}, None),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer right right"}, 401),
        ({"authorization": "Basic right"}, 401),
        ({"authorization": "right"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer \xfc"}, 401),
        ({}, 401),
        ({"authorization": "Bearer right", "content-length": "70000"}, 413),
        ({"authorization": "Bearer right", "content-length": "9" * 5000}, 413),
        ({"authorization": "Bearer right", "origin": "https://elsewhere.example"}, None),
    ],
)
def test_a_server_with_a_token_takes_whoever_has_it(headers: dict[str, str], code: int | None) -> None:
    refusal = judge("/run-migrations", {"host": "monarch.example"} | headers, "right")
    assert (refusal.status if refusal else None) == code


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"host": "127.0.0.1:8090"}, True),
        ({"host": "localhost:8090"}, True),
        ({"host": "[::1]:8090"}, True),
        ({"host": "localhost:8090", "origin": "http://localhost:8090"}, True),
        ({"host": "127.0.0.1:8090", "origin": "https://elsewhere.example"}, False),
        ({"host": "127.0.0.1:8090", "origin": "null"}, False),
        ({"host": "127.0.0.1:8090", "origin": "http://[wrong"}, False),
        ({"host": "rebound.example:8090"}, False),
        ({"host": "localhost.example"}, False),
        ({}, False),
    ],
)
def test_a_server_without_one_takes_no_call_that_another_site_had_a_browser_make(
    headers: dict[str, str], taken: bool
) -> None:
    refusal = judge("/run-migrations", headers, "")
    assert (refusal is None) is taken
    assert refusal is None or (refusal.status == 403 and "MONARCH_API_TOKEN" in refusal.remedy)


def test_a_probe_is_answered_whoever_asks() -> None:
    assert judge("/health", {"host": "10.0.0.3"}, "right") is None
    assert judge("/health", {"host": "10.0.0.3"}, "") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_what_only_this_machine_reaches_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_token("", host)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.3", ""])
def test_what_others_reach_needs_one(address: str) -> None:
    with pytest.raises(MonarchError, match="Without a token"):
        check_token("", address)
    check_token("dGhpcyBpcyBvbmU=", address)
