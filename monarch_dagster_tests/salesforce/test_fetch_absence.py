"""Absence is not deletion: what a fetch does not show stays in object_meta.json."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

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

NOT_FOUND = (404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])


def test_a_narrowed_selection_drops_nothing_and_marks_nothing(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    select(path, exclude=("Lead",))
    before = files(path.parent)
    org.describes["Lead"] = described("Lead", text("Other__c"))
    assert reports(org.fetch(path).merge) == {}
    assert files(path.parent) == before


def test_a_vanished_object_is_kept_and_comes_back_unmarked(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    before = path.read_bytes()
    lead = org.describes.pop("Lead")
    assert reports(org.fetch(path).merge) == {"missing": ("Lead",)}
    assert field_names(read(path), "Lead") == ["Id", "Name"]
    org.describes["Lead"] = lead
    assert reports(org.fetch(path).merge) == {"returned": ("Lead",)}
    assert path.read_bytes() == before


@pytest.mark.parametrize("keys", [{"queryable": False}, {"retrieveable": False}, {"deprecatedAndHidden": True}])
def test_an_object_that_no_longer_fits_is_kept_and_marked(org: ScriptedOrg, path: Path, keys: dict[str, bool]) -> None:
    org.fetch(path)
    org.overviews["Lead"] = keys
    result = org.fetch(path)
    assert reports(result.merge) == {"missing": ("Lead",)}
    assert "Lead" in result.left_out


def test_an_object_without_an_id_is_left_out_and_one_that_lost_it_is_kept(org: ScriptedOrg, path: Path) -> None:
    org.describes["Notice__e"] = {"name": "Notice__e", "fields": [text("ReplayId")]}
    result = org.fetch(path)
    assert result.left_out == {"Notice__e": "has no Id field"}
    assert "Notice__e" not in read(path).objects
    org.describes["Lead"] = {"name": "Lead", "fields": [text("Name")]}
    assert reports(org.fetch(path).merge) == {"missing": ("Lead",)}
    assert field_names(read(path), "Lead") == ["Id", "Name"]


@pytest.mark.parametrize("answer", [NOT_FOUND, (403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}])])
def test_an_object_that_the_org_does_not_describe_stays_untouched_and_is_reported(
    org: ScriptedOrg, path: Path, answer: tuple[int, Any], caplog: pytest.LogCaptureFixture
) -> None:
    org.fetch(path)
    org.subrequests["Lead"] = answer
    org.describes["Account"] = described("Account", text("Name"), text("Tier__c", 80))
    with caplog.at_level(logging.WARNING):
        result = org.fetch(path)
    assert reports(result.merge) == {"widened": ("Account.Tier__c",)}
    assert result.left_out == {"Lead": f"HTTP {answer[0]}: {answer[1][0]['errorCode']} {answer[1][0]['message']}"}
    assert not read(path).objects["Lead"].missing
    assert "Lead was not described" in caplog.text


def test_an_org_that_describes_nothing_changes_nothing(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    org.subrequests = {"Account": NOT_FOUND, "Lead": NOT_FOUND}
    org.describes = {"Aaa": {}} | org.describes
    org.overviews["Aaa"] = {"queryable": False}
    error = refused(path, lambda: org.fetch(path))
    assert "None of 2 objects could be read; the first: Account HTTP 404: NOT_FOUND" in error.message


def test_an_org_that_lists_nothing_changes_nothing(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    org.describes = {}
    assert "shows no object that fits the selection" in refused(path, lambda: org.fetch(path)).message


def test_one_object_that_fails_fails_the_fetch_and_changes_nothing(org: ScriptedOrg, path: Path) -> None:
    org.fetch(path)
    org.describes["Account"] = described("Account")
    org.subrequests["Lead"] = (500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}])
    assert "could not describe Lead" in refused(path, lambda: org.fetch(path)).message
