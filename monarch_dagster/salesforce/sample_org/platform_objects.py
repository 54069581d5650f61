"""The standard objects of the shipped sample org for people and for the platform itself, version 1.

Declarations only: how they expand is in `describe` and `fields`, sales and service are in `standard_objects`, what
version 2 changes is in `org`.
"""

from __future__ import annotations

from monarch_dagster.salesforce.sample_org.describe import Describe, sobject
from monarch_dagster.salesforce.sample_org.fields import (
    Field,
    address,
    audit_fields,
    choice,
    field,
    flag,
    lookup,
    person_name,
    read_only,
    record_id,
    text,
)


def platform_objects() -> list[Describe]:
    """Return the objects of people and platform, freshly built and not yet connected."""
    return [*_people(), *_platform()]


def _people() -> list[Describe]:
    contact = sobject(
        "Contact",
        "Contact",
        "Contacts",
        prefix="003",
        mergeable=True,
        fields=[
            record_id("Contact ID"),
            lookup("AccountId", "Account ID", "Account"),
            person_name(),
            address("Mailing"),
            field("Phone", "Business Phone", "phone", length=40),
            field("Fax", "Business Fax", "phone", length=40),
            field("Email", "Email", "email", length=80, idLookup=True),
            text("Title", "Title", 128),
            lookup("ReportsToId", "Reports To ID", "Contact"),
            field("Birthdate", "Birthdate", "date"),
            flag("HasOptedOutOfEmail", "Email Opt Out"),
            field("Tax_Number__c", "Contact's Tax Number", "encryptedstring", length=50, mask="*", maskType="lastFour"),
            choice("Interests__c", "Interests", ("Events", "Offers", "Research"), "multipicklist", length=4099),
            lookup("OwnerId", "Owner ID", "User", nillable=False),
            audit_fields(),
        ],
    )
    user = sobject(
        "User",
        "User",
        "Users",
        prefix="005",
        deletable=False,
        undeletable=False,
        fields=[
            record_id("User ID"),
            text("Username", "Username", 80, nillable=False, idLookup=True),
            person_name(),
            field("Email", "Email", "email", length=128, nillable=False),
            flag("IsActive", "Active"),
            choice("TimeZoneSidKey", "Time Zone", ("Europe/Berlin", "Europe/Warsaw", "America/New_York")),
            lookup("ManagerId", "Manager ID", "User"),
            field("LastLoginDate", "Last Login", "datetime", createable=False, updateable=False),
            *audit_fields()[1:],
        ],
    )
    group = sobject(
        "Group",
        "Group",
        "Groups",
        prefix="00G",
        fields=[
            record_id("Group ID"),
            text("Name", "Name", 40, nameField=True, nillable=False),
            text("DeveloperName", "Developer Name", 80),
            choice("Type", "Type", ("Queue", "Regular", "Role")),
            lookup("RelatedId", "Related ID", "User"),
            *audit_fields()[1:],
        ],
    )
    return [contact, user, group]


def _platform() -> list[Describe]:
    record_type = sobject(
        "RecordType",
        "Record Type",
        "Record Types",
        prefix="012",
        deletable=False,
        fields=[
            record_id("Record Type ID"),
            text("Name", "Name", 80, nameField=True, nillable=False),
            text("DeveloperName", "Record Type Name", 80, nillable=False),
            text("Description", "Description", 255),
            choice("SobjectType", "SObject Type Name", ("Account", "Case", "Opportunity")),
            flag("IsActive", "Active"),
            *audit_fields()[1:],
        ],
    )
    log_file = sobject(
        "EventLogFile",
        "Event Log File",
        "Event Log Files",
        prefix="0AT",
        createable=False,
        updateable=False,
        fields=[
            record_id("Event Log File ID"),
            read_only(choice("EventType", "Event Type", ("API", "Login", "Report"))),
            read_only(field("LogDate", "Log Date", "datetime")),
            read_only(field("LogFileLength", "Log File Length", "long", digits=18)),
            read_only(field("Sequence", "Sequence", "int", digits=9)),
            read_only(field("LogFile", "Log File Content", "base64")),
            *audit_fields()[1:],
        ],
    )
    definition = sobject(
        "FieldDefinition",
        "Field Definition",
        "Field Definitions",
        prefix="4ie",
        createable=False,
        updateable=False,
        deletable=False,
        fields=[
            record_id("Field Definition ID"),
            # Real describes, too, have strings of length 0.
            read_only(text("DurableId", "Durable ID", 0)),
            read_only(text("QualifiedApiName", "API Name", 70)),
            read_only(text("DataType", "Data Type", 1300)),
            field(
                "Metadata", "Metadata", "complexvalue", soapType="mns:CustomField", createable=False, updateable=False
            ),
            field("ExtraInfo", "Extra Information", "json", createable=False, updateable=False),
        ],
    )
    self_service: list[Field] = [record_id("Self-Service User ID"), text("Username", "Username", 80), *audit_fields()]
    hidden = sobject(
        "SelfServiceUser",
        "Self-Service User",
        "Self-Service Users",
        prefix="035",
        deprecatedAndHidden=True,
        fields=self_service,
    )
    return [record_type, log_file, definition, hidden]
