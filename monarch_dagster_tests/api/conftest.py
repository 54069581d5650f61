"""One server process for all tests that do not end it."""

from collections.abc import Iterator

import pytest

from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.api.support import Api, started
from monarch_dagster_tests.support import new_project


@pytest.fixture(scope="package")
def api(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API of a project of its own, with a token."""
    with new_project(tmp_path_factory.mktemp("api"), server, shadows) as project, started(project) as running:
        yield running
