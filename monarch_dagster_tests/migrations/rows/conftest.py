"""An empty database of its own for every test of rows."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer


@pytest.fixture
def database(shadows: ShadowServer) -> Iterator[Connection]:
    """A connection to an empty throw-away database."""
    with shadows.clone(None) as url, connect(url) as connection:
        yield connection
