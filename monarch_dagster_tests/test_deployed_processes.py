"""The compose file's processes, started by hand as it says, against a PostgreSQL server over TCP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import URL

from monarch_dagster.postgres.embedded import shadow_cluster
from monarch_dagster.postgres.engines import DRIVER, connect
from monarch_dagster_tests.deploying import DEPLOY, ROOT, Service, read_services
from monarch_dagster_tests.migrations.support import write_revision
from monarch_dagster_tests.postgres.debian import debian_server, free_port
from monarch_dagster_tests.support import Project

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

PASSWORD = "of-compose-1"
SECONDS = 120
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LAUNCH = """mutation ($job: String!, $config: RunConfigData!) { launchRun(executionParams: {
  selector: {repositoryLocationName: "monarch", repositoryName: "__repository__", jobName: $job}, runConfigData: $config
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = (
    "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status stats { ... on RunStatsSnapshot { id } } } } }"
)
TICKS = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "monarch", repositoryName: "__repository__", sensorName: "schema_files"
}) { ... on Sensor { sensorState { status ticks(limit: 5) { status error { message } } } } } }"""
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"


@dataclass
class Deployment:
    """The services of the compose file as processes of this machine; hosts, ports and folders are this machine's."""

    project: Project
    server: URL
    folder: Path
    services: dict[str, Service] = field(init=False)
    ports: dict[str, int] = field(init=False)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        variables = {"POSTGRES_PASSWORD": PASSWORD, "MONARCH_SCHEMA_DIR": "schema"}
        self.services = read_services(variables | {"MONARCH_CORE_MODELS": "client_models"})
        self.ports = {"3000": free_port(), "4000": free_port()}
        self.folder.mkdir()
        (self.project.root / "deploy").mkdir()
        text = (DEPLOY / "workspace.yaml").read_text().replace("host: code", "host: 127.0.0.1")
        (self.project.root / "deploy" / "workspace.yaml").write_text(text.replace("4000", str(self.ports["4000"])))

    def start(self, name: str) -> None:
        """Start what a service waits for, then its process, and wait until its health check passes."""
        service = self.services[name]
        for other in service.after:
            if other not in self.running and other != "postgres":
                self.start(other)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._here(service.command),
                cwd=self.project.root,
                env=self._environment(service),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait(lambda: self.healthy(name), f"{name} is not healthy", self)

    def healthy(self, name: str) -> bool:
        """Run the service's health check."""
        assert self.running[name].poll() is None, self.log(name)
        service = self.services[name]
        check = self._here(service.health)
        environment = self._environment(service)
        return (
            subprocess.run(check, cwd=self.project.root, env=environment, capture_output=True, check=False).returncode
            == 0
        )

    def kill(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a service's process, as `docker kill` does; return its exit code."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(60)

    def log(self, name: str) -> str:
        """What a service has printed."""
        return (self.folder / f"{name}.log").read_text()

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the webserver by GraphQL."""
        url = f"http://127.0.0.1:{self.ports['3000']}/graphql"
        answer = requests.post(url, json={"query": query, "variables": variables}, timeout=30).json()
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def launch(self, job: str, config: Mapping[str, Any]) -> str:
        """Launch a job as the UI does; return the run's id."""
        found = self.ask(LAUNCH, job=job, config=config)["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def status(self, run: str) -> str:
        """The status of a run."""
        return str(self.ask(STATUS, id=run)["runOrError"]["status"])

    def end(self, run: str) -> str:
        """Wait until a run has ended; return its status."""
        wait(lambda: self.status(run) in ENDED, f"the run is {run}", self)
        return self.status(run)

    def version(self) -> list[str]:
        """What the target's version says."""
        with connect(self.target) as connection:
            rows = connection.exec_driver_sql("SELECT version_num FROM alembic.alembic_version").scalars()
            return [str(row) for row in rows]

    def sleeps(self) -> bool:
        """Whether the target is at work on the revision that takes its time."""
        with connect(self.target) as connection:
            asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            return bool(connection.exec_driver_sql(asleep).all())

    @property
    def target(self) -> URL:
        """The target that the compose file names."""
        return self.server.set(username="monarch", password=PASSWORD, database="warehouse")

    def stop(self) -> None:
        """Kill all that runs, runs included, and the embedded server for shadows."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shadow_cluster(self.folder).remove()

    def _environment(self, service: Service) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {name: self._there(value) for name, value in service.environment.items()}
        return inherited | {"PATH": path, "PYTHONPATH": str(ROOT)} | given

    def _here(self, command: tuple[str, ...]) -> list[str]:
        return [self._there(self.ports.get(word, word)) for word in command]

    def _there(self, word: object) -> str:
        text = str(word)
        for theirs, ours in {
            "@postgres/": f"@127.0.0.1:{self.server.port}/",
            "127.0.0.1:3000": f"127.0.0.1:{self.ports['3000']}",
            "0.0.0.0": "127.0.0.1",
            "/opt/monarch": str(self.project.root),
            "/var/lib/monarch": str(self.folder),
        }.items():
            text = text.replace(theirs, ours)
        return text


def wait(done: Callable[[], bool], told: str, deployment: Deployment) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        logs = "\n".join(deployment.log(name) for name in deployment.running)
        assert time.monotonic() < deadline, f"{told}\n{logs}"
        time.sleep(0.5)


@contextmanager
def databases() -> Iterator[URL]:
    """A server on which is what the image of PostgreSQL makes of the compose file's variables and of databases.sql."""
    environment = read_services({"POSTGRES_PASSWORD": PASSWORD})["postgres"].environment
    with debian_server() as url:
        assert (environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD"]) == ("monarch", PASSWORD)
        with connect(url, autocommit=True) as connection:
            connection.exec_driver_sql(f"CREATE ROLE monarch SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
            connection.exec_driver_sql(f"CREATE DATABASE {environment['POSTGRES_DB']}")
            connection.exec_driver_sql((DEPLOY / "databases.sql").read_text())
        yield url


@pytest.fixture
def deployment(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with ExitStack() as stack:
        server = stack.enter_context(databases())
        made = Deployment(project, server.set(drivername=DRIVER), tmp_path_factory.mktemp("deployed") / "home")
        stack.callback(made.stop)
        yield made


def test_what_compose_starts_applies_revisions_whatever_is_killed_meanwhile(deployment: Deployment) -> None:
    head = deployment.project.generate().head
    deployment.start("daemon")  # and what it waits for
    assert list(deployment.running) == ["code", "webserver", "daemon"]

    run = deployment.launch("setup_provider_schema", {})
    assert deployment.end(run) == "SUCCESS", deployment.log("code")
    assert deployment.version() == [head]
    # What the run printed is where the webserver reads it.
    assert list(deployment.folder.glob("dagster/storage/**/*.out"))

    def ticked() -> bool:
        state = deployment.ask(TICKS)["sensorOrError"]["sensorState"]
        assert state["status"] == "RUNNING"
        assert not [tick["error"] for tick in state["ticks"] if tick["status"] == "FAILURE"]
        return any(tick["status"] in ("SUCCESS", "SKIPPED") for tick in state["ticks"])

    wait(ticked, "no tick", deployment)

    # Without the daemon a run waits in the queue; the one that comes launches it.
    deployment.kill("daemon", signal.SIGKILL)
    run = deployment.launch("run_migrations", {})
    time.sleep(3)
    assert deployment.status(run) == "QUEUED"
    deployment.start("daemon")
    assert deployment.end(run) == "SUCCESS", deployment.log("code")

    # Without the code location nothing is lost but the run that was going on; it is found again by its address.
    deployment.kill("code", signal.SIGKILL)
    deployment.start("code")
    run = deployment.launch("run_migrations", {})
    assert deployment.end(run) == "SUCCESS", deployment.log("code")
    deployment.kill("webserver", signal.SIGKILL)
    deployment.start("webserver")
    assert deployment.status(run) == "SUCCESS"

    # Told to stop, the code location waits for the run that goes on.
    write_revision(deployment.project.versions, "slow", head, up='op.execute("SELECT pg_sleep(10)")')
    run = deployment.launch("run_migrations", {"allow_unproved": ["slow"]})
    wait(deployment.sleeps, "the revision does not run", deployment)
    assert deployment.kill("code", signal.SIGTERM) == 0
    assert deployment.status(run) == "SUCCESS", deployment.log("code")
    assert deployment.version() == ["slow"]

    for name in ("daemon", "webserver"):
        deployment.kill(name, signal.SIGTERM)
    for name in ("daemon", "webserver", "code"):
        assert "Traceback" not in deployment.log(name)
        assert "DeprecationWarning" not in deployment.log(name)
