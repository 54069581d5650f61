"""Plain Alembic for the tests that compare with it, and a project with a chain for those that break it."""

import shutil
from pathlib import Path

import pytest

from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.broken import MORE, NAME
from monarch_dagster_tests.migrations.support import PYPROJECT, Alembic
from monarch_dagster_tests.support import Project, account


@pytest.fixture
def alembic(project: Project) -> Alembic:
    """Plain `alembic` in the project, set up as the README has it."""
    (project.root / "pyproject.toml").write_text(
        PYPROJECT.format(script_location=SCRIPT_LOCATION, versions="schema/versions")
    )
    return Alembic(project)


@pytest.fixture(scope="session")
def generated(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three generated revisions: a core table, an object, and a column of the former."""
    project = Project(tmp_path_factory.mktemp("grown"), server.url("unused"), shadows, server.url("dagster"))
    project.generate(message="one")
    project.write_meta(account(Name=NAME))
    project.generate(message="two")
    project.write_models(MORE)
    project.generate(message="three")
    return project.root


@pytest.fixture
def grown(project: Project, generated: Path) -> Project:
    """A project with the three revisions, as if they were generated in it."""
    shutil.copytree(generated, project.root, dirs_exist_ok=True)
    assert len(project.chain().revisions) == 3
    return project
