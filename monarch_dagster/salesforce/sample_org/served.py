"""The org as it is being served: describes as ready bytes, when each last changed, sessions and the count of calls.

State only: how a request is answered is in `rest`, `composite` and `login`. One event loop uses it, so nothing locks.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.credentials import Credentials
from monarch_dagster.salesforce.sample_org.describe import Describe

DAILY_API_REQUESTS = 100_000
"""How many calls the org allows in a day, unless it is told otherwise."""

# What describeGlobal says of an object; a value stands in where a recorded describe lacks the key, so that a describe
# of nothing but fields is still an object that can be selected.
_GLOBAL_KEYS: Mapping[str, Any] = {
    "activateable": False,
    "associateEntityType": None,
    "associateParentEntity": None,
    "createable": True,
    "custom": False,
    "customSetting": False,
    "deepCloneable": False,
    "deletable": True,
    "deprecatedAndHidden": False,
    "feedEnabled": False,
    "hasSubtypes": False,
    "isInterface": False,
    "isSubtype": False,
    "keyPrefix": None,
    "label": "",
    "labelPlural": "",
    "layoutable": True,
    "mergeable": False,
    "mruEnabled": False,
    "name": "",
    "queryable": True,
    "replicateable": True,
    "retrieveable": True,
    "searchable": True,
    "triggerable": True,
    "undeletable": True,
    "updateable": True,
}


class DescribeSource(Protocol):
    """Where the served describes come from."""

    @property
    def organization_id(self) -> str:
        """The 18-character id of the org."""

    def describes(self) -> Mapping[str, Describe]:
        """Return the describes by object name; the very same mapping while nothing changed."""


@dataclass(frozen=True, slots=True)
class ServedObject:
    """One object's describe, ready to send."""

    body: bytes
    last_modified: int
    """Seconds since the epoch; HTTP dates know no fractions."""

    overview: Mapping[str, Any]
    """Its entry in describeGlobal, without urls."""


class ChangeLog:
    """When each describe last changed, kept in a file.

    A client that holds version 2 of a describe and asks the org, restarted with version 1, for changes since then must
    not hear "unchanged": so the date moves forward whenever the content differs from what was last served.
    """

    def __init__(self, path: Path | None) -> None:
        """Take the file to keep; None keeps nothing."""
        self._path = path
        self._known: dict[str, tuple[str, int]] = {}
        if path is not None and path.exists():
            try:
                self._known = {name: (digest, at) for name, (digest, at) in json.loads(path.read_text()).items()}
            except (ValueError, TypeError, AttributeError):
                self._known = {}  # a torn file costs one round of 200s instead of 304s

    def last_modified(self, bodies: Mapping[str, bytes]) -> dict[str, int]:
        """Note the describes that are served now and return when each last changed.

        To vanish and come back is a change, as it is when a permission does that.
        """
        now = int(time.time())
        known = {
            name: (digest, at) if name in bodies or not digest else ("", max(now, at + 1))
            for name, (digest, at) in self._known.items()
        }
        for name, body in bodies.items():
            digest = hashlib.sha256(body).hexdigest()
            before, at = known.get(name, ("", now - 1))
            if digest != before:
                known[name] = (digest, max(now, at + 1))
        if known != self._known:
            self._known = known
            self._write()
        return {name: known[name][1] for name in bodies}

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="ascii") as file:
                json.dump(self._known, file, indent=1, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError as error:
            raise MonarchError(
                f"Cannot keep {self._path}: {error.strerror}.",
                remedy="Make the folder writable, or name another one in MONARCH_HOME.",
            ) from error


class ServedOrg:
    """Everything that a request to the sample org can see or change."""

    def __init__(self, source: DescribeSource, credentials: Credentials, change_log: ChangeLog) -> None:
        """Serve what `source` holds to whoever presents `credentials`.

        Raises:
            MonarchError: the source cannot be read.
        """
        self.source = source
        self.credentials = credentials
        self.calls = 0
        self.daily_calls = DAILY_API_REQUESTS
        self._sessions = {credentials.session_id}
        self._change_log = change_log
        self._describes: Mapping[str, Describe] = {}
        self._objects: dict[str, ServedObject] = {}
        self._overviews: dict[str, bytes] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take over what changed in the source.

        Raises:
            MonarchError: the source cannot be read; what was served before stays.
        """
        describes = self.source.describes()
        if describes is self._describes:
            return
        bodies = {
            name: self._objects[name].body if self._describes.get(name) is described else encode(described)
            for name, described in describes.items()
        }
        dates = self._change_log.last_modified(bodies)
        self._objects = {
            name: ServedObject(bodies[name], dates[name], _overview(describes[name])) for name in describes
        }
        self._describes, self._overviews = describes, {}

    def describe(self, name: str) -> ServedObject | None:
        """Return the object of that API name, None where there is none."""
        return self._objects.get(name)

    def describe_global(self, api_version: str) -> bytes:
        """Return the body of describeGlobal, with the urls of `api_version` such as `v65.0`."""
        if api_version not in self._overviews:
            base = f"/services/data/{api_version}/sobjects"
            sobjects = [
                {**served.overview, "urls": _urls(f"{base}/{quote(name, safe='')}")}
                for name, served in sorted(self._objects.items())
            ]
            self._overviews[api_version] = encode({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": sobjects})
        return self._overviews[api_version]

    def open_session(self) -> str:
        """Return a new access token."""
        token = f"{self.source.organization_id[:15]}!{secrets.token_urlsafe(64)}"
        self._sessions.add(token)
        return token

    def accepts(self, token: str) -> bool:
        """Tell whether the token belongs to a session."""
        return token in self._sessions

    def end_session(self, token: str) -> None:
        """Accept the token no more."""
        self._sessions.discard(token)


def encode(content: object) -> bytes:
    """Return compact JSON in UTF-8; a lone surrogate stays escaped, since UTF-8 has none."""
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(content, separators=(",", ":")).encode()


def _overview(described: Describe) -> dict[str, Any]:
    name = described["name"]
    stand_ins = {**_GLOBAL_KEYS, "label": name, "labelPlural": name, "custom": name.endswith("__c")}
    return {key: described.get(key, stand_in) for key, stand_in in stand_ins.items()}


def _urls(path: str) -> dict[str, str]:
    return {"rowTemplate": f"{path}/{{ID}}", "describe": f"{path}/describe", "sobject": path}
