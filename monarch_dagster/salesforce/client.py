"""The few calls to the Salesforce REST API that a fetch needs.

How a call is made is in `connection` and `transport`, what is asked in one call in `composite`, what is done with a
describe in `fetch`.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.budget import Budget, percent_of
from monarch_dagster.salesforce.composite import Answered, Batch, alone, batches, body_for, read_answer, split
from monarch_dagster.salesforce.connection import LIMIT_EXCEEDED, CallError, Connection, error_text, wrong
from monarch_dagster.salesforce.login import choose_login
from monarch_dagster.salesforce.transport import THREADS, Patience, open_session
from monarch_dagster.salesforce.workers import Workers

log = logging.getLogger(__name__)

# The newest version whose SOAP login still answers; object_meta.json pins what was used first.
DEFAULT_API_VERSION = "64.0"
PATIENCE = Patience()

_ORG_ID = re.compile(r"[A-Za-z0-9]{18}")
_SHORT_OF_CALLS = frozenset({406, 420, 429})


@dataclass(frozen=True)
class Described:
    """The answer for one object: its describe, that it is unchanged, or the reason why the org gave none."""

    name: str
    body: Mapping[str, Any] | None
    reason: str = ""
    unchanged: bool = False
    """There is no body, since nothing changed after the date that was asked with."""

    last_modified: str = ""
    """What to ask with the next time; "" where only a whole answer is to be trusted."""


class SalesforceOrg:
    """One org, logged in."""

    def __init__(self, variables: Mapping[str, str], *, api_version: str, patience: Patience = PATIENCE) -> None:
        """Log in with the `SALESFORCE_*` variables that are set. Raises `MonarchError` where that fails."""
        login = choose_login(variables)
        self.api_version = api_version
        self.user = login.user
        """Stands for who is logged in, without naming anybody."""

        self.budget = Budget(percent_of(variables))
        self._patience = patience
        self._stopped = threading.Event()
        session = open_session(variables.get("SALESFORCE_BASE_URL", ""), patience, self.budget, self._stopped)
        self._connection = Connection(login, session, api_version=api_version)

    def org_id(self) -> str:
        """Return the org's 18-character id."""
        what = "the query for the organization's id"
        answer = self._connection.get("query", params={"q": "SELECT Id FROM Organization"})
        try:
            found = answer["records"][0]["Id"]
        except (KeyError, IndexError, TypeError):
            found = None
        if not isinstance(found, str) or not _ORG_ID.fullmatch(found):
            raise wrong(what, "one record with an Id of 18 characters")
        return found

    def describe_global(self) -> list[Mapping[str, Any]]:
        """Return describeGlobal's entry for each object that the user may see."""
        answer = self._connection.get("sobjects")
        entries = answer.get("sobjects") if isinstance(answer, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
        ):
            raise wrong("describeGlobal", "a list of objects with names")
        return entries

    def read_limits(self) -> None:
        """Have the budget know what is left of the day's calls; where the user may not ask, answers' headers tell."""
        try:
            answer = self._connection.get("limits")
        except CallError as error:
            if error.status not in (400, 403, 404) or LIMIT_EXCEEDED in error.message:
                raise
            log.info("The user may not see the org's limits; its answers tell how many calls are used.")
            return
        try:
            most, left = answer["DailyApiRequests"]["Max"], answer["DailyApiRequests"]["Remaining"]
            self.budget.set_usage(int(most) - int(left), int(most))
        except (KeyError, TypeError, ValueError):
            log.info("The org does not say how many API calls it allows.")

    def describe(self, names: Sequence[str], since: Mapping[str, str] | None = None) -> Iterator[Described]:
        """Give each object's describe as it comes, 25 a call, several calls at a time.

        An object that `since` has a date for (`Described.last_modified` of an earlier call) may come as unchanged.
        Objects that fail, or hold up their batch, are asked for again, in smaller batches and alone at last. Raises
        `MonarchError` when one still fails then; an object that the org refuses (4xx) is given with the reason. When it
        is left before its end, by an error too, the login is of no more use: no thread goes on asking.
        """
        waiting = deque(batches(names))
        self.budget.require(len(waiting), f"Describing {len(names):,} objects")
        until = time.monotonic() + self._patience.fetch_seconds
        known = since or {}
        workers: Workers[Batch, requests.Response] = Workers(lambda batch: self._ask(batch, known), THREADS)
        with workers:
            try:
                while waiting or workers.busy:
                    while waiting and workers.free:
                        workers.give(waiting.popleft())
                    try:
                        batch, outcome = workers.take(until - time.monotonic())
                    except TimeoutError:
                        raise self._too_long() from None
                    answers, again = self._sort(batch, outcome, known)
                    del outcome  # which may hold megabytes
                    waiting.extendleft(again)  # first, so that an org that fails altogether is given up soon
                    while waiting and workers.free:  # before the caller takes its time with the answers
                        workers.give(waiting.popleft())
                    while answers:
                        yield answers.popleft()
            except BaseException:
                self._stopped.set()
                raise

    def _ask(self, batch: Batch, since: Mapping[str, str]) -> requests.Response:
        patience = self._patience
        single = len(batch.names) == 1
        if batch.failed_alone:
            self._stopped.wait(patience.pause_seconds * 2**batch.failed_alone)
        return self._connection.call(
            "POST",
            "composite",
            json=body_for(batch.names, since, self.api_version),
            timeout=(patience.connect_seconds, patience.read_seconds if single else patience.batch_seconds),
        )

    def _sort(
        self, batch: Batch, outcome: requests.Response | BaseException, since: Mapping[str, str]
    ) -> tuple[deque[Described], list[Batch]]:
        """Return the describes that came of a batch, and what is to be asked for again."""
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            answered = read_answer(outcome.content, batch.names, since, outcome.headers.get("Date", ""))
        except CallError as error:
            again = split(batch) if error.passing else []
            if not again:
                several = len(batch.names) > 1 or not error.passing
                raise error if several else self._undescribed(batch.names[0], error) from None
            log.info("%d objects did not come in one call; asking for them again: %s", len(batch.names), error.message)
            return deque(), again
        found, again = deque[Described](), list[Batch]()
        for item in answered:
            described = self._described(item)
            if described is not None:
                found.append(described)
                continue
            retried = split(batch) if len(batch.names) == 1 else alone([item.name])
            if not retried:
                raise self._undescribed(item.name, self._reason(item))
            again += retried
        return found, again

    def _described(self, item: Answered) -> Described | None:
        """Return what an answer says of its object, None where it is to be asked for again."""
        status, body = item.status, item.body
        if status == requests.codes.ok and isinstance(body, dict):
            return Described(item.name, body, last_modified=item.last_modified)
        if item.conditional:
            return Described(item.name, None, unchanged=True, last_modified=item.last_modified)
        if isinstance(status, int) and 400 <= status < 500 and status not in _SHORT_OF_CALLS:
            reason = self._reason(item)
            if LIMIT_EXCEEDED in reason:
                raise self._connection.limit_exceeded(reason)
            if status != requests.codes.unauthorized:
                return Described(item.name, None, reason)
        return None

    def _reason(self, item: Answered) -> str:
        return f"HTTP {item.status}: {self._connection.presentable(error_text(item.body))}"

    def _undescribed(self, name: str, reason: str | CallError) -> MonarchError:
        if isinstance(reason, CallError):
            return CallError(f"{name} could not be described. {reason.message}", remedy=reason.remedy)
        return MonarchError(
            f"Salesforce could not describe {name}: {reason}. Nothing was changed.",
            remedy="Fetch again later; if it stays, ask Salesforce's support with that message.",
        )

    def _too_long(self) -> MonarchError:
        minutes = self._patience.fetch_seconds / 60
        return MonarchError(
            f"The org did not describe all objects within {minutes:g} minutes. Nothing was changed.",
            remedy='Fetch again when it is faster, or fewer objects (`--object`, "selection" in object_meta.json).',
        )
