"""Plain Alembic for the tests that compare with it, and a project with a chain for those that break it."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.broken import MORE, NAME
from monarch_dagster_tests.migrations.cloning import INSERT
from monarch_dagster_tests.migrations.merging import COLUMNS, A, B, Branch, C, Forks, grow, merge, note
from monarch_dagster_tests.migrations.registries import OBJECTS, build, keep
from monarch_dagster_tests.migrations.standing import MORE as MEMO_TOO
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


@pytest.fixture(scope="session")
def pair(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two generated revisions and their proofs."""
    project = Project(tmp_path_factory.mktemp("pair"), server.url("unused"), shadows, server.url("dagster"))
    project.generate(message="one")
    project.write_models(MEMO_TOO)
    project.generate(message="two")
    return project.root


@pytest.fixture
def applied(project: Project, pair: Path) -> tuple[str, str]:
    """Two generated revisions, both applied; their ids."""
    shutil.copytree(pair, project.root, dirs_exist_ok=True)
    first, second = project.chain().revisions
    project.apply()
    return first.revision, second.revision


@pytest.fixture(scope="session")
def first_revision(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one generated revision and its proof."""
    project = Project(tmp_path_factory.mktemp("first"), server.url("unused"), shadows, server.url("dagster"))
    project.generate(message="first")
    return project.root


@pytest.fixture
def clones(
    server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path, first_revision: Path
) -> Iterator[tuple[Project, Project]]:
    """Two clones of one project, ours and theirs, each with a target that is at the first revision and holds a row."""
    pair, names = [], []
    for name in ("ours", "theirs"):
        shutil.copytree(first_revision, tmp_path / name)
        names.append(f"target_{secrets.token_hex(6)}")
        project = Project(tmp_path / name, server.url(names[-1]), shadows, server.url("dagster"))
        project.apply()
        project.execute(INSERT)
        pair.append(project)
    yield pair[0], pair[1]
    with connect(server.url("postgres"), autocommit=True) as connection:
        for name in names:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def registered(project: Project) -> Project:
    """A project whose target has an object with three fields, and a registry that says so."""
    build(project, OBJECTS)
    done = keep(project)
    assert (done.objects, done.fields, done.changed, done.removed) == (1, 3, 4, 0)
    assert not done.skipped + done.failed
    return project
