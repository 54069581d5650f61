"""A project to work in as a Dagster process would: its settings in the environment, its root the working directory."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.support import Project


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, with this process in its root and led to it by the environment alone."""
    environment = project.environment()
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def org(here: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunningOrg]:
    """The sample org over HTTP, with the project's settings leading to it."""
    with running(home=tmp_path / "org") as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened
