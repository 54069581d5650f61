"""What a fetch refuses, naming object and field, org or version, and leaving the disk as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster.salesforce.guards import Guards
from monarch_dagster_tests.salesforce.support import (
    ScriptedOrg,
    described,
    read,
    refused,
    select,
    text,
)


def test_another_org_is_refused(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    org.org_id = "00D000000000002AAA"
    org.describes = {"Other__c": described("Other__c")}
    error = refused(path, lambda: org.fetch(path))
    assert "00D000000000001AAA" in error.message
    assert "00D000000000002AAA" in error.message
    assert "MONARCH_SCHEMA_DIR" in error.remedy
    assert "monarch fetch --other-org" in error.remedy


def test_another_org_is_taken_when_asked_for_and_what_it_lacks_is_kept(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    org.org_id = "00D000000000002AAA"
    del org.describes["Lead"]
    fetch_from(org.variables, path, guards=Guards(other_org=True))
    assert read(path).org_id == "00D000000000002AAA"
    assert list(read(path).missing()) == [("Lead", "")]


def test_another_org_that_has_nothing_of_what_is_known_is_refused_whatever_is_asked(
    org: ScriptedOrg, path: Path
) -> None:
    org.fetch(path)
    org.org_id = "00D000000000002AAA"
    org.describes = {"Other__c": described("Other__c")}
    error = refused(path, lambda: fetch_from(org.variables, path, guards=Guards(True, True, 100)))
    assert "no longer shows 5 of 5 fields" in error.message


def fetch_with(org: ScriptedOrg, path: Path, version: str, *objects: str, lower: bool = False) -> FetchResult:
    """Fetch as a command does, with that SALESFORCE_API_VERSION."""
    variables = org.variables | {"SALESFORCE_API_VERSION": version}
    return fetch_from(variables, path, objects=objects, guards=Guards(lower_api_version=lower))


def test_the_first_fetch_pins_the_version_and_later_ones_keep_it(org: ScriptedOrg, path: Path) -> None:
    fetch_with(org, path, "62.0")
    fetch_from(org.variables, path)
    assert read(path).api_version == "62.0"
    assert {called.split("/")[3] for called in org.seen if "data" in called} == {"v62.0"}


def test_a_higher_version_is_taken_when_asked_for_and_a_lower_refused(org: ScriptedOrg, path: Path) -> None:
    fetch_with(org, path, "62.0")
    fetch_with(org, path, "63.0")
    assert read(path).api_version == "63.0"
    error = refused(path, lambda: fetch_with(org, path, "62.0"))
    assert "fetched with API version 63.0; SALESFORCE_API_VERSION asks for 62.0" in error.message
    assert "monarch fetch --lower-api-version" in error.remedy
    fetch_with(org, path, "62.0", lower=True)
    assert read(path).api_version == "62.0"


def test_a_version_is_compared_as_a_number(org: ScriptedOrg, path: Path) -> None:
    fetch_with(org, path, "99.0")
    fetch_with(org, path, "100.0")
    assert read(path).api_version == "100.0"


def test_a_partial_fetch_does_not_change_the_version(org: ScriptedOrg, path: Path) -> None:
    fetch_with(org, path, "62.0")
    error = refused(path, lambda: fetch_with(org, path, "63.0", "Account"))
    assert "Fetch all objects" in error.remedy


@pytest.mark.parametrize("version", ["v62.0", "62", "62.5", "latest", "62.0\n", "６２.0", "62.0/../x"])  # noqa: RUF001
def test_a_version_that_is_none_is_refused_before_the_login(org: ScriptedOrg, path: Path, version: str) -> None:
    path.parent.mkdir()
    assert "SALESFORCE_API_VERSION" in refused(path, lambda: fetch_with(org, path, version)).message
    assert org.seen == []


def test_a_broken_file_is_refused_before_the_login(org: ScriptedOrg, path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"objects": ')
    assert "is not JSON" in refused(path, lambda: fetch_from(org.variables, path)).message
    assert org.seen == []


def test_a_choice_that_cannot_be_had_is_refused_before_the_login_with_file_object_and_field(
    org: ScriptedOrg, path: Path
) -> None:
    org.fetch(path)
    path.write_text(
        path.read_text().replace('"name": "Tier__c"', '"name": "Tier__c", "choices": {"column_type": "varchr(4)"}')
    )
    org.seen.clear()
    error = refused(path, lambda: fetch_from(org.variables, path))
    told = "choices.column_type of Tier__c is 'varchr(4)', which is not a type that Monarch writes; use one of: bigint,"
    assert error.message.startswith(f"{path} is not valid:\n  objects → Account → fields → ")
    assert told in error.message
    assert org.seen == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "it has no list of fields"),
        ({"name": "Lead", "fields": {}}, "it has no list of fields"),
        ({"name": "Lead", "fields": ["Id"]}, "it has no list of fields"),
        (described("Account"), "it is the describe of 'Account'"),
        ({"fields": [text("Id")]}, "it is the describe of 'None'"),
        (described("Lead", text("Name"), text("NAME")), "fields listed twice (upper and lower case are one): name"),
        (described("Lead", {"type": "string"}), "field 'None': name: "),
        (described("Lead", text("a b")), "field 'a b': name: "),
        (described("Lead", text("X__c", length="long")), "field 'X__c': length: "),
        (described("Lead", text("X__c", length=-1)), "field 'X__c': length: "),
        (described("Lead", text("X__c", length=2**40)), "field 'X__c': length: "),
        (described("Lead", text("X__c", label=["a"])), "field 'X__c': label: "),
        (described("Lead", text("X__c", label="x" * 5000)), "field 'X__c': label: "),
        (described("Lead", text("X__c", type={"a": 1})), "field 'X__c': type: "),
        (described("Lead", text("X__c", referenceTo="Account")), "field 'X__c': referenceTo: "),
        (described("Lead", label=5), "label: "),
        (described("Lead", custom="maybe"), "custom: "),
    ],
)
def test_a_describe_that_is_none_is_refused_with_object_and_field(
    org: ScriptedOrg, path: Path, body: Any, said: str
) -> None:
    org.fetch(path)
    org.describes |= {"Account": described("Account"), "Lead": body}
    error = refused(path, lambda: org.fetch(path))
    assert f"The describe of Lead cannot be used: {said}" in error.message
    assert '"exclude"' in error.remedy


def test_a_bad_describe_can_be_excluded(org: ScriptedOrg, path: Path) -> None:
    org.describes["Lead"] = {}
    select(path, exclude=("lead",))
    assert org.fetch(path).described == 1


def test_a_folder_that_cannot_be_written_is_named(org: ScriptedOrg, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonarchError, match="could not be"):
        org.fetch(tmp_path / "file" / "object_meta.json")
