"""The shipped sample org: its two versions and its id.

Version 1 is what `standard_objects`, `platform_objects` and `custom_objects` declare; version 2 is here, as the changes
that lead to it. No serving: `server` does that.
"""

from __future__ import annotations

from collections.abc import Mapping

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.custom_objects import custom_objects, depot_visit
from monarch_dagster.salesforce.sample_org.describe import Describe, connect
from monarch_dagster.salesforce.sample_org.fields import Field, choice, picklist_values
from monarch_dagster.salesforce.sample_org.platform_objects import platform_objects
from monarch_dagster.salesforce.sample_org.standard_objects import standard_objects

SAMPLE_ORG_ID = "00D5g000004AbCdEAK"
"""The `Organization` id of the shipped org, in both versions."""

VERSIONS = (1, 2)
"""The versions of the shipped org."""


def sample_describes(version: int = 1) -> dict[str, Describe]:
    """Build the shipped org.

    Args:
        version: 1, or 2 for the org after some months: on `Account` a field more, a label and a
            picklist value changed, on `Contact` a field gone, on `Opportunity` a field widened, and a new object
            `Depot_Visit__c`.

    Returns:
        Its describes by object name, sorted by name.

    Raises:
        MonarchError: there is no such version.
    """
    if version not in VERSIONS:
        raise MonarchError(f"The sample org has versions 1 and 2, not {version}.", remedy="Name one of them.")
    objects = {
        described["name"]: described for described in [*standard_objects(), *platform_objects(), *custom_objects()]
    }
    return connect((objects if version == 1 else _changed(objects)).values())


class ShippedOrg:
    """The shipped org as a source of describes whose version can be switched while it is served."""

    organization_id = SAMPLE_ORG_ID

    def __init__(self, version: int = 1) -> None:
        """Start with `version`.

        Raises:
            MonarchError: there is no such version.
        """
        self.switch(version)

    def switch(self, version: int) -> None:
        """Serve `version` from now on.

        Raises:
            MonarchError: there is no such version.
        """
        self._describes: Mapping[str, Describe] = sample_describes(version)
        self.version = version

    def describes(self) -> Mapping[str, Describe]:
        """Return the describes of the version in force."""
        return self._describes


def _changed(objects: dict[str, Describe]) -> dict[str, Describe]:
    account, contact = objects["Account"], objects["Contact"]
    account["fields"].append(choice("Loyalty_Tier__c", "Loyalty Tier", ("Bronze", "Silver", "Gold")))
    _field(account, "AccountNumber")["label"] = "Customer Number"
    _field(account, "Industry")["picklistValues"] += picklist_values(["Renewable Energy"])
    contact["fields"].remove(_field(contact, "Fax"))
    _field(objects["Opportunity"], "Tracking_Code__c").update(length=80, byteLength=240)
    visit = depot_visit()
    return {**objects, visit["name"]: visit}


def _field(described: Describe, name: str) -> Field:
    return next(field for field in described["fields"] if field["name"] == name)
