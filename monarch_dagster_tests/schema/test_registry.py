"""Which rows say what a provider's tables and columns mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from monarch_dagster.models.utilities import FieldRegistry, ObjectRegistry
from monarch_dagster.salesforce.object_meta import Field, Object, ObjectChoices, ObjectMeta
from monarch_dagster.schema.registry import (
    FIELDS,
    OBJECTS,
    FieldRow,
    ObjectRow,
    project,
    table_types,
    unfit,
)
from monarch_dagster.schema.registry_changes import compare

TABLES = {"account": {"id": "character varying(18)", "name": "character varying(255)", "npsp__level__c": "text"}}
FITTING = {OBJECTS: table_types(ObjectRow), FIELDS: table_types(FieldRow)}


def meta(*fields: dict[str, Any], **keys: Any) -> ObjectMeta:
    """Return the metadata of an object `Account` with an `Id` and the given fields."""
    return ObjectMeta.model_validate(
        {"objects": {"Account": {"fields": [{"name": "Id", "type": "id"}, *fields], **keys}}}
    )


def row(described: dict[str, Any], **keys: Any) -> FieldRow:
    """Return the row of the one field of `Account` beside its `Id`."""
    _, fields = project(meta(described, **keys), "salesforce", TABLES)
    (found,) = [field for field in fields if field.api_name != "Id"]
    return found


@pytest.mark.parametrize(("model", "kind"), [(ObjectRegistry, ObjectRow), (FieldRegistry, FieldRow)])
def test_the_rows_have_the_columns_of_the_models(model: Any, kind: Any) -> None:
    declared = {column.name: column.type.compile(postgresql.dialect()).lower() for column in model.__table__.columns}
    assert table_types(kind) == declared


def test_a_field_is_told_with_its_column_as_it_is_there() -> None:
    described = {"name": "npsp__Level__c", "label": "Level", "type": "picklist", "externalId": True, "unique": True}
    assert row(described) == FieldRow(
        object_name="Account",
        api_name="npsp__Level__c",
        column_name="npsp__level__c",
        column_type="text",
        label="Level",
        provider_type="picklist",
        reference_to=[],
        relationship_name=None,
        is_calculated=False,
        formula=None,
        is_external_id=True,
        is_unique=True,
        is_custom=True,
        namespace="npsp",
        missing=False,
    )


def test_lookups_and_formulas_are_told() -> None:
    found = row({"name": "Name", "type": "reference", "referenceTo": ("Lead", "User"), "relationshipName": "Owner"})
    assert (found.reference_to, found.relationship_name) == (["Lead", "User"], "Owner")
    found = row({"name": "Name", "calculated": True, "calculatedFormula": "A + B"})
    assert (found.is_calculated, found.formula) == (True, "A + B")
    assert row({"name": "Name", "calculatedFormula": "A + B"}).formula is None


def test_without_a_label_the_name_stands_in_its_place() -> None:
    objects, _ = project(meta(), "salesforce", TABLES)
    assert (objects[0].label, row({"name": "Name"}).label) == ("Account", "Name")


def test_what_is_not_there_yet_is_not_told_of() -> None:
    pending = ObjectMeta(
        objects={
            "Account": Object(fields=(Field(name="Id"), Field(name="Tier__c"))),
            "Lead": Object(fields=(Field(name="Id"),)),
        }
    )
    objects, fields = project(pending, "salesforce", TABLES)
    assert ([item.key for item in objects], [item.key for item in fields]) == (["Account"], [("Account", "Id")])


def test_an_address_whose_parts_have_columns_has_none() -> None:
    parts = ({"name": "Name", "compoundFieldName": "Site"}, {"name": "Site", "type": "address"})
    _, fields = project(meta(*parts), "salesforce", TABLES)
    assert [(item.api_name, item.column_name, item.column_type) for item in fields[1:]] == [
        ("Name", "name", "character varying(255)"),
        ("Site", None, None),
    ]


def test_the_fields_of_a_missing_object_are_missing_too() -> None:
    assert row({"name": "Name", "missing": True}).missing
    assert row({"name": "Name"}, missing=True).missing
    assert not row({"name": "Name"}).missing


def test_a_renamed_object_has_the_fields_that_only_its_former_entry_has_and_they_are_missing() -> None:
    listed = ObjectMeta(
        objects={
            "Account": Object(fields=(Field(name="Id"), Field(name="Name")), missing=True),
            "Firm": Object(fields=(Field(name="Id"),), choices=ObjectChoices(renamed_from="Account")),
        }
    )
    _, fields = project(listed, "salesforce", {"firm": TABLES["account"]})
    assert {item.key: item.missing for item in fields} == {("Firm", "Id"): False, ("Firm", "Name"): True}
    objects, fields = project(listed, "salesforce", TABLES)
    assert {item.key: item.missing for item in (*objects, *fields)} == dict.fromkeys(
        ["Account", ("Account", "Id"), ("Account", "Name")], True
    )


@pytest.mark.parametrize("name", ["Foo__c", "ns__Foo__mdt", "Foo__History"])
def test_what_has_a_suffix_is_custom_whatever_its_flag(name: str) -> None:
    listed = ObjectMeta(objects={name: Object(fields=()), "Account": Object(fields=())})
    objects, _ = project(listed, "salesforce", {name.lower(): {}, "account": {}})
    assert {item.api_name: item.is_custom for item in objects} == {name: True, "Account": False}


@given(st.text(max_size=20))
def test_any_label_can_be_stored(label: str) -> None:
    found = row({"name": "Name", "label": label}).label
    assert "\x00" not in found
    found.encode()
    assert len(found) == len(label or "Name")


_rows = st.lists(
    st.builds(ObjectRow, st.sampled_from("abcd"), st.just("s"), st.just("t"), st.sampled_from("xy"), *[st.none()] * 3),
    unique_by=lambda item: item.key,
)


@given(_rows, _rows)
def test_what_is_written_and_removed_leads_from_what_is_stored_to_what_is_wanted(
    wanted: list[ObjectRow], stored: list[ObjectRow]
) -> None:
    changed, gone = compare(wanted, stored)
    after = {item.key: item for item in stored}
    for item in gone:
        del after[item.key]
    assert not {item.key for item in gone} & {item.key for item in wanted}
    assert all(after.get(item.key) != item for item in changed)
    after |= {item.key: item for item in changed}
    assert after == {item.key: item for item in wanted}


def test_tables_that_are_no_registry_are_told_by_what_they_lack() -> None:
    assert unfit(FITTING) == ""
    assert unfit({OBJECTS: FITTING[OBJECTS]}) == "the target has no table utilities.field_registry"
    older = FITTING | {FIELDS: {**FITTING[FIELDS], "formula": "jsonb", "extra": "text"}}
    assert unfit(older) == "utilities.field_registry has not the columns of a registry (formula)"
