"""What the UI asks and does: the Launchpad's default, and runs launched over GraphQL in a process of their own."""

from __future__ import annotations

import os
import shutil
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
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster.settings import Settings
from monarch_dagster_tests.defs.support import run
from monarch_dagster_tests.defs.test_config import SAFE
from monarch_dagster_tests.defs.test_jobs import empty_target
from monarch_dagster_tests.support import Project, account

PLACE = {"repositoryLocationName": "monarch", "repositoryName": "__repository__"}
LAUNCHPAD = """
query ($job: PipelineSelector!) {
  runConfigSchemaOrError(selector: $job) { ... on RunConfigSchema { rootDefaultYaml
    rootConfigType { ... on CompositeConfigType { fields { name description isRequired } } } } }
}"""
VALID = """
query ($job: PipelineSelector!, $config: RunConfigData!) {
  isPipelineConfigValid(pipeline: $job, runConfigData: $config, mode: "default") { __typename
    ... on RunConfigValidationInvalid { errors { message } } }
}"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message errorChain { error { message } } } }
}"""
SHOWN = """
{ assetOrError(assetKey: {path: ["revision_files"]}) { ... on Asset { assetMaterializations(limit: 1) {
  metadataEntries { label
    ... on CodeReferencesMetadataEntry { codeReferences { ... on LocalFileCodeReference { filePath lineNumber } } }
    ... on TableSchemaMetadataEntry { schema { columns { name type description constraints { nullable } } } }
    ... on FloatMetadataEntry { floatValue }
    ... on IntMetadataEntry { intValue } } } } } }"""
# What the Launchpad marks while it is typed: what is wrong, and what it says of it.
MARKED = [
    ("setup_provider_schema", {"fetch": "yes", "generat": True}, "unexpected config entry"),
    ("fetch_object_meta", {"max_missing_percent": "3"}, "Invalid scalar"),
    ("fetch_object_meta", {"objects": "Account"}, "must be list"),
    ("run_migrations", {"allow_data_loss": [1]}, "Invalid scalar"),
]
# What the launch refuses.
REFUSED = [
    ("fetch_object_meta", {"max_missing_percent": 101}, "less than or equal to 100"),
    ("run_migrations", {"lock_timeout_seconds": 0}, "greater than or equal to 1"),
    ("run_migrations", {"allow_data_loss": ["1a2b:"]}, "'1a2b:' is neither REV nor FROM:TO"),
    ("revert_migrations", {"target": "head-1"}, "'head-1' is no revision"),
]


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

    @property
    def instance(self) -> dg.DagsterInstance:
        """The instance that the page shows."""
        return self._workspace.instance

    def runs(self) -> int:
        """Return how many runs the instance has, those of other tests included."""
        return int(self.instance.get_runs_count())

    def finish(self, run_id: str) -> dg.DagsterRun:
        """Do what the daemon does with a queued run, and wait for its end."""
        instance = self.instance
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
    # A code server that outlives the session makes pytest fail at its end.
    workspace._grpc_server_registry.wait_for_processes()


def test_the_launchpad_shows_every_field_with_its_safe_value_and_what_it_does(ui: Ui) -> None:
    for job, safe in SAFE.items():
        found = ui.ask(LAUNCHPAD, job={**PLACE, "pipelineName": job})["runConfigSchemaOrError"]
        assert yaml.safe_load(found["rootDefaultYaml"]) == safe
        fields = {field["name"]: field for field in found["rootConfigType"]["fields"]}
        assert set(fields) == set(safe)
        assert all(field["description"] and not field["isRequired"] for field in fields.values())


def test_wrong_config_is_refused_before_there_is_a_run(ui: Ui) -> None:
    before = ui.runs()
    for job, wrong, told in MARKED:
        found = ui.ask(VALID, job={**PLACE, "pipelineName": job}, config=wrong)["isPipelineConfigValid"]
        assert told in str(found["errors"])
        assert ui.launch(job, wrong)["__typename"] == "RunConfigValidationInvalid"
    for job, wrong, told in REFUSED:
        answer = ui.launch(job, wrong)
        assert answer["__typename"] == "PythonError"
        assert told in str(answer["errorChain"])
    assert ui.runs() == before


@pytest.mark.soak
def test_a_launch_without_config_is_the_local_install(here: Project, ui: Ui) -> None:
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


@pytest.mark.soak
def test_both_setups_from_the_launchpad_and_from_the_command_end_in_the_same_schema(
    here: Project, org: RunningOrg, ui: Ui
) -> None:
    def from_the_launchpad(*toggles: str) -> None:
        launched = ui.launch("setup_provider_schema", dict.fromkeys(toggles, True))
        assert ui.finish(launched["run"]["runId"]).status is dg.DagsterRunStatus.SUCCESS

    def from_the_command(*toggles: str) -> None:
        here.monarch("setup", *(f"--{name}" for name in toggles), **org.environment)

    found = {}
    for way in (from_the_launchpad, from_the_command):
        shutil.rmtree(here.sources.schema_dir, ignore_errors=True)
        for toggles in (("fetch", "generate"), ()):
            empty_target(here)
            way(*toggles)
            found[way.__name__, toggles] = here.dump()
            assert here.execute("SELECT version_num FROM alembic.alembic_version") == [(here.chain().head,)]
    assert len(found) == 4
    assert len(set(found.values())) == 1


@pytest.mark.soak
def test_the_page_of_a_proposal_has_its_link_its_columns_and_numbers(here: Project, ui: Ui) -> None:
    here.write_meta(account(Name={"type": "string", "length": 255, "label": "Full Name"}))
    assert run(ui.instance, "generate_migrations").success
    (shown,) = ui.ask(SHOWN)["assetOrError"]["assetMaterializations"]
    found = {entry.pop("label"): entry for entry in shown["metadataEntries"]}
    (revision,) = here.chain().revisions
    lines = revision.path.read_text().splitlines()
    (link,) = found["open_in_editor"]["codeReferences"]
    assert link["filePath"] == str(revision.path)
    assert lines[link["lineNumber"] - 1].startswith("def upgrade")
    assert found["dagster/column_schema"]["schema"]["columns"] == [
        {"name": name, "type": kind, "description": described, "constraints": {"nullable": nullable}}
        for name, kind, described, nullable in (
            ("account.id", "character varying(18)", "Account.Id", False),
            ("account.name", "character varying(255)", "Full Name (Account.Name)", True),
        )
    ]
    assert found["relations_changed"]["intValue"] == 4
    assert found["proof_seconds"]["floatValue"] > 0
