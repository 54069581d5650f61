"""An entry that is missing, and that another one says it was, goes on in that one and is lost in none."""

from __future__ import annotations

from typing import Any

from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.salesforce.renamed import Declared, declared


def field(name: str, *, was: str = "", **keys: Any) -> dict[str, Any]:
    choices = {"renamed_from": was, **keys.pop("choices", {})}
    return {"name": name, "type": "string", **keys, "choices": choices}


def entry(*fields: dict[str, Any], was: str = "", missing: bool = False) -> dict[str, Any]:
    return {"fields": [{"name": "Id", "type": "id"}, *fields], "missing": missing, "choices": {"renamed_from": was}}


def found(**objects: dict[str, Any]) -> Declared:
    return declared(ObjectMeta.model_validate({"objects": objects}))


def names(result: Declared, name: str) -> list[str]:
    return [field.name for field in result.objects[name].fields if field.name != "Id"]


def test_the_missing_field_that_another_one_was_is_left_out_and_no_other() -> None:
    old = field("Old__c", missing=True)
    assert names(found(A=entry(old, field("New__c", was="old__C"))), "A") == ["New__c"]
    assert names(found(A=entry(old, field("New__c"))), "A") == ["Old__c", "New__c"]
    there = field("Old__c")
    assert names(found(A=entry(there, field("New__c", was="Old__c"))), "A") == ["Old__c", "New__c"]


def test_the_missing_object_that_another_one_was_is_left_out_and_no_other() -> None:
    old = entry(missing=True)
    assert list(found(Old__c=old, New__c=entry(was="Old__c")).objects) == ["New__c"]
    assert list(found(Old__c=old, New__c=entry()).objects) == ["Old__c", "New__c"]
    assert list(found(Old__c=entry(), New__c=entry(was="Old__c")).objects) == ["Old__c", "New__c"]


def test_what_went_through_several_names_goes_on_in_the_last() -> None:
    result = found(A=entry(missing=True), B=entry(was="A", missing=True), C=entry(was="B"))
    assert list(result.objects) == ["C"]
    assert result.heir("a") == "c"
    assert result.heir("X") == "x"
    fields = field("A__c", missing=True), field("B__c", was="A__c", missing=True), field("C__c", was="B__c")
    assert names(found(A=entry(*fields)), "A") == ["C__c"]


def test_names_that_come_round_to_themselves_are_all_kept() -> None:
    swapped = found(A=entry(was="B", missing=True), B=entry(was="A", missing=True))
    assert list(swapped.objects) == ["A", "B"]
    fields = (field("A__c", was="B__c", missing=True), field("B__c", was="A__c", missing=True))
    assert names(found(A=entry(*fields)), "A") == ["A__c", "B__c"]


def test_a_renamed_object_keeps_the_fields_that_only_its_old_entry_has() -> None:
    old = entry(field("Gone__c", missing=True), field("Hidden__c"), field("Was__c"), field("Same__c"), missing=True)
    result = found(Old__c=old, New__c=entry(field("Same__c"), field("Is__c", was="Was__c"), was="Old__c"))
    assert names(result, "New__c") == ["Gone__c", "Hidden__c", "Is__c", "Same__c"]
    assert list(result.missing()) == [("New__c", "Gone__c"), ("New__c", "Hidden__c")]


def test_a_renamed_object_keeps_the_choices_made_for_its_fields() -> None:
    old = entry(field("X__c", choices={"column_type": "text"}), field("Y__c", choices={"index": True}), missing=True)
    new = entry(field("X__c"), field("Y__c", choices={"index": False}), was="Old__c")
    fields = {item.name: item.choices for item in found(Old__c=old, New__c=new).objects["New__c"].fields}
    assert fields["X__c"].column_type == "text"
    assert fields["Y__c"].index is False
