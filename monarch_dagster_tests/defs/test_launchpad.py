"""What the UI asks and does: the Launchpad's default, and runs launched over GraphQL in a process of their own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_graphql.cli import execute_query

from monarch_dagster.defs.dead_runs import HOST, PID, RUN, STARTED
from monarch_dagster.defs.running import open_instance
from monarch_dagster.settings import Settings
from monarch_dagster_tests.defs.test_config import SAFE
from monarch_dagster_tests.support import Project

PLACE = {"repositoryLocationName": "monarch", "repositoryName": "__repository__"}
LAUNCHPAD = """
query ($job: PipelineSelector!) {
  runConfigSchemaOrError(selector: $job) { ... on RunConfigSchema { rootDefaultYaml
    rootConfigType { ... on CompositeConfigType { fields { name description isRequired } } } } }
}"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message } }
}"""


class Ui:
    """GraphQL on the project's instance and a code server, as the webserver has them."""

    def __init__(self, workspace: WorkspaceProcessContext) -> None:
        self._workspace = workspace

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = execute_query(self._workspace, query, variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, config: dict[str, Any]) -> dict[str, Any]:
        params = {"selector": {**PLACE, "jobName": job}, "runConfigData": config}
        answer: dict[str, Any] = self.ask(LAUNCH, params=params)["launchRun"]
        return answer

    def finish(self, run_id: str) -> dg.DagsterRun:
        """Do what the daemon does with a queued run, and wait for its end."""
        instance = self._workspace.instance
        instance.launch_run(run_id, self._workspace.create_request_context())
        for _ in range(300):
            run = instance.get_run_by_id(run_id)
            assert run is not None
            if run.is_finished:
                return run
            time.sleep(0.2)
        raise AssertionError("the run did not end")


@pytest.fixture
def ui(here: Project) -> Iterator[Ui]:
    """The UI on a workspace of the project's own files."""
    with (
        open_instance(Settings.load()) as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(here.root / "workspace.yaml")])) as workspace,
    ):
        yield Ui(workspace)


def test_the_launchpad_shows_every_field_with_its_safe_value_and_what_it_does(ui: Ui) -> None:
    for job, safe in SAFE.items():
        found = ui.ask(LAUNCHPAD, job={**PLACE, "pipelineName": job})["runConfigSchemaOrError"]
        assert yaml.safe_load(found["rootDefaultYaml"]) == safe
        fields = {field["name"]: field for field in found["rootConfigType"]["fields"]}
        assert set(fields) == set(safe)
        assert all(field["description"] and not field["isRequired"] for field in fields.values())


def test_a_launch_without_config_is_the_local_install_and_wrong_config_is_refused(here: Project, ui: Ui) -> None:
    wrong = ui.launch("setup_provider_schema", {"fetch": "yes", "generat": True})
    assert wrong["__typename"] == "RunConfigValidationInvalid"
    assert ui.launch("run_migrations", {"lock_timeout_seconds": 0})["__typename"] != "LaunchRunSuccess"
    here.generate()
    launched = ui.launch("setup_provider_schema", {})
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = ui.finish(launched["run"]["runId"])
    assert run.status is dg.DagsterRunStatus.SUCCESS
    # Its process was another one than this, which is on the same host.
    assert (run.tags[RUN], run.tags[HOST]) == (run.run_id, socket.gethostname())
    assert int(run.tags[PID]) != os.getpid()
    assert time.time() - 300 < float(run.tags[STARTED]) < time.time()
    assert not here.sources.object_meta_path.exists()
    assert len(here.chain().revisions) == 1
    assert here.facts().tables() == {"landing.note"}
