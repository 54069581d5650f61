"""Plain Alembic for the tests that compare with it, and a project with a chain for those that break it."""

import shutil
from pathlib import Path

import pytest

from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.broken import MORE, NAME
from monarch_dagster_tests.migrations.merging import COLUMNS, A, B, Branch, C, Forks, grow, merge, note
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


@pytest.fixture(scope="session")
def grown_forks(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Forks:
    """The branches a, b, c; a then b, a then c; and b with c in one."""
    project = Project(tmp_path_factory.mktemp("forks"), server.url("unused"), shadows, server.url("dagster"))
    project.write_models(note())
    project.generate()
    branches = {name: grow(project, note(text), message=name) for name, text in COLUMNS.items()}
    merge(project, note(A), branches["a"])
    for name in "bc":
        later = grow(project, note(A, COLUMNS[name]), message=name)
        branches[f"a{name}"] = Branch(branches["a"].ids + later.ids, branches["a"].files | later.files)
    for path in branches["a"].files:
        path.unlink()
    branches["b+c"] = grow(project, note(B, C), message="two columns")
    return Forks(project, branches)


@pytest.fixture
def forks(project: Project, grown_forks: Forks) -> Forks:
    """The branches, as if they had grown from this project."""
    shutil.copytree(grown_forks.project.root, project.root, dirs_exist_ok=True)
    branches = {
        name: Branch(item.ids, {project.versions / path.name: content for path, content in item.files.items()})
        for name, item in grown_forks.branches.items()
    }
    return Forks(project, branches)
