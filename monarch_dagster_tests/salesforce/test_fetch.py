"""From an org to object_meta.json, over real HTTP: what the file comes to hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from monarch_dagster.salesforce.fetch import fetch_from
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.support import (
    ScriptedOrg,
    described,
    field_names,
    files,
    read,
    refused,
    reports,
    select,
    text,
)


@pytest.fixture(scope="module")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def sample(sample_home: Path) -> Iterator[RunningOrg]:
    with running(home=sample_home) as served:
        yield served


def switch(sample: RunningOrg, version: int) -> None:
    """Have the sample org show another version of itself."""
    requests.post(f"{sample.url}/sample-org/version/{version}", timeout=10).raise_for_status()


def test_a_first_fetch_writes_the_file_and_names_version_and_org(org: ScriptedOrg, path: Path) -> None:
    result = org.fetch(path)
    meta = read(path)
    assert (meta.api_version, meta.org_id) == ("64.0", org.org_id)
    assert field_names(meta, "Account") == ["Id", "Name", "Tier__c"]
    assert (result.written, result.described) == (True, 2)
    assert reports(result.merge) == {"added": ("Account", "Lead")}


def test_an_unchanged_org_touches_no_file(sample: RunningOrg, path: Path) -> None:
    fetch_from(sample.environment, path)
    before = files(path.parent)
    result = fetch_from(sample.environment, path)
    assert files(path.parent) == before
    assert (result.written, reports(result.merge)) == (False, {})


def test_the_order_in_which_the_org_lists_things_does_not_matter(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    before = files(path.parent)
    org.describes = {name: item | {"fields": item["fields"][::-1]} for name, item in reversed(org.describes.items())}
    assert not org.fetch(path).written
    assert files(path.parent) == before


def test_what_bears_on_no_schema_stays_out_of_the_file(sample: RunningOrg, path: Path) -> None:
    fetch_from(sample.environment, path)
    content = path.read_text()
    for word in ("picklistValues", "childRelationships", "urls", "defaultValue", "inlineHelpText", "Agriculture"):
        assert word not in content


def test_the_change_of_an_org_is_reported_and_a_change_back_too(sample: RunningOrg, path: Path) -> None:
    fetch_from(sample.environment, path)
    switch(sample, 2)
    changed = fetch_from(sample.environment, path)
    assert reports(changed.merge) == {
        "added": ("Account.Loyalty_Tier__c", "Depot_Visit__c"),
        "widened": ("Opportunity.Tracking_Code__c",),
        "missing": ("Contact.Fax",),
        "label": ("Account.AccountNumber",),
    }
    assert "Fax" in field_names(read(path), "Contact")
    assert list(read(path).missing()) == [("Contact", "Fax")]
    switch(sample, 1)
    back = fetch_from(sample.environment, path)
    assert reports(back.merge) == {
        "narrowed": ("Opportunity.Tracking_Code__c",),
        "missing": ("Account.Loyalty_Tier__c", "Depot_Visit__c"),
        "returned": ("Contact.Fax",),
        "label": ("Account.AccountNumber",),
    }
    assert "Depot_Visit__c" in read(path).objects


def test_a_minimal_file_steers_the_first_fetch(org: ScriptedOrg, path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"selection": {"include": ["lead"]}}')
    assert reports(org.fetch(path).merge) == {"added": ("Lead",)}
    assert read(path).selection.include == ("lead",)


def test_choices_and_hand_written_entries_survive_a_fetch(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    edited = path.read_text().replace('"name": "Tier__c",', '"name": "Tier__c", "choices": {"column_type": "text"},')
    by_hand = '"objects": {"Mine__c": {"fields": [{"name": "Id", "type": "id"}]},'
    path.write_text(edited.replace('"objects": {', by_hand))
    result = org.fetch(path)
    assert reports(result.merge) == {"missing": ("Mine__c",)}
    meta = read(path)
    assert meta.objects["Account"].fields[2].choices.column_type == "text"
    assert meta.objects["Mine__c"].missing


def test_an_edit_made_while_the_org_is_described_is_kept(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)

    def edit(called: str) -> None:
        if called.endswith("composite"):
            path.write_text(path.read_text().replace('"label": "Tier__c"', '"choices": {"column_type": "text"}'))

    org.before = edit
    org.fetch(path)
    assert read(path).objects["Account"].fields[2].choices.column_type == "text"


def test_a_selection_widened_while_the_org_is_described_marks_nothing_missing(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    select(path, include=("Account",))

    def widen(called: str) -> None:
        if called.endswith("composite"):
            select(path, include=("*",))

    org.before = widen
    assert reports(org.fetch(path).merge) == {}
    assert read(path).selection.include == ("*",)


def test_a_partial_fetch_changes_only_what_it_read(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    lead = read(path).objects["Lead"]
    org.describes |= {name: described(name, text("New__c")) for name in ("Account", "Lead", "Case")}
    result = org.fetch(path, "account")
    assert reports(result.merge) == {
        "added": ("Account.New__c",),
        "missing": ("Account.Name", "Account.Tier__c"),
    }
    assert result.described == 1
    assert read(path).objects["Lead"] == lead
    assert "Case" not in read(path).objects


def test_a_partial_fetch_reports_on_what_was_asked_for_only(org: ScriptedOrg, path: Path) -> None:
    org.overviews["Lead"] = {"queryable": False}
    assert org.fetch(path, "Account", "ACCOUNT").left_out == {}


@pytest.mark.parametrize(("name", "reason"), [("Nothing__c", "not shown by the org"), ("Lead", "cannot be queried")])
def test_asking_for_an_object_that_cannot_be_had_says_why(org: ScriptedOrg, path: Path, name: str, reason: str) -> None:
    org.fetch(path)
    org.overviews["Lead"] = {"queryable": False}
    assert f"{name} ({reason}" in refused(path, lambda: org.fetch(path, "Account", name)).message


def test_a_pattern_takes_the_objects_of_a_namespace(org: ScriptedOrg, path: Path) -> None:
    org.describes |= {name: described(name) for name in ("npsp__Level__c", "npsp__Old__c", "npe01__Level__c")}
    org.overviews["npsp__Old__c"] = {"queryable": False}
    assert reports(org.fetch(path, "NPSP__*", "Account").merge) == {"added": ("Account", "npsp__Level__c")}
    error = refused(path, lambda: org.fetch(path, "npsp__*", "other__*", "*__Old__c"))
    assert "other__* (not shown by the org, or not selected), *__Old__c (cannot be queried)" in error.message


def test_an_unknown_kind_of_field_and_missing_keys_are_taken(org: ScriptedOrg, path: Path) -> None:
    org.describes["Lead"] = {
        "name": "Lead",
        "label": None,
        "fields": [{"name": "Id"}, {"name": "X__c", "type": "hologram"}],
    }
    org.fetch(path)
    assert [(item.name, item.type) for item in read(path).objects["Lead"].fields] == [("Id", ""), ("X__c", "hologram")]


def test_progress_is_logged_as_objects_are_described(
    org: ScriptedOrg, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    org.describes = {f"Object_{number}__c": described(f"Object_{number}__c") for number in range(30)}
    with caplog.at_level(logging.INFO, "monarch_dagster"):
        org.fetch(path)
    assert [record.progress for record in caplog.records if hasattr(record, "progress")] == [(25, 30), (30, 30)]
