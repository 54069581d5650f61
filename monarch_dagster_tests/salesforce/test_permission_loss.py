"""A Salesforce user who loses permissions: over real HTTP, with rows in the tables. Nothing is dropped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster.salesforce.guards import Guards
from monarch_dagster.salesforce.sample_org.permissions import Hidden
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.history import History
from monarch_dagster_tests.salesforce.support import read, refused, reports
from monarch_dagster_tests.support import Project

ANY = Guards(max_missing_percent=100)


@pytest.fixture
def org(
    project: Project, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningOrg]:
    """The shipped org, or a whole real one, fetched and applied; two rows are in each table."""
    describes = None
    if request.param == "real":
        describes = History(request.getfixturevalue("real_describes"), tmp_path_factory.mktemp("org")).served
    with running(describes, home=tmp_path_factory.mktemp("home")) as served:
        fetch(served, project)
        project.generate()
        project.apply()
        for table in project.facts().tables():
            if table.startswith("salesforce."):
                project.execute(f"INSERT INTO {table} (id) VALUES ('a'), ('b')")
        yield served


def fetch(org: RunningOrg, project: Project, guards: Guards = Guards()) -> FetchResult:  # noqa: B008 - frozen
    return fetch_from(org.environment, project.sources.object_meta_path, guards=guards)


def rows(project: Project) -> int:
    tables = sorted(table for table in project.facts().tables() if table.startswith("salesforce."))
    counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return int(project.execute(f"SELECT {counts}")[0][0])


@pytest.mark.parametrize("org", ["shipped", pytest.param("real", marks=pytest.mark.soak)], indirect=True)
def test_nothing_is_dropped_the_report_names_what_is_gone_and_it_comes_back(org: RunningOrg, project: Project) -> None:
    path = project.sources.object_meta_path
    before, facts, stored = path.read_bytes(), project.facts(), rows(project)
    package = "acme" if "acme__Shipment__c" in read(path).objects else "dsfs"
    losses = {
        "a fifth": Hidden(share_of_fields=0.2),
        "a package": Hidden(namespaces=(package,)),
        "every field": Hidden(fields=("*",)),
    }
    for what, hidden in losses.items():
        org.hide(hidden)
        error = refused(path, lambda: fetch(org, project))
        if what == "a package":
            assert f"namespace {package}: " in error.message
            assert ", everything" in error.message
        else:
            assert "Account (" in error.message
        assert "Most likely the Salesforce user lost permissions. Nothing was written." in error.message
        assert "--max-missing 100" in error.remedy
        lost = fetch(org, project, ANY)
        assert (package in lost.namespaces) == (what == "a package")
        assert set(reports(lost.merge)) == {"missing"}
        assert list(read(path).missing())
        assert project.generate().revisions == ()
        assert (project.facts(), rows(project)) == (facts, stored)
        org.hide(Hidden())
        back = fetch(org, project)
        assert reports(back.merge) == {"returned": reports(lost.merge)["missing"]}
        assert path.read_bytes() == before
    org.hide(Hidden(objects=("*",)))
    assert "shows no object" in refused(path, lambda: fetch(org, project, ANY)).message
    org.hide(Hidden(objects=("[!G]*",)))  # the groups were all that was ever shown
    assert "shows" in refused(path, lambda: fetch(org, project)).message
