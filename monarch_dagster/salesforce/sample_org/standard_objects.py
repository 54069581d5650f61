"""The standard objects of the shipped sample org that sales and service work with, version 1.

Declarations only: how they expand is in `describe` and `fields`, people and platform are in `platform_objects`, what an
administrator added is in `custom_objects`, what version 2 changes is in `org`.
"""

from __future__ import annotations

from monarch_dagster.salesforce.sample_org.describe import Describe, sobject
from monarch_dagster.salesforce.sample_org.fields import (
    address,
    audit_fields,
    choice,
    field,
    flag,
    formula,
    long_text,
    lookup,
    number,
    read_only,
    record_id,
    text,
)


def standard_objects() -> list[Describe]:
    """Return the objects of sales and service, freshly built and not yet connected."""
    return [*_sales(), *_service()]


def _sales() -> list[Describe]:
    account = sobject(
        "Account",
        "Account",
        "Accounts",
        prefix="001",
        mergeable=True,
        feedEnabled=True,
        fields=[
            record_id("Account ID"),
            lookup("MasterRecordId", "Master Record ID", "Account", createable=False, updateable=False),
            text("Name", "Account Name", 255, nameField=True, nillable=False),
            choice("Type", "Account Type", ("Prospect", "Customer", "Partner", "Supplier")),
            lookup("ParentId", "Parent Account ID", "Account"),
            address("Billing"),
            address("Shipping"),
            field("Phone", "Account Phone", "phone", length=40),
            text("AccountNumber", "Account Number", 40),
            field("Website", "Website", "url", length=255),
            choice("Industry", "Industry", ("Agriculture", "Construction", "Food & Beverage", "Logistics", "Retail")),
            number("AnnualRevenue", "Annual Revenue", 18, kind="currency"),
            field("NumberOfEmployees", "Employees", "int", digits=8),
            long_text("Description", "Account Description"),
            lookup("RecordTypeId", "Record Type ID", "RecordType"),
            lookup("OwnerId", "Owner ID", "User", nillable=False, defaultedOnCreate=True),
            audit_fields(),
            field("LastActivityDate", "Last Activity", "date", createable=False, updateable=False),
            lookup("Primary_Contact__c", "Primary Contact", "Contact", inlineHelpText="Whom we'd call first."),
            text("ERP_Number__c", "ERP № (kept by finance)", 20, externalId=True, unique=True, idLookup=True),
            text("Billing_Key__c", "Billing Key", 36, externalId=True, unique=True, caseSensitive=True, idLookup=True),
            number("Payment_Discipline__c", 'Pays "on time" (%)', 5, 2, kind="percent"),
            choice(
                "Languages__c", "Languages spoken", ("en", "de", "fr", "pl"), "multipicklist", length=4099, precision=4
            ),
            formula(text("Display_Name__c", "Display Name", 1300), 'Name & " (" & ERP_Number__c & ")"'),
        ],
    )
    opportunity = sobject(
        "Opportunity",
        "Opportunity",
        "Opportunities",
        prefix="006",
        fields=[
            record_id("Opportunity ID"),
            lookup("AccountId", "Account ID", "Account"),
            text("Name", "Name", 120, nameField=True, nillable=False),
            long_text("Description", "Description"),
            choice("StageName", "Stage", ("Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost")),
            number("Amount", "Amount", 18, 2, kind="currency"),
            number("Probability", "Probability (%)", 3, kind="percent"),
            field("CloseDate", "Close Date", "date", nillable=False),
            formula(number("Expected_Value__c", "Expected Value", 18, 2, kind="currency"), "Amount * Probability"),
            text("Tracking_Code__c", "Tracking Code", 40),
            flag("IsClosed", "Closed", createable=False, updateable=False),
            lookup("OwnerId", "Owner ID", "User", nillable=False),
            audit_fields(),
        ],
    )
    product = sobject(
        "Product2",
        "Product",
        "Products",
        prefix="01t",
        fields=[
            record_id("Product ID"),
            text("Name", "Product Name", 255, nameField=True, nillable=False),
            text("ProductCode", "Product Code", 255),
            long_text("Description", "Product Description", 4000),
            flag("IsActive", "Active"),
            choice("Family", "Product Family", ("Pallets", "Crates", "Cold Chain"), length=255),
            field("DisplayUrl", "Display URL", "url", length=1000),
            number("Shelf_Life_Days__c", "Shelf Life (days)", 4),
            audit_fields(),
        ],
    )
    history = sobject(
        "AccountHistory",
        "Account History",
        "Account History",
        prefix="017",
        createable=False,
        updateable=False,
        fields=[
            record_id("Account History ID"),
            read_only(lookup("AccountId", "Account ID", "Account")),
            read_only(lookup("CreatedById", "Created By ID", "User")),
            read_only(field("CreatedDate", "Created Date", "datetime")),
            choice("Field", "Changed Field", ("Name", "Owner", "Industry"), length=255),
            field("OldValue", "Old Value", "anyType", length=255, createable=False, updateable=False),
            field("NewValue", "New Value", "anyType", length=255, createable=False, updateable=False),
        ],
    )
    # A change event is published, not stored: no Id, and queryable is false.
    change_event = sobject(
        "AccountChangeEvent",
        "Account Change Event",
        "Account Change Events",
        prefix=None,
        queryable=False,
        createable=False,
        updateable=False,
        deletable=False,
        recordTypeInfos=[],
        fields=[
            text("ReplayId", "Replay ID", 1000, createable=False, updateable=False),
            field("ChangeEventHeader", "Change Event Header", "complexvalue", soapType="ChangeEventHeader"),
            text("Name", "Account Name", 255, nameField=True),
        ],
    )
    return [account, opportunity, product, history, change_event]


def _service() -> list[Describe]:
    case = sobject(
        "Case",
        "Case",
        "Cases",
        prefix="500",
        feedEnabled=True,
        fields=[
            record_id("Case ID"),
            read_only(text("CaseNumber", "Case Number", 30, autoNumber=True, nameField=True)),
            lookup("ContactId", "Contact ID", "Contact"),
            lookup("AccountId", "Account ID", "Account"),
            lookup("ParentId", "Parent Case ID", "Case"),
            choice("Status", "Status", ("New", "Working", "Escalated", "Closed")),
            choice("Origin", "Case Origin", ("Phone", "Email", "Web")),
            text("Subject", "Subject", 255),
            long_text("Description", "Description"),
            field("SuppliedEmail", "Email Address", "email", length=80),
            flag("IsEscalated", "Escalated"),
            field("ClosedDate", "Closed Date", "datetime", createable=False, updateable=False),
            lookup("OwnerId", "Owner ID", "Group", "User", nillable=False),
            audit_fields(),
        ],
    )
    task = sobject(
        "Task",
        "Task",
        "Tasks",
        prefix="00T",
        fields=[
            record_id("Activity ID"),
            lookup("WhoId", "Name ID", "Contact", "Lead"),
            lookup("WhatId", "Related To ID", "Account", "Case", "Opportunity", "Product2", "acme__Shipment__c"),
            choice("Subject", "Subject", ("Call", "Email", "Send Quote", "Other"), "combobox", nameField=True),
            field("ActivityDate", "Due Date Only", "date"),
            choice("Status", "Status", ("Not Started", "In Progress", "Completed")),
            choice("Priority", "Priority", ("High", "Normal", "Low")),
            long_text("Description", "Comments"),
            field("CallDurationInSeconds", "Call Duration", "int", digits=8),
            lookup("OwnerId", "Assigned To ID", "Group", "User", nillable=False),
            audit_fields(),
        ],
    )
    attachment = sobject(
        "Attachment",
        "Attachment",
        "Attachments",
        prefix="00P",
        fields=[
            record_id("Attachment ID"),
            lookup("ParentId", "Parent ID", "Account", "Case", "Contact", "Opportunity", nillable=False),
            text("Name", "File Name", 255, nameField=True, nillable=False),
            text("ContentType", "Content Type", 120),
            field("BodyLength", "Body Length", "int", digits=9, createable=False, updateable=False),
            field("Body", "Body", "base64", nillable=False),
            audit_fields(),
        ],
    )
    selection = sobject(
        "Guide__DataCategorySelection",
        "Data Category Selection",
        "Data Category Selections",
        prefix="02o",
        fields=[
            record_id("Data Category Selection ID"),
            text("ParentId", "Article Version ID", 18),
            field("DataCategoryGroupName", "Category Group", "datacategorygroupreference", length=80),
            field("DataCategoryName", "Category", "datacategorygroupreference", length=80),
            audit_fields(),
        ],
    )
    return [case, task, attachment, selection]
