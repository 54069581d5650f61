"""Real metadata, from describe to applied schema and back."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.describes import project as projected
from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster.salesforce.namespaces import count_namespaces
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.salesforce.sample_org.describes import load_describes
from monarch_dagster.salesforce.sample_org.running import running
from monarch_dagster.schema.naming import sql_name
from monarch_dagster_tests.salesforce.support import files
from monarch_dagster_tests.support import Project

# Objects of every kind: the widest, those in reference cycles, those whose names are words of SQL.
SAMPLE = (
    "Account",
    "Asset",
    "Case",
    "Contact",
    "Contract",
    "Event",
    "Group",
    "Lead",
    "Opportunity",
    "Order",
    "Task",
    "User",
)
SAMPLE_SIZE = 40


@pytest.fixture(scope="module")
def mid_org(real_describes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mid-org")
    with tarfile.open(real_describes / "mid-org.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def sampled(mid_org: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled")
    found = sorted(mid_org.glob("*.json"))
    named = [path for path in found if path.name.split(".")[0] in SAMPLE]
    others = [path for path in found if path not in named]
    for path in [*named, *others[:: len(others) // (SAMPLE_SIZE - len(named))]]:
        shutil.copy(path, folder)
    return folder


def test_each_package_of_a_real_org_is_told_apart(mid_org: Path) -> None:
    bodies = [json.loads(path.read_text()) for path in mid_org.glob("*.json")]
    objects = {body["name"]: projected(body, body["name"]) for body in bodies}
    meta = ObjectMeta(objects={name: item for name, item in objects.items() if item is not None})
    assert [(item.namespace, item.objects, item.fields) for item in count_namespaces(meta)] == [
        ("CHANNEL_ORDERS", 26, 296),
        ("H2S", 9, 92),
        ("dsfs", 14, 424),
        ("grax", 14, 204),
        ("sfLma", 8, 66),
    ]


def fetch(describes: Path, project: Project) -> FetchResult:
    """Fetch a folder of describes over real HTTP."""
    with running(describes, home=project.root / "home") as org:
        return fetch_from(org.environment, project.sources.object_meta_path)


def expected_columns(described: dict[str, Any]) -> set[str]:
    """Return the columns that a describe's table has: one a field, but for compounds whose components are there."""
    components = {field.get("compoundFieldName") for field in described["fields"]}
    return {
        sql_name(field["name"])
        for field in described["fields"]
        if field.get("type") not in ("address", "location") or field["name"] not in components
    }


def check_columns(describes: Path, result: FetchResult, project: Project) -> None:
    """Check that each object that was taken has a table with the columns that its describe asks for."""
    rows = project.execute(
        "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns "
        "WHERE table_schema = 'salesforce' GROUP BY table_name"
    )
    wanted = {
        sql_name(name): expected_columns(described)
        for name, described in load_describes(describes).items()
        if name not in result.left_out
    }
    assert {table: set(columns) for table, columns in rows} == wanted


def test_every_recorded_describe_maps_generates_applies_and_converges(
    real_describes: Path, project: Project, tmp_path: Path
) -> None:
    # Several recordings of one object become objects of their own, so that one org holds them all.
    seen: Counter[str] = Counter()
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    for path in sorted((real_describes / "fixtures").glob("*/[!_]*.json")):
        described = json.loads(path.read_text("utf-8-sig"))
        described = described.get("result", described)
        name = described.get("name", path.name.split(".")[0])
        seen[name] += 1
        described["name"] = name if seen[name] == 1 else f"{name}_{seen[name]}"
        (recorded / f"{described['name']}.json").write_text(json.dumps(described))
    result = fetch(recorded, project)
    assert (seen.total(), result.described) == (42, 41)
    assert set(result.left_out.values()) == {"has no Id field"}
    proposal = project.generate()
    assert all("unknown Salesforce type" in warning for warning in proposal.warnings)
    project.apply()
    check_columns(recorded, result, project)
    assert project.generate().revisions == ()


@pytest.mark.parametrize("org", ["sampled", pytest.param("mid_org", marks=pytest.mark.soak)])
def test_an_org_is_fetched_generated_applied_reverted_and_applied_again(
    org: str, project: Project, request: pytest.FixtureRequest
) -> None:
    describes: Path = request.getfixturevalue(org)
    schema = project.sources.schema_dir

    result = fetch(describes, project)
    before = files(schema)
    assert not fetch(describes, project).written
    assert files(schema) == before

    proposal = project.generate()
    assert project.apply().after == proposal.head
    check_columns(describes, result, project)
    assert project.generate().revisions == ()

    first = project.dump()
    project.revert("base")
    assert project.facts().tables() == set()
    assert "salesforce" not in project.dump()
    project.apply()
    assert project.dump() == first
