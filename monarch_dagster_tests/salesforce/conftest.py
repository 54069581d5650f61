"""A small org, and a place for its object_meta.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from monarch_dagster_tests.salesforce.support import ScriptedOrg, described, scripted, text

# How long an example takes depends on what else the machine does.
settings.register_profile("monarch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("monarch")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schema" / "object_meta.json"


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    objects = [described("Account", text("Name"), text("Tier__c", 40)), described("Lead", text("Name"))]
    with scripted({item["name"]: item for item in objects}) as served:
        yield served
