"""The registry around a rename or a drop: what is still there is still told of, and what goes on keeps its dates."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from monarch_dagster_tests.migrations.registries import (
    OBJECTS,
    age,
    build,
    edited,
    keep,
    labels,
    missing,
    seen,
    versions,
)
from monarch_dagster_tests.support import Project, counted_statements

TIER = {"name": "Tier__c", "type": "string", "length": 40, "label": "Tier"}
RENAME = "ALTER TABLE salesforce.account RENAME npsp__level__c TO tier__c"
FIRM = "ALTER TABLE salesforce.account RENAME TO firm"


@pytest.fixture
def aged(registered: Project) -> Project:
    """A target whose registry is right and old."""
    age(registered)
    return registered


def renamed_field(*, old_entry: bool, old: str = "npsp__Level__c") -> dict[str, Any]:
    """Return the objects after a fetch that shows `Tier__c`, of which a person says that it was `npsp__Level__c`."""
    objects: dict[str, Any] = copy.deepcopy(OBJECTS)
    fields = objects["Account"]["fields"]
    level = fields.pop()
    fields.append({**TIER, "choices": {"renamed_from": old}})
    if old_entry:
        fields.append({**level, "missing": True})
    return objects


def renamed_object(*, old_entry: bool) -> dict[str, Any]:
    """Return the objects after a fetch that shows `Firm` in place of `Account`, without one of its fields."""
    objects: dict[str, Any] = copy.deepcopy(OBJECTS)
    objects["Firm"] = {**copy.deepcopy(objects["Account"]), "choices": {"renamed_from": "Account"}}
    del objects["Firm"]["fields"][2]
    objects["Account"]["missing"] = True
    if not old_entry:
        del objects["Account"]
    return objects


@pytest.mark.parametrize("old_entry", [True, False])
def test_a_renamed_field_is_told_by_its_old_name_until_it_has_the_new_one_and_keeps_its_date(
    aged: Project, old_entry: bool
) -> None:
    before = seen(aged)
    aged.write_meta(renamed_field(old_entry=old_entry))
    keep(aged)
    assert seen(aged) == before
    aged.execute(RENAME)
    assert keep(aged).told == "1 object, 3 fields (1 written)"
    assert seen(aged) == {name.replace("npsp__Level__c", "Tier__c"): date for name, date in before.items()}
    assert labels(aged)["Account.Tier__c"] == "Tier"
    assert missing(aged) == {}
    assert keep(aged).told == "1 object, 3 fields (nothing changed)"


def test_a_rename_that_is_taken_back_gives_the_old_name_its_date_again(aged: Project) -> None:
    before = seen(aged)
    aged.write_meta(renamed_field(old_entry=True))
    aged.execute(RENAME)
    keep(aged)
    aged.execute("ALTER TABLE salesforce.account RENAME tier__c TO npsp__level__c")
    keep(aged)
    assert seen(aged) == before


@pytest.mark.parametrize("old_entry", [True, False])
def test_a_renamed_object_takes_its_fields_and_their_dates_along(aged: Project, old_entry: bool) -> None:
    before = seen(aged)
    aged.write_meta(renamed_object(old_entry=old_entry))
    keep(aged)
    assert seen(aged) == before
    aged.execute(FIRM)
    assert keep(aged).told == "1 object, 3 fields (4 written)"
    assert seen(aged) == {name.replace("Account", "Firm"): date for name, date in before.items()}
    # The entry of the former name says that the last fetch did not show it; where a person deleted that, nothing does.
    assert missing(aged).keys() == ({"Firm.npsp__Level__c"} if old_entry else set())
    assert keep(aged).told == "1 object, 3 fields (nothing changed)"


def test_a_field_that_was_missing_before_its_object_was_renamed_is_missing_since_then(aged: Project) -> None:
    objects = edited(missing=True)
    aged.write_meta(objects)
    keep(aged)
    aged.execute("UPDATE utilities.field_registry SET missing_since = '2024-02-29' WHERE missing_since IS NOT NULL")
    since = missing(aged)["Account.Name"]
    objects["Firm"] = {**objects.pop("Account"), "choices": {"renamed_from": "Account"}}
    aged.write_meta(objects)
    aged.execute(FIRM)
    keep(aged)
    assert missing(aged) == {"Firm.Name": since}


def test_object_and_field_that_were_renamed_in_one_run_keep_their_dates(aged: Project) -> None:
    before = seen(aged)
    objects = renamed_field(old_entry=False)
    objects["Firm"] = {**objects.pop("Account"), "choices": {"renamed_from": "Account"}}
    aged.write_meta(objects)
    aged.execute(f"{FIRM}; ALTER TABLE salesforce.firm RENAME npsp__level__c TO tier__c")
    keep(aged)
    after = seen(aged)
    assert after.keys() == {"Firm", "Firm.Id", "Firm.Name", "Firm.Tier__c"}
    assert after["Firm.Tier__c"] == before["Account.npsp__Level__c"]
    assert sorted(after.values()) == sorted(before.values())


def test_a_field_whose_names_changed_twice_in_one_run_keeps_its_date(aged: Project) -> None:
    before = seen(aged)
    objects = renamed_field(old_entry=False, old="Rank__c")
    rank = {"name": "Rank__c", "type": "string", "length": 40, "missing": True}
    objects["Account"]["fields"].append({**rank, "choices": {"renamed_from": "npsp__Level__c"}})
    aged.write_meta(objects)
    aged.execute(RENAME)
    keep(aged)
    assert seen(aged)["Account.Tier__c"] == before["Account.npsp__Level__c"]


def test_what_is_spelled_otherwise_now_keeps_its_date(aged: Project) -> None:
    before = seen(aged)
    objects = edited(name="NAME")
    aged.write_meta({"ACCOUNT": objects["Account"]})
    keep(aged)
    after = seen(aged)
    assert after.keys() == {"ACCOUNT", "ACCOUNT.Id", "ACCOUNT.NAME", "ACCOUNT.npsp__Level__c"}
    assert sorted(after.values()) == sorted(before.values())


def test_a_field_that_a_person_deleted_is_told_of_until_its_column_is_dropped(aged: Project) -> None:
    before = versions(aged)
    objects = edited()
    del objects["Account"]["fields"][2]
    aged.write_meta(objects)
    assert keep(aged).told == "1 object, 3 fields (nothing changed)"
    assert versions(aged) == before
    aged.execute("ALTER TABLE salesforce.account ALTER npsp__level__c TYPE text")
    assert keep(aged).told == "1 object, 3 fields (1 written)"
    kind = "SELECT column_type, label FROM utilities.field_registry WHERE api_name = 'npsp__Level__c'"
    assert aged.execute(kind) == [("text", "Level")]
    aged.execute("ALTER TABLE salesforce.account DROP npsp__level__c")
    assert keep(aged).told == "1 object, 2 fields (1 removed)"


def test_a_field_that_a_person_deleted_goes_along_with_its_renamed_object(aged: Project) -> None:
    before = seen(aged)
    aged.write_meta(renamed_object(old_entry=False))
    aged.execute(FIRM)
    keep(aged)
    assert seen(aged)["Firm.npsp__Level__c"] == before["Account.npsp__Level__c"]


def test_an_object_that_a_person_deleted_is_told_of_with_its_compounds_until_its_table_is_dropped(
    project: Project,
) -> None:
    objects = copy.deepcopy(OBJECTS)
    objects["Account"]["fields"] += [
        {"name": "City", "type": "string", "length": 40, "compoundFieldName": "Site"},
        {"name": "Site", "type": "address"},
    ]
    build(project, objects)
    keep(project)
    before = versions(project)
    project.write_meta({})
    assert keep(project).told == "1 object, 5 fields (nothing changed)"
    assert versions(project) == before
    # Of an object that has its entry, what has no column is told of by that alone.
    del objects["Account"]["fields"][4]
    project.write_meta(objects)
    assert keep(project).told == "1 object, 4 fields (1 removed)"


def test_a_column_that_is_another_fields_now_is_told_of_once(aged: Project) -> None:
    objects = edited()
    level = objects["Account"]["fields"][2]
    aged.execute("UPDATE utilities.field_registry SET api_name = 'Long_name_in_full__c' WHERE api_name LIKE 'npsp%%'")
    aged.write_meta(objects)
    assert keep(aged).told == "1 object, 3 fields (1 written, 1 removed)"
    assert labels(aged)[f"Account.{level['name']}"] == level["label"]


def test_a_name_that_a_new_field_takes_after_the_rename_leaves_the_renamed_one_its_date(aged: Project) -> None:
    before = seen(aged)
    aged.write_meta(renamed_field(old_entry=True))
    aged.execute(RENAME)
    keep(aged)
    objects = renamed_field(old_entry=True)
    objects["Account"]["fields"][-1]["missing"] = False
    aged.write_meta(objects)
    aged.execute("ALTER TABLE salesforce.account ADD npsp__level__c text")
    keep(aged)
    after = seen(aged)
    assert after["Account.Tier__c"] == before["Account.npsp__Level__c"]
    assert after["Account.npsp__Level__c"] > before["Account.npsp__Level__c"]


def test_many_renames_are_as_many_statements_as_one(project: Project) -> None:
    def objects(prefix: str, count: int) -> dict[str, Any]:
        was = {"renamed_from": "A{}__c"} if prefix == "B" else {}
        return {
            f"{prefix}{number}__c": {
                "choices": {key: text.format(number) for key, text in was.items()},
                "fields": [
                    {"name": "Id", "type": "id"},
                    *(
                        {
                            "name": f"{prefix}{place}__c",
                            "type": "boolean",
                            "choices": {key: text.format(place) for key, text in was.items()},
                        }
                        for place in range(count)
                    ),
                ],
            }
            for number in range(count)
        }

    build(project, objects("A", 12))
    keep(project)
    age(project)
    before = seen(project)
    counts = []
    for count in (1, 12):
        renamed = [number for number in range(12) if number < count]
        meta = {**objects("A", 12), **objects("B", 12)}
        for number in range(12):
            del meta[f"{'A' if number in renamed else 'B'}{number}__c"]
        project.write_meta(meta)
        for number in renamed[len(counts) :]:
            project.execute(f"ALTER TABLE salesforce.a{number}__c RENAME TO b{number}__c")
            for place in range(12):
                project.execute(f"ALTER TABLE salesforce.b{number}__c RENAME a{place}__c TO b{place}__c")
        with counted_statements() as found:
            keep(project)
        counts.append(len(found))
    assert counts[0] == counts[1]
    assert seen(project) == {name.replace("A", "B"): date for name, date in before.items()}
