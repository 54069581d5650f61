"""What the sample org answers over real HTTP, through unmodified simple-salesforce."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce.exceptions import (
    SalesforceGeneralError,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

from monarch_dagster.salesforce.sample_org.org import sample_describes
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import (
    INSTANCE,
    composite,
    connect,
    describe_calls,
    errors,
    get,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def org(home: Path) -> Iterator[RunningOrg]:
    with running(home=home) as started:
        yield started


@pytest.fixture
def salesforce(org: RunningOrg) -> Any:
    return connect(org)


@pytest.fixture
def fresh_org(home: Path) -> Iterator[RunningOrg]:
    """For tests that count calls or switch versions."""
    with running(home=home) as started:
        yield started


def test_any_api_version_is_answered_and_the_versions_need_no_token(org: RunningOrg) -> None:
    listed = requests.get(f"{org.url}/services/data/", timeout=10).json()
    assert {"label": "Winter '26", "url": "/services/data/v65.0", "version": "65.0"} in listed
    for version in ("20.0", "64.0", "99.0"):
        salesforce = connect(org, session_id=org.credentials.session_id, instance_url=INSTANCE, version=version)
        urls = salesforce.describe()["sobjects"][0]["urls"]
        assert urls["describe"].startswith(f"/services/data/v{version}/sobjects/")


def test_describe_global_lists_every_object_without_its_fields(salesforce: Any) -> None:
    answered = salesforce.describe()
    assert (answered["encoding"], answered["maxBatchSize"]) == ("UTF-8", 200)
    assert [each["name"] for each in answered["sobjects"]] == sorted(sample_describes())
    account = next(each for each in answered["sobjects"] if each["name"] == "Account")
    assert account["keyPrefix"] == "001"
    assert "fields" not in account


def test_every_describe_arrives_as_declared(salesforce: Any) -> None:
    declared = sample_describes()
    names = list(declared)
    received = [each["body"] for each in composite(salesforce, describe_calls(*names))]
    assert received == [declared[name] for name in names]


def test_an_unknown_object_is_not_found(salesforce: Any) -> None:
    with pytest.raises(SalesforceResourceNotFound) as raised:
        salesforce.Nothing__c.describe()
    assert errors(raised) == [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]


def test_trailing_slashes_do_not_matter(org: RunningOrg, salesforce: Any) -> None:
    for path in ("sobjects", "sobjects/Account/describe", "limits"):
        assert get(org, salesforce, path).status_code == get(org, salesforce, f"{path}/").status_code == 200


def test_a_describe_cannot_be_written(org: RunningOrg, salesforce: Any) -> None:
    with pytest.raises(SalesforceGeneralError) as raised:
        salesforce.restful("sobjects/Account/describe", method="DELETE")
    assert raised.value.status == 405


def test_an_unchanged_describe_is_304(org: RunningOrg, salesforce: Any) -> None:
    first = get(org, salesforce, "sobjects/Account/describe")
    modified = first.headers["Last-Modified"]
    again = get(org, salesforce, "sobjects/Account/describe", If_Modified_Since=modified)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Last-Modified"] == modified


def test_a_describe_changed_since_is_sent(org: RunningOrg, salesforce: Any) -> None:
    for since in (formatdate(0, usegmt=True), "the day before yesterday"):
        assert get(org, salesforce, "sobjects/Account/describe", If_Modified_Since=since).status_code == 200


def test_each_call_counts_one_and_a_composite_counts_one(fresh_org: RunningOrg) -> None:
    salesforce = connect(fresh_org)
    salesforce.Account.describe()
    salesforce.describe()
    assert salesforce.api_usage["api-usage"].used == 2
    composite(salesforce, describe_calls("Account", "Contact", "Nothing__c"))
    assert salesforce.api_usage["api-usage"].used == 3
    limits = salesforce.limits()["DailyApiRequests"]
    assert limits["Max"] - limits["Remaining"] == 4
    assert salesforce.api_usage["api-usage"] == (4, limits["Max"])


def test_a_refused_call_does_not_count(fresh_org: RunningOrg) -> None:
    salesforce = connect(fresh_org)
    requests.get(f"{fresh_org.url}/services/data/v59.0/sobjects", timeout=10)
    salesforce.describe()
    assert salesforce.api_usage["api-usage"].used == 1


def test_the_organization_id_can_be_queried(org: RunningOrg, salesforce: Any) -> None:
    answered = salesforce.query_all("SELECT Id FROM Organization LIMIT 1")
    assert answered["totalSize"] == 1
    assert answered["records"][0]["Id"] == org.organization_id


def test_any_other_query_is_malformed(salesforce: Any) -> None:
    with pytest.raises(SalesforceMalformedRequest) as raised:
        salesforce.query("SELECT Id FROM Account")
    assert errors(raised)[0]["errorCode"] == "MALFORMED_QUERY"


def switch(org: RunningOrg, version: int) -> requests.Response:
    return requests.post(f"{org.url}/sample-org/version/{version}", timeout=10)


def test_switching_to_version_2_changes_what_is_served_at_once(fresh_org: RunningOrg) -> None:
    salesforce = connect(fresh_org)
    assert switch(fresh_org, 2).json() == {"version": 2}
    names = [each["name"] for each in salesforce.describe()["sobjects"]]
    assert "Depot_Visit__c" in names
    fields = {each["name"]: each for each in salesforce.Account.describe()["fields"]}
    assert "Loyalty_Tier__c" in fields


def test_switching_makes_changed_describes_newer_in_both_directions(fresh_org: RunningOrg) -> None:
    salesforce = connect(fresh_org)

    def modified(name: str) -> str:
        return get(fresh_org, salesforce, f"sobjects/{name}/describe").headers["Last-Modified"]

    unchanged = modified("Case")
    for version in (2, 1, 2):
        before = modified("Account")
        switch(fresh_org, version)
        assert get(fresh_org, salesforce, "sobjects/Account/describe", If_Modified_Since=before).status_code == 200
        assert modified("Case") == unchanged


def test_an_unknown_version_is_not_found_and_changes_nothing(org: RunningOrg, salesforce: Any) -> None:
    assert switch(org, 3).status_code == 404
    assert salesforce.describe()["sobjects"]


def test_a_restart_with_the_older_version_does_not_pass_for_unchanged(tmp_path: Path) -> None:
    with running(home=tmp_path, version=2) as org:
        newer = get(org, connect(org), "sobjects/Account/describe").headers["Last-Modified"]
    with running(home=tmp_path, version=1) as org:
        answered = get(org, connect(org), "sobjects/Account/describe", If_Modified_Since=newer)
        same = get(org, connect(org), "sobjects/Case/describe", If_Modified_Since=newer)
    assert (answered.status_code, same.status_code) == (200, 304)
