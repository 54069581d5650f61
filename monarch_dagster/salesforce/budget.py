"""How many of the day's API calls a fetch may use: the share that is set, counted over all that use the org.

Thread-safe, no network: `transport` asks before each call and passes on what the answers say.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from monarch_dagster.errors import MonarchError, counted

VARIABLE = "SALESFORCE_MAX_API_USAGE"
DEFAULT_PERCENT = 80
# REST API Developer Guide, Limit Info Header: `api-usage=18/5000; per-app-api-usage=17/250(appName=…)`.
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d{1,12})/(\d{1,12})")


def percent_of(variables: Mapping[str, str]) -> int:
    """Return the share of a day's calls that may be used, in percent. Raises `MonarchError` for what is no share."""
    given = variables.get(VARIABLE, "")
    if not given:
        return DEFAULT_PERCENT
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:4]) <= 100):
        raise MonarchError(
            f"{VARIABLE} is {given[:20]!r}, expected a whole number of percent from 1 to 100.",
            remedy=f"Correct it, or unset it for {DEFAULT_PERCENT} percent of the org's API calls of a day.",
        )
    return int(given)


class Budget:
    """The calls of the last 24 hours, by anybody, and how far Monarch may go.

    Salesforce counts a composite as one call and a login as none (Salesforce Developer Limits and Allocations, API
    Request Limits).
    """

    def __init__(self, percent: int = DEFAULT_PERCENT) -> None:
        """Take the share in percent; until the org has said how many calls it allows, nothing is refused."""
        self.percent = percent
        self.spent = 0
        """Calls made by way of this object."""

        self._used = 0
        self._most: int | None = None
        self._lock = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether the org has said how many calls it allows."""
        return self._most is not None

    def spend(self) -> None:
        """Count a call that is about to be made. Raises `MonarchError` when it would be one too many."""
        self.require(1, "A further call to Salesforce's API")
        with self._lock:
            self.spent += 1
            self._used += 1

    def require(self, needed: int, what: str) -> None:
        """Raise `MonarchError` unless so many further calls are left; `what` needs them."""
        with self._lock:
            used, most = self._used, self._most
        if most is None:
            return
        allowed = most * self.percent // 100
        if used + needed > allowed:
            raise MonarchError(
                f"{what} needs {counted(needed, 'call')}, but {used:,} of the {most:,} that the org allows in 24 hours "
                f"are used, and Monarch goes up to {allowed:,} ({self.percent} percent). Nothing was changed.",
                remedy=f"Fetch later, when the calls of the last 24 hours are fewer, fetch less (`--object`, or "
                f'"selection" in object_meta.json), or raise {VARIABLE} (percent; it leaves less to others).',
            )

    def learn(self, header: str) -> None:
        """Take what an answer's `Sforce-Limit-Info` says; a header that says nothing changes nothing."""
        if found := _USAGE.search(header):
            self.set_usage(int(found[1]), int(found[2]))

    def set_usage(self, used: int, most: int) -> None:
        """Take how many calls are used, of how many."""
        if most <= 0:
            return
        with self._lock:
            # Answers of several threads overtake each other, and the org counts late: the higher figure is nearer.
            self._used = max(self._used, used)
            self._most = most
