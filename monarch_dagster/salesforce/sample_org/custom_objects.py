"""What the administrators of the shipped sample org added, version 1: custom, namespaced and external objects.

Declarations only: how they expand is in `describe` and `fields`, what version 2 changes is in `org`.
"""

from __future__ import annotations

from monarch_dagster.salesforce.sample_org.describe import Describe, sobject
from monarch_dagster.salesforce.sample_org.fields import (
    Field,
    audit_fields,
    choice,
    field,
    flag,
    formula,
    geolocation,
    long_text,
    lookup,
    number,
    read_only,
    record_id,
    text,
)


def custom_objects() -> list[Describe]:
    """Return the custom objects, freshly built and not yet connected."""
    return [_depot(), _shipment(), _shipment_item(), _carrier(), _order_placed()]


def depot_visit() -> Describe:
    """Return the object that only version 2 of the org has."""
    return sobject(
        "Depot_Visit__c",
        "Depot Visit",
        "Depot Visits",
        prefix="a04",
        fields=[
            _record("Depot Visit", numbered=True),
            lookup("Depot__c", "Depot", "Depot__c", nillable=False),
            lookup("Visitor__c", "Visitor", "Contact", "User"),
            field("Arrived__c", "Arrived", "datetime"),
            long_text("Notes__c", "Inspector's Notes", 32768, extraTypeInfo="richtextarea", htmlFormatted=True),
            audit_fields(),
        ],
    )


def _depot() -> Describe:
    return sobject(
        "Depot__c",
        "Depot",
        "Depots",
        prefix="a01",
        fields=[
            _record("Depot"),
            _owner(),
            geolocation("Site__c", "Site"),
            field("Opens_At__c", "Opens at", "time"),
            field("Closes_At__c", "Closes at", "time"),
            field("Hotline__c", "Hotline", "phone", length=40),
            choice("Status__c", "Status", ("Planned", "Open", "Closed"), restrictedPicklist=True),
            number("Floor_Area__c", "Floor Area (m²)", 10, 2),
            lookup("Manager__c", "Depot's Manager", "User"),
            audit_fields(),
        ],
    )


def _shipment() -> Describe:
    return sobject(
        "acme__Shipment__c",
        "Shipment",
        "Shipments",
        prefix="a02",
        fields=[
            _record("Shipment", numbered=True),
            _owner(),
            lookup("acme__Account__c", "Customer", "Account"),
            lookup("acme__From__c", "From Depot", "Depot__c"),
            # An external lookup holds the other system's key, not a record id.
            lookup("acme__Carrier__c", "Carrier", "Carrier__x", length=255, byteLength=765),
            text(
                "acme__Waybill__c",
                'Waybill ("Frachtbrief")',
                35,
                externalId=True,
                unique=True,
                caseSensitive=True,
                idLookup=True,
            ),
            field("acme__Picked_Up__c", "Picked up", "datetime"),
            field("acme__Due__c", "Due", "date"),
            number("acme__Weight__c", "Weight (kg)", 8, 3),
            number("acme__Insured_Value__c", "Insured Value", 16, 2, kind="currency"),
            flag("acme__Refrigerated__c", "Refrigerated"),
            long_text("acme__Instructions__c", "Driver's Instructions", 1000),
            formula(flag("acme__Late__c", "Late"), "acme__Due__c < TODAY()"),
            audit_fields(),
        ],
    )


def _shipment_item() -> Describe:
    return sobject(
        "acme__Shipment_Item__c",
        "Shipment Item",
        "Shipment Items",
        prefix="a03",
        fields=[
            _record("Shipment Item", numbered=True),
            lookup(
                "acme__Shipment__c",
                "Shipment",
                "acme__Shipment__c",
                nillable=False,
                updateable=False,
                cascadeDelete=True,
                relationshipOrder=0,
                writeRequiresMasterRead=True,
            ),
            lookup("acme__Product__c", "Product", "Product2"),
            number("acme__Quantity__c", "Quantity", 9),
            number("acme__Line__c", "Line", 3, unique=True, externalId=True, idLookup=True),
            audit_fields(),
        ],
    )


def _carrier() -> Describe:
    return sobject(
        "Carrier__x",
        "Carrier",
        "Carriers",
        prefix="x01",
        createable=False,
        updateable=False,
        undeletable=False,
        replicateable=False,
        fields=[
            record_id("Carrier ID"),
            text("ExternalId", "External ID", 255, unique=True, nillable=False, idLookup=True),
            field("DisplayUrl", "Display URL", "url", length=1000),
            text("Name__c", "Naïve name, as given by the carrier", 120),
            # An indirect lookup holds the value of another external id, here the account's ERP number.
            lookup("Account__c", "Account", "Account", length=20, byteLength=60, referenceTargetField="ERP_Number__c"),
        ],
    )


def _order_placed() -> Describe:
    return sobject(
        "Order_Placed__e",
        "Order Placed",
        "Orders Placed",
        prefix="e00",
        queryable=False,
        retrieveable=False,
        updateable=False,
        deletable=False,
        searchable=False,
        recordTypeInfos=[],
        fields=[
            read_only(text("ReplayId", "Replay ID", 1000)),
            read_only(field("CreatedDate", "Created Date", "datetime")),
            read_only(lookup("CreatedById", "Created By ID", "User")),
            text("Order_Number__c", "Order Number", 20),
            number("Total__c", "Total", 18, 2),
        ],
    )


def _record(label: str, *, numbered: bool = False) -> list[Field]:
    name = text("Name", f"{label} Name", 80, nameField=True, idLookup=True, permissionable=False)
    if numbered:
        name = read_only(text("Name", f"{label} Number", 30, nameField=True, idLookup=True, autoNumber=True))
    return [record_id("Record ID"), name]


def _owner() -> Field:
    return lookup("OwnerId", "Owner ID", "Group", "User", nillable=False, defaultedOnCreate=True, permissionable=False)
