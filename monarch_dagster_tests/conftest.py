"""One real server for a test session, and a project of its own for every test that wants one."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.postgres.embedded import MEMORY_DIR, SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.support import DESCRIBES, Project


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedCluster]:
    """An embedded PostgreSQL 18, in memory where the machine allows; targets and shadows are databases on it."""
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    # Not under pytest's own folder: a socket's path must stay short.
    with tempfile.TemporaryDirectory(prefix="monarch-test-", dir=place, ignore_cleanup_errors=True) as folder:
        cluster = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS)
        yield cluster
        cluster.remove()


@pytest.fixture(scope="session")
def shadows(server: EmbeddedCluster) -> ShadowServer:
    """The server for shadow databases."""
    return ShadowServer(server.url("postgres"), owned=True)


@pytest.fixture
def project(server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path) -> Iterator[Project]:
    """A project with a small core model, no metadata and an empty target."""
    name = f"target_{secrets.token_hex(6)}"
    yield Project(tmp_path, server.url(name), shadows, server.url("dagster"))
    with connect(server.url("postgres"), autocommit=True) as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def real_describes() -> Path:
    """The folder of real Salesforce metadata; it is not part of the project."""
    if not DESCRIBES.is_dir():
        pytest.skip(f"real describes are not at {DESCRIBES}")
    return DESCRIBES
