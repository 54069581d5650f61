"""What each describe came to when it was last read, so that only what changed since is sent again.

A small file per org, API version and user, under `MONARCH_HOME`; it holds dates and digests and no describe: what a
describe came to stands in `object_meta.json`. May be deleted at any time, which costs one whole fetch.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file
from monarch_dagster.salesforce.object_meta import Field, FieldChoices, Object, ObjectChoices, Selection, json_schema
from monarch_dagster.salesforce.selection import field_patterns, without_excluded

log = logging.getLogger(__name__)

FOLDER = "describes"
KEPT_FILES = 16
"""Files kept; a login by session id begins a new one with each session."""

_NO_OBJECT = "no Id"
_UNDECIDED = FieldChoices()


@dataclass
class DescribeCache:
    """Per object the date of its describe's last change, and the digest of what that describe came to.

    Of that, only what `selection` takes: a field that it leaves out need not be stored as it is described.
    """

    path: Path | None = None
    entries: dict[str, tuple[str, str]] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)

    @classmethod
    def open(
        cls, home: Path | None, selection: Selection, *, org_id: str, api_version: str, user: str
    ) -> DescribeCache:
        """Read what is known of that org as that user sees it; nothing where there is no file, or a torn one.

        `home` is `MONARCH_HOME`; without one nothing is known, and nothing is kept.
        """
        if home is None:
            return cls(selection=selection)
        # A describe may come to something else with other code.
        code = [version("monarch-dagster"), hashlib.sha256(json_schema()).hexdigest()]
        key = hashlib.sha256(json.dumps([org_id, api_version, user, *code]).encode()).hexdigest()
        path = home / FOLDER / f"{key[:32]}.json"
        return cls(path, _read(path), selection)

    def conditions(self, names: Iterable[str], stored: Mapping[str, Object]) -> dict[str, str]:
        """Return the dates since when to ask for changes, for objects of which "unchanged" would say what they are.

        That is so where the stored object still is what its describe came to, or where there was nothing to store.
        """
        found: dict[str, str] = {}
        for name in names:
            date, digest = self.entries.get(name, ("", ""))
            if date and (digest == _NO_OBJECT or (name in stored and digest == self.digest(name, stored[name]))):
                found[name] = date
        return found

    def unchanged(self, name: str, stored: Mapping[str, Object]) -> Object | None:
        """Return what a describe of an object in `conditions` that is unchanged comes to; None: it has no `Id`."""
        return None if self.entries[name][1] == _NO_OBJECT else as_described(stored[name])

    def note(self, name: str, last_modified: str, item: Object | None) -> None:
        """Note what a describe came to; "" for the date forgets the object."""
        self.entries.pop(name, None)
        if last_modified:
            self.entries[name] = (last_modified, _NO_OBJECT if item is None else self.digest(name, item))

    def digest(self, name: str, item: Object) -> str:
        """Return a digest of what an object was described as, and of what of that is left out."""
        taken = without_excluded(name, as_described(item), self.selection)
        plain = json.dumps(
            [taken.model_dump(exclude_defaults=True), *field_patterns(name, self.selection)], sort_keys=True
        )
        return hashlib.sha256(plain.encode()).hexdigest()[:32]

    def save(self) -> None:
        """Write the file, once `object_meta.json` holds what was noted. One that cannot be written costs time only."""
        if self.path is None:
            return
        content = json.dumps(
            {"entries": dict(sorted(self.entries.items())), "sha256": _checksum(self.entries)}, indent=0
        ).encode()
        try:
            if not self.path.exists() or self.path.read_bytes() != content:
                replace_file(self.path, content)
                _forget_old(self.path.parent)
        except (MonarchError, OSError) as error:
            log.warning("The next fetch will read all describes: %s", error)


def as_described(item: Object) -> Object:
    """Return the part of a stored object that its last describe gave: without choices and what it did not show."""
    parts = sorted((part for part in item.fields if not part.missing), key=lambda part: part.name)
    fields = tuple(part if part.choices == _UNDECIDED else _undecided(part) for part in parts)
    return item.model_copy(update={"missing": False, "choices": ObjectChoices(), "fields": fields})


def _checksum(entries: Mapping[str, tuple[str, str]]) -> str:
    """Return what tells a damaged file: a date that is wrong would have the org call a changed describe unchanged."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _undecided(part: Field) -> Field:
    return part.model_copy(update={"choices": _UNDECIDED})


def _read(path: Path) -> dict[str, tuple[str, str]]:
    try:
        found = json.loads(path.read_bytes())
        entries = {name: (date, digest) for name, (date, digest) in found["entries"].items()}
        if found["sha256"] == _checksum(entries):
            return entries
        raise ValueError("its checksum does not fit")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        log.info("%s cannot be used, so all describes are read: %s", path, error)
        return {}


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT_FILES:]:
        path.unlink(missing_ok=True)
