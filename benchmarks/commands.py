"""Whole seconds of what a user waits for on a large org: the commands, and runs launched in the UI.

Each round is a project of its own in a temporary folder, on embedded servers of its own: a first installation, commands
with nothing to do, a field added, and the same over the GraphQL of `monarch dev`. Beside it stands what Dagster alone
takes: its import, and the run of an empty job in the same UI. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.processes import embedded_servers, ending, started
from benchmarks.synthetic import synthetic_org, with_field_added
from monarch_dagster.salesforce.object_meta import FILE_NAME, ObjectMeta, write_object_meta

ROOT = Path(__file__).parents[1]
SECONDS = 600
# Of Dagster alone, by what they are measured beside.
BESIDE = {
    "load of the code location": "import of Dagster alone",
    "run in the UI, nothing to do": "run in the UI, an empty job",
    "run in the UI, one field added": "run in the UI, an empty job",
}
EMPTY_JOB = """import dagster as dg


@dg.op
def nothing() -> None: ...


@dg.job(executor_def=dg.in_process_executor)
def empty() -> None:
    nothing()


defs = dg.Definitions(jobs=[empty])
"""
EMPTY_LOCATION = """  - python_file:
      relative_path: empty.py
      location_name: empty
"""
READY = """{
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
}"""
SENSOR = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "monarch", repositoryName: "__repository__", sensorName: "schema_files"
}) { ... on Sensor { sensorState { id } } } }"""
STOP_SENSOR = "mutation ($id: String!) { stopSensor(id: $id) { ... on PythonError { message } } }"
LAUNCH = """mutation ($location: String!, $job: String!, $config: RunConfigData!) { launchRun(executionParams: {
  selector: {repositoryLocationName: $location, repositoryName: "__repository__", jobName: $job}, runConfigData: $config
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
RUNNING = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "MANAGED")


@dataclass
class Times:
    """What was measured: the seconds of each time, by the name of the work."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long it takes meanwhile."""
        begun = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - begun)

    def median(self, name: str) -> float:
        """Return the median of the times."""
        return statistics.median(self.seconds[name])


@dataclass(frozen=True)
class Project:
    """A project in `root` with the shipped core models and everything else at its default, and an empty job beside."""

    root: Path

    def make(self) -> None:
        """Make its folder and files."""
        self.root.mkdir()
        shutil.copy(ROOT / "dagster.yaml", self.root)
        (self.root / "workspace.yaml").write_text((ROOT / "workspace.yaml").read_text() + EMPTY_LOCATION)
        (self.root / "empty.py").write_text(EMPTY_JOB)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes: this checkout's code, and no setting."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MONARCH_", "SALESFORCE_", "DAGSTER_"))}
        return inherited | {"PYTHONPATH": str(ROOT)}

    @property
    def schema_dir(self) -> Path:
        """The folder of its schema files."""
        return self.root / "src" / "custom" / "schema"

    @property
    def log(self) -> Path:
        """What its last process printed and said."""
        return self.root / "process.log"

    def revisions(self) -> int:
        """Return how many revision files there are."""
        return len(list((self.schema_dir / "versions").glob("*.py")))

    def write(self, meta: ObjectMeta) -> None:
        """Write object_meta.json, as by hand."""
        write_object_meta(self.schema_dir / FILE_NAME, meta)

    @contextmanager
    def python(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start Python in its folder and environment."""
        with (
            self.log.open("w") as log,
            started(*arguments, folder=self.root, environment=self.environment, log=log) as process,
        ):
            yield process

    def run(self, *arguments: str) -> None:
        """Run Python to its end. Raises `RuntimeError` with what it said where it fails."""
        with self.python(*arguments) as process:
            code = process.wait()
        if code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {code}:\n{self.log.read_text()}")


@dataclass(frozen=True)
class Ui:
    """The GraphQL of the project's `monarch dev`."""

    port: int

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the answer's data. Raises `RuntimeError` where it is errors."""
        body = {"query": query, "variables": variables}
        answer = requests.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=SECONDS).json()
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        found: dict[str, Any] = answer["data"]
        return found

    def ready(self) -> bool:
        """Say whether it answers, has loaded all code locations, and its daemons are at work."""
        try:
            found = self.ask(READY)
        except requests.ConnectionError:
            return False
        entries = found["workspaceOrError"].get("locationEntries", [])
        daemons = found["instance"]["daemonHealth"]["allDaemonStatuses"]
        loaded = [entry["locationOrLoadError"] for entry in entries]
        return all(location and location["__typename"] == "RepositoryLocation" for location in loaded) and all(
            daemon["healthy"] for daemon in daemons if daemon["required"]
        )

    def stop_sensor(self) -> None:
        """Stop the sensor that proposes a migration by itself, which would come between."""
        self.ask(STOP_SENSOR, id=self.ask(SENSOR)["sensorOrError"]["sensorState"]["id"])

    def run(self, location: str, job: str, config: Mapping[str, Any]) -> None:
        """Launch a job and wait until it has ended. Raises `RuntimeError` where it does not succeed."""
        launched = self.ask(LAUNCH, location=location, job=job, config=config)["launchRun"]
        if "run" not in launched:
            raise RuntimeError(f"{job} was not launched: {launched}")
        run_id = launched["run"]["runId"]
        while (status := self.ask(STATUS, id=run_id)["runOrError"]["status"]) in RUNNING:
            time.sleep(0.1)
        if status != "SUCCESS":
            raise RuntimeError(f"The run of {job} ended with {status}.")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.commands", description=__doc__)
    parser.add_argument("--objects", type=int, default=1500)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    org, times = synthetic_org(arguments.objects, arguments.fields), Times()
    with tempfile.TemporaryDirectory(prefix="monarch-bench-") as folder:
        for number in range(arguments.repeat):
            project = Project(Path(folder) / f"project_{number}")
            project.make()
            _measure(project, org, times)
    if arguments.json:
        print(json.dumps({"seconds": times.seconds}))  # noqa: T201 - the result
    else:
        _print(arguments, times)


def _measure(project: Project, org: ObjectMeta, times: Times) -> None:
    """Do one round on a new project."""
    _measure_imports(project, times)
    with ExitStack() as stack:
        with times.timed("first start of the embedded servers"):
            stack.enter_context(embedded_servers(project.root / ".monarch"))
        project.write(org)
        _measure_commands(project, org, times)
        with times.timed("dev, until the UI is ready"):
            ui = stack.enter_context(_dev(project))
        _measure_runs(project, org, ui, times)


def _measure_imports(project: Project, times: Times) -> None:
    with times.timed("import of Dagster alone"):
        project.run("-c", "import dagster")
    with times.timed("load of the code location"):
        project.run("-c", "import monarch_dagster.definitions")


def _measure_commands(project: Project, org: ObjectMeta, times: Times) -> None:
    def command(name: str, *words: str) -> None:
        with times.timed(f"{' '.join(words)}, {name}"):
            project.run("-m", "monarch_dagster", *words)

    command("first installation", "setup", "--generate")
    first = project.revisions()
    for words in ("generate-migrations", "run-migrations", "status", "check"):
        command("nothing to do", words)
    _expect(project, first)
    project.write(with_field_added(org))
    command("one field added", "generate-migrations")
    _expect(project, first + 1)
    command("one field added", "run-migrations")


def _measure_runs(project: Project, org: ObjectMeta, ui: Ui, times: Times) -> None:
    """Measure from the request until the run has ended; the empty job first, so that none pays for a cold daemon."""
    ui.stop_sensor()
    before, both = project.revisions(), {"generate": True}
    with times.timed("run in the UI, an empty job"):
        ui.run("empty", "empty", {})
    with times.timed("run in the UI, nothing to do"):
        ui.run("monarch", "setup_provider_schema", both)
    _expect(project, before)
    project.write(with_field_added(org, 2))
    with times.timed("run in the UI, one field added"):
        ui.run("monarch", "setup_provider_schema", both)
    _expect(project, before + 1)


def _expect(project: Project, revisions: int) -> None:
    """See that what was measured is what its name says. Raises `RuntimeError` where it is not."""
    if project.revisions() != revisions:
        raise RuntimeError(f"There are {project.revisions()} revisions, not {revisions}.")


@contextmanager
def _dev(project: Project) -> Iterator[Ui]:
    """Run `monarch dev`; give its UI once that is ready. Raises `RuntimeError` where it does not start."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ui = Ui(unused.getsockname()[1])
    with project.python("-m", "monarch_dagster", "dev", "--host", "127.0.0.1", "--port", str(ui.port)) as process:
        deadline = time.monotonic() + SECONDS
        while not ui.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"monarch dev did not start:\n{project.log.read_text()}")
            time.sleep(0.1)
        yield ui


def _print(arguments: argparse.Namespace, times: Times) -> None:
    title = f"{arguments.objects:,} objects of {arguments.fields} fields, median of {arguments.repeat}, seconds"
    table = Table("what a user waits for", title=title)
    for column in ("seconds", "Dagster alone", "ratio"):
        table.add_column(column, justify="right")
    for name in times.seconds:
        if name in BESIDE.values():
            continue
        row = [f"{times.median(name):.2f}"]
        if name in BESIDE:
            alone = times.median(BESIDE[name])
            row += [f"{alone:.2f}", f"{times.median(name) / alone:.2f}"]
        table.add_row(name, *row)
    Console().print(table)


if __name__ == "__main__":
    ending(main)
