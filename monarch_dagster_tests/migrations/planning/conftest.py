"""A database on which tests of the planner build schemas, each in a transaction that is rolled back."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.planning.support import Workbench


@pytest.fixture(scope="module")
def empty_database(shadows: ShadowServer) -> Iterator[URL]:
    """An empty database for the tests of one module."""
    with shadows.clone(None) as url:
        yield url


@pytest.fixture
def bench(empty_database: URL) -> Iterator[Workbench]:
    """A transaction on the empty database."""
    with connect(empty_database) as connection:
        yield Workbench(connection)
        connection.rollback()
