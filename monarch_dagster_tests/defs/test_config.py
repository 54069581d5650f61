"""The config of the jobs: what is omitted is safe, what is wrong is refused before anything runs."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from monarch_dagster.definitions import defs
from monarch_dagster.defs import config
from monarch_dagster.defs.jobs import JOBS
from monarch_dagster.migrations.environment import RETRY_SECONDS
from monarch_dagster.migrations.options import LOCK_TIMEOUT_SECONDS
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster_tests.defs.support import description, materialize, reported, run
from monarch_dagster_tests.support import Project

SAFE: dict[str, dict[str, Any]] = {
    "setup_provider_schema": {"fetch": False, "generate": False},
    "fetch_object_meta": {
        "objects": [],
        "other_org": False,
        "lower_api_version": False,
        "max_missing_percent": 3,
    },
    "generate_migrations": {"fetch": False, "message": "", "dry_run": False},
    "run_migrations": {
        "target": "head",
        "expected_version": "",
        "allow_data_loss": [],
        "allow_unproved": [],
        "dry_run": False,
        "lock_timeout_seconds": 5,
    },
    "revert_migrations": {"target": "", "allow_data_loss": []},
    "adopt_database": {"dry_run": True},
}
CONFIGS = {
    "setup_provider_schema": config.SetupConfig,
    "fetch_object_meta": config.FetchConfig,
    "generate_migrations": config.GenerateConfig,
    "run_migrations": config.RunConfig,
    "revert_migrations": config.RevertConfig,
    "adopt_database": config.AdoptConfig,
}
ASSET_CONFIGS = (config.ObjectMetaConfig, config.RevisionFilesConfig, config.SchemaStateConfig)


def test_every_job_has_its_safe_values() -> None:
    assert {job.name for job in JOBS} == set(SAFE) == set(CONFIGS)
    for job, safe in SAFE.items():
        assert CONFIGS[job]().model_dump() == safe


@pytest.mark.parametrize(
    "kind", [*CONFIGS.values(), config.ObjectMetaConfig, config.RevisionFilesConfig, config.SchemaStateConfig]
)
def test_every_field_has_a_default_and_says_what_it_does(kind: type[dg.Config]) -> None:
    for name, field in kind.model_fields.items():
        assert not field.is_required(), name
        assert field.default is not None, name
        assert field.description, name


def test_the_lock_timeout_is_the_one_of_the_commands_and_no_longer_than_a_revision_is_tried() -> None:
    assert config.LOCK_TIMEOUT_SECONDS == LOCK_TIMEOUT_SECONDS
    assert config.LONGEST_LOCK_TIMEOUT_SECONDS == RETRY_SECONDS


def test_with_no_config_nothing_is_fetched_and_nothing_generated(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance
) -> None:
    assert run(instance, "setup_provider_schema").success
    assert not here.sources.schema_dir.exists()
    generated = run(instance, "generate_migrations")
    assert generated.success
    assert not here.sources.object_meta_path.exists()


def test_one_toggle_leaves_the_other_off(here: Project, org: RunningOrg, instance: dg.DagsterInstance) -> None:
    result = run(instance, "setup_provider_schema", {"generate": True})
    assert reported(result)["object_meta"]["summary"].startswith("Not fetched")
    assert here.facts().tables() == {"landing.note"}
    result = run(instance, "setup_provider_schema", {"fetch": True})
    assert here.sources.object_meta_path.exists()
    assert reported(result)["revision_files"]["summary"].startswith("Not generated")
    assert here.facts().tables() == {"landing.note"}


def test_a_revert_without_a_target_is_refused(here: Project, instance: dg.DagsterInstance) -> None:
    here.generate()
    here.apply()
    assert "no revision was named" in description(run(instance, "revert_migrations"))
    assert here.facts().tables() == {"landing.note"}


@pytest.mark.parametrize(
    ("job", "wrong"),
    [
        ("setup_provider_schema", {"fecth": True}),
        ("setup_provider_schema", {"fetch": "yes"}),
        ("setup_provider_schema", {"apply_new": True}),
        ("fetch_object_meta", {"objects": "Account"}),
        ("fetch_object_meta", {"max_missing_percent": 101}),
        ("fetch_object_meta", {"max_missing_percent": -1}),
        ("generate_migrations", {"dry_run": 1}),
        ("run_migrations", {"lock_timeout_seconds": "5"}),
        ("run_migrations", {"lock_timeout_seconds": 0}),
        ("run_migrations", {"lock_timeout_seconds": 601}),
        ("run_migrations", {"allow_data_loss": ["1a2b:"]}),
        ("run_migrations", {"allow_unproved": ["1a2b:3c4d:5e6f"]}),
        ("run_migrations", {"expected_version": "1a2b 3c4d"}),
        ("run_migrations", {"direction": "revert"}),
        ("run_migrations", {"target": None}),
        ("revert_migrations", {"allow_data_loss": [1]}),
        ("revert_migrations", {"target": ["base"]}),
        ("revert_migrations", {"target": "head-1"}),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused_before_there_is_a_run(
    instance: dg.DagsterInstance, job: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(dg.DagsterError):
        defs.resolve_job_def(job).execute_in_process(run_config=wrong, instance=instance)
    assert instance.get_runs() == []


@pytest.mark.parametrize(
    ("job", "right"),
    [
        ("run_migrations", {"allow_data_loss": ["1a2b3c4d5e6f", "base:head", "1a : 2b"], "expected_version": "base"}),
        ("revert_migrations", {"target": "r_1.0", "allow_data_loss": []}),
        ("fetch_object_meta", {"objects": ["Account", "npsp__*", "[AB]*"], "max_missing_percent": 100}),
    ],
)
def test_names_and_limits_that_can_be_meant_are_taken(job: str, right: dict[str, Any]) -> None:
    assert CONFIGS[job](**right).model_dump().items() >= right.items()


def test_an_asset_refuses_a_wrong_value_in_its_step_and_does_nothing(
    here: Project, instance: dg.DagsterInstance
) -> None:
    here.generate()
    result = materialize(instance, "schema_state", config={"schema_state": {"lock_timeout_seconds": 0}})
    (event,) = result.get_step_failure_events()
    assert "greater than or equal to 1" in str(event.step_failure_data.error)
    assert here.facts().tables() == set()
