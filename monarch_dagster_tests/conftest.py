"""One real server for a test session, and a project of its own for every test that wants one."""

import hashlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import URL

from monarch_dagster.memo import Memo
from monarch_dagster.postgres.embedded import MEMORY_DIR, SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema import core_models, desired
from monarch_dagster_tests.postgres.debian import debian_server
from monarch_dagster_tests.support import DESCRIBES, Project, new_project

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start and end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What a process that imported models handed over, by the content of all that it could import.
IMPORTED: dict[tuple[str, bytes], bytes] = {}


@pytest.fixture(autouse=True)
def _imported_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Import the same models once: a third of a second each time, in hundreds of tests about something else."""
    if "core_models" in request.path.name:
        yield
        return
    importing = core_models.importing

    @contextmanager
    def imported_once(module: str, root: Path) -> Iterator[Callable[[], bytes]]:
        digest = hashlib.sha256()
        files = [path for path in root.rglob("*.py") if path.parent.name != "versions"]
        for path in sorted({*files, *core_models.source_files(module, root)}):
            digest.update(f"{path.relative_to(root) if path.is_relative_to(root) else path}\0".encode())
            digest.update(path.read_bytes())
        key = (module, digest.digest())
        if key not in IMPORTED:
            with importing(module, root) as imported:
                IMPORTED[key] = imported()
        yield partial(IMPORTED.__getitem__, key)

    # Not the test's own monkeypatch: what a test changes is to be undone before its other fixtures are.
    with pytest.MonkeyPatch.context() as patch:
        for module in (core_models, desired):
            patch.setattr(module, "importing", imported_once)
        yield


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
def shadows(server: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> ShadowServer:
    """The server for shadow databases, with one memo for all tests: each content is another key."""
    return ShadowServer(server.url("postgres"), owned=True, memo=Memo(tmp_path_factory.mktemp("memo")))


@pytest.fixture
def project(server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path) -> Iterator[Project]:
    """A project with a small core model, no metadata and an empty target."""
    with new_project(tmp_path, server, shadows) as made:
        yield made


@pytest.fixture(scope="session")
def debian() -> Iterator[URL]:
    """The URL of a PostgreSQL of Debian's, reached over TCP with a password: another major version than `server`."""
    with debian_server() as url:
        yield url


@pytest.fixture(scope="session")
def real_describes() -> Path:
    """The folder of real Salesforce metadata; it is not part of the project."""
    if not DESCRIBES.is_dir():
        pytest.skip(f"real describes are not at {DESCRIBES}")
    return DESCRIBES
