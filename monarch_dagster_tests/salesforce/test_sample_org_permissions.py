"""What the sample org shows to a user who lost permissions, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.sample_org.org import sample_describes
from monarch_dagster.salesforce.sample_org.permissions import Hidden, visible
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import connect, get


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def org(home: Path) -> Iterator[RunningOrg]:
    with running(home=home) as started:
        yield started


@pytest.fixture
def salesforce(org: RunningOrg) -> Any:
    return connect(org)


def objects(salesforce: Any) -> list[str]:
    return [each["name"] for each in salesforce.describe()["sobjects"]]


def fields(salesforce: Any, name: str) -> list[str]:
    return [each["name"] for each in getattr(salesforce, name).describe()["fields"]]


def modified(org: RunningOrg, salesforce: Any, name: str) -> str:
    return get(org, salesforce, f"sobjects/{name}/describe").headers["Last-Modified"]


def test_a_hidden_object_is_neither_listed_nor_described_until_it_is_shown_again(
    org: RunningOrg, salesforce: Any
) -> None:
    every = objects(salesforce)
    org.hide(Hidden(objects=("case",)))
    assert objects(salesforce) == [name for name in every if name != "Case"]
    assert get(org, salesforce, "sobjects/Case/describe").status_code == 404
    org.hide(Hidden())
    assert objects(salesforce) == every
    assert get(org, salesforce, "sobjects/Case/describe").status_code == 200


def test_hidden_fields_are_left_out_and_id_never_is(org: RunningOrg, salesforce: Any) -> None:
    every = fields(salesforce, "Account")
    org.hide(Hidden(fields=("account.Own*", "*.Industry")))
    assert fields(salesforce, "Account") == [name for name in every if name[:3] != "Own" and name != "Industry"]
    org.hide(Hidden(share_of_fields=1))
    assert fields(salesforce, "Account") == ["Id"]


def test_a_hidden_namespace_takes_its_objects(org: RunningOrg, salesforce: Any) -> None:
    every = objects(salesforce)
    org.hide(Hidden(namespaces=("ACME",)))
    assert objects(salesforce) == [name for name in every if not name.startswith("acme__")] != every


def test_a_hidden_namespace_takes_its_fields_on_any_object() -> None:
    names = ["Id", "Name", "acme__Rate__c", "Rate__c", "other__Rate__c"]
    every = {"Account": {"name": "Account", "fields": [{"name": name} for name in names]}}
    shown = visible(every, Hidden(namespaces=("acme",)))["Account"]["fields"]
    assert [each["name"] for each in shown] == ["Id", "Name", "Rate__c", "other__Rate__c"]


def test_all_objects_can_be_hidden(org: RunningOrg, salesforce: Any) -> None:
    org.hide(Hidden(share_of_objects=1))
    assert objects(salesforce) == []


def test_a_share_is_about_that_share_and_the_same_each_time() -> None:
    every = sample_describes()
    total = sum(len(each["fields"]) for each in every.values())
    shown = visible(every, Hidden(share_of_fields=0.2, seed="a"))
    assert 0.74 < sum(len(each["fields"]) for each in shown.values()) / total < 0.86
    assert visible(every, Hidden(share_of_fields=0.2, seed="a")) == shown
    assert visible(every, Hidden(share_of_fields=0.2, seed="b")) != shown


def test_a_lost_and_a_regained_field_make_their_object_newer_and_no_other(org: RunningOrg, salesforce: Any) -> None:
    other = modified(org, salesforce, "Contact")
    for hidden in (Hidden(fields=("Account.Industry",)), Hidden()):
        before = modified(org, salesforce, "Account")
        org.hide(hidden)
        assert get(org, salesforce, "sobjects/Account/describe", If_Modified_Since=before).status_code == 200
        assert modified(org, salesforce, "Contact") == other


def test_an_object_that_returns_is_newer_than_before(org: RunningOrg, salesforce: Any) -> None:
    before = modified(org, salesforce, "Account")
    org.hide(Hidden(objects=("Account",)))
    assert get(org, salesforce, "sobjects/Account/describe", If_Modified_Since=before).status_code == 404
    org.hide(Hidden())
    assert get(org, salesforce, "sobjects/Account/describe", If_Modified_Since=before).status_code == 200
