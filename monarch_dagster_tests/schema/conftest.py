"""A second server, of the oldest major version that the embedded PostgreSQL comes in."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.postgres.embedded import MEMORY_DIR, SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer


@pytest.fixture(scope="session")
def shadows_16() -> Iterator[ShadowServer]:
    """A server of PostgreSQL 16."""
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="monarch-16-", dir=place, ignore_cleanup_errors=True) as folder:
        cluster = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS, major=16)
        yield ShadowServer(cluster.url("postgres"), owned=True)
        cluster.remove()


@pytest.fixture(params=["18", "16"])
def any_server(request: pytest.FixtureRequest, shadows: ShadowServer) -> ShadowServer:
    """Each of the two servers in turn."""
    if request.param == "18":
        return shadows
    server: ShadowServer = request.getfixturevalue("shadows_16")
    return server
