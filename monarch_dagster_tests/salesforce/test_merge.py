"""Folding a fetch into what is stored: absence is not deletion, choices are people's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.salesforce.changes import Change
from monarch_dagster.salesforce.merge import MergeResult, merge_fetch
from monarch_dagster.salesforce.object_meta import (
    Field,
    FieldChoices,
    Object,
    ObjectChoices,
    ObjectMeta,
    parse_object_meta,
    render_object_meta,
)
from monarch_dagster_tests.salesforce.support import reports

ORG = {"api_version": "64.0", "org_id": "00D000000000001AAA"}


def an_object(*fields: Field, **keys: Any) -> Object:
    """Return an object with an `Id` and the given fields."""
    return Object(fields=(Field(name="Id", type="id"), *fields), **keys)


def stored(**objects: Object) -> ObjectMeta:
    """Return metadata as an earlier fetch left it."""
    return ObjectMeta(objects=objects, **ORG)


def merge(before: ObjectMeta, fetched: dict[str, Object], expected: list[str] | None = None) -> MergeResult:
    """Fold in a fetch that would have shown all that is stored."""
    return merge_fetch(before, fetched, before.objects if expected is None else expected, **ORG)


def test_the_same_again_reports_nothing() -> None:
    before = stored(Account=an_object(Field(name="Name")))
    result = merge(before, dict(before.objects))
    assert (result.meta, reports(result)) == (before, {})


def test_a_new_object_is_added_with_its_fields() -> None:
    result = merge(stored(), {"Account": an_object(Field(name="Name"))})
    assert reports(result) == {"added": ("Account",)}
    assert result.meta.field_count == 2


def test_a_new_field_is_added() -> None:
    result = merge(stored(Account=an_object()), {"Account": an_object(Field(name="Name"))})
    assert reports(result) == {"added": ("Account.Name",)}


def test_a_vanished_field_and_object_stay_and_are_reported_once() -> None:
    before = stored(Account=an_object(Field(name="Name")), Lead=an_object())
    gone = merge(before, {"Account": an_object()})
    assert reports(gone) == {"missing": ("Account.Name", "Lead")}
    assert list(gone.meta.missing()) == [("Account", "Name"), ("Lead", "")]
    again = merge(gone.meta, {"Account": an_object()})
    assert (again.meta, reports(again)) == (gone.meta, {})
    back = merge(again.meta, dict(before.objects))
    assert reports(back) == {"returned": ("Account.Name", "Lead")}
    assert back.meta == before


def test_an_object_that_no_fetch_would_have_shown_stays_as_it_is() -> None:
    before = stored(Account=an_object(), Lead=an_object(missing=True))
    result = merge(before, {}, expected=[])
    assert (result.meta, reports(result)) == (before, {})


def test_a_change_of_what_bears_on_the_column_is_a_change() -> None:
    before = stored(Account=an_object(Field(name="Name", type="string", length=40)))
    result = merge(before, {"Account": an_object(Field(name="Name", type="string", length=80))})
    assert reports(result) == {"widened": ("Account.Name",)}


def test_labels_and_flags_are_no_change_of_schema() -> None:
    before = stored(Account=an_object(Field(name="Name", label="Name"), label="Account"))
    result = merge(before, {"Account": an_object(Field(name="Name", label="Called"), label="Customer", custom=True)})
    assert reports(result) == {"attributes": ("Account",), "label": ("Account", "Account.Name")}
    assert result.meta.objects["Account"].label == "Customer"


def test_a_field_that_returns_changed_is_reported_as_both() -> None:
    before = stored(Account=an_object(Field(name="Name", type="string", length=40, missing=True)))
    result = merge(before, {"Account": an_object(Field(name="Name", type="string", length=80))})
    assert reports(result) == {"returned": ("Account.Name",), "widened": ("Account.Name",)}


def test_choices_survive_change_absence_and_return() -> None:
    choices = FieldChoices(column_type="text")
    before = stored(Account=an_object(Field(name="Name", length=40, choices=choices)))
    for fetched in ({"Account": an_object(Field(name="Name", length=80))}, {"Account": an_object()}, {}):
        gone = merge(before, fetched)
        back = merge(gone.meta, {"Account": an_object(Field(name="Name", length=40))})
        for meta in (gone.meta, back.meta):
            assert [item.choices for item in meta.objects["Account"].fields if item.name == "Name"] == [choices]


def test_an_objects_choices_survive_a_fetch() -> None:
    choices = ObjectChoices(renamed_from="Firm__c")
    before = stored(Account=an_object().model_copy(update={"choices": choices}))
    assert merge(before, {"Account": an_object(Field(name="Name"))}).meta.objects["Account"].choices == choices


def test_upper_and_lower_case_are_one_and_the_orgs_spelling_is_taken() -> None:
    choices = FieldChoices(column_type="text")
    before = stored(account=Object(fields=(Field(name="ID", type="id"), Field(name="tier__c", choices=choices))))
    result = merge(before, {"Account": an_object(Field(name="Tier__c"))})
    assert list(result.meta.objects) == ["Account"]
    assert result.meta.objects["Account"].fields[1] == Field(name="Tier__c", choices=choices)
    assert set(reports(result)) == {"attributes"}


def test_a_field_is_renamed_where_a_person_said_so_and_both_entries_stay() -> None:
    said = Field(name="Level__c", choices=FieldChoices(renamed_from="TIER__c"))
    result = merge(stored(Account=an_object(Field(name="Tier__c"), said)), {"Account": an_object(said)})
    assert result.changes == (Change("renamed", "Account", "Level__c", "Tier__c", "Level__c"),)
    assert [item.missing for item in result.meta.objects["Account"].fields] == [False, False, True]


def test_an_object_is_renamed_where_a_person_said_so() -> None:
    heir = an_object(choices=ObjectChoices(renamed_from="Lead"))
    result = merge(stored(Lead=an_object(), Person__c=heir), {"Person__c": an_object()})
    assert result.changes == (Change("renamed", "Person__c", before="Lead", after="Person__c"),)


def test_other_keys_that_changed_are_told_with_both_values() -> None:
    before = Field(name="Code__c", type="string", length=40, referenceTo=("Account",))
    after = Field(name="Code__c", type="picklist", length=40, externalId=True, referenceTo=("Account", "Lead"))
    result = merge(stored(Account=an_object(before)), {"Account": an_object(after)})
    assert result.changes == (
        Change(
            "attributes",
            "Account",
            "Code__c",
            "type: string, referenceTo: Account, externalId: False",
            "type: picklist, referenceTo: Account, Lead, externalId: True",
        ),
    )


_names = st.sampled_from(["Id", "Name", "NAME", "Tier__c", "tier__c", "Size__c"])
_field_lists = st.lists(
    st.builds(Field, name=_names, label=st.sampled_from(["", "a"]), length=st.integers(0, 1)), max_size=4
).map(lambda found: tuple({item.name.lower(): item for item in found}.values()))
_fetches = st.dictionaries(
    st.sampled_from(["Account", "Lead"]),
    st.builds(Object, label=st.sampled_from(["", "a"]), fields=_field_lists),
    max_size=2,
)


@given(st.lists(_fetches, min_size=1, max_size=5))
def test_after_any_row_of_fetches_nothing_is_lost_and_what_changed_was_reported(
    fetches: list[dict[str, Object]],
) -> None:
    meta = stored()
    seen: set[str] = set()
    for fetched in fetches:
        result = merge(meta, fetched)
        seen |= {f"{name}.{item.name}".lower() for name, found in fetched.items() for item in found.fields}
        kept = {f"{name}.{item.name}".lower() for name, found in result.meta.objects.items() for item in found.fields}
        assert kept == seen
        spelling_only = render_object_meta(meta).lower() == render_object_meta(result.meta).lower()
        assert bool(reports(result)) or spelling_only
        assert parse_object_meta(render_object_meta(result.meta), "merged").field_count == len(kept)
        assert reports(merge(result.meta, fetched)) == {}
        meta = result.meta
