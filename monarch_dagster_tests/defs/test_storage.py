"""Dagster's own storage: one history for `monarch` and every Dagster process, and files in one place."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from monarch_dagster.defs.running import open_instance
from monarch_dagster.settings import Settings
from monarch_dagster_tests.support import Project

RUNS = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"


@contextmanager
def started(project: Project, *command: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dagster process in the project and end it as Ctrl-C does."""
    with (project.root / "process.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=project.root,
            env=project.environment(**extra),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def ask(port: str, query: str, seconds: float = 90) -> Any:
    """Ask the webserver, which may still be starting."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the webserver did not answer"
            time.sleep(0.3)


def storage_class(instance: dg.DagsterInstance) -> str:
    data = instance.get_ref().storage_data
    assert data is not None
    return str(data.class_name)


def listing(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_a_command_and_a_dagster_process_share_one_history(here: Project) -> None:
    told = json.loads(here.monarch("setup", "--json").stdout)
    with open_instance(Settings.load()) as instance:
        run = instance.get_run_by_id(told["run_id"])
        assert run is not None
        assert (run.job_name, run.status) == ("setup_provider_schema", dg.DagsterRunStatus.SUCCESS)
        assert run.run_config == {"fetch": False, "generate": False}


def test_commands_in_a_folder_below_the_root_use_the_root_s_history_and_folder(here: Project) -> None:
    below = here.root / "notes" / "today"
    below.mkdir(parents=True)
    os.chdir(below)
    with open_instance(Settings.load()) as instance:
        assert Path(instance.storage_directory()) == here.root / ".monarch" / "dagster" / "storage"
    assert list(below.iterdir()) == []


def test_without_a_dagster_yaml_the_instance_is_the_same(here: Project) -> None:
    (here.root / "dagster.yaml").unlink()
    with open_instance(Settings.load()) as instance:
        assert storage_class(instance) == "MonarchStorage"


def test_a_dagster_home_of_one_s_own_is_respected(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    home = here.root / "own"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(Settings.load()) as instance:
        assert storage_class(instance) != "MonarchStorage"


def test_with_nothing_set_it_is_on_the_embedded_server(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from monarch_dagster.postgres.embedded import target_cluster

    monkeypatch.delenv("DAGSTER_POSTGRES_URL")
    try:
        with open_instance(Settings.load()) as instance:
            assert instance.get_runs() == []
        assert (here.root / ".monarch" / "postgres" / "data" / "PG_VERSION").exists()
    finally:
        target_cluster(here.root / ".monarch").stop()


@pytest.mark.soak
def test_what_a_run_prints_is_kept_under_monarch_home(here: Project) -> None:
    here.write_models("import sys")
    here.generate(empty=True)
    (revision,) = here.versions.glob("*.py")
    revision.write_text(revision.read_text().replace("    pass", '    print("hello from the revision")', 1))
    run_id = json.loads(here.monarch("run-migrations", "--json").stdout)["run_id"]
    printed = "".join(path.read_text() for path in (here.root / ".monarch/dagster/storage" / run_id).rglob("*.out"))
    assert "hello from the revision" in printed


@pytest.mark.soak
def test_dagster_dev_shows_the_runs_of_commands_and_leaves_no_file_of_its_own(here: Project) -> None:
    run_id = json.loads(here.monarch("setup", "--json").stdout)["run_id"]
    before = listing(here.root)
    port = free_port()
    with started(here, "dagster", "dev", "--port", port):
        found = ask(port, RUNS)["runsOrError"]["results"]
    assert {"runId": run_id, "jobName": "setup_provider_schema", "status": "SUCCESS"} in found
    assert listing(here.root) - before == {"process.log"}


@pytest.mark.soak
def test_the_webserver_and_the_daemon_on_their_own_share_the_history(here: Project) -> None:
    here.generate()
    run_id = json.loads(here.monarch("setup", "--json").stdout)["run_id"]
    port = free_port()
    with started(here, "dagster_webserver", "--port", port):
        assert run_id in str(ask(port, RUNS))
        # The daemon alone wants a DAGSTER_HOME; the project root is one, and stays as it is.
        with started(here, "dagster._daemon", "run", DAGSTER_HOME=str(here.root)):
            for _ in range(100):
                if "generate_migrations" in str(ask(port, RUNS)):
                    break
                time.sleep(0.5)
            assert "generate_migrations" in str(ask(port, RUNS))
    assert not (here.root / "storage").exists()
