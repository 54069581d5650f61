"""Fields that the selection leaves out: not taken where they are new, and as they were where they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.salesforce.guards import find_lost
from monarch_dagster.salesforce.merge import MergeResult, merge_fetch
from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta, Selection
from monarch_dagster.salesforce.selection import excluded_fields
from monarch_dagster_tests.salesforce.support import (
    ScriptedOrg,
    described,
    field_names,
    read,
    reports,
    scripted,
    select,
    text,
)

ORG = {"api_version": "64.0", "org_id": "00D000000000001AAA"}
OLD = "Mon, 01 Jun 2026 10:00:00 GMT"
NEW = "Tue, 02 Jun 2026 10:00:00 GMT"
SITE = Field(name="Site__c", type="address")
PARTS = [Field(name=f"{name}__c", type="string", compoundFieldName="Site__c") for name in ("City", "Street")]


def an_object(*fields: Field) -> Object:
    return Object(fields=(Field(name="Id", type="id"), *fields))


def merge(stored: tuple[Field, ...] | None, fetched: tuple[Field, ...], *exclude: str) -> MergeResult:
    """Fold the fields of Account into those stored, None for a new object."""
    objects = {} if stored is None else {"Account": an_object(*stored)}
    before = ObjectMeta(objects=objects, selection=Selection(exclude=exclude))
    return merge_fetch(before, {"Account": an_object(*fetched)}, {"account"}, **ORG)


def names(result: MergeResult) -> list[str]:
    return [name for name in field_names(result.meta, "Account") if name != "Id"]


@pytest.mark.parametrize(
    ("pattern", "out"),
    [
        ("Account.Big__c", {"big__c"}),
        ("aCCOUNT.big__C", {"big__c"}),
        ("*.Big__c", {"big__c"}),
        ("Acc*.?ig__c", {"big__c"}),
        ("*.npsp__*", {"npsp__big__c"}),
        ("Account.*Big__c", {"big__c", "npsp__big__c"}),
        ("Lead.Big__c", set()),
        ("Big__c", set()),
        ("*Big__c", set()),
        ("Account", set()),
    ],
)
def test_a_pattern_with_a_dot_leaves_out_fields_and_case_does_not_matter(pattern: str, out: set[str]) -> None:
    fields = [Field(name=name, type="string") for name in ("Id", "Big__c", "Small__c", "npsp__Big__c")]
    assert excluded_fields("Account", fields, Selection(exclude=(pattern,))) == out


@pytest.mark.parametrize("stored", [None, ()], ids=["a new object", "a known object"])
def test_an_excluded_field_that_is_not_stored_is_not_taken(stored: tuple[Field, ...] | None) -> None:
    big, small = Field(name="Big__c"), Field(name="Small__c")
    result = merge(stored, (big, small), "*.big__c")
    assert names(result) == ["Small__c"]
    assert all("Big__c" not in name for told in reports(result).values() for name in told)


@pytest.mark.parametrize(
    "shown",
    [
        (),
        (Field(name="Big__c", type="string", length=80, label="Big"),),
        (Field(name="BIG__C", type="double", precision=18),),
    ],
    ids=["gone", "widened", "retyped and spelt otherwise"],
)
@pytest.mark.parametrize("missing", [False, True])
def test_an_excluded_field_that_is_stored_stays_as_it_is(shown: tuple[Field, ...], missing: bool) -> None:
    big = Field(name="Big__c", type="string", length=40, missing=missing)
    result = merge((big,), shown, "Account.Big__c")
    assert result.meta.objects["Account"] == an_object(big) or names(result) == ["Big__c"]
    assert big in result.meta.objects["Account"].fields
    assert reports(result) == {}


def test_an_address_goes_with_the_last_of_its_components() -> None:
    assert names(merge(None, (SITE, *PARTS), "*.City__c")) == ["Site__c", "Street__c"]
    assert names(merge(None, (SITE, *PARTS), "*.City__c", "*.Street__c")) == []
    assert names(merge(None, (SITE, *PARTS), "*.Site__c")) == ["City__c", "Street__c"]
    assert names(merge((SITE,), (SITE, *PARTS), "*.City__c", "*.Street__c")) == ["Site__c"]
    assert reports(merge((SITE,), (SITE, *PARTS), "*.City__c", "*.Street__c")) == {}
    assert reports(merge((SITE, *PARTS), (SITE, *PARTS), "*.City__c", "*.Street__c")) == {}
    # A name is composed too, and has a column of its own.
    name = Field(name="Name", type="string"), Field(name="LastName", compoundFieldName="Name")
    assert names(merge(None, name, "*.LastName")) == ["Name"]


def test_fields_that_no_fetch_takes_do_not_count_as_shown_before() -> None:
    before = ObjectMeta(
        objects={"Account": an_object(Field(name="Big__c"), Field(name="Small__c"))},
        selection=Selection(exclude=("*.Big__c",)),
    )
    merged = merge_fetch(before, {}, {"account"}, **ORG)
    lost = find_lost(before, merged.meta, {"account"})
    assert lost.fields == (("Account", "Id"), ("Account", "Small__c"))
    assert lost.total == 2


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    """An org whose objects have not changed for a while."""
    objects = [described("Account", text("Big__c"), text("Name")), described("Lead", text("Big__c"))]
    with scripted({item["name"]: item for item in objects}) as served:
        served.modified = dict.fromkeys(served.describes, OLD)
        yield served


def fetch(org: ScriptedOrg, path: Path) -> list[str]:
    """Fetch, and return which describes that had the org send."""
    org.sent.clear()
    org.fetch(path, home=path.parents[1] / "home")
    return sorted(org.sent)


def test_objects_of_which_fields_are_left_out_are_sent_again_only_where_they_changed(
    org: ScriptedOrg, path: Path
) -> None:
    select(path, exclude=("Account.Big__c",))
    assert fetch(org, path) == ["Account", "Lead"]
    assert field_names(read(path), "Account") == ["Id", "Name"]
    before = path.read_bytes()
    assert fetch(org, path) == []
    assert path.read_bytes() == before
    org.describes["Account"] = described("Account", text("Big__c", 90), text("Name"))
    org.modified["Account"] = NEW
    result = org.fetch(path, home=path.parents[1] / "home")
    assert (result.written, result.unchanged, result.unaffected) == (False, 1, 1)


def test_a_field_that_is_left_out_no_more_is_taken_though_the_org_has_not_changed(org: ScriptedOrg, path: Path) -> None:
    select(path, exclude=("Account.Big__c",))
    fetch(org, path)
    select(path)
    assert fetch(org, path) == ["Account"]
    assert field_names(read(path), "Account") == ["Big__c", "Id", "Name"]
    select(path, exclude=("*.Big__c",))
    before = path.read_bytes()
    fetch(org, path)
    assert fetch(org, path) == []
    assert path.read_bytes() == before
    del org.describes["Lead"]["fields"][1]
    org.modified["Lead"] = NEW
    assert fetch(org, path) == ["Lead"]
    assert path.read_bytes() == before
