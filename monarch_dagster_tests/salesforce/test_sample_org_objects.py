"""What the shipped sample org consists of, and that it looks like a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.sample_org.describes import FOLDER_ORG_ID
from monarch_dagster.salesforce.sample_org.org import SAMPLE_ORG_ID, sample_describes

FIXTURES = Path(__file__).parents[2].parent / "shared" / "describes" / "fixtures"
TYPES = (
    "id reference string picklist combobox email phone url encryptedstring textarea multipicklist base64 anyType "
    "complexvalue json datacategorygroupreference boolean int long currency percent double date datetime time address "
    "location"
)


def fields_of(name: str, version: int = 1) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in sample_describes(version)[name]["fields"]}


def selectable(version: int = 1) -> list[dict[str, Any]]:
    """Return the objects that selection by flags (FACTS, Salesforce) takes."""
    return [
        described
        for described in sample_describes(version).values()
        if described["queryable"]
        and described["retrieveable"]
        and not described["deprecatedAndHidden"]
        and any(field["name"] == "Id" for field in described["fields"])
    ]


def test_objects_that_can_be_selected_have_a_field_of_every_type() -> None:
    assert {field["type"] for described in selectable() for field in described["fields"]} == set(TYPES.split())


def test_flags_leave_out_events_and_hidden_objects() -> None:
    left_out = set(sample_describes()) - {described["name"] for described in selectable()}
    assert left_out == {"AccountChangeEvent", "Order_Placed__e", "SelfServiceUser"}
    assert len(selectable()) >= 14


@pytest.mark.parametrize("version", [1, 2])
def test_every_object_and_field_has_the_keys_of_a_real_describe(version: int) -> None:
    real = FIXTURES / "care-home" / "Account.json"
    if not real.exists():
        pytest.skip(f"the recorded describes are absent: {real}")
    recorded = json.loads(real.read_text(encoding="utf-8-sig"))
    for described in sample_describes(version).values():
        assert list(described) == sorted(recorded)
        for field in described["fields"]:
            assert list(field) == sorted(recorded["fields"][0])
        for child in described["childRelationships"]:
            assert set(child) == set(recorded["childRelationships"][0])


def test_field_names_are_unique_and_every_compound_has_its_components() -> None:
    for version in (1, 2):
        for described in sample_describes(version).values():
            names = [field["name"].lower() for field in described["fields"]]
            assert len(names) == len(set(names))
            compounds = {field["compoundFieldName"] for field in described["fields"]} - {None}
            assert compounds <= {field["name"] for field in described["fields"]}


def test_references_form_a_cycle() -> None:
    assert fields_of("Account")["Primary_Contact__c"]["referenceTo"] == ["Contact"]
    assert fields_of("Contact")["AccountId"]["referenceTo"] == ["Account"]


def test_a_lookup_may_be_polymorphic_external_or_indirect() -> None:
    what = fields_of("Task")["WhatId"]
    assert what["polymorphicForeignKey"]
    assert len(what["referenceTo"]) > 2
    assert fields_of("acme__Shipment__c")["acme__Carrier__c"]["length"] == 255
    assert fields_of("Carrier__x")["Account__c"]["referenceTargetField"] == "ERP_Number__c"


def test_names_addresses_and_places_are_compound() -> None:
    assert fields_of("Contact")["FirstName"]["compoundFieldName"] == "Name"
    assert fields_of("Account")["BillingStreet"]["compoundFieldName"] == "BillingAddress"
    assert fields_of("Depot__c")["Site__Latitude__s"]["compoundFieldName"] == "Site__c"


def test_a_formula_carries_its_expression_and_an_external_id_its_flags() -> None:
    formula = fields_of("Opportunity")["Expected_Value__c"]
    assert formula["calculated"]
    assert formula["calculatedFormula"]
    flags = {
        (field["unique"], field["caseSensitive"]) for field in fields_of("Account").values() if field["externalId"]
    }
    assert flags == {(True, False), (True, True)}


def test_labels_hold_what_labels_hold() -> None:
    labels = "".join(field["label"] for described in sample_describes().values() for field in described["fields"])
    assert {"'", '"', "№", "²", "%"} <= set(labels)


def test_version_2_differs_in_one_of_each_kind_of_change() -> None:
    before, after = sample_describes(1), sample_describes(2)
    assert set(after) - set(before) == {"Depot_Visit__c"}
    assert set(before) <= set(after)
    assert set(fields_of("Account", 2)) - set(fields_of("Account", 1)) == {"Loyalty_Tier__c"}
    assert set(fields_of("Contact", 1)) - set(fields_of("Contact", 2)) == {"Fax"}
    code = "Tracking_Code__c"
    assert (fields_of("Opportunity", 1)[code]["length"], fields_of("Opportunity", 2)[code]["length"]) == (40, 80)
    number = "AccountNumber"
    assert fields_of("Account", 1)[number]["label"] != fields_of("Account", 2)[number]["label"]
    industries = [len(fields_of("Account", version)["Industry"]["picklistValues"]) for version in (1, 2)]
    assert industries[1] == industries[0] + 1


@pytest.mark.parametrize("identifier", [SAMPLE_ORG_ID, FOLDER_ORG_ID])
def test_organization_ids_carry_a_valid_checksum(identifier: str) -> None:
    # Each of the last three characters says which of five characters before are upper case.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    chunks = (identifier[0:5], identifier[5:10], identifier[10:15])
    sums = [sum(1 << at for at, letter in enumerate(chunk) if letter.isupper()) for chunk in chunks]
    assert identifier == "".join(chunks) + "".join(letters[each] for each in sums)
