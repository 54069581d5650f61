"""A fetch from an org that goes wrong: the org, the fetch without pauses, and what may come of it. No tests."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote_plus

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import SalesforceOrg
from monarch_dagster.salesforce.fetch import FetchResult, fetch_object_meta
from monarch_dagster.salesforce.sample_org.faults import Fault, Kind
from monarch_dagster.salesforce.sample_org.permissions import Hidden, visible
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster.salesforce.transport import Patience
from monarch_dagster_tests.salesforce.support import WITHOUT_PAUSES, described, text

OBJECTS = [f"Thing_{number:02}__c" for number in range(60)]
"""Enough for three composite calls, which a client may send at a time."""

NEWER = Hidden(share_of_objects=0.2, share_of_fields=0.2)
"""What was not there yet when the old file was fetched."""

HASTY = replace(WITHOUT_PAUSES, batch_seconds=0.4, read_seconds=0.8, request_seconds=1)
"""So that a test can outlast each time that a client waits."""

BOUND_SECONDS = 20
"""Longer than any fetch here takes on a busy machine; a fetch that hangs takes longer."""


@dataclass
class Faulty:
    """An org that goes wrong when told, the file of an earlier fetch, and the file that a fetch now is to give."""

    org: RunningOrg
    old: bytes = b""
    right: bytes = b""
    cache: dict[str, bytes] = field(default_factory=dict)
    """What the fetch of the old file left below Monarch's home folder, by path."""

    patience: Patience = WITHOUT_PAUSES
    home: Path | None = None
    """Where a fetch finds what an earlier one left; None is a fetch that knows nothing."""

    def fetch(self, path: Path, **variables: str) -> FetchResult:
        """Fetch into the file with as many tries as in earnest, without the pauses between them."""
        org = SalesforceOrg(variables or self.org.environment, api_version="64.0", patience=self.patience)
        return fetch_object_meta(path, org, home=self.home)

    def restore(self, path: Path, home: Path) -> None:
        """Put the file and the cache there that the earlier fetch left, and have fetches use them."""
        for name, content in {str(path): self.old, **{str(home / k): v for k, v in self.cache.items()}}.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
        self.home = home

    def heal(self) -> None:
        """End all faults, and what a test has set."""
        self.org.faults.clear()
        self.org.limit_calls(100_000)
        self.patience, self.home = WITHOUT_PAUSES, None

    def login(self, flow: str) -> dict[str, str]:
        """Return the variables of a login: "client", "session" (one of its own), "jwt" or "soap"."""
        given, base = self.org.credentials, {"SALESFORCE_BASE_URL": self.org.url}
        app = {"SALESFORCE_DOMAIN": given.domain, "SALESFORCE_CONSUMER_KEY": given.consumer_key}
        user = {"SALESFORCE_USERNAME": given.username}
        password = {"SALESFORCE_PASSWORD": given.password, "SALESFORCE_SECURITY_TOKEN": given.security_token}
        instance = {"SALESFORCE_INSTANCE_URL": f"https://{given.domain}.salesforce.com"}
        flows: dict[str, dict[str, str]] = {
            "client": app | {"SALESFORCE_CONSUMER_SECRET": given.consumer_secret},
            "session": instance | {"SALESFORCE_SESSION_ID": self.org.served.open_session()},
            "jwt": app | user | {"SALESFORCE_PRIVATE_KEY_FILE": str(given.private_key_file)},
            "soap": user | password,
        }
        return base | flows[flow]

    def survives(self, path: Path, *faults: Fault, **variables: str) -> FetchResult:
        """Fetch amid the faults: the right file comes of it."""
        self.org.faults.add(*faults)
        result = self.fetch(path, **variables)
        assert path.read_bytes() == self.right
        return result

    def refuses(self, path: Path, *faults: Fault, **variables: str) -> MonarchError:
        """Fetch amid the faults: an error comes of it that shows no secret, and the file is what it was."""
        self.org.faults.add(*faults)
        before = path.read_bytes()
        with pytest.raises(MonarchError) as raised:
            self.fetch(path, **variables)
        assert path.read_bytes() == before
        self.assert_tidy(path.parent)
        self.assert_no_secret("".join(traceback.format_exception(raised.value)))
        return raised.value

    def assert_no_secret(self, said: str) -> None:
        """Check that a text holds neither a secret of a login nor any token of the org, in whatever quoting."""
        credentials = self.org.credentials
        secrets = [credentials.consumer_secret, credentials.password, credentials.security_token]
        # Each token begins with the org's id and an exclamation mark.
        secrets += [f"{self.org.organization_id[:15]}!"]
        assert [each for each in secrets if each in said or quote_plus(each) in said] == []

    @staticmethod
    def assert_tidy(folder: Path) -> None:
        """Check that no half-written file stays behind."""
        assert {path.name for path in folder.iterdir()} <= {"object_meta.json", "object_meta.schema.json"}


@contextmanager
def faulty(folder: Path) -> Iterator[Faulty]:
    """Serve an org of small objects, some newer than the old file, in good health so far."""
    home, served, path = folder / "home", folder / "describes", folder / "schema" / "object_meta.json"
    every = {name: described(name, *(text(f"Text_{n}__c", 10 + n) for n in range(3))) for name in OBJECTS}
    _write_describes(served, visible(every, NEWER))
    with running(served, home=home):
        pass
    _age_describes(home / "sample-org" / "last_modified.json")
    with running(served, home=home) as org:
        made = Faulty(org, home=home)
        made.fetch(path)
        made.old = path.read_bytes()
        made.cache = {str(each.relative_to(home)): each.read_bytes() for each in (home / "describes").iterdir()}
        made.home = None
        _write_describes(served, every)
        made.fetch(path)
        made.right = path.read_bytes()
        assert made.old != made.right
        yield made


def _write_describes(folder: Path, describes: Mapping[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in describes.items():
        file = folder / f"{name}.json"
        if not file.exists() or json.loads(file.read_text()) != content:
            file.write_text(json.dumps(content))


def _age_describes(change_log: Path) -> None:
    """Have the org's describes last changed an hour ago: a client does not rely on a date of this very second."""
    known = json.loads(change_log.read_text())
    change_log.write_text(json.dumps({name: (digest, at - 3600) for name, (digest, at) in known.items()}))


@dataclass(frozen=True)
class Ending:
    """How a fetch amid faults ended: with the error's message, "" for the right file; and how many faults struck."""

    message: str
    struck: int


def random_faults(seed: int) -> list[Fault]:
    """Return one to four faults at random requests, so often and so late as the seed wants."""
    draw = random.Random(seed)
    return [_random_fault(draw) for _ in range(draw.randint(1, 4))]


def _random_fault(draw: random.Random) -> Fault:
    kind = draw.choice(get_args(Kind))
    chosen: dict[str, Any] = {"kind": kind, "after": draw.choice((0, 0, 1, 2, 4))}
    chosen["times"] = draw.choice((1, 1, 1, 2, 3, 6, None))
    if kind in ("latency", "dripping"):
        chosen["seconds"] = draw.choice((draw.uniform(0.01, 0.15), draw.uniform(0.3, 1.2)))
    if kind == "subrequest_error" or draw.random() < 0.25:
        chosen["object"] = draw.choice(OBJECTS)
    elif draw.random() < 0.7:
        chosen["path"] = draw.choice(
            ("/services/", "oauth2/token|/Soap/", "/query", "/sobjects$", "/composite", "/limits")
        )
    return Fault(**chosen)


def run_schedule(made: Faulty, seed: int, path: Path, caplog: pytest.LogCaptureFixture) -> Ending:
    """Fetch amid random faults; check that nothing but the right file or the untouched old one comes of it."""
    faults = random_faults(seed)
    fresh, cached = seed % 5 == 0, seed % 7 == 0 or seed % 7 > 4
    variables = made.login(("client", "client", "session", "jwt", "soap", "client", "client")[seed % 7])
    made.heal()
    made.restore(path, path.parents[1] / "home")
    if fresh:
        path.unlink()
    if not cached:
        made.home = None
    made.patience = HASTY
    made.org.faults.add(*faults)
    outcome: list[BaseException | None] = []

    def fetch() -> None:
        try:
            made.fetch(path, **variables)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            outcome.append(error)
        else:
            outcome.append(None)

    story = f"seed {seed}: {[fault.model_dump(exclude_defaults=True) for fault in faults]}"
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(BOUND_SECONDS)
    assert not thread.is_alive(), f"hangs after {time.monotonic() - began:.0f} s, {story}"
    struck = sum(count.matched > count.fault.after for count in made.org.faults.counts())
    made.org.faults.clear()
    made.patience = WITHOUT_PAUSES
    found = path.read_bytes() if path.exists() else None
    made.assert_tidy(path.parent)
    made.assert_no_secret(caplog.text)
    (error,) = outcome
    if error is None:
        assert found == made.right, f"a wrong file, {story}"
    else:
        assert isinstance(error, MonarchError), f"{error!r}, {story}"
        assert error.remedy, story
        assert found == (None if fresh else made.old), f"a file of a failed fetch, {story}"
        made.assert_no_secret("".join(traceback.format_exception(error)))
        made.fetch(path)
        assert path.read_bytes() == made.right, f"what the failed fetch left misleads the next one, {story}"
    return Ending(error.message if isinstance(error, MonarchError) else "", struck)
