"""One login for all threads: renewed once when it expires, and given up with a message when that does not help."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.composite import COMPOSITE_SIZE
from monarch_dagster_tests.salesforce.support import TOKEN, Reply, ScriptedOrg, described, scripted

EXPIRED = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
NAMES = [f"Object_{number:03}__c" for number in range(8 * COMPOSITE_SIZE)]
APP = {
    "SALESFORCE_DOMAIN": "example.my",
    "SALESFORCE_CONSUMER_KEY": "3MVG9.key",
    "SALESFORCE_CONSUMER_SECRET": "5ECRET",
}


class ExpiringOrg:
    """An org whose tokens are numbered; it accepts `accepted`, and hands out the next at each login."""

    def __init__(self, org: ScriptedOrg) -> None:
        self.org, self.right = org, org.reply
        self.logins = 0
        self.accepted = {1}
        self.token_reply: Reply | None = None
        self.lock = threading.Lock()
        org.reply = self.reply  # type: ignore[method-assign]

    def reply(self, path: str, body: bytes) -> Reply:
        """Answer a login with the next token, and a call by the token that it bears."""
        if "oauth2/token" in path:
            with self.lock:
                self.logins += 1
                if self.token_reply is not None and self.logins > 1:
                    return self.token_reply
                number = self.logins
            time.sleep(0.05)
            return Reply(body={"access_token": f"{TOKEN}{number}", "instance_url": "https://example.my.salesforce.com"})
        time.sleep(0.05)  # so that all threads have begun when the first of them hears of it
        number = int(self.org.token.bearer.removeprefix(f"Bearer {TOKEN}"))
        return self.right(path, body) if number in self.accepted else Reply(401, EXPIRED)


@pytest.fixture
def org() -> Iterator[ExpiringOrg]:
    with scripted({name: described(name) for name in NAMES}) as served:
        yield ExpiringOrg(served)


def refused(org: ExpiringOrg) -> MonarchError:
    salesforce = org.org.login(**APP)
    org.accepted = set()
    with pytest.raises(MonarchError) as raised:
        list(salesforce.describe(NAMES))
    assert TOKEN not in str(raised.value)
    assert "5ECRET" not in str(raised.value)
    return raised.value


def test_a_session_that_expires_midway_is_renewed_once_for_all_threads(org: ExpiringOrg) -> None:
    salesforce = org.org.login(**APP)
    org.accepted = {2}
    assert sorted(item.name for item in salesforce.describe(NAMES)) == NAMES
    assert org.logins == 2


def test_a_session_that_is_never_accepted_ends_after_few_logins(org: ExpiringOrg) -> None:
    error = refused(org)
    assert "HTTP 401: INVALID_SESSION_ID Session expired or invalid" in error.message
    assert "session by client credentials" in error.remedy
    assert org.logins == 3


def test_a_renewal_that_is_refused_is_not_tried_by_each_thread(org: ExpiringOrg) -> None:
    org.token_reply = Reply(400, {"error": "invalid_client", "error_description": "no more"})
    error = refused(org)
    assert "Login by client credentials was refused by Salesforce: invalid_client: no more" in error.message
    time.sleep(0.3)  # for the other threads, which may be about to
    assert org.logins == 2


def test_a_renewal_that_was_refused_is_not_tried_again(org: ExpiringOrg) -> None:
    salesforce = org.org.login(**APP)
    org.accepted, org.token_reply = set(), Reply(400, {"error": "invalid_client"})
    for _ in range(3):
        with pytest.raises(MonarchError, match="refused by Salesforce: invalid_client"):
            salesforce.org_id()
    assert org.logins == 2


def test_a_session_id_is_not_renewed_and_the_message_says_what_is(org: ExpiringOrg) -> None:
    variables = org.org.variables | {"SALESFORCE_SESSION_ID": f"{TOKEN}7"}
    salesforce = org.org.login(**variables)
    with pytest.raises(MonarchError) as raised:
        salesforce.org_id()
    assert org.logins == 0
    assert "HTTP 401: INVALID_SESSION_ID" in raised.value.message
    assert "set a new SALESFORCE_SESSION_ID" in raised.value.remedy
    assert "JWT bearer or client credentials" in raised.value.remedy
    assert TOKEN not in str(raised.value)
