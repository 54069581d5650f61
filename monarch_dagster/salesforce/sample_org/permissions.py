"""What the sample org's user may not see: objects, fields and namespaces that describes leave out.

A describe and describeGlobal show what the running user may see (Object Reference, "Field-Level Security"), so a lost
permission looks like a deleted field. Pure but for the one rule in force; `served` moves the dates of what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from monarch_dagster.salesforce.namespaces import namespace_of
from monarch_dagster.salesforce.sample_org.describe import Describe
from monarch_dagster.salesforce.sample_org.served import DescribeSource


@dataclass(frozen=True, slots=True)
class Hidden:
    """What is hidden; a name that any of these takes is."""

    objects: tuple[str, ...] = ()
    """Patterns of object names, such as `Case` or `*__c`; upper and lower case are one."""

    fields: tuple[str, ...] = ()
    """Patterns of `Object.Field`, such as `Account.Fax` or `*.*__c`."""

    namespaces: tuple[str, ...] = ()
    """Prefixes of managed packages: their objects, and their fields on any object."""

    share_of_objects: float = 0
    share_of_fields: float = 0
    """Which ones fall into a share follows from their names and `seed` alone; a greater share holds the lesser one."""

    seed: str = ""

    def hides_object(self, name: str) -> bool:
        """Say whether the user does not see the object."""
        return self._hides(name, name, self.objects, self.share_of_objects)

    def hides_field(self, object_name: str, name: str) -> bool:
        """Say whether the user does not see the field of an object that is seen; `Id` is always seen."""
        return name != "Id" and self._hides(name, f"{object_name}.{name}", self.fields, self.share_of_fields)

    def _hides(self, name: str, full_name: str, patterns: tuple[str, ...], share: float) -> bool:
        return (
            any(fnmatchcase(full_name.lower(), pattern.lower()) for pattern in patterns)
            or (namespace_of(name) or "").lower() in {each.lower() for each in self.namespaces}
            or self._draw(full_name) < share
        )

    def _draw(self, full_name: str) -> float:
        digest = hashlib.sha256(f"{self.seed}\0{full_name}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56


class Permissions:
    """A source of describes that shows of another one what is not hidden."""

    def __init__(self, source: DescribeSource) -> None:
        """Show everything that `source` holds."""
        self._source = source
        self._hidden = Hidden()
        self._shown: tuple[Hidden, Mapping[str, Describe], Mapping[str, Describe]] | None = None

    @property
    def organization_id(self) -> str:
        """The 18-character id of the org."""
        return self._source.organization_id

    def hide(self, hidden: Hidden) -> None:
        """Hide that from the next call on, and nothing else."""
        self._hidden = hidden

    def describes(self) -> Mapping[str, Describe]:
        """Return what is shown; the very same mapping while nothing changed."""
        hidden, every = self._hidden, self._source.describes()
        if hidden == Hidden():
            return every
        if self._shown is None or self._shown[0] != hidden or self._shown[1] is not every:
            self._shown = (hidden, every, visible(every, hidden))
        return self._shown[2]


def visible(describes: Mapping[str, Describe], hidden: Hidden) -> dict[str, Describe]:
    """Return the describes without what is hidden; one that loses nothing is the very same object."""
    shown: dict[str, Describe] = {}
    for name, described in describes.items():
        if hidden.hides_object(name):
            continue
        fields = [field for field in described["fields"] if not hidden.hides_field(name, field["name"])]
        complete = len(fields) == len(described["fields"])
        shown[name] = described if complete else {**described, "fields": fields}
    return shown
