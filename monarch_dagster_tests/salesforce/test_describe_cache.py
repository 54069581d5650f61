"""Only what changed is sent again: an unchanged describe costs no body, and what a fetch gives is the same."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from monarch_dagster.salesforce import reading
from monarch_dagster.salesforce.cache import FOLDER, KEPT_FILES, DescribeCache
from monarch_dagster.salesforce.describes import project
from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster.salesforce.object_meta import Object, Selection
from monarch_dagster.salesforce.sample_org.running import running
from monarch_dagster_tests.salesforce.support import (
    ScriptedOrg,
    described,
    field_names,
    files,
    read,
    refused,
    reports,
    scripted,
    text,
)

OLD = "Mon, 01 Jun 2026 10:00:00 GMT"
NEW = "Tue, 02 Jun 2026 10:00:00 GMT"
NAMES = [f"Object_{number:02}__c" for number in range(60)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    """An org whose objects have not changed for a while; it has a platform event, which has no Id, too."""
    objects = [described("Account", text("Name"), text("Tier__c", 40)), described("Lead", text("Name"))]
    objects.append({"name": "Notice__e", "fields": [text("ReplayId")]})
    with scripted({item["name"]: item for item in objects}) as served:
        served.modified = dict.fromkeys(served.describes, OLD)
        yield served


def fetch(org: ScriptedOrg, path: Path, home: Path | None, *objects: str) -> FetchResult:
    """Fetch; `org.sent` holds what that had the org send."""
    org.sent.clear()
    return org.fetch(path, *objects, home=home)


def change(org: ScriptedOrg, name: str, *fields: object, date: str = NEW) -> None:
    org.describes[name] = described(name, *fields)  # type: ignore[arg-type]
    org.modified[name] = date


def cache_file(home: Path) -> Path:
    (found,) = (home / FOLDER).iterdir()
    return found


def test_of_an_unchanged_org_no_describe_is_sent_and_no_file_is_touched(
    org: ScriptedOrg, path: Path, home: Path
) -> None:
    assert fetch(org, path, home).unchanged == 0
    assert sorted(org.sent) == ["Account", "Lead", "Notice__e"]
    before = files(path.parent) | files(home)
    result = fetch(org, path, home)
    assert org.sent == []
    assert (result.written, result.unchanged, result.unaffected, result.described) == (False, 3, 0, 2)
    assert result.left_out == {"Notice__e": "has no Id field"}
    assert reports(result.merge) == {}
    assert files(path.parent) | files(home) == before


def test_unchanged_objects_are_not_parsed(org: ScriptedOrg, path: Path, home: Path, monkeypatch: object) -> None:
    org.describes = {name: described(name, text("Name")) for name in NAMES}
    org.modified = dict.fromkeys(NAMES, OLD)
    fetch(org, path, home)
    assert isinstance(monkeypatch, pytest.MonkeyPatch)
    parsed: list[str] = []

    def note(body: dict[str, object], name: str) -> Object | None:
        parsed.append(name)
        return project(body, name)

    monkeypatch.setattr(reading, "project", note)
    change(org, NAMES[7], text("Name"), text("More__c"))
    result = fetch(org, path, home)
    assert parsed == [NAMES[7]]
    assert (result.calls, result.unchanged) == (6, 59)


@pytest.mark.soak
def test_1500_objects_take_at_most_65_calls_and_unchanged_ones_no_describe(
    org: ScriptedOrg, path: Path, home: Path
) -> None:
    names = [f"Object_{number:04}__c" for number in range(1500)]
    fields = [text(f"Text_{number:02}__c") for number in range(59)]
    org.describes = {name: described(name, *fields) for name in names}
    org.modified = dict.fromkeys(names, OLD)
    first = fetch(org, path, home)
    assert (first.described, first.written, sorted(org.sent)) == (1500, True, names)
    assert first.calls <= 65
    org.seen.clear()
    second = fetch(org, path, home)
    assert (second.unchanged, second.written, org.sent) == (1500, False, [])
    assert second.calls == len(org.seen) <= 65


def test_only_what_changed_is_sent(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    change(org, "Lead", text("Name"), text("More__c"))
    result = fetch(org, path, home)
    assert org.sent == ["Lead"]
    assert field_names(read(path), "Lead") == ["Id", "More__c", "Name"]
    assert (result.unchanged, result.unaffected) == (2, 0)
    fetch(org, path, home)
    assert org.sent == []


def test_a_change_that_bears_on_no_schema_is_counted_apart(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    change(org, "Lead", text("Name", picklistValues=[{"value": "new"}]))
    result = fetch(org, path, home)
    assert (result.written, result.unchanged, result.unaffected) == (False, 2, 1)


def test_an_object_that_comes_back_unchanged_is_missing_no_more(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    before = path.read_bytes()
    lead = org.describes.pop("Lead")
    fetch(org, path, home)
    assert read(path).objects["Lead"].missing
    org.describes["Lead"] = lead
    result = fetch(org, path, home)
    assert org.sent == []
    assert reports(result.merge) == {"returned": ("Lead",)}
    assert path.read_bytes() == before


def test_a_field_that_is_missing_stays_so_while_its_object_is_unchanged(
    org: ScriptedOrg, path: Path, home: Path
) -> None:
    fetch(org, path, home)
    change(org, "Account", text("Name"))
    fetch(org, path, home)
    missing = [("Account", "Tier__c")]
    assert list(read(path).missing()) == missing
    assert fetch(org, path, home).unchanged == 3
    assert list(read(path).missing()) == missing


def test_what_a_person_changed_in_the_file_is_read_again_unless_it_is_a_choice(
    org: ScriptedOrg, path: Path, home: Path
) -> None:
    fetch(org, path, home)
    before = path.read_text()
    path.write_text(before.replace('"length": 40', '"length": 30'))
    fetch(org, path, home)
    assert org.sent == ["Account"]
    assert path.read_text() == before
    path.write_text(before.replace('"name": "Tier__c",', '"name": "Tier__c", "choices": {"index": true},'))
    fetch(org, path, home)
    assert org.sent == []
    assert read(path).objects["Account"].fields[2].choices.index
    path.write_text(before.replace('"Lead": {', '"Lead": {"choices": {"renamed_from": "Prospect__c"},'))
    fetch(org, path, home)
    assert org.sent == []
    assert read(path).objects["Lead"].choices.renamed_from == "Prospect__c"


def test_an_entry_that_a_person_deleted_is_read_again(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    before = path.read_bytes()
    path.unlink()
    fetch(org, path, home)
    assert sorted(org.sent) == ["Account", "Lead"]
    assert path.read_bytes() == before


def test_a_partial_fetch_uses_and_keeps_what_is_known(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    change(org, "Lead", text("Name"), text("More__c"))
    fetch(org, path, home, "Account")
    assert org.sent == []
    fetch(org, path, home, "Lead")
    assert org.sent == ["Lead"]
    assert fetch(org, path, home).unchanged == 3


def test_without_a_home_everything_is_read(org: ScriptedOrg, path: Path) -> None:
    fetch(org, path, None)
    assert fetch(org, path, None).unchanged == 0
    assert len(org.sent) == 3


def test_the_file_may_be_deleted(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    cache_file(home).unlink()
    assert not fetch(org, path, home).written
    assert len(org.sent) == 3
    assert fetch(org, path, home).unchanged == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"Lead": 5}', b'{"Lead": ["a"]}', b'{"Lead": [1, 2]}', b"\xff", b"[" * 9999],
)
def test_a_torn_file_means_that_all_is_read(org: ScriptedOrg, path: Path, home: Path, content: bytes) -> None:
    fetch(org, path, home)
    good = cache_file(home).read_bytes()
    cache_file(home).write_bytes(content)
    fetch(org, path, home)
    assert len(org.sent) == 3
    assert cache_file(home).read_bytes() == good


def test_a_failed_fetch_leaves_what_is_known_as_it_was(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    change(org, "Lead", text("Name"), text("More__c"))
    org.describes["Account"] = {"name": "Account"}
    org.modified["Account"] = NEW
    refused(path, lambda: fetch(org, path, home))
    change(org, "Account", text("Name"), text("Tier__c", 40), date=OLD)
    fetch(org, path, home)
    assert org.sent == ["Lead"]


def test_the_known_is_written_after_the_objects(org: ScriptedOrg, path: Path, home: Path) -> None:
    path.parent.mkdir()
    path.mkdir()  # so that it cannot be written
    with pytest.raises(Exception, match=r"object_meta\.json"):
        fetch(org, path, home)
    assert not home.exists()


def test_a_home_that_cannot_be_written_costs_nothing_but_time(
    org: ScriptedOrg, path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.write_text("a file, not a folder")
    assert fetch(org, path, home).written
    assert "The next fetch will read all describes" in caplog.text


def test_another_user_version_or_org_knows_nothing(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    org.sent.clear()
    fetch_from(org.variables | {"SALESFORCE_SESSION_ID": "another"}, path, home=home)
    assert len(org.sent) == 3
    org.sent.clear()
    fetch_from(org.variables | {"SALESFORCE_API_VERSION": "65.0"}, path, home=home)
    assert len(org.sent) == 3
    org.org_id = "00D000000000002AAA"
    fetch(org, path.with_name("other.json"), home)
    assert len(org.sent) == 3
    assert len(list((home / FOLDER).iterdir())) == 4


def test_files_of_old_sessions_are_not_kept_for_ever(org: ScriptedOrg, path: Path, home: Path) -> None:
    for number in range(KEPT_FILES + 3):
        cache = DescribeCache.open(home, Selection(), org_id=org.org_id, api_version="64.0", user=str(number))
        cache.note("Account", OLD, None)
        cache.save()
        time.sleep(0.002)
    assert len(list((home / FOLDER).iterdir())) == KEPT_FILES
    assert DescribeCache.open(
        home, Selection(), org_id=org.org_id, api_version="64.0", user=str(KEPT_FILES + 2)
    ).entries


def test_no_person_and_no_secret_is_in_the_file(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, home)
    entries = json.loads(cache_file(home).read_bytes())["entries"]
    assert {name: date for name, (date, _) in entries.items()} == org.modified
    assert all(len(digest) <= 32 for _, digest in entries.values())


def test_a_304_that_was_not_asked_for_is_an_error(org: ScriptedOrg, path: Path, home: Path) -> None:
    fetch(org, path, None)
    org.subrequests["Lead"] = (304, None)
    assert "Lead: HTTP 304" in refused(path, lambda: fetch(org, path, home)).message


def test_the_sample_org_sends_what_changed_only(path: Path, home: Path) -> None:
    with running(home=home) as sample:
        time.sleep(1.1)  # until its describes are older than an answer
        first = fetch_from(sample.environment, path, home=home)
        second = fetch_from(sample.environment, path, home=home)
        assert (second.unchanged, second.described) == (first.described + len(no_id(first)), first.described)
        requests.post(f"{sample.url}/sample-org/version/2", timeout=10).raise_for_status()
        third = fetch_from(sample.environment, path, home=home)
        assert third.unchanged >= second.unchanged - 5
        by_cache = path.read_bytes()
        fetch_from(sample.environment, path)
        assert path.read_bytes() == by_cache


def no_id(result: FetchResult) -> list[str]:
    return [name for name, reason in result.left_out.items() if reason == "has no Id field"]
